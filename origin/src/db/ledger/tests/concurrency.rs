//! Races on the real server: twins of one operation, and postings that cross.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{Raw, count, faults};
use crate::db::sqlstate::Refusal;
use crate::testing::TestDatabase;

/// Runs `work` on so many connections, all starting at once.
async fn race<T, F>(test: &TestDatabase, connections: usize, work: impl Fn(usize, Client) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(connections));
    let mut racers = JoinSet::new();
    for racer in 0..connections {
        let work = work(racer, test.admin().await);
        let start = Arc::clone(&start);
        racers.spawn(async move {
            start.wait().await;
            work.await
        });
    }
    racers.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn invariant_2_of_64_connections_with_one_operation_key_one_has_an_effect() {
    let test = TestDatabase::create().await;
    let results = race(&test, 64, |_, client| async move {
        let row = Raw::new("user:a", "k", &[("clearing", 300), ("sales", -300)])
            .post(&client)
            .await
            .unwrap();
        (
            row.get::<_, Uuid>("transaction_id"),
            row.get::<_, bool>("replayed"),
            row.get::<_, Vec<i64>>("balances_after"),
        )
    })
    .await;
    let firsts = results.iter().filter(|(_, replayed, _)| !replayed).count();
    let ids: BTreeSet<Uuid> = results.iter().map(|(id, _, _)| *id).collect();
    assert_eq!((results.len(), firsts, ids.len()), (64, 1, 1));
    assert!(results.iter().all(|(_, _, balances)| balances == &[300, -300]));
    assert_eq!(
        count(&test.database(), "select count(*) from tollgate.ledger_entry").await,
        2
    );
    assert_eq!(faults(&test.database()).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_amounts_under_one_key_one_wins_and_the_others_hear_which_field_differs() {
    let test = TestDatabase::create().await;
    let results = race(&test, 16, |racer, client| async move {
        let amount = 300 + i64::from(racer % 2 == 1);
        match Raw::new("user:a", "k", &[("clearing", amount), ("sales", -amount)])
            .post(&client)
            .await
        {
            Ok(row) => Ok(row.get::<_, Vec<i64>>("balances_after")[0]),
            Err(error) => Err(error.as_db_error().unwrap().clone()),
        }
    })
    .await;
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (8, 8));
    let amounts: BTreeSet<i64> = won.into_iter().map(Result::unwrap).collect();
    assert_eq!(amounts.len(), 1);
    for error in lost.into_iter().map(Result::unwrap_err) {
        assert_eq!(
            Refusal::from_sqlstate(error.code()),
            Some(Refusal::OperationKeyReused)
        );
        assert_eq!(error.column(), Some("amounts"));
    }
}

/// Each call is a transaction of its own without a retry, so one deadlock would fail the test.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postings_in_opposite_directions_do_not_deadlock() {
    let test = TestDatabase::create().await;
    race(&test, 16, |racer, client| async move {
        // Half of them move money the other way; the accounts, not open at first, overlap in every pair.
        let amount = if racer % 2 == 0 { 1 } else { -1 };
        for round in 0..25 {
            let entries = [(["a", "b", "c"][round % 3], amount), ("d", -amount)];
            Raw::new("user:x", &format!("{racer}-{round}"), &entries)
                .post(&client)
                .await
                .unwrap();
        }
    })
    .await;
    let database = test.database();
    assert_eq!(
        count(&database, "select count(*) from tollgate.ledger_transaction").await,
        16 * 25
    );
    assert_eq!(
        count(
            &database,
            "select count(*) from tollgate.ledger_account where balance <> 0"
        )
        .await,
        0
    );
    assert_eq!(faults(&database).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wallet_is_never_overdrawn_by_a_race() {
    let test = TestDatabase::create().await;
    let admin = test.admin().await;
    admin
        .execute(
            "select tollgate.ledger_account_open('user:a', 'wallet', 'TWD', true, 'epoch')",
            &[],
        )
        .await
        .unwrap();
    Raw::new("user:a", "fill", &[("granted", -10), ("wallet", 10)])
        .post(&admin)
        .await
        .unwrap();
    let results = race(&test, 16, |racer, client| async move {
        let spend = Raw::new(
            "user:a",
            &format!("spend-{racer}"),
            &[("spent", 3), ("wallet", -3)],
        );
        spend
            .post(&client)
            .await
            .map(drop)
            .map_err(|error| Refusal::from_sqlstate(error.code().unwrap()))
    })
    .await;
    let (spent, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((spent.len(), refused.len()), (3, 13));
    assert!(
        refused
            .iter()
            .all(|result| *result == Err(Some(Refusal::InsufficientBalance)))
    );
    assert_eq!(faults(&test.database()).await, Vec::<String>::new());
}
