//! `bench tokens`, HTTP part: deductions a second through the service API, with batching and without.
//!
//! Two `tollgate serve` of one release build on one database, one with `TOKEN_BATCHING=off` → **rounds of both in turn**,
//! 64 callers or one in a closed loop, each with a kept connection and a key of its own for every call → figures and ratios.
//!
//! Without batching each call is a transaction of `deduct_tokens_atomic`: what a service does that calls the function.
//! Invariants: both sides answer the same requests on the same server, fsync on, rounds next to each other, in turned order
//! every other time; every answer is read whole and must say that this call deducted; after the rounds the balances must
//! have fallen by exactly the answers. The load generator runs on the same processors as what it measures, so the true
//! figures are higher.
//! Not here: the functions by themselves (`tokens`). Failure: the first wrong answer, or balances that do not fit.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::figures::{Figures, paired_ratio, paired_wait_ratio};
use super::load::{Connection, Round};
use super::report::Report;
use crate::clock::Stopwatch;
use crate::ports;
use crate::progress::say;
use crate::run::program::Program;
use crate::stack::settings::{self, Addresses, Keys};
use crate::stack::{http_client, service_key};

const ROUNDS: usize = 6;
const ROUND: Duration = Duration::from_secs(3);
/// Many callers of one hot company or of many; and one alone, who has nobody to share a batch with.
const LOADS: [Load; 3] = [
    Load {
        callers: 64,
        companies: 1,
    },
    Load {
        callers: 64,
        companies: 50,
    },
    Load {
        callers: 1,
        companies: 1,
    },
];
const GRANTED: i64 = 1_000_000_000_000;
const BASE: &str = "/api/service/v1/tokens";

/// A running origin.
struct Side {
    name: &'static str,
    program: Program,
    address: SocketAddr,
}

/// Who calls at once, and for how many companies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Load {
    callers: usize,
    companies: u64,
}

/// One side under one load.
struct Subject {
    side: usize,
    load: Load,
    rounds: Vec<Round>,
}

/// One caller of a round.
struct Caller {
    key: String,
    companies: u64,
    /// What its idempotency keys begin with.
    prefix: String,
    number: u64,
}

/// Measures the program on a migrated database.
pub async fn run(origin: &Path, database_url: &str, logs: &Path) -> Result<()> {
    let key = service_key(origin, database_url, "bench").await?;
    let mut sides = [
        start(origin, database_url, logs, "batched", "on").await?,
        start(origin, database_url, logs, "alone", "off").await?,
    ];
    let company = open(&sides, &key).await?;
    let mut subjects: Vec<Subject> = Vec::new();
    for load in LOADS {
        for side in 0..sides.len() {
            subjects.push(Subject {
                side,
                load,
                rounds: Vec::new(),
            });
        }
    }
    let mut deducted = 0_usize;
    for round in 0..=ROUNDS {
        say(&format!(
            "tokens over HTTP: round {round} of {ROUNDS}, {} subjects of {} s …",
            subjects.len(),
            ROUND.as_secs()
        ));
        let mut turn: Vec<&mut Subject> = subjects.iter_mut().collect();
        // What a round leaves behind (dirty pages, dead rows) meets both sides.
        if round.checked_rem(2) == Some(1) {
            turn.reverse();
        }
        for subject in turn {
            let side = sides.get(subject.side).context("a side")?;
            let measured = one_round(side, &key, &company, subject.load, round).await?;
            deducted = deducted.saturating_add(measured.latencies.len());
            // Round 0 warms up: plans, caches, connections.
            if round > 0 {
                subject.rounds.push(measured);
            }
        }
    }
    check(&sides, &key, &company, deducted).await?;
    for side in &mut sides {
        side.program.stop().await?;
    }
    print(&sides, &subjects)
}

async fn start(
    origin: &Path,
    database_url: &str,
    logs: &Path,
    name: &'static str,
    batching: &str,
) -> Result<Side> {
    let addresses = Addresses {
        edge: ports::free()?,
        origin: ports::free()?,
        sandbox: ports::free()?,
    };
    let mut settings = settings::origin(addresses, &Keys::random()?, database_url);
    settings.extend(
        [("TOKEN_BATCHING", batching), ("LOG_LEVEL", "warn")].map(|(n, v)| (n.to_owned(), v.to_owned())),
    );
    let log: PathBuf = logs.join(format!("origin-{name}.log"));
    let program = Program::start("origin", origin, &["serve", "--no-work"], settings, log).await?;
    let address = program.address().parse().context("the origin's address")?;
    Ok(Side {
        name,
        program,
        address,
    })
}

/// Grants tokens to new companies and returns what their names begin with.
async fn open(sides: &[Side], key: &str) -> Result<String> {
    let mut bytes = [0_u8; 6];
    getrandom::fill(&mut bytes).context("ask the system for randomness")?;
    let prefix = format!("h{}", hex::encode(bytes));
    for company in names(&prefix) {
        let body = json!({
            "company_id": company, "kind": "purchased", "amount": GRANTED, "idempotency_key": format!("grant-{company}"),
        });
        let answer = ask(
            sides,
            |http, base| http.post(format!("{base}/grant")).json(&body),
            key,
        )
        .await?;
        ensure!(
            answer.get("success") == Some(&Value::Bool(true)),
            "a grant was refused: {answer}"
        );
    }
    Ok(prefix)
}

