//! Append-only by privilege, and a fault finder that finds.

use tokio_postgres::error::SqlState;

use super::{Raw, faults};
use crate::testing::TestDatabase;

#[tokio::test]
async fn invariant_4_the_application_cannot_write_the_ledgers_tables() {
    let test = TestDatabase::create().await;
    let app = test.admin().await;
    app.batch_execute("set role tollgate_app").await.unwrap();
    Raw::new("user:a", "k", &[("clearing", 300), ("sales", -300)])
        .post(&app)
        .await
        .unwrap();
    let mut writes = vec![
        "update tollgate.event_log set reason = ''".to_owned(),
        "delete from tollgate.event_log".to_owned(),
        "delete from tollgate.payments".to_owned(),
        "delete from tollgate.payment_charges".to_owned(),
    ];
    for table in ["ledger_account", "ledger_transaction", "ledger_entry"] {
        let column = if table == "ledger_entry" {
            "amount = 1"
        } else {
            "owner = 'user:b'"
        };
        writes.push(format!(
            "insert into tollgate.{table} select * from tollgate.{table}"
        ));
        writes.push(format!("update tollgate.{table} set {column}"));
        writes.push(format!("delete from tollgate.{table}"));
        writes.push(format!("truncate tollgate.{table}"));
        let read = app
            .query(&format!("select * from tollgate.{table}"), &[])
            .await
            .unwrap();
        assert!(!read.is_empty(), "{table}");
    }
    for write in writes {
        let error = app.batch_execute(&write).await.expect_err(&write);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{write}");
    }
}

/// A session that puts tables of its own in front gets nothing: names are qualified and the path is fixed.
#[tokio::test]
async fn a_temporary_table_cannot_stand_in_for_the_ledger() {
    let test = TestDatabase::create().await;
    let app = test.admin().await;
    let decoy = "create temp table ledger_account (like tollgate.ledger_account);
        create temp table ledger_entry (like tollgate.ledger_entry);
        set search_path = pg_temp, tollgate";
    app.batch_execute(decoy).await.unwrap();
    Raw::new("user:a", "k", &[("clearing", 300), ("sales", -300)])
        .post(&app)
        .await
        .unwrap();
    let rows =
        "select (select count(*) from pg_temp.ledger_entry), (select count(*) from tollgate.ledger_entry)";
    let row = app.query_one(rows, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (0, 2));
}

#[tokio::test]
async fn ledger_faults_finds_every_breach() {
    for (breach, found) in [
        (
            "update tollgate.ledger_entry set amount = 301 where account_kind = 'clearing'",
            "unbalanced",
        ),
        ("delete from tollgate.ledger_entry", "no_entries"),
        ("delete from tollgate.ledger_transaction", "orphan"),
        (
            "delete from tollgate.ledger_account where kind = 'sales'",
            "orphan",
        ),
        (
            "update tollgate.ledger_transaction set owner = 'user:b'",
            "orphan",
        ),
        (
            "update tollgate.ledger_account set balance = 299 where kind = 'clearing'",
            "balance",
        ),
        (
            "update tollgate.ledger_account set version = 2 where kind = 'clearing'",
            "balance",
        ),
        (
            "update tollgate.ledger_entry set balance_after = 299 where account_kind = 'clearing'",
            "chain",
        ),
        (
            "update tollgate.ledger_entry set account_version = 2 where account_kind = 'clearing'",
            "chain",
        ),
    ] {
        let test = TestDatabase::create().await;
        let admin = test.admin().await;
        Raw::new("user:a", "k", &[("clearing", 300), ("sales", -300)])
            .post(&admin)
            .await
            .unwrap();
        assert_eq!(faults(&test.database()).await, Vec::<String>::new());
        admin.batch_execute(breach).await.unwrap();
        let faults = faults(&test.database()).await;
        assert!(
            faults.iter().any(|fault| fault.starts_with(found)),
            "{breach}: {faults:?}"
        );
    }
}
