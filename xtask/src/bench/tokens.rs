//! `bench tokens`, SQL part: deductions a second, in batches and one by one, beside what people write by hand.
//!
//! A migrated database, fsync on → **rounds of every subject in turn** → `ratio` and `figure` lines.
//!
//! Peers on the same server: (a) a bare `update … set balance = balance - 1` of one row from 20 connections, which keeps no
//! record and checks nothing; (b) the naive way, a transaction of four statements: select the balance for update, update
//! it, insert a record, insert a log line, with a unique key and no ledger. Every transaction commits by itself,
//! synchronously. A batch is one call of `deduct_tokens_batch`: records, usage log, ledger transaction and entries each.
//! Invariants: rounds in turn; ratios are medians of neighbouring rounds; after them no fault may be in the books and
//! every deduction that was counted must be a record. What limits it: `xtask/bench/tokens.md`.
//! Failure: a refused deduction, or books that are not whole.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use super::figures::Ratio;
use super::report::Report;
use crate::clock::Stopwatch;
use crate::progress::say;

/// Of every subject but the batches.
const CONNECTIONS: usize = 20;
/// One batch in flight while the next is sent: what the origin does.
const BATCH_CONNECTIONS: usize = 2;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);

const PREPARE: &str = "drop schema if exists bench_tokens cascade;
    create schema bench_tokens;
    create table bench_tokens.company (id bigint primary key, balance bigint not null) with (fillfactor = 50);
    insert into bench_tokens.company select id, 1000000000000 from generate_series(1, 50) as id;
    create table bench_tokens.record (id uuid primary key default gen_random_uuid(), idempotency_key text not null unique,
        company_id bigint not null, article_id text not null, amount bigint not null, status text not null,
        created_at timestamptz not null);
    create index on bench_tokens.record (company_id, created_at);
    create table bench_tokens.log (id bigint generated always as identity primary key, record_id uuid not null,
        company_id bigint not null, article_id text not null, amount bigint not null, created_at timestamptz not null);";
const CLEAN: &str = "drop schema bench_tokens cascade";
const OPEN: &str =
    "select tollgate.token_grant($1 || '-' || number, $1 || '-' || number, 'purchased', 1000000000000,
        100::smallint, null, gen_random_uuid(), '2026-02-01T00:00:00Z')
    from generate_series(1, 50) as number";
const UPDATE: &str = "update bench_tokens.company set balance = balance - 1 where id = $1";
const NAIVE_SELECT: &str = "select balance from bench_tokens.company where id = $1 for update";
const NAIVE_RECORD: &str =
    "insert into bench_tokens.record (idempotency_key, company_id, article_id, amount, status, created_at)
    values ($1, $2, 'article', 1, 'completed', '2026-02-01T00:00:00Z') returning id::text";
const NAIVE_LOG: &str = "insert into bench_tokens.log (record_id, company_id, article_id, amount, created_at)
    values (($1::text)::uuid, $2, 'article', 1, '2026-02-01T00:00:00Z')";
const SINGLE: &str = "select (tollgate.deduct_tokens_atomic($1, $2, 'article', 1, null, ($3::text)::uuid,
    '2026-02-01T00:00:00Z') -> 'success')::boolean";
const BATCH: &str =
    "select count(*) filter (where success) from tollgate.deduct_tokens_batch($1::text[], $2, $3, $4,
    array_fill(null::jsonb, array[cardinality($1::text[])]), ($5::text[])::uuid[], '2026-02-01T00:00:00Z')";
const KEPT: &str = "select count(*) from tollgate.token_deduction_records where company_id like $1 || '-%'";
const FAULTS: &str =
    "select (select count(*) from tollgate.token_faults()) + (select count(*) from tollgate.ledger_faults())";

/// What every connection does until the round is over; the number is that of the companies it goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Update,
    Naive(u64),
    Single(u64),
    Batch { size: usize, companies: u64 },
}

/// The subjects, in the order of a round.
const SUBJECTS: [(&str, Work); 9] = [
    ("update_one_row", Work::Update),
    ("naive_1", Work::Naive(1)),
    ("naive_50", Work::Naive(50)),
    ("single_1", Work::Single(1)),
    ("single_50", Work::Single(50)),
    (
        "batch_100_1",
        Work::Batch {
            size: 100,
            companies: 1,
        },
    ),
    (
        "batch_1000_1",
        Work::Batch {
            size: 1000,
            companies: 1,
        },
    ),
    (
        "batch_100_50",
        Work::Batch {
            size: 100,
            companies: 50,
        },
    ),
    (
        "batch_1000_50",
        Work::Batch {
            size: 1000,
            companies: 50,
        },
    ),
];

/// Ours to theirs.
const RATIOS: [(&str, &str); 6] = [
    ("batch_1000_1", "update_one_row"),
    ("batch_100_1", "update_one_row"),
    ("batch_1000_1", "naive_1"),
    ("batch_1000_50", "naive_50"),
    ("single_1", "naive_1"),
    ("single_50", "naive_50"),
];

