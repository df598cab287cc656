//! Looking at and disturbing the database, for tests.
//!
//! A test (as the server's owner) → **look** → rows as JSON, counts by state, faults that only an owner can make.
//!
//! Invariant: compiled for tests only; nothing of the service reads through it.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::Client;

/// Every row of a table, as JSON, in a stable order.
pub(crate) async fn rows(client: &Client, table: &str) -> Vec<Value> {
    let sql = format!("select to_jsonb(t) from tollgate.{table} t order by to_jsonb(t)::text");
    client
        .query(&sql, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// The only row of a table in which a column has a value.
pub(crate) async fn row(client: &Client, table: &str, column: &str, value: &str) -> Value {
    let sql = format!("select to_jsonb(t) from tollgate.{table} t where t.{column}::text = $1");
    client.query_one(&sql, &[&value]).await.unwrap().get(0)
}

/// Rows by table and state, and the ledger's sum and faults: what a half-applied event would disturb.
pub(crate) async fn tally(client: &Client) -> BTreeMap<String, i64> {
    let sql = "select 'users ' || payment_status, count(*) from tollgate.users group by 1 \
        union all select 'payments ' || status, count(*) from tollgate.payments group by 1 \
        union all select 'payments with instructions', count(*) from tollgate.payments where instructions is not null \
        union all select 'charges ' || status, count(*) from tollgate.payment_charges group by 1 \
        union all select 'inbox ' || status, count(*) from tollgate.inbox_events group by 1 \
        union all select 'log ' || event_type, count(*) from tollgate.event_log group by 1 \
        union all select 'outbox ' || status, count(*) from tollgate.outbox group by 1 \
        union all select 'disputes ' || kind, count(*) from tollgate.disputes group by 1 \
        union all select 'keys', count(*) from tollgate.checkout_requests \
        union all select 'ledger transactions', count(*) from tollgate.ledger_transaction \
        union all select 'ledger entries', count(*) from tollgate.ledger_entry \
        union all select 'ledger sum', coalesce(sum(amount), 0)::bigint from tollgate.ledger_entry \
        union all select 'ledger faults', count(*) from tollgate.ledger_faults() \
        union all select 'buckets ' || state, count(*) from tollgate.token_buckets group by 1 \
        union all select 'tokens purchased', coalesce(sum(purchased_balance), 0)::bigint from tollgate.company_subscriptions \
        union all select 'token faults', count(*) from tollgate.token_faults()";
    client
        .query(sql, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect()
}

/// Transactions that are open in this database, the looking one's aside.
pub(crate) async fn open_transactions(client: &Client) -> i64 {
    let sql = "select count(*) from pg_stat_activity where datname = current_database() \
        and backend_type = 'client backend' and pid <> pg_backend_pid() and xact_start is not null";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Makes every new row of a table fail with a SQLSTATE, as a server that is too slow or too busy does.
pub(crate) async fn fail_with(client: &Client, table: &str, sqlstate: &str) {
    let sql = format!(
        "create or replace function public.failing() returns trigger language plpgsql \
         as $$ begin raise exception using errcode = '{sqlstate}'; end $$; \
         create or replace trigger failing before insert on tollgate.{table} for each row execute function public.failing()"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// Makes every write to a table fail, as a full disc or a bad deployment would.
pub(crate) async fn break_table(client: &Client, table: &str) {
    let sql = format!("alter table tollgate.{table} add constraint broken_by_a_test check (false) not valid");
    client.batch_execute(&sql).await.unwrap();
}

/// Mends what [`break_table`] broke.
pub(crate) async fn mend_table(client: &Client, table: &str) {
    let sql = format!("alter table tollgate.{table} drop constraint broken_by_a_test");
    client.batch_execute(&sql).await.unwrap();
}
