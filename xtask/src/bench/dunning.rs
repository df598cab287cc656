//! `bench dunning`: due subscriptions swept a second where there are 10 thousand in all, and where there are 1 million.
//!
//! Two migrated databases on one server, fsync on → **rounds of both sizes in turn**: as many rows fall due in each, the
//! origin's own job sweeps until nothing is due, then a bare UPDATE of the same rows → `ratio` and `figure` lines.
//!
//! The sweep is `tollgate job run subscription_maintenance`, one worker; its time is what the job wrote of itself, so the
//! start of the process does not count. The peer: `update … set next_due_at` of one row and a commit, one connection.
//! Invariants: each round's job must claim exactly the rows that were made due and write one effect for each; a checkpoint
//! stands before every measurement, so that none falls into one; sizes are compared within a round.
//! What limits it: `xtask/bench/dunning.md`. Not here: the rows (`dunning_rows`). Failure: a job that did anything else.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio_postgres::Client;

use super::dunning_rows::{DUE, Layout, ROUNDS};
use super::figures::{Ratio, median};
use super::report::Report;
use crate::clock::Stopwatch;
use crate::progress::say;
use crate::run::program::run_once;
use crate::stack::database::{connect, with_database};
use crate::stack::migrate;
use crate::stack::settings::{self, Addresses, Keys};

/// The size that every other is compared with.
const ROWS_SMALL: u64 = 10_000;
/// The other size, unless the command line says another.
pub const ROWS_LARGE: u64 = 1_000_000;
const JOB: &str = "subscription_maintenance";
const MICROSECONDS: u64 = 1_000_000;

const CHECKPOINT: &str = "checkpoint";
const ANALYZE: &str = "vacuum (analyze)";
const TOOK: &str = "select (extract(epoch from last_finished_at - last_started_at) * 1000000)::bigint
    from tollgate.scheduled_jobs where name = 'subscription_maintenance'";
const UPDATE: &str = "update tollgate.saas_subscriptions set next_due_at = next_due_at + interval '1 second'
    where id = ('018f0000-0000-7000-8000-' || lpad(to_hex($1::bigint), 12, '0'))::uuid";
/// Plans and jobs aside, which are a handful of rows.
const SCANNED: &str = "select relname::text, seq_tup_read from pg_stat_user_tables
    where schemaname = 'tollgate' and relname not in ('plans', 'scheduled_jobs')";
const ENTRIES: &str = "select idx_tup_read from pg_stat_user_indexes
    where schemaname = 'tollgate' and indexrelname = 'saas_subscriptions_due'";

/// A database of one size, and what was measured there.
struct Subject {
    layout: Layout,
    url: String,
    client: Client,
    /// What the job is told.
    settings: BTreeMap<String, String>,
    /// Microseconds of each kept round, of all its rows.
    swept_us: Vec<u64>,
    updated_us: Vec<u64>,
}

/// Work that Postgres counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    /// Rows that were read by walking a table from end to end, by table.
    scanned: BTreeMap<String, u64>,
    /// Entries that were read of the index of what is due.
    entries: u64,
}

/// Measures the program on a server whose login may create databases (the server's own superuser).
pub async fn run(origin: &Path, server_url: &str, rows: u64) -> Result<()> {
    let small = Subject::open(origin, server_url, Layout::of(ROWS_SMALL)?).await?;
    let large = Subject::open(origin, server_url, Layout::of(rows)?).await?;
    let mut subjects = [small, large];
    round(origin, &mut subjects, 0).await?;
    for subject in &mut subjects {
        subject.warmed_up().await?;
    }
    let [_, large] = &subjects;
    let before = large.counted().await?;
    for number in 1..ROUNDS {
        round(origin, &mut subjects, number).await?;
    }
    let [_, large] = &subjects;
    let work = large.counted().await?.since(&before);
    print(&subjects, &work);
    Ok(())
}

