//! The customers of `bench dunning`: which of them fall due in which round, and the rows that they are in the database.
//!
//! `dunning` (an empty, migrated database) → **fill** (batches of numbered customers) → vacuum and statistics.
//! A round → **`make_due`** → the sweep.
//!
//! Invariants: a customer's number says everything: ids, order number, kind, whether and in which round it falls due, so
//! two databases differ in how many customers they have and in nothing else. Those who fall due together lie in as many
//! runs as a year has months, as customers do who came on the same day of different months.
//! Not here: foreign keys during the filling; they would double its time, and every row of a batch is made of the same numbers.
//! Failure: the server's own message; fewer rows made due than the layout says.

use anyhow::{Context, Result, ensure};
use tokio_postgres::Client;

use crate::progress::say;

/// The first one warms up: plans, caches, the first pages of what was empty.
pub(super) const ROUNDS: u64 = 6;
/// Customers that fall due in a round, in a database of any size.
pub(super) const DUE: u64 = 1_200;
/// Fewer have no room for every round's.
pub(super) const ROWS_MIN: u64 = RUNS * ROUNDS * RUN;
/// Runs of neighbours that fall due together, and how long each is.
const RUNS: u64 = 12;
const RUN: u64 = DUE.div_euclid(RUNS);
const BATCH: u64 = 25_000;

const PREPARE: &str = "create schema bench_dunning;
    create unlogged table bench_dunning.batch (n bigint primary key, id uuid not null, is_due boolean not null,
        is_ours boolean not null, is_refused boolean not null, due_on date not null, paid_at timestamptz not null,
        paid_until timestamptz not null);
    insert into tollgate.plans (id, name, amount, kind, subscription_type, period_type, period_frequency, period_times,
        first_charge, created_at, updated_at)
    values ('bench-monthly', 'Monthly', 300, 'subscription', 'pro', 'month', 1, 12, 'build', 'epoch', 'epoch');
    set session_replication_role = replica";
