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
        union all select 'refunds ' || status, count(*) from tollgate.refunds group by 1 \
        union all select 'card charges ' || purpose || ' ' || status, count(*) from tollgate.subscription_charges group by 1 \
        union all select 'subscriptions ' || status, count(*) from tollgate.saas_subscriptions group by 1 \
        union all select 'attempts ' || status, count(*) from tollgate.subscription_payments group by 1 \
        union all select 'periods ' || status, count(*) from tollgate.period_transactions group by 1 \
        union all select 'facts ' || kind, count(*) from tollgate.subscription_facts group by 1 \
        union all select 'steps ' || kind, count(*) from tollgate.subscription_history group by 1 \
        union all select 'notices ' || kind, count(*) from tollgate.notices group by 1 \
        union all select 'token faults', count(*) from tollgate.token_faults()";
    client
        .query(sql, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect()
}

/// How a subscription and its user stand, on one line; times of Taiwan.
pub(crate) async fn subscription(client: &Client, order: &str) -> String {
    let sql = "with shown as (select subscription.*, account.subscription_type as held, \
            account.subscription_expires_at as held_until from tollgate.saas_subscriptions subscription \
            join tollgate.users account on account.id = subscription.user_id where subscription.order_number = $1) \
        select concat(status, ' failures=', failure_count, \
            ' grace=', coalesce(to_char(grace_period_ends_at at time zone 'Asia/Taipei', 'MM-DD HH24:MI'), '-'), \
            ' retry=', coalesce(to_char(next_retry_at at time zone 'Asia/Taipei', 'MM-DD HH24:MI'), '-'), \
            ' downgraded=' || to_char(downgraded_at at time zone 'Asia/Taipei', 'MM-DD HH24:MI') || ' ' || downgrade_reason, \
            ' | ', coalesce(held, '-'), \
            ' until ', coalesce(to_char(held_until at time zone 'Asia/Taipei', 'MM-DD HH24:MI'), '-')) from shown";
    client.query_one(sql, &[&order]).await.unwrap().get(0)
}

/// The kinds of the steps of a subscription, in order.
pub(crate) async fn subscription_steps(client: &Client, order: &str) -> Vec<String> {
    let sql = "select history.kind from tollgate.subscription_history history \
        join tollgate.saas_subscriptions subscription on subscription.id = history.subscription_id \
        where subscription.order_number = $1 order by history.occurred_at, history.recorded_at, history.step_key";
    let rows = client.query(sql, &[&order]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Merchant-run subscriptions of as many users, pro-monthly, paid for once on a day of 2026; the next charge is due a
/// month later at 9.
pub(crate) async fn merchant_run(client: &Client, count: i64, paid_on: &str) {
    let sql = format!(
        "insert into tollgate.users (id, created_at, updated_at) \
             select 'swept-' || n, '{paid_on}', '{paid_on}' from generate_series(1, {count}) n; \
         insert into tollgate.payments (id, user_id, plan_id, amount, provider, merchant_id, order_number, status, \
                 pending_until, created_at, updated_at) \
             select gen_random_uuid(), 'swept-' || n, 'pro-monthly', 300, 'payuni', 'ABC1', 'SWEPT' || n, 'active', \
                 '{paid_on}', '{paid_on}', '{paid_on}' from generate_series(1, {count}) n; \
         insert into tollgate.saas_subscriptions (id, user_id, plan_id, payment_id, mode, provider, merchant_id, \
                 order_number, amount, period_type, period_frequency, period_times, status, next_due_at, created_at, \
                 updated_at) \
             select id, user_id, plan_id, id, 'merchant_run', provider, merchant_id, order_number, amount, 'month', 1, \
                 12, 'active', '{paid_on}T09:00:00+08:00'::timestamptz + interval '1 month', created_at, updated_at \
             from tollgate.payments where order_number like 'SWEPT%'; \
         insert into tollgate.subscription_payments (id, subscription_id, attempt_key, period_number, \
                 provider_payment_id, amount, status, found_by, occurred_at, recorded_at) \
             select id, id, 'paid:' || order_number, 1, order_number, amount, 'paid', 'notice', \
                 '{paid_on}T10:00:00+08:00', '{paid_on}T10:00:00+08:00' from tollgate.saas_subscriptions"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// How many charges of ours a subscription has: how many have so.
pub(crate) async fn charges_of_each(client: &Client) -> Vec<(i64, i64)> {
    let sql = "select charges, count(*) from (select count(charge.id) as charges \
        from tollgate.saas_subscriptions subscription \
        left join tollgate.subscription_charges charge on charge.subscription_id = subscription.id \
        group by subscription.id) of_each group by charges order by charges";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// How the server would answer a query.
pub(crate) async fn plan(client: &Client, query: &str) -> String {
    let rows = client.query(&format!("explain {query}"), &[]).await.unwrap();
    rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
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
