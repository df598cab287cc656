//! `bench ledger`: postings a second over 1, 10 and 50 owners, beside a bare UPDATE on the same server.
//!
//! A migrated database, fsync on → **rounds of peer, peer and ledger in turn** → `ratio` and `figure` lines.
//!
//! The peers: one connection's whole transaction is `update … set balance = balance + 1` of one row, (a) of a table of
//! one row, (b) of as many rows as the ledger has owners. A posting is one call of `ledger_post` with two entries:
//! a transaction row, two balances, two entries, five index insertions, all checks. Every side commits each by itself.
//! Invariants: same connections, same server, rounds in turn; round n is compared with its neighbours in time, and the
//! median of the pairs is printed. After the rounds the books must hold every posting that was counted and no fault.
//! What limits it is in `xtask/bench/ledger.md`. Failure: a refused posting, or books that are not whole.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use super::figures::Ratio;
use super::report::Report;
use crate::clock::Stopwatch;
use crate::progress::say;

const CONNECTIONS: usize = 20;
const OWNERS: [u64; 3] = [1, 10, 50];
const ROUNDS: u64 = 7;
const ROUND: Duration = Duration::from_secs(1);
/// More rows than the peers ever ask for.
const PEER_ROWS: i64 = 50;

const PREPARE: &str = "drop schema if exists bench_ledger cascade;
    create schema bench_ledger;
    create table bench_ledger.peer (id bigint primary key, balance bigint not null) with (fillfactor = 50);";
const FILL: &str = "insert into bench_ledger.peer select id, 0 from generate_series(1, $1::bigint) as id";
const CLEAN: &str = "drop schema bench_ledger cascade";
const UPDATE: &str = "update bench_ledger.peer set balance = balance + 1 where id = $1";
const POST: &str = "select replayed from tollgate.ledger_post($1, $2, 'settle', $3,
    array['provider_clearing:bench', 'sales'], array['TWD', 'TWD'], array[300, -300]::bigint[],
    ($4::text)::uuid, null, 'epoch', 'epoch')";
const POSTED: &str = "select count(*) from tollgate.ledger_transaction where operation_key like $1";
const FAULTS: &str = "select count(*) from tollgate.ledger_faults()";

/// What every connection does until the round is over.
#[derive(Debug, Clone)]
enum Work {
    /// The peer, over so many rows.
    Update(u64),
    /// The ledger, over so many owners; the prefix keeps owners and keys of a run apart, the clock orders its ids.
    Post {
        owners: u64,
        prefix: String,
        clock: Stopwatch,
    },
}

/// Operations a second of one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rate(u64);

/// The kept rounds of one number of owners.
#[derive(Debug, Default)]
struct Rounds {
    one_row: Vec<Rate>,
    as_many_rows: Vec<Rate>,
    ledger: Vec<Rate>,
}

/// Measures the migrated database of that URL, whose login may create a schema in it (the server's own superuser).
pub async fn run(database_url: &str) -> Result<()> {
    let admin = connect(database_url).await?;
    admin
        .batch_execute(PREPARE)
        .await
        .context("create the peer's table")?;
    admin
        .execute(FILL, &[&PEER_ROWS])
        .await
        .context("fill the peer's table")?;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(connect(database_url).await?);
    }
    let mut report = Report::default();
    for owners in OWNERS {
        say(&format!(
            "{owners} owners: {ROUNDS} rounds of {} s each …",
            ROUND.as_secs()
        ));
        let prefix = run_prefix(owners)?;
        let (rounds, posted) = measure(&mut clients, owners, &prefix).await?;
        check_books(&admin, &prefix, posted).await?;
        add_to(&mut report, owners, &rounds);
    }
    admin
        .batch_execute(CLEAN)
        .await
        .context("drop the peer's table")?;
    report.print();
    Ok(())
}

/// Round 0 warms up: caches, plans, and the owners' accounts, which are opened by their first posting.
async fn measure(clients: &mut Vec<Client>, owners: u64, prefix: &str) -> Result<(Rounds, u64)> {
    let (mut rounds, mut posted) = (Rounds::default(), 0_u64);
    let clock = Stopwatch::start();
    for round in 0..=ROUNDS {
        let post = Work::Post {
            owners,
            prefix: format!("{prefix}:{round}"),
            clock,
        };
        let (one_row, _) = one_round(clients, &Work::Update(1)).await?;
        let (as_many_rows, _) = one_round(clients, &Work::Update(owners)).await?;
        let (ledger, done) = one_round(clients, &post).await?;
        posted = posted.saturating_add(done);
        if round > 0 {
            rounds.one_row.push(one_row);
            rounds.as_many_rows.push(as_many_rows);
            rounds.ledger.push(ledger);
        }
    }
    Ok((rounds, posted))
}

/// All connections at the same work; returns the rate and the number of operations.
async fn one_round(clients: &mut Vec<Client>, work: &Work) -> Result<(Rate, u64)> {
    let watch = Stopwatch::start();
    let mut tasks = JoinSet::new();
    for (connection, client) in clients.drain(..).enumerate() {
        let work = work.clone();
        tasks.spawn(async move {
            let done = drive(&client, connection, &work, watch).await;
            (client, done)
        });
    }
    let mut total = 0_u64;
    for (client, done) in tasks.join_all().await {
        total = total.saturating_add(done?);
        clients.push(client);
    }
    Ok((rate(total, watch.elapsed()), total))
}

