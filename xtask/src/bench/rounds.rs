//! The rounds: hello, peer and ours in turn, each in a short round, many times.
//!
//! `edge` → **`verify`, `webhook`** → `load` a round → `Rounds` for `figures`.
//!
//! Invariants: rounds are short and the order of the workers turns round, so that whatever else the machine does
//! meets all of them; round n of each has the same requests; round 0 warms up and is not kept. A round of the whole
//! way lasts until the origin has every notice: a worker that answers first and forwards later has not done its
//! work before. Not here: what a round's numbers mean.
//! Failure: a wrong answer, or a notice that the origin does not get.

use std::time::Duration;

use anyhow::{Context, Result};

use super::cpu_time;
use super::load::{self, Limits, Requests, Round};
use super::notices::{self, VERIFY_PATH, WEBHOOK_PATH};
use super::stub_origin::StubOrigin;
use super::workers::Running;
use crate::clock::Stopwatch;
use crate::progress::say;

const LIMITS: Limits = Limits {
    connections: 32,
    time: Duration::from_secs(5),
};
const VERIFY_ROUNDS: usize = 25;
const VERIFY_REQUESTS: usize = 4_000;
const WEBHOOK_ROUNDS: usize = 15;
const WEBHOOK_REQUESTS: usize = 1_000;

/// The kept rounds of hello, peer and ours on one path.
pub(super) struct Rounds(pub(super) [Vec<Round>; 3]);

/// Verify only. Nothing is kept, so every round may send the same notices.
pub(super) async fn verify(workers: &[&Running; 3]) -> Result<Rounds> {
    say(&format!(
        "verify only: {VERIFY_ROUNDS} rounds of {VERIFY_REQUESTS} notices a worker …"
    ));
    let requests = requests(VERIFY_PATH, 0, VERIFY_REQUESTS);
    let mut rounds = Rounds(Default::default());
    for round in 0..=VERIFY_ROUNDS {
        rounds.add(round, workers, &requests, None).await?;
    }
    Ok(rounds)
}

/// The whole way. Every round has notices of its own, the same for each worker; each worker has its own disk.
pub(super) async fn webhook(workers: &[&Running; 3], origin: &StubOrigin) -> Result<Rounds> {
    say(&format!(
        "full path: {WEBHOOK_ROUNDS} rounds of {WEBHOOK_REQUESTS} notices a worker …"
    ));
    let mut rounds = Rounds(Default::default());
    for round in 0..=WEBHOOK_ROUNDS {
        let first = round.saturating_mul(WEBHOOK_REQUESTS);
        let requests = requests(WEBHOOK_PATH, first, WEBHOOK_REQUESTS);
        rounds.add(round, workers, &requests, Some(origin)).await?;
    }
    Ok(rounds)
}

fn requests(path: &str, first: usize, count: usize) -> Requests {
    let numbers = first..first.saturating_add(count);
    Requests::new(
        numbers
            .map(|number| notices::request(path, &notices::body(number)))
            .collect(),
    )
}

impl Rounds {
    async fn add(
        &mut self,
        round: usize,
        workers: &[&Running; 3],
        requests: &Requests,
        origin: Option<&StubOrigin>,
    ) -> Result<()> {
        let mut turn: Vec<_> = workers.iter().zip(&mut self.0).collect();
        turn.rotate_left(round.checked_rem(workers.len()).unwrap_or(0));
        for (worker, kept) in turn {
            let origin = origin.filter(|_| worker.name != "hello");
            let measured = one(worker, &requests.again(), origin).await;
            let measured = measured.with_context(|| format!("measure {}", worker.name))?;
            if round > 0 {
                kept.push(measured);
            }
        }
        Ok(())
    }
}

async fn one(worker: &Running, requests: &Requests, origin: Option<&StubOrigin>) -> Result<Round> {
    let before = origin.map(StubOrigin::deliveries).unwrap_or_default();
    let spent_before = cpu_time::of_process(worker.pid);
    let watch = Stopwatch::start();
    let mut measured = load::run(worker.address, requests, LIMITS).await?;
    if let Some(origin) = origin {
        origin
            .wait_for(before.saturating_add(measured.latencies.len()))
            .await?;
        measured.elapsed = watch.elapsed();
    }
    let spent = cpu_time::of_process(worker.pid).zip(spent_before);
    measured.processor = spent.map(|(after, before)| after.saturating_sub(before));
    Ok(measured)
}
