//! What a transaction promises, against the real Postgres: names, retries, roll-backs, faults at every step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::error::SqlState;

use super::{ATTEMPTS_MAX, Database, DbError, Tx};
use crate::db::fault::Fault;
use crate::testing::TestDatabase;

const ADD_USER: &str =
    "insert into tollgate.users (id, created_at, updated_at) values ($1, 'epoch', 'epoch')";

async fn users(db: &Database) -> i64 {
    let row = db.run_tx("count", |tx| async move {
        tx.query_one("select count(*) from tollgate.users", &[]).await
    });
    row.await.unwrap().get(0)
}

/// Raises `code` in Postgres itself.
fn raise(code: &str) -> String {
    format!("do $$ begin raise exception using errcode = '{code}'; end $$")
}

#[tokio::test]
async fn a_transaction_has_its_name_and_the_applications_role() {
    let test = TestDatabase::create().await;
    // Spawned: futures of `run_tx` must be able to move between threads, as every handler's do.
    let db = test.database();
    let run = tokio::spawn(async move {
        let look = "select current_setting('application_name'), current_user::text";
        db.run_tx("look_around", |tx| async move { tx.query_one(look, &[]).await })
            .await
    });
    let row = run.await.unwrap().unwrap();
    assert_eq!((row.get(0), row.get(1)), ("tollgate look_around", "tollgate_app"));
}

#[tokio::test]
async fn conflicts_are_tried_again_up_to_the_cap_and_other_errors_are_not() {
    let test = TestDatabase::create().await;
    let db = test.database();
    let cases = [
        ("40001", ATTEMPTS_MAX),
        ("40P01", ATTEMPTS_MAX),
        ("23505", 1),
        ("LG008", 1),
        ("57014", 1),
    ];
    for (code, attempts_expected) in cases {
        let attempts = AtomicU32::new(0);
        let refused = |tx: Tx| {
            attempts.fetch_add(1, Ordering::SeqCst);
            async move { tx.execute(&raise(code), &[]).await }
        };
        let result = db.run_tx("refused", refused).await;
        assert_eq!(result.unwrap_err().sqlstate(), Some(&SqlState::from_code(code)));
        assert_eq!(attempts.into_inner(), attempts_expected, "{code}");
    }
}

#[tokio::test]
async fn a_conflict_that_passes_is_invisible() {
    let test = TestDatabase::create().await;
    let attempts = AtomicU32::new(0);
    let twice = async |tx: Tx| {
        let written = tx.execute(ADD_USER, &[&"u1"]).await?;
        if attempts.fetch_add(1, Ordering::SeqCst) == 0 {
            tx.execute(&raise("40001"), &[]).await?;
        }
        Ok::<u64, DbError>(written)
    };
    let written = test.database().run_tx("twice", twice).await.unwrap();
    assert_eq!(
        (
            written,
            attempts.load(Ordering::SeqCst),
            users(&test.database()).await
        ),
        (1, 2, 1)
    );
}

#[tokio::test]
async fn a_closure_that_swallows_an_error_does_not_commit() {
    let test = TestDatabase::create().await;
    let swallow = |tx: Tx| async move {
        tx.execute(ADD_USER, &[&"u1"]).await?;
        assert!(tx.execute(&raise("23514"), &[]).await.is_err());
        Ok::<(), DbError>(())
    };
    let result = test.database().run_tx("swallow", swallow).await;
    assert_eq!(
        result.unwrap_err().sqlstate(),
        Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
    );
    assert_eq!(users(&test.database()).await, 0);
}

#[tokio::test]
async fn a_savepoint_undoes_only_what_is_inside() {
    let test = TestDatabase::create().await;
    let db = test.database();
    let outer = |tx: Tx| async move {
        tx.execute(ADD_USER, &[&"outer"]).await?;
        let inner = async {
            tx.execute(ADD_USER, &[&"inner"]).await?;
            tx.execute(&raise("23514"), &[]).await
        };
        let inner_failed = tx.savepoint(inner).await.is_err();
        tx.execute(ADD_USER, &[&"after"]).await?;
        Ok::<bool, DbError>(inner_failed)
    };
    assert!(db.run_tx("outer", outer).await.unwrap());
    assert_eq!(users(&db).await, 2);
}

