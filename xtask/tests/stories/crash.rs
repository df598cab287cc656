//! Postgres is killed with SIGKILL in the middle of a burst and started again.
//!
//! Proves `invariant_1` and `invariant_2`: nothing acknowledged is missing, nothing is applied twice, the ledger balances.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use xtask::clock::poll_until;
use xtask::stack::{Stack, StackOptions};

use crate::books::{Books, orders};
use crate::notices::{Notice, acknowledged};

const ORDERS: usize = 200;
const KILLED_AFTER: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_5_invariant_2_a_killed_postgres_loses_and_doubles_nothing() -> Result<()> {
    let mut stack = Stack::start(StackOptions {
        own_postgres: true,
        ..StackOptions::default()
    })
    .await?;
    let orders = orders(&stack, ORDERS).await?;
    let (edge, http) = (stack.worker.base_url(), stack.http.clone());
    let answered = Arc::new(AtomicUsize::new(0));

    // The burst goes on while the server is killed: eight senders, each through its share of the orders.
    let mut burst = JoinSet::new();
    for share in orders.chunks(ORDERS / 8) {
        let (share, edge, http, answered) =
            (share.to_vec(), edge.clone(), http.clone(), Arc::clone(&answered));
        burst.spawn(async move {
            for order in share {
                let body = Notice::paid(&order, &format!("P{order}")).body();
                let asked = http
                    .post(format!("{edge}/api/webhooks/ecpay/payment"))
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(body);
                let answer = asked.send().await?.text().await?;
                anyhow::ensure!(answer == "1|OK", "not acknowledged: {answer}");
                answered.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
    }
    poll_until("the burst being under way", Duration::from_mins(1), || async {
        Ok((answered.load(Ordering::SeqCst) >= KILLED_AFTER).then_some(()))
    })
    .await?;
    stack.database.postgres.kill().await?;
    while let Some(outcome) = burst.join_next().await {
        outcome.context("a sender was dropped")??;
    }
    assert_eq!(
        answered.load(Ordering::SeqCst),
        ORDERS,
        "the edge acknowledged all"
    );
    stack.database.postgres.restart().await?;

    let books = Books::of(&stack).await?;
    books.wait_applied(i64::try_from(ORDERS)?).await?;
    books.settled(i64::try_from(ORDERS)?).await?;
    // A repeat of everything afterwards changes nothing.
    for order in &orders {
        acknowledged(
            &stack,
            &Notice::paid(order, &format!("P{order}")).with("RtnMsg", "paid"),
        )
        .await?;
    }
    books.settled(i64::try_from(ORDERS)?).await?;
    drop(books);
    stack.stop().await
}
