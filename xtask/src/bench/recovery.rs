//! Whether the worker answers after a panic: its entry (edge/src/entry.mjs) stands in for worker-build's proxies.
//!
//! `edge` → **`check`** (notices in flight, a panic among them, notices after it) → only then the results.
//!
//! Invariant: what was in flight may fail, for the instance and its memory are gone; what comes after is answered
//! as ever, and what was acknowledged before is still known. Not here: measuring.
//! Failure: the first answer after the panic that is not the expected one.

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use super::load::Connection;
use super::notices::{self, WEBHOOK_PATH};
use super::workers::Running;

const PANIC_PATH: &str = "/bench/panic";
const IN_FLIGHT: usize = 16;

/// Fails unless the worker recovers. Uses the notices from number `first` on.
pub(super) async fn check(worker: &Running, first: usize) -> Result<()> {
    let known = notices::request(WEBHOOK_PATH, &notices::body(first));
    expect_acknowledged(worker, &known)
        .await
        .context("before the panic")?;
    let mut in_flight = JoinSet::new();
    for number in 1..IN_FLIGHT {
        let request = notices::request(WEBHOOK_PATH, &notices::body(first.saturating_add(number)));
        in_flight.spawn(send(worker.address, request));
    }
    in_flight.spawn(send(worker.address, notices::request(PANIC_PATH, b"")));
    let mut broken = 0_usize;
    while let Some(answer) = in_flight.join_next().await {
        broken = broken.saturating_add(usize::from(answer? != Some(200)));
    }
    ensure!(broken > 0, "the route that panics has answered");
    expect_acknowledged(worker, &known)
        .await
        .context("a repeat after the panic")?;
    for number in 0..IN_FLIGHT {
        let number = first.saturating_add(number).saturating_add(IN_FLIGHT);
        let request = notices::request(WEBHOOK_PATH, &notices::body(number));
        expect_acknowledged(worker, &request)
            .await
            .context("a notice after the panic")?;
    }
    Ok(())
}

/// The status, or nothing if the connection was closed without an answer.
async fn send(address: std::net::SocketAddr, request: Vec<u8>) -> Option<u16> {
    let mut connection = Connection::open(address).await.ok()?;
    connection.ask(&request).await.ok().map(|answer| answer.status)
}

async fn expect_acknowledged(worker: &Running, request: &[u8]) -> Result<()> {
    let answer = Connection::open(worker.address).await?.ask(request).await?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    ensure!(
        answer.status == 200 && body == "1|OK",
        "answered {} {body}",
        answer.status
    );
    Ok(())
}
