//! The mail sink over a real connection (EC-8, PU-6): kept, refused, out of order.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::stage::Stage;

/// Says lines one after the other; the code of each answer, the greeting first.
async fn talk(stage: &Stage, lines: &[&str]) -> Vec<String> {
    let stream = TcpStream::connect(stage.sandbox.mail_address()).await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut codes = vec![answer(&mut stream).await];
    for line in lines {
        stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        codes.push(answer(&mut stream).await);
    }
    codes
}

async fn answer(stream: &mut BufReader<TcpStream>) -> String {
    loop {
        let mut line = String::new();
        // A connection that is cut with unread bytes may end in a reset: no answer, either way.
        let _end = stream.read_line(&mut line).await;
        if line.is_empty() || line.as_bytes().get(3) == Some(&b' ') {
            return line.get(..3).unwrap_or_default().to_owned();
        }
    }
}

async fn mails(stage: &Stage) -> Value {
    stage.get("/control/v1/mails").await.json()
}

const MESSAGE: &str =
    "Subject: =?utf-8?B?5omj5qy+5aSx5pWX?=\r\nTo: <u@example.com>\r\n\r\nfirst\r\n..dotted\r\n.";

#[tokio::test]
async fn ec_8_a_mail_is_kept_with_its_headers_and_its_dots() {
    let stage = Stage::ecpay().await;
    let codes = talk(
        &stage,
        &[
            "EHLO tollgate",
            "AUTH PLAIN AHUAcA==",
            "MAIL FROM:<billing@example.com> BODY=8BITMIME",
            "rcpt to:<u@example.com>",
            "DATA",
            MESSAGE,
            "QUIT",
        ],
    )
    .await;
    assert_eq!(codes, ["220", "250", "235", "250", "250", "354", "250", "221"]);
    let listed = mails(&stage).await;
    assert_eq!(listed["address"], stage.sandbox.mail_address().to_string());
    let mail = &listed["mails"][0];
    assert_eq!(
        (&mail["from"], &mail["to"], &mail["headers"]["subject"]),
        (
            &json!("billing@example.com"),
            &json!(["u@example.com"]),
            &json!("扣款失敗")
        )
    );
    assert!(mail["raw"].as_str().unwrap().ends_with("first\r\n.dotted\r\n"));
    let url = format!("{}/control/v1/mails", stage.sandbox.base_url());
    assert_eq!(stage.http.delete(url).send().await.unwrap().status(), 204);
    assert_eq!(mails(&stage).await["mails"], json!([]));
}

#[tokio::test]
async fn commands_out_of_order_keep_nothing() {
    let stage = Stage::ecpay().await;
    let codes = talk(
        &stage,
        &[
            "RCPT TO:<u@example.com>",
            "DATA",
            "MAIL FROM:nobody",
            "MAIL FROM:<a@example.com>",
            "DATA",
            "RCPT TO:<u@example.com>",
            "RSET",
            "DATA",
            "STARTTLS",
        ],
    )
    .await;
    assert_eq!(
        codes,
        [
            "220", "503", "503", "501", "250", "503", "250", "250", "503", "500"
        ]
    );
    assert_eq!(mails(&stage).await["mails"], json!([]));
}

#[tokio::test]
async fn the_next_recipients_are_refused_on_demand() {
    let stage = Stage::ecpay().await;
    let refuse = stage
        .control("mails/refusals", json!({ "next": 2, "code": 451 }))
        .await;
    assert_eq!(refuse.status, 204);
    let try_once = [
        "HELO x",
        "MAIL FROM:<a@example.com>",
        "RCPT TO:<u@example.com>",
        "RCPT TO:<v@example.com>",
        "RCPT TO:<w@example.com>",
    ];
    assert_eq!(
        talk(&stage, &try_once).await,
        ["220", "250", "250", "451", "451", "250"]
    );
    for body in [
        json!({ "next": 1, "code": 250 }),
        json!({ "next": 1 }),
        json!({ "next": -1, "code": 550 }),
    ] {
        assert_eq!(stage.control("mails/refusals", body).await.status, 400);
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_kept() {
    let stage = Stage::ecpay().await;
    let large = format!("{}\r\n.", format!("{}\r\n", "x".repeat(998)).repeat(1100));
    let codes = talk(
        &stage,
        &[
            "EHLO x",
            "MAIL FROM:<a@example.com>",
            "RCPT TO:<u@example.com>",
            "DATA",
            &large,
        ],
    )
    .await;
    assert_eq!(codes.last().map(String::as_str), Some("552"));
    let endless = "x".repeat(9000);
    assert_eq!(
        talk(&stage, &[&endless]).await,
        ["220", ""],
        "the connection ends"
    );
    assert_eq!(mails(&stage).await["mails"], json!([]));
}