async fn round(origin: &Path, subjects: &mut [Subject; 2], round: u64) -> Result<()> {
    say(&format!(
        "dunning: round {round} of {}, {DUE} due of each size …",
        ROUNDS.saturating_sub(1)
    ));
    let mut turn: Vec<&mut Subject> = subjects.iter_mut().collect();
    // What the disk still does for the one before meets both sizes.
    if round.checked_rem(2) == Some(1) {
        turn.reverse();
    }
    for subject in turn {
        let swept = subject.sweep(origin, round).await?;
        subject.swept_us.push(swept);
        let updated = subject.update(round).await?;
        subject.updated_us.push(updated);
    }
    Ok(())
}

impl Subject {
    async fn open(origin: &Path, server_url: &str, layout: Layout) -> Result<Self> {
        let name = format!("bench_dunning_{}", layout.name());
        let server = connect(server_url).await?;
        server
            .batch_execute(&create(&name))
            .await
            .context("create a database; are both sizes the same?")?;
        let url = with_database(server_url, &name);
        migrate(origin, &url).await?;
        let client = connect(&url).await?;
        layout.fill(&client).await?;
        Ok(Self {
            layout,
            settings: job_settings(&url)?,
            url,
            client,
            swept_us: Vec::new(),
            updated_us: Vec::new(),
        })
    }

    /// Forgets the first round, and lets Postgres count the tables that were empty before it: what the planner thinks of an
    /// empty table is no plan for a service that runs.
    async fn warmed_up(&mut self) -> Result<()> {
        self.client.batch_execute(ANALYZE).await?;
        self.swept_us.clear();
        self.updated_us.clear();
        Ok(())
    }

    /// Microseconds that the job took for the rows of a round.
    async fn sweep(&self, origin: &Path, round: u64) -> Result<u64> {
        self.layout.make_due(&self.client, round).await?;
        self.client.batch_execute(CHECKPOINT).await?;
        let printed = run_once(origin, &["job", "run", JOB], &self.settings).await?;
        check(&printed)?;
        let took: i64 = self.client.query_one(TOOK, &[]).await?.get(0);
        Ok(took.try_into()?)
    }

    /// Microseconds of the peer for the same rows; none of them falls due by it.
    async fn update(&self, round: u64) -> Result<u64> {
        self.client.batch_execute(CHECKPOINT).await?;
        let statement = self.client.prepare(UPDATE).await?;
        let watch = Stopwatch::start();
        for number in self.layout.runs(round).flat_map(|run| run.first..=run.last) {
            let updated = self
                .client
                .execute(&statement, &[&i64::try_from(number)?])
                .await?;
            ensure!(updated == 1, "customer {number} is not there");
        }
        Ok(watch.elapsed().as_micros().try_into()?)
    }

    /// A connection of its own: one that is open may answer from what it read before.
    async fn counted(&self) -> Result<Counted> {
        let client = connect(&self.url).await?;
        let mut scanned = BTreeMap::new();
        for row in client.query(SCANNED, &[]).await? {
            scanned.insert(row.get(0), row.get::<_, i64>(1).try_into()?);
        }
        let entries: i64 = client.query_one(ENTRIES, &[]).await?.get(0);
        Ok(Counted {
            scanned,
            entries: entries.try_into()?,
        })
    }
}

impl Counted {
    fn since(mut self, before: &Self) -> Self {
        for (table, rows) in &mut self.scanned {
            *rows = rows.saturating_sub(before.scanned.get(table).copied().unwrap_or(0));
        }
        self.scanned.retain(|_, rows| *rows > 0);
        self.entries = self.entries.saturating_sub(before.entries);
        self
    }
}

/// The name comes from a number.
fn create(name: &str) -> String {
    format!("create database {name}")
}

fn job_settings(database_url: &str) -> Result<BTreeMap<String, String>> {
    // Nothing listens there: a job that sweeps calls nobody.
    let nowhere = Addresses {
        edge: 1,
        origin: 1,
        sandbox: 1,
    };
    let mut settings = settings::origin(nowhere, &Keys::random()?, database_url);
    settings.insert("LOG_LEVEL".to_owned(), "warn".to_owned());
    Ok(settings)
}

/// The job says what it did: every due row, and one effect for each.
fn check(printed: &str) -> Result<()> {
    let ran: Value = serde_json::from_str(printed.trim()).context("read what the job printed")?;
    let told = |name: &str| ran.pointer(&format!("/result/{name}")).and_then(Value::as_u64);
    ensure!(
        told("subscriptions") == Some(DUE) && told("effects") == Some(DUE),
        "{DUE} rows were due, each for one effect; the job says {}",
        printed.trim()
    );
    Ok(())
}