/// The hot one of the runs on one company is the first of the fifty.
fn names(prefix: &str) -> impl Iterator<Item = String> {
    (0..50_u64).map(move |number| format!("{prefix}-{number}"))
}

async fn check(sides: &[Side], key: &str, prefix: &str, deducted: usize) -> Result<()> {
    let mut spent = 0_i64;
    for company in names(prefix) {
        let path = format!("/balance?company_id={company}");
        let answer = ask(sides, |http, base| http.get(format!("{base}{path}")), key).await?;
        let left = answer.get("total").and_then(Value::as_i64).context("a balance")?;
        spent = spent.saturating_add(GRANTED.saturating_sub(left));
    }
    ensure!(
        usize::try_from(spent)? == deducted,
        "{deducted} deductions were answered, {spent} tokens are gone"
    );
    Ok(())
}

async fn ask(
    sides: &[Side],
    request: impl Fn(&reqwest::Client, &str) -> reqwest::RequestBuilder,
    key: &str,
) -> Result<Value> {
    let side = sides.first().context("a side")?;
    let base = format!("{}{BASE}", side.program.base_url());
    let answer = request(&http_client()?, &base).bearer_auth(key).send().await?;
    Ok(answer.json().await?)
}

async fn one_round(side: &Side, key: &str, company: &str, load: Load, round: usize) -> Result<Round> {
    let Load { callers, companies } = load;
    let mut connections = Vec::with_capacity(callers);
    for _ in 0..callers {
        connections.push(Connection::open(side.address).await?);
    }
    let watch = Stopwatch::start();
    let mut calling = JoinSet::new();
    for (number, connection) in (0_u64..).zip(connections) {
        let caller = Caller {
            key: key.to_owned(),
            companies,
            prefix: format!("{company}-{}-{callers}-{companies}-{round}-{number}", side.name),
            number,
        };
        calling.spawn(call(connection, caller, company.to_owned(), watch));
    }
    let mut latencies = Vec::with_capacity(65_536);
    while let Some(done) = calling.join_next().await {
        latencies.extend(done.context("a caller of the benchmark")??);
    }
    Ok(Round {
        latencies,
        elapsed: watch.elapsed(),
        processor: None,
    })
}

async fn call(
    mut connection: Connection,
    caller: Caller,
    company: String,
    round: Stopwatch,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(4_096);
    let mut done = 0_u64;
    while round.elapsed() < ROUND {
        let request = caller.request(&company, done);
        let watch = Stopwatch::start();
        let answer = connection.ask(request.as_bytes()).await?;
        latencies.push(watch.elapsed());
        let body = String::from_utf8_lossy(&answer.body);
        let deducted = answer.status == 200 && body.contains("\"success\":true,\"idempotent\":false");
        ensure!(deducted, "answer {}: {body}", answer.status);
        done = done.saturating_add(1);
    }
    Ok(latencies)
}

impl Caller {
    fn request(&self, company: &str, done: u64) -> String {
        let number = self.number.saturating_mul(7).saturating_add(done);
        let body = format!(
            "{{\"idempotency_key\":\"{}-{done}\",\"company_id\":\"{company}-{}\",\"article_id\":\"article\",\"amount\":1}}",
            self.prefix,
            number.checked_rem(self.companies).unwrap_or(0)
        );
        format!(
            "POST {BASE}/deduct HTTP/1.1\r\nhost: origin\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        )
    }
}

fn print(sides: &[Side], subjects: &[Subject]) -> Result<()> {
    let mut report = Report::default();
    for subject in subjects {
        let side = sides.get(subject.side).context("a side")?;
        let name = subject.load.name(side.name);
        let Load { callers, companies } = subject.load;
        let title = format!("{callers} callers, {companies} companies, {}", side.name);
        let figures = Figures::of(&subject.rounds);
        report.figure(&title, &name, figures.requests_per_second, "deductions/s");
        report.figure(
            &format!("{title}, p50"),
            &format!("{name}_p50"),
            figures.p50_us,
            "us",
        );
        report.figure(
            &format!("{title}, p99"),
            &format!("{name}_p99"),
            figures.p99_us,
            "us",
        );
    }
    for load in LOADS {
        let of_load = |side: usize| {
            let mut subjects = subjects.iter();
            subjects.find(|subject| subject.load == load && subject.side == side)
        };
        let (batched, alone) = of_load(0).zip(of_load(1)).context("both sides")?;
        ratios(&mut report, load, &batched.rounds, &alone.rounds);
    }
    report.print();
    Ok(())
}

/// Of many callers, how many more deductions; of one, how much longer a wait.
fn ratios(report: &mut Report, load: Load, batched: &[Round], alone: &[Round]) {
    let Load { callers, companies } = load;
    if callers > 1 {
        report.ratio(
            &format!("batched to alone, {companies} companies"),
            &format!("tokens_http_{companies}_batched_vs_alone"),
            paired_ratio(batched, alone),
        );
        return;
    }
    for percent in [50, 99] {
        report.ratio(
            &format!("one caller's wait, p{percent}, batched over unbatched"),
            &format!("tokens_http_single_caller_p{percent}_batched_over_unbatched"),
            paired_wait_ratio(batched, alone, percent),
        );
    }
}

impl Load {
    /// What a side's figures under this load are called.
    fn name(self, side: &str) -> String {
        let Self { callers, companies } = self;
        if callers > 1 {
            format!("tokens_http_{side}_{companies}")
        } else {
            format!("tokens_http_single_caller_{side}")
        }
    }
}