/// Names this run's companies and keys, and orders its ids.
#[derive(Debug, Clone)]
struct Run {
    prefix: String,
    clock: Stopwatch,
}

/// Measures the migrated database of that URL, whose login may create a schema in it (the server's own superuser).
pub async fn run(database_url: &str) -> Result<()> {
    let admin = connect(database_url).await?;
    admin
        .batch_execute(PREPARE)
        .await
        .context("create the peers' tables")?;
    let run = Run {
        prefix: format!("b{}", hex::encode(random())),
        clock: Stopwatch::start(),
    };
    admin
        .execute(OPEN, &[&run.prefix])
        .await
        .context("grant tokens to the companies")?;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(connect(database_url).await?);
    }
    let rates = measure(&mut clients, &run).await?;
    let faults: i64 = admin.query_one(FAULTS, &[]).await?.get(0);
    ensure!(
        faults == 0,
        "{faults} contradictions in the books after the rounds"
    );
    let kept: i64 = admin.query_one(KEPT, &[&run.prefix]).await?.get(0);
    let counted: u64 = rates.iter().map(|subject| subject.deducted).sum();
    ensure!(
        u64::try_from(kept)? == counted,
        "{counted} deductions were counted, {kept} are recorded"
    );
    admin
        .batch_execute(CLEAN)
        .await
        .context("drop the peers' tables")?;
    print(&rates)
}

/// A subject's rate in each kept round, and its deductions in all.
#[derive(Debug)]
struct Subject {
    name: &'static str,
    per_second: Vec<u64>,
    deducted: u64,
}

/// Round 0 warms up: caches, plans, accounts.
async fn measure(clients: &mut Vec<Client>, run: &Run) -> Result<Vec<Subject>> {
    let mut subjects: Vec<Subject> = SUBJECTS
        .iter()
        .map(|(name, _)| Subject {
            name,
            per_second: Vec::new(),
            deducted: 0,
        })
        .collect();
    for round in 0..=ROUNDS {
        say(&format!(
            "tokens: round {round} of {ROUNDS}, {} subjects of {} s …",
            SUBJECTS.len(),
            ROUND.as_secs()
        ));
        for ((_, work), subject) in SUBJECTS.iter().zip(&mut subjects) {
            let (per_second, done) = one_round(clients, *work, run, round).await?;
            if matches!(work, Work::Single(_) | Work::Batch { .. }) {
                subject.deducted = subject.deducted.saturating_add(done);
            }
            if round > 0 {
                subject.per_second.push(per_second);
            }
        }
    }
    Ok(subjects)
}

/// All connections of a subject at the same work; returns the rate and the number of deductions.
async fn one_round(clients: &mut Vec<Client>, work: Work, run: &Run, round: usize) -> Result<(u64, u64)> {
    let connections = if matches!(work, Work::Batch { .. }) {
        BATCH_CONNECTIONS
    } else {
        CONNECTIONS
    };
    let watch = Stopwatch::start();
    let mut tasks = JoinSet::new();
    let mut idle = clients.split_off(connections);
    for (connection, client) in clients.drain(..).enumerate() {
        let run = run.clone();
        tasks.spawn(async move {
            let key = format!("{}-{round}-{work:?}-{connection}", run.prefix).replace(' ', "");
            let done = drive(
                &client,
                &Driver {
                    connection,
                    work,
                    run,
                    key,
                },
                watch,
            )
            .await;
            (client, done)
        });
    }
    let mut total = 0_u64;
    for (client, done) in tasks.join_all().await {
        total = total.saturating_add(done?);
        clients.push(client);
    }
    clients.append(&mut idle);
    let millis = u64::try_from(watch.elapsed().as_millis())?;
    Ok((total.saturating_mul(1000).checked_div(millis).unwrap_or(0), total))
}

/// One connection's part of a round.
struct Driver {
    connection: usize,
    work: Work,
    run: Run,
    /// What every key of this connection in this round begins with.
    key: String,
}

async fn drive(client: &Client, driver: &Driver, watch: Stopwatch) -> Result<u64> {
    match driver.work {
        Work::Update => driver.update(client, watch).await,
        Work::Naive(companies) => driver.naive(client, watch, companies).await,
        Work::Single(companies) => driver.single(client, watch, companies).await,
        Work::Batch { size, companies } => driver.batch(client, watch, size, companies).await,
    }
}

impl Driver {
    async fn update(&self, client: &Client, watch: Stopwatch) -> Result<u64> {
        let (statement, mut done) = (client.prepare(UPDATE).await?, 0_u64);
        while watch.elapsed() < ROUND {
            client
                .execute(&statement, &[&1_i64])
                .await
                .context("the bare update")?;
            done = done.saturating_add(1);
        }
        Ok(done)
    }

