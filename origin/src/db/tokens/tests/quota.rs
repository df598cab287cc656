//! Quotas: granted per period, expired by entry at its end, carried over up to a maximum, whenever somebody looks.

use super::{Book, DAY_MS, at, company};
use crate::db::tokens::{self, BucketKind};

/// 28 February, 31 March and 30 April 2026 in Taipei, from the anchor on 31 January.
const PERIODS: [i64; 4] = [0, 28 * DAY_MS, 59 * DAY_MS, 89 * DAY_MS];

#[tokio::test]
async fn tb_1_unused_quota_expires_at_the_end_of_its_period_by_an_entry() {
    let book = Book::new().await;
    book.plan("acme", 1000, 0, 0, 0).await;
    assert_eq!(book.figures("acme", 0).await, [1000, 0, 0, 0]);
    assert!(book.deduct("k", "acme", 400, 1).await.success);
    assert_eq!(book.figures("acme", PERIODS[1] - 1).await, [600, 0, 0, 0]);
    assert_eq!(book.figures("acme", PERIODS[1]).await, [1000, 0, 0, 0]);
    let expired =
        "select sum(amount)::bigint from tollgate.ledger_entry where account_kind = 'token_expired'";
    assert_eq!(book.count(expired).await, 600);
    assert_eq!(book.figures("acme", PERIODS[2] - 1).await, [1000, 0, 0, 0]);
    // Nobody looked for two months: the books read as if somebody had, on the minute.
    assert_eq!(book.figures("acme", PERIODS[3] + 5).await, [1000, 0, 0, 0]);
    assert_eq!(book.count(expired).await, 2600);
    let boundaries = "select count(*) from tollgate.ledger_transaction \
        where kind = 'token_expire' and occurred_at in \
        ('2026-02-27T16:00:00Z', '2026-03-30T16:00:00Z', '2026-04-29T16:00:00Z')";
    assert_eq!(book.count(boundaries).await, 3);
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_deduction_after_the_end_of_the_period_cannot_spend_its_quota() {
    let book = Book::new().await;
    book.give("acme", BucketKind::Monthly, 100, 100, Some(1000), 0)
        .await;
    book.buy("acme", 10, 1).await;
    let outcome = book.deduct("k", "acme", 20, 1000).await;
    assert_eq!((outcome.success, outcome.balance_before), (false, Some(10)));
    assert_eq!(book.figures("acme", 1000).await, [0, 0, 10, 0]);
}

#[tokio::test]
async fn what_the_plan_carries_over_has_a_maximum_over_all_periods() {
    let book = Book::new().await;
    book.plan("acme", 1000, 150, 0, 0).await;
    book.deduct("k", "acme", 900, 1).await;
    assert_eq!(book.figures("acme", PERIODS[1]).await, [1100, 0, 0, 0]);
    // 1,100 unused, of which 150 go over: what was carried once has no place of its own.
    assert_eq!(book.figures("acme", PERIODS[2]).await, [1150, 0, 0, 0]);
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn ending_a_plan_leaves_what_was_granted_and_setting_it_again_grants_no_period_twice() {
    let book = Book::new().await;
    book.plan("acme", 1000, 0, 0, 0).await;
    book.plan("acme", 1000, 0, 0, 5).await;
    assert_eq!(book.figures("acme", 5).await, [1000, 0, 0, 0]);
    book.plan("acme", 0, 0, 0, 10).await;
    book.plan("acme", 1000, 0, 0, 20).await;
    assert_eq!(book.figures("acme", 20).await, [1000, 0, 0, 0]);
    book.plan("acme", 0, 0, 0, 30).await;
    assert_eq!(book.figures("acme", PERIODS[1]).await, [0, 0, 0, 0]);
    // Begun again in the third period: that one is granted, the second is not made up for.
    book.plan("acme", 700, 0, 0, PERIODS[2] + DAY_MS).await;
    assert_eq!(book.figures("acme", PERIODS[2] + DAY_MS).await, [700, 0, 0, 0]);
    let granted = "select count(*) from tollgate.ledger_transaction where kind = 'token_grant'";
    assert_eq!(book.count(granted).await, 2);
}

#[tokio::test]
async fn a_plan_whose_anchor_moves_away_and_back_grants_no_period_twice_and_goes_on() {
    let book = Book::new().await;
    let set = async |anchor: i64, now: i64| {
        let plan = &tokens::TokenPlan {
            plan: None,
            monthly_quota: 1000,
            rollover_max: 50,
            expired_share_days: 0,
            period_anchor: Some(at(anchor)),
        };
        let run = |tx| async move { tokens::set_plan(&tx, &company("acme"), plan, at(now)).await };
        book.db.run_tx("test", run).await.unwrap();
    };
    set(0, 5).await;
    // Another anchor is another period, with a quota of its own.
    set(3 * DAY_MS, 4 * DAY_MS).await;
    assert_eq!(book.figures("acme", 4 * DAY_MS).await, [2000, 0, 0, 0]);
    set(0, 5 * DAY_MS).await;
    assert_eq!(book.figures("acme", 5 * DAY_MS).await, [2000, 0, 0, 0]);
    assert_eq!(
        book.figures("acme", PERIODS[1]).await,
        [2050, 0, 0, 0],
        "the next one is granted"
    );
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn reserved_quota_outlives_its_period_until_the_job_is_settled() {
    let book = Book::new().await;
    let end = PERIODS[1];
    book.plan("acme", 1000, 0, 0, 0).await;
    book.reserve("job", "acme", 300, end + 1000, end - 1000).await;
    assert_eq!(book.figures("acme", end).await, [1300, 0, 0, 300]);
    let settled = book.settle("job", "acme", 200, end + 1).await.unwrap();
    assert_eq!(settled.outcome.taken.monthly, 200);
    assert_eq!(book.figures("acme", end + 1).await, [1000, 0, 0, 0]);
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_share_of_an_expired_bucket_goes_where_the_plan_says() {
    let book = Book::new().await;
    for (of, days) in [("strict", 0), ("kind", 7)] {
        book.plan(of, 1000, 0, days, 0).await;
        book.give(of, BucketKind::Purchased, 50, 100, None, 1).await;
        assert!(book.deduct(&format!("k-{of}"), of, 1020, 2).await.success);
        book.compensate(&format!("k-{of}"), of, PERIODS[1] + 1)
            .await
            .unwrap();
    }
    assert_eq!(book.figures("strict", PERIODS[1] + 1).await, [1000, 0, 50, 0]);
    assert_eq!(book.figures("kind", PERIODS[1] + 1).await, [1000, 1000, 50, 0]);
    assert_eq!(
        book.figures("kind", PERIODS[1] + 1 + 7 * DAY_MS).await,
        [1000, 0, 50, 0]
    );
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_past_balance_counts_an_expiry_from_when_it_fell_due_however_late_it_was_recorded() {
    let book = Book::new().await;
    book.give("acme", BucketKind::Promotional, 100, 100, Some(1000), 0)
        .await;
    book.buy("acme", 10, 5).await;
    book.deduct("k", "acme", 30, 500).await;
    let acme = &company("acme");
    for (past, total) in [
        (0, 100),
        (4, 100),
        (5, 110),
        (499, 110),
        (500, 80),
        (999, 80),
        (1000, 10),
        (9999, 10),
    ] {
        let read = |tx| async move { tokens::balance_at(&tx, acme, at(past), at(10_000)).await };
        assert_eq!(
            book.db.run_tx("test", read).await.unwrap().total,
            total,
            "at {past}"
        );
    }
}

#[tokio::test]
async fn the_sweep_reaches_every_company_and_then_has_nothing_left() {
    let book = Book::new().await;
    for number in 0..5 {
        book.give(
            &format!("c{number}"),
            BucketKind::Promotional,
            10,
            100,
            Some(1000),
            0,
        )
        .await;
    }
    let mut swept = Vec::new();
    for _ in 0..4 {
        let run = |tx| async move { tokens::expire_due(&tx, 2, at(1000)).await };
        swept.push(book.db.run_tx("test", run).await.unwrap());
    }
    assert_eq!(swept, [2, 2, 1, 0]);
    assert_eq!(
        book.count("select sum(remaining)::bigint from tollgate.token_buckets")
            .await,
        0
    );
}

/// Every call of a company applies what is due first: were that slower than a statement may be, the company would be
/// locked out for good. One hold after the other, 12,000 of them took a minute.
#[tokio::test]
async fn tb_11_a_caller_that_dies_with_12_000_reservations_does_not_lock_its_company_out() {
    let book = Book::new().await;
    book.give("acme", BucketKind::Monthly, 60_000, 100, Some(2000), 0)
        .await;
    book.buy("acme", 60_000, 1).await;
    // As 12,000 calls of `token_reserve` would leave it: ten tokens each, half of the quota and half of the pack.
    let fill = format!(
        "with bucket as (select array_agg(id order by kind) as ids from tollgate.token_buckets),
        record as (
            insert into tollgate.token_deduction_records (id, idempotency_key, company_id, article_id, amount,
                requested_amount, status, balance_before, balance_after, created_at)
            select gen_random_uuid(), 'r' || n, 'acme', 'a', 10, 10, 'pending', 120000, 0, '{now}'
            from generate_series(1, 12000) as n returning id
        ),
        bucket_after as (update tollgate.token_buckets set reserved = remaining),
        company as (update tollgate.company_subscriptions set reserved_balance = 120000, next_due_at = '{end}')
        insert into tollgate.token_reservations (record_id, company_id, amount, expires_at, bucket_ids, bucket_amounts, created_at)
        select record.id, 'acme', 10, '{end}', bucket.ids, array[5, 5], '{now}' from record, bucket",
        now = at(1),
        end = at(1000),
    );
    book.test.admin().await.batch_execute(&fill).await.unwrap();
    assert_eq!(book.faults().await, Vec::<String>::new());
    assert_eq!(book.figures("acme", 999).await, [60_000, 0, 60_000, 120_000]);
    assert_eq!(book.figures("acme", 1000).await, [60_000, 0, 60_000, 0]);
    assert_eq!(
        book.figures("acme", 2000).await,
        [0, 0, 60_000, 0],
        "back in its bucket, and gone with it"
    );
    assert_eq!(book.faults().await, Vec::<String>::new());
}

/// What goes back into a bucket that has expired expires at the instant the hold ended, kind by kind.
#[tokio::test]
async fn holds_that_end_after_their_buckets_expire_what_they_held_each_at_its_end() {
    let book = Book::new().await;
    book.give("acme", BucketKind::Monthly, 30, 100, Some(1000), 0)
        .await;
    book.give("acme", BucketKind::Promotional, 30, 200, Some(1000), 0)
        .await;
    for (key, amount, until) in [("one", 20, 1500), ("two", 20, 1500), ("three", 15, 1700)] {
        book.reserve(key, "acme", amount, until, 1).await;
    }
    assert_eq!(book.figures("acme", 1000).await, [30, 25, 0, 55]);
    assert_eq!(book.figures("acme", 5000).await, [0, 0, 0, 0]);
    let acme = &company("acme");
    for (past, total) in [
        (999, 60),
        (1000, 55),
        (1499, 55),
        (1500, 15),
        (1699, 15),
        (1700, 0),
    ] {
        let read = |tx| async move { tokens::balance_at(&tx, acme, at(past), at(5000)).await };
        assert_eq!(
            book.db.run_tx("test", read).await.unwrap().total,
            total,
            "at {past}"
        );
    }
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_sweep_goes_past_a_company_whose_books_refuse_what_is_due() {
    let book = Book::new().await;
    for (of, until) in [("refused", 1000), ("c1", 1001), ("c2", 1002), ("c3", 1003)] {
        book.give(of, BucketKind::Promotional, 10, 100, Some(until), 0)
            .await;
    }
    let break_books = "update tollgate.ledger_account set balance = 9223372036854775807 \
        where owner = 'company:refused' and kind = 'token_expired'";
    book.test.admin().await.batch_execute(break_books).await.unwrap();
    let mut swept = Vec::new();
    for _ in 0..4 {
        let run = |tx| async move { tokens::expire_due(&tx, 2, at(2000)).await };
        swept.push(book.db.run_tx("test", run).await.unwrap());
    }
    assert_eq!(swept, [1, 1, 1, 0], "it is first in the line each time");
    let left = "select sum(remaining)::bigint from tollgate.token_buckets";
    assert_eq!(book.count(left).await, 10);
}
