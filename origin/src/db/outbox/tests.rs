//! What a claim reads: rows of the outbox by the plan that really ran, not by what the planner expected.
//!
//! `explain (analyze)` of the statements themselves counts the rows that every node gave on and threw away.

use serde_json::Value;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use tollgate_shared::time::{ECPAY_FORMAT, Timestamp};
use uuid::Uuid;

use super::{BURY_ABANDONED, CLAIM, TURN};
use crate::db::Instant;
use crate::testing::TestDatabase;

/// 20,000 mails and 5,000 events that are due, 20 charges due after them, 20,000 mails that were sent.
const FILL: &str = "
    insert into tollgate.outbox (id, operation_key, kind, ordering_key, payload, attempts_max, next_attempt_at, created_at)
    select gen_random_uuid(), kind || n, kind, kind || ':u' || n, '{}', 24, at, at
    from (values ('mail', 20000, 0), ('subscription_event', 5000, 0), ('user_core', 20, 1000)) as filled(kind, rows, after),
        generate_series(1, rows) as n,
        lateral (select '2026-01-01T00:00:00Z'::timestamptz + (after + n % 100) * interval '1 s' as at) as instant;
    insert into tollgate.outbox (id, operation_key, kind, payload, attempts_max, status, done_at, created_at)
    select gen_random_uuid(), 'sent' || n, 'mail', '{}', 24, 'done', '2026-01-01', '2026-01-01'
    from generate_series(1, 20000) as n";

/// The rows that the nodes of a plan read: given on, and thrown away by a filter.
fn rows_read(node: &Value) -> u64 {
    let own = whole(&node["Actual Rows"]).saturating_add(whole(&node["Rows Removed by Filter"]));
    let below = node["Plans"].as_array().into_iter().flatten();
    let all = own.saturating_mul(whole(&node["Actual Loops"]));
    below.map(rows_read).fold(all, u64::saturating_add)
}

/// A number of a plan, which newer servers write as an average with two decimals, rounded up.
fn whole(number: &Value) -> u64 {
    let text = if number.is_null() {
        "0".to_owned()
    } else {
        number.to_string()
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    let rest = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    whole.parse::<u64>().unwrap().saturating_add(rest)
}

async fn read_by(admin: &Client, sql: &str, params: &[&(dyn ToSql + Sync)]) -> (u64, Value) {
    let explain = format!("explain (analyze, timing off, format json) {sql}");
    admin.batch_execute("begin").await.unwrap();
    let row = admin.query_one(&explain, params).await.unwrap();
    admin.batch_execute("rollback").await.unwrap();
    let plan: Value = row.get(0);
    (rows_read(&plan[0]["Plan"]), plan)
}

#[tokio::test]
async fn invariant_7_a_lane_finds_its_work_without_reading_what_waits() {
    let test = TestDatabase::create().await;
    let admin = test.admin().await;
    admin.batch_execute(FILL).await.unwrap();
    let now = Instant(Timestamp::from_taipei(ECPAY_FORMAT, "2026/02/01 00:00:00").unwrap());
    for analysed in [false, true] {
        if analysed {
            admin.batch_execute("analyze tollgate.outbox").await.unwrap();
        }
        for kinds in [
            &["user_core", "generator"][..],
            &["mail"],
            &["mail", "subscription_event"],
        ] {
            let claim: [&(dyn ToSql + Sync); 5] = [&Uuid::nil(), &now, &now, &kinds, &TURN];
            let (rows, plan) = read_by(&admin, CLAIM, &claim).await;
            assert!(
                (1..40).contains(&rows),
                "analysed: {analysed}; {kinds:?} {rows} rows: {plan:#}"
            );
        }
        let (rows, plan) = read_by(&admin, BURY_ABANDONED, &[&now]).await;
        assert!(rows < 10, "analysed: {analysed}; {rows} rows: {plan:#}");
    }
}
