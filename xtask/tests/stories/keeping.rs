//! What takes an event from the edge's inbox, and what does not: only the origin's own words count.
//!
//! Proves ED-5 over the built worker: a page with status 200, a proxy's refusal and a deployment of one side only keep
//! the event; a fault of its bytes parks it with the reason, and a repeat of the notice brings it back.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use xtask::clock::poll_until;
use xtask::stack::{Stack, StackOptions};

use crate::books::{Books, orders};
use crate::notices::{Notice, acknowledged};
use crate::stand_in::StandIn;

/// Several alarms of a shard, and figures that health may hold for five seconds.
const LIMIT: Duration = Duration::from_mins(1);
const PAGE: &str = "<!doctype html><title>We are back soon</title>";
const PROBLEM: &str = "application/problem+json";

fn problem(slug: &str) -> String {
    format!(r#"{{"type":"urn:tollgate:problem:{slug}","title":"As told"}}"#)
}

async fn health(stack: &Stack) -> Result<Value> {
    let url = format!("{}/api/webhooks/health", stack.worker.base_url());
    Ok(stack.http.get(url).send().await?.json().await?)
}

/// Waits until health counts so many pending and parked events; the document.
async fn wait_counted(stack: &Stack, pending: i64, parked: i64) -> Result<Value> {
    let what = format!("{pending} pending and {parked} parked events");
    poll_until(&what, LIMIT, || async {
        let health = health(stack).await?;
        let count = |name: &str| health.pointer(name).and_then(Value::as_i64);
        let reached = count("/inbox/pending") == Some(pending) && count("/inbox/parked") == Some(parked);
        Ok(reached.then_some(health))
    })
    .await
}

/// Answers that are no word of the origin's, or one that a deployment mends.
fn keeping() -> [(u16, &'static str, String); 5] {
    [
        (200, "text/html", PAGE.to_owned()),
        (200, "application/json", r#"{"status":"ok"}"#.to_owned()),
        (400, "text/html", PAGE.to_owned()),
        (409, PROBLEM, problem("key-mismatch")),
        (422, PROBLEM, problem("signature-mismatch")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_5_what_others_answer_in_the_origins_place_keeps_the_event() -> Result<()> {
    let mut stack = Stack::start(StackOptions::default()).await?;
    let orders = orders(&stack, 5).await?;
    let address = stack.origin.address().to_owned();
    stack.origin.kill().await?;

    let stand_in = StandIn::at(&address, 503, "text/plain", "").await?;
    for ((status, content_type, body), order) in keeping().into_iter().zip(&orders) {
        stand_in.says(status, content_type, &body);
        acknowledged(&stack, &Notice::paid(order, &format!("P{order}"))).await?;
        poll_until("an attempt", LIMIT, || async {
            Ok((stand_in.times() > 0).then_some(()))
        })
        .await?;
    }
    wait_counted(&stack, 5, 0).await?;
    stand_in.leave().await;

    stack.origin.restart().await?;
    let books = Books::of(&stack).await?;
    books.wait_applied(5).await?;
    books.settled(5).await?;
    wait_counted(&stack, 0, 0).await?;
    drop(books);
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_5_a_refusal_for_good_is_parked_with_its_reason_and_a_repeat_revives_it() -> Result<()> {
    let mut stack = Stack::start(StackOptions::default()).await?;
    let order = orders(&stack, 1).await?.pop().context("one order")?;
    let notice = Notice::paid(&order, "2611201744000001");
    let address = stack.origin.address().to_owned();
    stack.origin.kill().await?;

    let stand_in = StandIn::at(&address, 422, PROBLEM, &problem("missing-field")).await?;
    acknowledged(&stack, &notice).await?;
    let parked = wait_counted(&stack, 0, 1).await?;
    assert_eq!(
        parked.pointer("/status").and_then(Value::as_str),
        Some("degraded")
    );
    assert!(parked.to_string().contains("422 missing-field"), "{parked}");
    assert!(
        !parked.to_string().contains(&order),
        "health names an order: {parked}"
    );
    stand_in.leave().await;

    stack.origin.restart().await?;
    let books = Books::of(&stack).await?;
    assert_eq!(
        books.count("select count(*) from tollgate.inbox_events").await?,
        0
    );
    acknowledged(&stack, &notice.with("RtnMsg", "paid")).await?;
    books.wait_applied(1).await?;
    books.settled(1).await?;
    wait_counted(&stack, 0, 0).await?;
    drop(books);
    stack.stop().await
}
