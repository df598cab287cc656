//! The origin is away for the whole of 500 notices, and the worker crashes in between: nothing is lost.
//!
//! Proves ED-5 and `invariant_1`: acknowledged means durable, in order within an order number.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::task::JoinSet;
use xtask::clock::poll_until;
use xtask::stack::{Stack, StackOptions};

use crate::books::{Books, orders};
use crate::notices::{Notice, acknowledged};

const ORDERS: usize = 250;

/// Each order is declined first and paid afterwards: two notices whose order matters.
async fn send_all(stack: &Arc<Stack>, orders: &[String]) -> Result<()> {
    for chunk in orders.chunks(16) {
        let mut sent = JoinSet::new();
        for order in chunk {
            let (stack, order) = (Arc::clone(stack), order.clone());
            sent.spawn(async move {
                acknowledged(&stack, &Notice::declined(&order, &format!("D{order}"))).await?;
                acknowledged(&stack, &Notice::paid(&order, &format!("P{order}"))).await
            });
        }
        while let Some(outcome) = sent.join_next().await {
            outcome.context("a sender was dropped")??;
        }
    }
    Ok(())
}

async fn pending(stack: &Stack) -> Result<i64> {
    let health: Value = stack
        .http
        .get(format!("{}/api/webhooks/health", stack.worker.base_url()))
        .send()
        .await?
        .json()
        .await?;
    health
        .pointer("/inbox/pending")
        .and_then(Value::as_i64)
        .with_context(|| format!("no pending count in {health}"))
}

/// Health counts what is kept; its figures may be some seconds old.
async fn wait_pending(stack: &Stack, expected: i64) -> Result<()> {
    poll_until(
        &format!("{expected} pending events"),
        Duration::from_secs(30),
        || async { Ok((pending(stack).await? == expected).then_some(())) },
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_5_invariant_1_five_hundred_notices_survive_an_outage_of_origin_and_worker() -> Result<()> {
    let mut stack = Stack::start(StackOptions::default()).await?;
    let orders = orders(&stack, ORDERS).await?;
    let (first, second) = orders.split_at(ORDERS / 2);

    stack.origin.kill().await?;
    let shared = Arc::new(stack);
    send_all(&shared, first).await?;
    let mut stack = Arc::into_inner(shared).context("the stack is still in use")?;

    stack.worker.kill().await?;
    stack.worker.restart().await?;
    let shared = Arc::new(stack);
    send_all(&shared, second).await?;
    let mut stack = Arc::into_inner(shared).context("the stack is still in use")?;

    let kept = i64::try_from(ORDERS)?.saturating_mul(2);
    wait_pending(&stack, kept).await?;
    let books = Books::of(&stack).await?;
    assert_eq!(
        books.count("select count(*) from tollgate.inbox_events").await?,
        0
    );

    stack.origin.restart().await?;
    books.wait_applied(kept).await?;
    books.settled(i64::try_from(ORDERS)?).await?;
    let overtaken = books
        .count(
            "select count(*) from tollgate.inbox_events as paid
             join tollgate.inbox_events as declined using (order_number)
             where paid.event_key like '%:paid' and declined.event_key like '%:failed:%'
               and paid.accepted_at < declined.accepted_at",
        )
        .await?;
    assert_eq!(overtaken, 0, "no event overtook an earlier one of its order");
    wait_pending(&stack, 0).await?;
    drop(books);
    stack.stop().await
}