/// Ids stand in the order of the numbers, as those of a service do whose ids begin with the time. Of ten, six are charged
/// by us and four by ECPay; of those that fall due, ECPay refused two and has told nothing of the other two.
const BATCH_OF_CUSTOMERS: &str = "insert into bench_dunning.batch
    select n, ('018f0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, is_due, n % 10 < 6, is_due and n % 10 >= 8, due_on,
        (due_on - interval '1 month' + interval '10 hours') at time zone 'Asia/Taipei',
        due_on::timestamp at time zone 'Asia/Taipei'
    from (select n, is_due, (now() at time zone 'Asia/Taipei')::date
            + (case when is_due then -2 else 1 + n % 28 end)::integer as due_on
        from (select n, (n - 1) % $3::bigint < $4::bigint * $6::bigint and (n - 1) % $3::bigint % $4::bigint < $5::bigint as is_due
            from generate_series($1::bigint, $2::bigint) as n) as numbered) as dated";
const ROWS: [&str; 6] = [
    "insert into tollgate.users (id, payment_status, last_payment_provider, last_payment_reference, auto_renew,
        subscription_type, subscription_expires_at, created_at, updated_at)
    select 'bench-' || n, 'active', case when is_ours then 'payuni' else 'ecpay' end, 'P' || n, true, 'pro',
        paid_until + interval '3 days', paid_at, paid_at from bench_dunning.batch",
    "insert into tollgate.payments (id, user_id, plan_id, amount, provider, merchant_id, order_number, method,
        provider_payment_id, status, pending_until, created_at, updated_at)
    select id, 'bench-' || n, 'bench-monthly', 300, case when is_ours then 'payuni' else 'ecpay' end, 'BENCH',
        'B' || lpad(n::text, 12, '0'), 'credit', 'P' || n, 'active', paid_at, paid_at, paid_at from bench_dunning.batch",
    "insert into tollgate.payment_charges (id, payment_id, provider, merchant_id, provider_payment_id, amount, currency,
        method, occurred_at, recorded_at)
    select id, id, case when is_ours then 'payuni' else 'ecpay' end, 'BENCH', 'P' || n, 300, 'TWD', 'credit', paid_at, paid_at
    from bench_dunning.batch",
    "insert into tollgate.saas_subscriptions (id, user_id, plan_id, payment_id, mode, provider, merchant_id, order_number,
        amount, period_type, period_frequency, period_times, status, periods_paid, failure_count, paid_until, access_until,
        next_charge_at, next_retry_at, grace_period_ends_at, next_due_at, created_at, updated_at)
    select id, 'bench-' || n, 'bench-monthly', id, case when is_ours then 'merchant_run' else 'provider_run' end,
        case when is_ours then 'payuni' else 'ecpay' end, 'BENCH', 'B' || lpad(n::text, 12, '0'), 300, 'month', 1, 12,
        case when is_refused then 'past_due' else 'active' end, 1, is_refused::integer, paid_until,
        paid_until + interval '3 days', paid_until + interval '9 hours',
        case when is_refused then paid_until + interval '34 hours' end,
        case when is_refused then paid_until + interval '7 days 10 hours' end,
        case when is_due then now() + interval '60 days' else paid_until + interval '9 hours' end, paid_at, paid_at
    from bench_dunning.batch",
    "insert into tollgate.subscription_payments (id, subscription_id, attempt_key, period_number, provider_payment_id, amount,
        status, error_code, found_by, occurred_at, recorded_at, next_retry_at)
    select ('018f0000-0000-7001-8000-' || lpad(to_hex(n), 12, '0'))::uuid, id, 'paid:P' || n, 1, 'P' || n, 300, 'paid', null,
        'notice', paid_at, paid_at, null from bench_dunning.batch
    union all
    select ('018f0000-0000-7002-8000-' || lpad(to_hex(n), 12, '0'))::uuid, id, 'failed:P' || n || '-2', 2, 'P' || n || '-2', 300,
        'failed', '10100058', 'notice', paid_until + interval '10 hours', paid_until + interval '10 hours',
        paid_until + interval '34 hours' from bench_dunning.batch where is_refused",
    "insert into tollgate.subscription_history (subscription_id, step_key, kind, details, occurred_at, recorded_at)
    select id, 'activated', 'activated', '{\"period\": 1}'::jsonb, paid_at, paid_at from bench_dunning.batch
    union all
    select id, 'failed:2:1', 'first_failure', '{\"period\": 2, \"failure\": 1}'::jsonb, paid_until + interval '10 hours',
        paid_until + interval '10 hours' from bench_dunning.batch where is_refused",
];
const EMPTY_BATCH: &str = "truncate bench_dunning.batch";
const DONE: [&str; 4] = [
    "set session_replication_role = origin",
    "drop schema bench_dunning cascade",
    "vacuum (analyze)",
    "checkpoint",
];
const MAKE_DUE: &str = "update tollgate.saas_subscriptions set next_due_at = now() - interval '1 hour'
    where id between ('018f0000-0000-7000-8000-' || lpad(to_hex($1::bigint), 12, '0'))::uuid
        and ('018f0000-0000-7000-8000-' || lpad(to_hex($2::bigint), 12, '0'))::uuid";

/// Neighbours that fall due together, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// Where in a table of so many rows the rows of each round lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    rows: u64,
    /// Rows from a run of a round to the next run of that round.
    block: u64,
    /// Rows from a run to the run of the next round.
    stride: u64,
}

impl Layout {
    /// The layout, if every round has room.
    pub(super) fn of(rows: u64) -> Result<Self> {
        ensure!(
            rows >= ROWS_MIN,
            "{rows} rows are too few: {ROUNDS} rounds of {DUE} need {ROWS_MIN}"
        );
        let block = rows.div_euclid(RUNS);
        let stride = block.div_euclid(ROUNDS);
        Ok(Self { rows, block, stride })
    }

    /// The runs of a round, the first being 0.
    pub(super) fn runs(self, round: u64) -> impl Iterator<Item = Run> {
        (0..RUNS).map(move |run| {
            let before = run.saturating_mul(self.block);
            let before = before.saturating_add(round.saturating_mul(self.stride));
            Run {
                first: before.saturating_add(1),
                last: before.saturating_add(RUN),
            }
        })
    }