fn print(subjects: &[Subject; 2], work: &Counted) {
    let mut report = Report::default();
    for subject in subjects {
        let name = subject.layout.name();
        for (title, what, took) in [
            ("due subscriptions swept", "swept", &subject.swept_us),
            (
                "    bare UPDATE of the same rows",
                "bare_update",
                &subject.updated_us,
            ),
        ] {
            let rate = per_second(median(took.iter().copied()));
            report.figure(
                &format!("{title}, {name}"),
                &format!("dunning_{name}_{what}"),
                rate,
                "rows/s",
            );
        }
    }
    let [small, large] = subjects;
    let sizes = format!("{}_over_{}", large.layout.name(), small.layout.name());
    report.ratio(
        "cost of a due row, large to small",
        &format!("dunning_sweep_{sizes}_cost_per_due_row"),
        paired(&large.swept_us, &small.swept_us),
    );
    report.ratio(
        "    the same of the bare UPDATE",
        &format!("dunning_bare_update_{sizes}_cost_per_row"),
        paired(&large.updated_us, &small.updated_us),
    );
    report.ratio(
        "cost of a due row, sweep to bare UPDATE",
        "dunning_sweep_over_bare_update",
        paired(&large.swept_us, &large.updated_us),
    );
    print_work(&mut report, &large.layout.name(), work);
    report.print();
}

/// What the server counted over the kept rounds: whether an index was enough.
fn print_work(report: &mut Report, name: &str, work: &Counted) {
    report.ratio(
        "entries read of the index of what is due, a row",
        &format!("dunning_{name}_index_entries_per_due_row"),
        Ratio::of(work.entries, DUE.saturating_mul(ROUNDS.saturating_sub(1))),
    );
    report.figure(
        "rows read by walking tables",
        &format!("dunning_{name}_rows_scanned"),
        work.scanned.values().sum(),
        "rows",
    );
    for (table, rows) in &work.scanned {
        report.text(&format!("    {table:<40} {rows} rows"));
    }
}

/// The median of the ratios of one round's times: as many rows in each, so this is the cost of a row.
fn paired(ours: &[u64], theirs: &[u64]) -> Ratio {
    let mut ratios: Vec<Ratio> = ours
        .iter()
        .zip(theirs)
        .map(|(ours, theirs)| Ratio::of(*ours, *theirs))
        .collect();
    ratios.sort_unstable();
    let middle = ratios.len().div_euclid(2);
    ratios.get(middle).copied().unwrap_or(Ratio::of(0, 1))
}

fn per_second(took_us: u64) -> u64 {
    DUE.saturating_mul(MICROSECONDS).checked_div(took_us).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Counted, check, paired, per_second};

    #[test]
    fn a_ratio_is_of_one_rounds_costs_and_a_rate_of_the_rows_of_a_round() {
        let (large, small) = ([300, 110, 100], [100, 100, 100]);
        assert_eq!(paired(&large, &small).to_string(), "1.100");
        assert_eq!(paired(&[], &[]).to_string(), "0.000");
        assert_eq!((per_second(2_000_000), per_second(0)), (600, 0));
    }

    #[test]
    fn only_a_job_that_swept_every_due_row_counts() {
        let printed = |rows: u64, effects: u64| {
            format!("{{\"event\":\"ran\",\"result\":{{\"subscriptions\":{rows},\"effects\":{effects}}}}}\n")
        };
        assert!(check(&printed(1200, 1200)).is_ok());
        assert!(check(&printed(1199, 1200)).is_err() && check(&printed(1200, 1300)).is_err());
        assert!(check("").is_err());
    }

    #[test]
    fn work_is_counted_from_before_the_rounds() {
        let counted = |users: u64, facts: u64, entries| Counted {
            scanned: [("users".to_owned(), users), ("facts".to_owned(), facts)].into(),
            entries,
        };
        let work = counted(9, 7, 50).since(&counted(4, 7, 20));
        assert_eq!(
            (work.entries, work.scanned),
            (30, [("users".to_owned(), 5)].into())
        );
    }
}
