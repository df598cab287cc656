//! The program as it is started: configuration faults and exit codes, the ready line, a graceful end.
//!
//! No database is needed: `serve` connects when it is asked something.

#![expect(clippy::unwrap_used, reason = "a broken set-up ends the test")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

fn tollgate(arguments: &[&str], settings: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(arguments)
        .env_clear()
        .envs(settings.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

const SETTINGS: [(&str, &str); 11] = [
    ("DATABASE_URL", "postgres://127.0.0.1:1/none"),
    ("LISTEN_ADDR", "127.0.0.1:0"),
    ("HANDOFF_KEY_ID", "k1"),
    ("HANDOFF_KEY", "a-key-of-the-hop-for-tests-only-0001"),
    ("PUBLIC_EDGE_URL", "https://pay.example.tw"),
    ("APP_RETURN_URL", "https://app.example.tw/paid"),
    ("PAYMENT_PROVIDER", "ecpay"),
    ("ECPAY_MERCHANT_ID", "3002607"),
    ("ECPAY_HASH_KEY", "pwFHCqoQZGmho4w6"),
    ("ECPAY_HASH_IV", "EkRm7iFT261dpevs"),
    ("ECPAY_BASE_URL", "https://payment-stage.ecpay.com.tw"),
];

#[test]
fn op_1_a_wrong_configuration_ends_the_program_with_code_2_and_every_fault() {
    for command in ["serve", "work"] {
        let ended = tollgate(&[command], &[("HANDOFF_KEY", "a-secret")])
            .wait_with_output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(2), "{command}");
        let log = String::from_utf8(ended.stderr).unwrap();
        let lines: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for setting in [
            "DATABASE_URL",
            "HANDOFF_KEY_ID",
            "HANDOFF_KEY",
            "PAYMENT_PROVIDER",
            "PUBLIC_EDGE_URL",
            "APP_RETURN_URL",
        ] {
            assert_eq!(
                lines.iter().filter(|line| line["setting"] == setting).count(),
                1,
                "{setting}: {log}"
            );
        }
        assert!(!log.contains("a-secret") && ended.stdout.is_empty(), "{log}");
    }
    let ended = tollgate(&["migrate"], &[]).wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(2), "migrate needs DATABASE_URL");
    let ended = tollgate(&["migrate"], &[("DATABASE_URL", "postgres://127.0.0.1:1/none")])
        .wait_with_output()
        .unwrap();
    assert_eq!(
        ended.status.code(),
        Some(1),
        "a database that is not there is no fault of the configuration"
    );
}

#[test]
fn op_1_serve_says_where_it_listens_and_ends_when_told() {
    let mut program = tollgate(&["serve"], &SETTINGS);
    let mut stdout = BufReader::new(program.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["event"], "listening");
    let address: std::net::SocketAddr = ready["address"].as_str().unwrap().parse().unwrap();
    assert_ne!(address.port(), 0);
    std::net::TcpStream::connect(address).unwrap();
    assert!(
        Command::new("kill")
            .arg(program.id().to_string())
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(program.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "standard output carries the ready line only");
}

/// What makes no sense is refused before a database is opened; the rest meets the one that is not there.
#[test]
fn op_1_arguments_that_make_no_sense_end_the_program_with_code_2() {
    let nowhere = [("DATABASE_URL", "postgres://127.0.0.1:1/none")];
    let put = "plan put --id free --name FREE --amount 0 --kind free --subscription-type free --limit";
    let settle = "subscription settle-charge --charge 01997c5e-0000-7000-8000-000000000001 --note n";
    for (arguments, code) in [
        (format!("{put} articles=3 --limit seats=1"), 1),
        (format!("{put} articles"), 2),
        (format!("{put} =3"), 2),
        (format!("{put} articles=many"), 2),
        (settle.to_owned(), 2),
        (format!("{settle} --failed --paid-as 1761"), 2),
        ("subscription held-charges".to_owned(), 1),
    ] {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let ended = tollgate(&arguments, &nowhere).wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}");
    }
}