    /// `10k`, `1m`: what the figures of this size are called.
    pub(super) fn name(self) -> String {
        let whole = |unit: u64| {
            self.rows
                .checked_div(unit)
                .filter(|_| self.rows.checked_rem(unit) == Some(0))
        };
        match (whole(1_000_000), whole(1_000)) {
            (Some(millions), _) => format!("{millions}m"),
            (None, Some(thousands)) => format!("{thousands}k"),
            (None, None) => self.rows.to_string(),
        }
    }

    /// Fills a migrated database that has no customers yet.
    pub(super) async fn fill(self, client: &Client) -> Result<()> {
        client
            .batch_execute(PREPARE)
            .await
            .context("prepare the filling")?;
        let mut filled = 0_u64;
        while filled < self.rows {
            let upto = filled.saturating_add(BATCH).min(self.rows);
            self.fill_batch(client, filled.saturating_add(1), upto).await?;
            filled = upto;
            say(&format!("dunning: {filled} of {} customers …", self.rows));
        }
        for statement in DONE {
            client.batch_execute(statement).await.context(statement)?;
        }
        Ok(())
    }

    async fn fill_batch(self, client: &Client, first: u64, last: u64) -> Result<()> {
        let numbers = [first, last, self.block, self.stride, RUN, ROUNDS].map(i64::try_from);
        let [first, last, block, stride, run, rounds] = numbers;
        client
            .execute(
                BATCH_OF_CUSTOMERS,
                &[&first?, &last?, &block?, &stride?, &run?, &rounds?],
            )
            .await
            .context("number a batch of customers")?;
        for insert in ROWS {
            let table = insert.split(' ').nth(2).unwrap_or_default();
            client
                .batch_execute(insert)
                .await
                .with_context(|| format!("fill {table}"))?;
        }
        client.batch_execute(EMPTY_BATCH).await.context("empty the batch")
    }

    /// Makes the rows of a round due, all at one instant, as they are at nine in the morning.
    pub(super) async fn make_due(self, client: &Client, round: u64) -> Result<()> {
        let mut made = 0_u64;
        for run in self.runs(round) {
            let (first, last) = (i64::try_from(run.first)?, i64::try_from(run.last)?);
            made = made.saturating_add(client.execute(MAKE_DUE, &[&first, &last]).await?);
        }
        ensure!(made == DUE, "{made} rows were made due, the layout has {DUE}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{DUE, Layout, ROUNDS, ROWS_MIN};

    #[test]
    fn each_round_has_its_own_rows_and_they_are_those_that_are_filled_as_due() {
        for rows in [ROWS_MIN, ROWS_MIN + 11, 10_000, 123_456] {
            let layout = Layout::of(rows).unwrap();
            let runs = (0..ROUNDS).flat_map(|round| layout.runs(round));
            let numbers: Vec<u64> = runs.flat_map(|run| run.first..=run.last).collect();
            let apart: BTreeSet<u64> = numbers.iter().copied().collect();
            assert_eq!(
                numbers.len(),
                usize::try_from(DUE * ROUNDS).unwrap(),
                "{rows} rows"
            );
            assert_eq!(apart.len(), numbers.len(), "no row twice, {rows} rows");
            // What the statement that fills asks of a number.
            let is_due = |number: &u64| {
                let within = (number - 1) % layout.block;
                within < layout.stride * ROUNDS && within % layout.stride < super::RUN
            };
            let filled: BTreeSet<u64> = (1..=rows).filter(is_due).collect();
            assert!(apart.is_subset(&filled), "{rows} rows");
            // A remainder of the table behind the last block may begin another run, which no round makes due.
            assert!(
                filled
                    .difference(&apart)
                    .all(|number| *number > super::RUNS * layout.block)
            );
        }
        assert!(Layout::of(ROWS_MIN - 1).is_err());
    }

    #[test]
    fn a_size_is_named_as_people_say_it() {
        let name = |rows| Layout::of(rows).unwrap().name();
        assert_eq!(
            [
                name(10_000),
                name(1_000_000),
                name(100_000),
                name(1_500_000),
                name(7_777)
            ],
            ["10k", "1m", "100k", "1500k", "7777"]
        );
    }
}
