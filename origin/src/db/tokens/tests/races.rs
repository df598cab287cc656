//! Races on the real server: twins of one key, and everybody on one company.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::{Book, DAY_MS, at, deduction};
use crate::db::sqlstate::TokenRefusal;
use crate::db::tokens::Outcome;
use crate::db::{Database, tokens};

/// Runs `work` on so many connections at once.
async fn race<T, F>(book: &Book, connections: usize, work: impl Fn(usize, Database) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(connections));
    let db = book.test.database_of(connections);
    let mut racers = JoinSet::new();
    for racer in 0..connections {
        let work = work(racer, db.clone());
        let start = Arc::clone(&start);
        racers.spawn(async move {
            start.wait().await;
            work.await
        });
    }
    racers.join_all().await
}

async fn deduct(db: &Database, key: &str, amount: i64) -> Outcome {
    let deduction = &deduction(key, "acme", amount);
    db.run_tx(
        "race",
        |tx| async move { tokens::deduct(&tx, deduction, at(1)).await },
    )
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tb_11_of_64_connections_with_one_key_one_charges() {
    let book = Book::new().await;
    book.buy("acme", 1000, 0).await;
    let outcomes = race(&book, 64, |_, db| async move { deduct(&db, "k", 10).await }).await;
    let firsts = outcomes
        .iter()
        .filter(|outcome| outcome.success && !outcome.idempotent)
        .count();
    assert_eq!((outcomes.len(), firsts), (64, 1));
    for outcome in &outcomes {
        let in_progress = outcome.refusal == Some(TokenRefusal::DeductionInProgress);
        assert!(
            in_progress || (outcome.success && outcome.balance_after == Some(990)),
            "{outcome:?}"
        );
    }
    assert_eq!(book.figures("acme", 2).await, [0, 0, 990, 0]);
    assert_eq!(book.faults().await, Vec::<String>::new());
}

/// Half of them in batches, which wait for a twin instead of being told that it is in progress.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tb_11_single_calls_and_batches_with_the_same_keys_charge_each_key_once() {
    let book = Book::new().await;
    book.buy("acme", 1000, 0).await;
    let keys = ["k1", "k2", "k3", "k4"];
    let charged = race(&book, 32, move |racer, db| async move {
        if racer % 2 == 0 {
            let outcome = deduct(&db, keys[racer / 2 % 4], 10).await;
            return usize::from(outcome.success && !outcome.idempotent);
        }
        let batch = keys.map(|key| deduction(key, "acme", 10));
        let batch = &batch;
        let run = |tx| async move { tokens::deduct_batch(&tx, batch, at(1)).await };
        let outcomes = db.run_tx("race", run).await.unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.success), "{outcomes:?}");
        outcomes.iter().filter(|outcome| !outcome.idempotent).count()
    })
    .await;
    assert_eq!(charged.iter().sum::<usize>(), 4);
    assert_eq!(book.figures("acme", 2).await, [0, 0, 960, 0]);
    assert_eq!(book.faults().await, Vec::<String>::new());
}

/// A twin that has not committed: the single call is told at once, whatever becomes of the twin.
#[tokio::test]
async fn tb_2_a_key_under_way_is_refused_as_in_progress_and_free_again_after_a_roll_back() {
    let book = Book::new().await;
    book.buy("acme", 1000, 0).await;
    let admin: Client = book.test.admin().await;
    let first = "begin; select tollgate.deduct_tokens_atomic('k', 'acme', 'article-1', 10, null, gen_random_uuid(), \
        '2026-02-01T00:00:00Z')";
    admin.batch_execute(first).await.unwrap();
    assert_eq!(
        deduct(&book.db, "k", 10).await.refusal,
        Some(TokenRefusal::DeductionInProgress)
    );
    admin.batch_execute("rollback").await.unwrap();
    let second = deduct(&book.db, "k", 10).await;
    assert!(second.success && !second.idempotent);
}

/// Refused = no effect, and never below zero: 40 deductions race for tokens that last for 25.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_deductions_take_exactly_what_is_there() {
    let book = Book::new().await;
    book.plan("acme", 130, 0, 0, 0).await;
    book.buy("acme", 120, 0).await;
    let outcomes = race(&book, 40, |racer, db| async move {
        deduct(&db, &format!("k{racer}"), 10).await
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.success).count(), 25);
    let balances: BTreeSet<Option<i64>> = outcomes
        .iter()
        .filter(|outcome| outcome.success)
        .map(|outcome| outcome.balance_after)
        .collect();
    assert_eq!(balances.len(), 25, "no two saw the same balance");
    assert_eq!(book.figures("acme", 2).await, [0, 0, 0, 0]);
    assert_eq!(book.faults().await, Vec::<String>::new());
}

/// Compare-and-set: of settlements and releases of one reservation, one decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_settlements_and_releases_one_decides() {
    let book = Book::new().await;
    book.buy("acme", 100, 0).await;
    book.reserve("job", "acme", 50, DAY_MS, 1).await;
    let book = Arc::new(book);
    let racing = Arc::clone(&book);
    let decided = race(&book, 8, move |racer, _| {
        let book = Arc::clone(&racing);
        async move {
            let result = if racer % 2 == 0 {
                book.settle("job", "acme", 10 + i64::try_from(racer).unwrap(), 2)
                    .await
            } else {
                book.release("job", "acme", 2).await
            };
            result.is_ok_and(|record| !record.outcome.idempotent)
        }
    })
    .await;
    assert_eq!(decided.into_iter().filter(|decided| *decided).count(), 1);
    assert_eq!(book.balance("acme", 3).await.reserved, 0);
    assert_eq!(book.faults().await, Vec::<String>::new());
}

/// Batches over the same companies in opposite orders do not deadlock: companies are locked in ascending order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_that_cross_do_not_deadlock() {
    let book = Book::new().await;
    let companies: Vec<String> = (0..10).map(|number| format!("c{number}")).collect();
    for of in &companies {
        book.buy(of, 1000, 0).await;
    }
    race(&book, 16, |racer, db| {
        let mut batch: Vec<_> = companies
            .iter()
            .map(|of| deduction(&format!("{of}-{racer}"), of, 1))
            .collect();
        if racer % 2 == 0 {
            batch.reverse();
        }
        async move {
            // A retry would hide a deadlock, so attempts are counted.
            let batch = &batch;
            let attempts = std::sync::atomic::AtomicU32::new(0);
            let attempts = &attempts;
            let run = |tx| async move {
                attempts.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                tokens::deduct_batch(&tx, batch, at(1)).await
            };
            let outcomes = db.run_tx("race", run).await.unwrap();
            assert!(outcomes.iter().all(|outcome| outcome.success));
            assert_eq!(
                attempts.load(std::sync::atomic::Ordering::SeqCst),
                1,
                "no attempt met a deadlock"
            );
        }
    })
    .await;
    assert_eq!(book.faults().await, Vec::<String>::new());
}