    async fn naive(&self, client: &Client, watch: Stopwatch, companies: u64) -> Result<u64> {
        let select = client.prepare(NAIVE_SELECT).await?;
        let update = client.prepare(UPDATE).await?;
        let (record, log) = (
            client.prepare(NAIVE_RECORD).await?,
            client.prepare(NAIVE_LOG).await?,
        );
        let mut done = 0_u64;
        while watch.elapsed() < ROUND {
            let company = self.pick(done, companies);
            client.batch_execute("begin").await?;
            client.query_one(&select, &[&company]).await?;
            client.execute(&update, &[&company]).await?;
            let row = client
                .query_one(&record, &[&format!("{}-{done}", self.key), &company])
                .await?;
            client.execute(&log, &[&row.get::<_, &str>(0), &company]).await?;
            client.batch_execute("commit").await?;
            done = done.saturating_add(1);
        }
        Ok(done)
    }

    async fn single(&self, client: &Client, watch: Stopwatch, companies: u64) -> Result<u64> {
        let (statement, mut done) = (client.prepare(SINGLE).await?, 0_u64);
        while watch.elapsed() < ROUND {
            let (key, company) = (format!("{}-{done}", self.key), self.company(done, companies));
            let row = client
                .query_one(&statement, &[&key, &company, &self.id(done)])
                .await?;
            ensure!(row.get::<_, bool>(0), "deduction {key} was refused");
            done = done.saturating_add(1);
        }
        Ok(done)
    }

    async fn batch(&self, client: &Client, watch: Stopwatch, size: usize, companies: u64) -> Result<u64> {
        let (statement, mut done) = (client.prepare(BATCH).await?, 0_u64);
        let (articles, amounts) = (vec!["article"; size], vec![1_i64; size]);
        let size = u64::try_from(size)?;
        while watch.elapsed() < ROUND {
            let numbers = done..done.saturating_add(size);
            let keys: Vec<String> = numbers
                .clone()
                .map(|number| format!("{}-{number}", self.key))
                .collect();
            let of: Vec<String> = numbers
                .clone()
                .map(|number| self.company(number, companies))
                .collect();
            let ids: Vec<String> = numbers.map(|number| self.id(number)).collect();
            let row = client
                .query_one(&statement, &[&keys, &of, &articles, &amounts, &ids])
                .await?;
            ensure!(
                u64::try_from(row.get::<_, i64>(0))? == size,
                "a deduction of a batch was refused"
            );
            done = done.saturating_add(size);
        }
        Ok(done)
    }

    /// Spreads connections over the companies so that neighbours in time take different ones.
    fn pick(&self, done: u64, companies: u64) -> i64 {
        let step = u64::try_from(self.connection)
            .unwrap_or(0)
            .saturating_mul(7)
            .saturating_add(done);
        let company = step.checked_rem(companies).unwrap_or(0).saturating_add(1);
        i64::try_from(company).unwrap_or(1)
    }

    fn company(&self, done: u64, companies: u64) -> String {
        format!("{}-{}", self.run.prefix, self.pick(done, companies))
    }

    /// The shape of a UUIDv7: ids of one time stand together in the index, as the service's do.
    fn id(&self, done: u64) -> String {
        let millis = self.run.clock.elapsed().as_millis();
        let tail = hex::encode(random());
        let done = done & 0xfff;
        format!(
            "{:08x}-{:04x}-7{done:03x}-8{:03x}-{tail}",
            millis >> 16,
            millis & 0xffff,
            self.connection
        )
    }
}

/// Without randomness two ids may meet, and the record's primary key says so.
fn random() -> [u8; 6] {
    let mut bytes = [0; 6];
    if getrandom::fill(&mut bytes).is_err() {
        return [0; 6];
    }
    bytes
}

fn print(subjects: &[Subject]) -> Result<()> {
    let mut report = Report::default();
    for subject in subjects {
        let rate = median(subject.per_second.clone()).unwrap_or(0);
        report.figure(
            subject.name,
            &format!("tokens_{}", subject.name),
            rate,
            "deductions/s",
        );
    }
    for (ours, theirs) in RATIOS {
        let find = |name| {
            subjects
                .iter()
                .find(|subject| subject.name == name)
                .context("a subject of this name")
        };
        let pairs = find(ours)?.per_second.iter().zip(&find(theirs)?.per_second);
        let ratio = median(pairs.map(|(ours, theirs)| Ratio::of(*ours, *theirs)).collect());
        let ratio = ratio.unwrap_or(Ratio::of(0, 1));
        report.ratio(
            &format!("{ours} to {theirs}"),
            &format!("tokens_{ours}_vs_{theirs}"),
            ratio,
        );
    }
    report.print();
    Ok(())
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> Option<T> {
    values.sort_unstable();
    values.get(values.len().div_euclid(2)).copied()
}

async fn connect(database_url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(database_url, NoTls)
        .await
        .context("connect to Postgres")?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            say(&format!("a connection of the benchmark broke: {error}"));
        }
    });
    Ok(client)
}