async fn drive(client: &Client, connection: usize, work: &Work, watch: Stopwatch) -> Result<u64> {
    let mut done = 0_u64;
    match work {
        Work::Update(rows) => {
            let statement = client.prepare(UPDATE).await?;
            while watch.elapsed() < ROUND {
                let row = pick(connection, done, *rows)?.saturating_add(1);
                client
                    .execute(&statement, &[&row])
                    .await
                    .context("the peer's update")?;
                done = done.saturating_add(1);
            }
        }
        Work::Post {
            owners,
            prefix,
            clock,
        } => {
            let statement = client.prepare(POST).await?;
            while watch.elapsed() < ROUND {
                let owner = format!("bench:{owners}:{}", pick(connection, done, *owners)?);
                let key = format!("bench:{prefix}:{connection}:{done}");
                let id = time_ordered_id(clock.elapsed(), connection, done);
                let fingerprint = [0_u8; 32].as_slice();
                let row = client
                    .query_one(&statement, &[&owner, &key, &fingerprint, &id])
                    .await;
                ensure!(
                    !row.context("a posting")?.get::<_, bool>(0),
                    "posting {key} was there already"
                );
                done = done.saturating_add(1);
            }
        }
    }
    Ok(done)
}

/// Spreads connections over `count` rows so that neighbours in time take different ones.
fn pick(connection: usize, done: u64, count: u64) -> Result<i64> {
    let step = u64::try_from(connection)?.saturating_mul(7).saturating_add(done);
    Ok(step.checked_rem(count).unwrap_or(0).try_into()?)
}

/// The shape of a UUIDv7: ids of one time stand together in the index, as the service's do.
fn time_ordered_id(elapsed: Duration, connection: usize, done: u64) -> String {
    let millis = elapsed.as_millis();
    let random: [u8; 4] = random();
    let tail = u32::from_be_bytes(random);
    let done = done & 0xfff;
    format!(
        "{:08x}-{:04x}-7{done:03x}-8{connection:03x}-{tail:012x}",
        millis >> 16,
        millis & 0xffff
    )
}

fn random() -> [u8; 4] {
    let mut bytes = [0; 4];
    // Without randomness two ids may meet, and the posting's primary key says so.
    if getrandom::fill(&mut bytes).is_err() {
        return [0; 4];
    }
    bytes
}

fn run_prefix(owners: u64) -> Result<String> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).context("random bytes for this run's keys")?;
    Ok(format!("{}:{owners}", hex::encode(bytes)))
}

async fn check_books(admin: &Client, prefix: &str, posted: u64) -> Result<()> {
    let kept: i64 = admin
        .query_one(POSTED, &[&format!("bench:{prefix}:%")])
        .await?
        .get(0);
    ensure!(
        u64::try_from(kept)? == posted,
        "{posted} postings were counted, the ledger holds {kept}"
    );
    let faults: i64 = admin.query_one(FAULTS, &[]).await?.get(0);
    ensure!(
        faults == 0,
        "ledger_faults found {faults} contradictions after the rounds"
    );
    Ok(())
}

fn add_to(report: &mut Report, owners: u64, rounds: &Rounds) {
    let Rate(ledger) = median(rounds.ledger.clone()).unwrap_or(Rate(0));
    let Rate(one_row) = median(rounds.one_row.clone()).unwrap_or(Rate(0));
    let Rate(as_many) = median(rounds.as_many_rows.clone()).unwrap_or(Rate(0));
    let name = |what: &str| format!("ledger_{owners}_{what}");
    report.figure(
        &format!("{owners} owners: postings"),
        &name("postings"),
        ledger,
        "tx/s",
    );
    report.figure("    UPDATE of one row", &name("update_one_row"), one_row, "tx/s");
    report.figure(
        "    UPDATE of as many rows",
        &name("update_as_many_rows"),
        as_many,
        "tx/s",
    );
    let vs_one = paired(&rounds.ledger, &rounds.one_row);
    let vs_many = paired(&rounds.ledger, &rounds.as_many_rows);
    report.ratio(
        "    postings to UPDATE of one row",
        &name("vs_update_one_row"),
        vs_one,
    );
    report.ratio(
        "    postings to UPDATE of as many rows",
        &name("vs_update_as_many_rows"),
        vs_many,
    );
}

/// The median of the ratios of neighbouring rounds.
fn paired(ours: &[Rate], theirs: &[Rate]) -> Ratio {
    let pairs = ours
        .iter()
        .zip(theirs)
        .map(|(Rate(ours), Rate(theirs))| Ratio::of(*ours, *theirs));
    median(pairs.collect()).unwrap_or(Ratio::of(0, 1))
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> Option<T> {
    values.sort_unstable();
    values.get(values.len().div_euclid(2)).copied()
}

fn rate(done: u64, elapsed: Duration) -> Rate {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    Rate(done.saturating_mul(1000).checked_div(millis).unwrap_or(0))
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

#[cfg(test)]
mod tests {
    use super::{Rate, median, paired, pick, rate, time_ordered_id};
    use std::time::Duration;

    #[test]
    fn a_rate_is_operations_a_second_and_pairs_are_neighbours() {
        assert_eq!(rate(500, Duration::from_millis(250)), Rate(2000));
        assert_eq!(rate(5, Duration::ZERO), Rate(0));
        assert_eq!(median(vec![3, 1, 2]), Some(2));
        let (ours, theirs) = ([Rate(10), Rate(30), Rate(8)], [Rate(20), Rate(20), Rate(16)]);
        assert_eq!(paired(&ours, &theirs).to_string(), "0.500");
    }

    #[test]
    fn every_row_is_picked_and_ids_are_version_7() {
        let picked: std::collections::BTreeSet<i64> =
            (0..10).map(|done| pick(3, done, 10).unwrap()).collect();
        assert_eq!(picked.len(), 10);
        let id = time_ordered_id(Duration::from_secs(70), 19, 5000);
        assert_eq!((id.len(), &id[..18]), (36, "00000001-1170-7388"));
    }
}
