//! No query of the hot path reads a large table from end to end: what the server counted while each function ran.
//!
//! `pg_stat_xact_user_tables` counts the sequential scans and index scans of the transaction that asks, those inside of
//! functions too, so this sees the plans that really ran. The plain text of a plan would only show the outer call.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::Book;

/// Tables that grow with every deduction, or with every company and grant.
const LARGE: [&str; 7] = [
    "company_subscriptions",
    "ledger_account",
    "ledger_entry",
    "ledger_transaction",
    "token_buckets",
    "token_deduction_records",
    "token_reservations",
];

/// (sequential scans, index scans) by table, of one call in a transaction that is rolled back.
async fn scans(admin: &Client, call: &str) -> BTreeMap<String, (i64, i64)> {
    admin.batch_execute("begin").await.unwrap();
    let before = counters(admin).await;
    admin.batch_execute(call).await.unwrap();
    let after = counters(admin).await;
    admin.batch_execute("rollback").await.unwrap();
    let of = |(table, (seq, idx)): (String, (i64, i64))| {
        let (seq_before, idx_before) = before.get(&table).copied().unwrap_or_default();
        (table, (seq - seq_before, idx - idx_before))
    };
    after.into_iter().map(of).collect()
}

async fn counters(admin: &Client) -> BTreeMap<String, (i64, i64)> {
    let sql = "select relname::text, seq_scan, coalesce(idx_scan, 0) from pg_stat_xact_user_tables where schemaname = 'tollgate'";
    let rows = admin.query(sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))))
        .collect()
}

/// 400 companies, 20,000 deductions, 400 open reservations.
async fn filled() -> Book {
    let book = Book::new().await;
    let admin = book.test.admin().await;
    let fill = "
        do $$
        begin
            for number in 1..400 loop
                perform tollgate.token_grant('g' || number, 'c' || number, 'purchased', 1000000, 100::smallint, null,
                    gen_random_uuid(), '2026-02-01T00:00:00Z');
                perform tollgate.token_reserve('r' || number, 'c' || number, 'a', 5, null, '2026-02-02T00:00:00Z',
                    gen_random_uuid(), '2026-02-01T00:00:00Z');
            end loop;
            for turn in 1..20 loop
                perform count(*) from tollgate.deduct_tokens_batch(
                    array(select 'k' || turn || '-' || n from generate_series(1, 1000) as n),
                    array(select 'c' || (1 + n % 400) from generate_series(1, 1000) as n),
                    array(select 'a' || n from generate_series(1, 1000) as n),
                    array(select 1 + n % 7 from generate_series(1, 1000) as n),
                    array(select null::jsonb from generate_series(1, 1000) as n),
                    array(select gen_random_uuid() from generate_series(1, 1000) as n), '2026-02-01T01:00:00Z');
            end loop;
        end $$";
    admin.batch_execute(fill).await.unwrap();
    book
}

#[tokio::test]
async fn tb_4_no_hot_call_scans_a_large_table_whether_it_was_analysed_or_not() {
    let book = filled().await;
    for analysed in [false, true] {
        let admin = book.test.admin().await;
        if analysed {
            admin.batch_execute("analyze").await.unwrap();
        }
        for (call, tables) in [
            (
                "deduct_tokens_atomic('new', 'c7', 'a', 5, null, gen_random_uuid(), '2026-02-01T02:00:00Z')",
                4,
            ),
            (
                "deduct_tokens_atomic('k3-77', 'c78', 'a77', 1, null, gen_random_uuid(), '2026-02-01T02:00:00Z')",
                2,
            ),
            (
                "deduct_tokens_batch(array['n1','n2'], array['c1','c2'], array['a','a'], array[1,2], \
              array[null,null]::jsonb[], array[gen_random_uuid(), gen_random_uuid()], '2026-02-01T02:00:00Z')",
                4,
            ),
            (
                "deduct_tokens_batch(array['n1'], array['c1'], array['a'], array[100000000], \
              array[null]::jsonb[], array[gen_random_uuid()], '2026-02-01T02:00:00Z')",
                2,
            ),
            (
                "token_reserve('new', 'c7', 'a', 5, null, '2026-02-02T00:00:00Z', gen_random_uuid(), '2026-02-01T02:00:00Z')",
                3,
            ),
            ("token_settle('r7', 'c7', 4, '2026-02-01T02:00:00Z')", 4),
            ("token_release('r8', 'c8', null, '2026-02-01T02:00:00Z')", 4),
            (
                "token_compensate('k3-77', 'c78', gen_random_uuid(), '2026-02-01T02:00:00Z')",
                4,
            ),
            ("token_balance('c7', '2026-02-01T02:00:00Z')", 1),
            ("token_history('c7', null, null, 20)", 2),
            ("token_record_by_key('k3-77', 'c78')", 2),
            (
                "token_grant('new', 'c7', 'purchased', 4, 100::smallint, null, gen_random_uuid(), '2026-02-01T02:00:00Z')",
                3,
            ),
        ] {
            let scans = scans(&admin, &format!("select * from tollgate.{call}")).await;
            let large: BTreeMap<_, _> = scans
                .iter()
                .filter(|(table, _)| LARGE.contains(&table.as_str()))
                .collect();
            let scanned: Vec<_> = large.iter().filter(|(_, (seq, _))| *seq > 0).collect();
            assert!(
                scanned.is_empty(),
                "analysed: {analysed}; {call} scans {scanned:?}"
            );
            let indexed = large.iter().filter(|(_, (_, idx))| *idx > 0).count();
            assert!(
                indexed >= tables,
                "analysed: {analysed}; {call} uses indexes of {large:?}"
            );
        }
    }
}

/// TB-4, TB-10: the questions of metrics and reconciliation have their indexes too.
#[tokio::test]
async fn tb_4_reports_use_the_indexes_on_status_and_created_at() {
    let book = filled().await;
    let admin = book.test.admin().await;
    admin.batch_execute("analyze").await.unwrap();
    for (query, index) in [
        (
            "select id from tollgate.token_deduction_records where status = 'pending' and created_at < '2026-02-01T00:30:00Z' \
          order by created_at limit 100",
            "token_deduction_records_status",
        ),
        (
            "select count(*) from tollgate.token_deduction_records where created_at > '2026-02-01T03:00:00Z'",
            "token_deduction_records_created",
        ),
        (
            "select id from tollgate.token_deduction_records where company_id = 'c7' order by created_at desc, id desc limit 20",
            "token_deduction_records_company",
        ),
        (
            "select company_id from tollgate.company_subscriptions where next_due_at <= '2026-02-01T00:30:00Z' \
          order by next_due_at, company_id limit 10",
            "company_subscriptions_due",
        ),
    ] {
        let rows = admin.query(&format!("explain {query}"), &[]).await.unwrap();
        let plan: String = rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect();
        assert!(
            plan.contains(index) && !plan.contains("Seq Scan"),
            "{query}\n{plan}"
        );
    }
}
