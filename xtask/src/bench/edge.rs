//! `cargo xtask bench edge`: ours, the JavaScript peer and a JavaScript hello, in one run under workerd itself.
//!
//! built worker → **check that peer and ours agree → cold starts → alternating rounds → crossings** → `report`.
//!
//! Invariants: all subjects run on one machine at one time with the same bindings and the same requests, and take
//! turns round by round; no answer but `1|OK` counts; nothing here asserts a time.
//! Not here: what makes the worker fast (edge/). Method and limits: xtask/bench/README.md.
//! Failure: the first step that fails; a benchmark with a broken subject prints no number.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use super::figures::{Figures, Ratio, paired_processor_ratio, paired_ratio};
use super::notices::{VERIFY_PATH, WEBHOOK_PATH};
use super::report::Report;
use super::rounds::{self, Rounds};
use super::stub_origin::StubOrigin;
use super::workers::Subject;
use super::{cold_start, crossings, peer_check, recovery};
use crate::build_edge::BuiltWorker;
use crate::config::Config;
use crate::progress::say;
use crate::supervise;

/// Notices of the peer check and of the crossing count come from beyond those of the rounds.
const CHECK_FIRST: usize = 900_000_000;
const CROSSINGS_FIRST: usize = 910_000_000;
const RECOVERY_FIRST: usize = 920_000_000;

/// Builds nothing: measures the worker of the `bench` variant and prints the results.
pub async fn run(config: &Config, worker: &BuiltWorker) -> Result<()> {
    let origin = StubOrigin::start().await?;
    let subjects = Subjects::new(config, worker);
    let mut report = Report::default();
    say("cold starts …");
    let plain = [&subjects.hello, &subjects.peer, &subjects.ours];
    let starts_us = cold_start::measure(config, &plain, origin.address).await?;
    let hello = subjects.hello.start(config, origin.address).await?;
    let peer = subjects.peer.start(config, origin.address).await?;
    let ours = subjects.ours.start(config, origin.address).await?;
    let cases = peer_check::check(&peer, &ours, &origin, CHECK_FIRST).await?;
    report.text(&format!("peer check: the same answers to {cases} notices"));
    recovery::check(&ours, RECOVERY_FIRST).await?;
    report.text("after a panic: every notice answered again");
    let all = [&hello, &peer, &ours];
    report_path(&mut report, "verify", &rounds::verify(&all).await?);
    report_path(&mut report, "full", &rounds::webhook(&all, &origin).await?);
    report_starts(&mut report, &starts_us);
    report_sizes(&mut report, config, &worker.folder).await?;
    let counted = subjects.counted.start(config, origin.address).await?;
    for (name, path) in [("verify", VERIFY_PATH), ("full", WEBHOOK_PATH)] {
        report.crossings(name, &crossings::measure(&counted, path, CROSSINGS_FIRST).await?);
    }
    report.print();
    Ok(())
}

/// What is started; `counted` is ours with its crossings counted.
struct Subjects {
    hello: Subject,
    peer: Subject,
    ours: Subject,
    counted: Subject,
}

impl Subjects {
    fn new(config: &Config, worker: &BuiltWorker) -> Self {
        let bench = |name: &str| config.in_repo("xtask/bench").join(name);
        let built = |name: &str| worker.folder.join(name);
        let subject = |name, modules: Vec<PathBuf>, classes| Subject {
            name,
            modules,
            classes,
        };
        let ours = ["index.js", "worker.js", "index_bg.wasm"].map(built);
        let counted = [bench("counted.mjs"), bench("count.mjs")];
        Self {
            hello: subject("hello", vec![bench("hello.mjs")], &[]),
            peer: subject(
                "peer",
                vec![bench("peer.mjs"), bench("peer_verify.mjs")],
                &["Inbox"],
            ),
            counted: subject(
                "counted",
                [&counted[..], &ours[..]].concat(),
                &["Inbox", "Caller"],
            ),
            ours: subject("ours", ours.into(), &["Inbox", "Caller"]),
        }
    }
}

fn report_path(report: &mut Report, path: &str, rounds: &Rounds) {
    let Rounds([hello, peer, ours]) = rounds;
    for (subject, rounds) in [("hello", hello), ("peer", peer), ("ours", ours)] {
        report.figures(path, subject, &Figures::of(rounds));
    }
    let ratios = [
        ("peer", "requests", "vs_peer", paired_ratio(ours, peer)),
        (
            "peer",
            "processor time",
            "processor_vs_peer",
            paired_processor_ratio(ours, peer),
        ),
        ("hello", "requests", "vs_hello", paired_ratio(ours, hello)),
    ];
    for (other, what, name, ratio) in ratios {
        report.ratio(
            &format!("ours to the {other}, {path}, {what}"),
            &format!("edge_{path}_{name}"),
            ratio,
        );
    }
}

fn report_starts(report: &mut Report, starts_us: &[u64]) {
    let [hello, peer, ours] = *starts_us else { return };
    for (name, start_us) in [("hello", hello), ("peer", peer), ("ours", ours)] {
        let title = format!("workerd start to first answer, {name}");
        report.figure(&title, &format!("edge_cold_start_{name}"), start_us, "us");
    }
    report.ratio(
        "cold start, ours to hello",
        "edge_cold_start_vs_hello",
        Ratio::of(ours, hello),
    );
}

async fn report_sizes(report: &mut Report, config: &Config, folder: &Path) -> Result<()> {
    let parts = [
        ("wasm", &["index_bg.wasm"][..]),
        ("javascript", &["index.js", "worker.js"]),
    ];
    for (name, files) in parts {
        let (mut raw, mut gzip) = (0_u64, 0_u64);
        for file in files {
            let path = folder.join(file);
            let length = std::fs::metadata(&path)
                .with_context(|| format!("read {}", path.display()))?
                .len();
            raw = raw.saturating_add(length);
            gzip = gzip.saturating_add(gzip_bytes(config, &path).await?);
        }
        report.figure(
            &format!("{name}, as built"),
            &format!("edge_{name}_raw"),
            raw,
            "bytes",
        );
        report.figure(
            &format!("{name}, gzip"),
            &format!("edge_{name}_gzip"),
            gzip,
            "bytes",
        );
    }
    Ok(())
}

/// Node is there (npm is), a gzip program may not be.
async fn gzip_bytes(config: &Config, path: &Path) -> Result<u64> {
    let node = config.find_program("node").context("no node on PATH")?;
    let mut command = Command::new(node);
    let script = "console.log(require('zlib').gzipSync(require('fs').readFileSync(process.argv[1]), { level: 9 }).length)";
    command.args(["-e", script]).arg(path);
    let text = supervise::output(command, Duration::from_mins(1)).await?;
    text.trim().parse().context("node's answer is not a number")
}