#[tokio::test]
async fn a_savepoint_within_another_undoes_no_less_than_the_outer_when_its_release_fails() {
    let test = TestDatabase::create().await;
    let mut fewest = u64::MAX;
    for at in 0.. {
        let fault = Fault::at(at);
        let nested = |tx: Tx| async move {
            let inner = async {
                tx.execute(ADD_USER, &[&format!("outer-{at}")]).await?;
                let name = &format!("inner-{at}");
                tx.savepoint(tx.execute(ADD_USER, &[name])).await
            };
            let undone = tx.savepoint(inner).await.is_err();
            tx.execute("select 1", &[]).await?;
            Ok::<bool, DbError>(undone)
        };
        let before = users(&test.database()).await;
        let db = test.database().failing(Arc::clone(&fault));
        let result = db.run_tx("nested", nested).await;
        let added = users(&test.database()).await - before;
        if let Ok(undone) = result {
            assert_eq!(added, if undone { 0 } else { 2 }, "step {at}");
            fewest = fewest.min(at.into());
        }
        if !fault.struck() {
            break;
        }
    }
    assert_eq!(
        fewest, 2,
        "from its first statement on, a failure inside is undone and the outer goes on"
    );
}

#[tokio::test]
async fn a_handle_that_outlives_its_transaction_is_of_no_use() {
    let test = TestDatabase::create().await;
    let db = test.database();
    let kept = db
        .run_tx("keep", |tx| async move { Ok::<Tx, DbError>(tx) })
        .await
        .unwrap();
    assert!(matches!(
        kept.execute(ADD_USER, &[&"u1"]).await,
        Err(DbError::Ended)
    ));
}

#[tokio::test]
async fn a_dropped_transaction_takes_its_connection_along() {
    let test = TestDatabase::create().await;
    let db = test.database_of(1);
    let (entered, mut wait) = tokio::sync::mpsc::channel(1);
    let stuck = db.clone();
    let stuck = tokio::spawn(async move {
        let never_ends = |tx: Tx| {
            let entered = entered.clone();
            async move {
                tx.execute(ADD_USER, &[&"u1"]).await?;
                entered.send(()).await.unwrap();
                std::future::pending::<Result<(), DbError>>().await
            }
        };
        stuck.run_tx("stuck", never_ends).await
    });
    wait.recv().await.unwrap();
    stuck.abort();
    assert!(stuck.await.unwrap_err().is_cancelled());
    // The pool has one connection: this would see the row, or fail, on one that still is in the transaction.
    assert_eq!(users(&db).await, 0);
}

#[tokio::test]
async fn a_fault_strikes_once_at_every_step_and_leaves_all_or_nothing() {
    let test = TestDatabase::create().await;
    let mut outcomes = Vec::new();
    for at in 0.. {
        let fault = Fault::at(at);
        let add = |tx: Tx| async move {
            tx.execute(ADD_USER, &[&format!("u{at}")]).await?;
            tx.savepoint(tx.execute("update tollgate.users set auto_renew = true", &[]))
                .await
        };
        let before = users(&test.database()).await;
        let result = test
            .database()
            .failing(Arc::clone(&fault))
            .run_tx("add", add)
            .await;
        let added = users(&test.database()).await - before;
        outcomes.push((result.is_ok(), added));
        if !fault.struck() {
            break;
        }
    }
    // begin, insert, savepoint, update, release, commit: nothing; answer lost after the commit: done; no fault: done.
    let expected = [
        (false, 0),
        (false, 0),
        (false, 0),
        (false, 0),
        (false, 0),
        (false, 0),
        (false, 1),
        (true, 1),
    ];
    assert_eq!(outcomes, expected);
}
