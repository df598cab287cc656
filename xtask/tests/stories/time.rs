//! Time over the whole stack: one call moves the origin and the sandbox, and what falls due arrives through the edge.
//!
//! Proves invariant 5 from outside: a periodic order's charges are made by the sandbox at their own time, told to the built
//! worker, whose clock nobody can move, and booked before the call returns. Not here: what a failed charge brings about.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use xtask::stack::{MONTHLY, Stack, StackOptions};

use crate::books::Books;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_5_three_months_pass_and_three_charges_are_booked() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let buyer = stack.buyer("subscriber").await?;
    buyer.buy("ecpay", MONTHLY, "first", |_| ()).await?;
    let books = Books::of(&stack).await?;
    assert_eq!(sales(&books).await?, 300);
    for (months, days) in [(1_i64, 31), (2, 31), (3, 31)] {
        stack.advance(DAY * days).await?;
        assert_eq!(sales(&books).await?, 300 + 300 * months, "after month {months}");
    }
    let waiting = books
        .count("select count(*) from tollgate.inbox_events where status <> 'applied'")
        .await?;
    assert_eq!(waiting, 0);
    // A session and a signed hop of today, a year's third later.
    let late = stack.buyer("late").await?;
    late.buy("ecpay", MONTHLY, "first", |_| ()).await?;
    drop(books);
    stack.stop().await
}

async fn sales(books: &Books) -> Result<i64> {
    books
        .count("select coalesce(sum(-amount), 0)::bigint from tollgate.ledger_entry where account_kind = 'sales'")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_5_the_clock_says_what_it_did() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let moved = stack.advance(DAY).await?;
    let jobs = moved.pointer("/ran/jobs").and_then(Value::as_u64);
    assert!(jobs.context("no jobs ran")? >= 24, "{moved}");
    stack.stop().await
}
