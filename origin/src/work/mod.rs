//! The loops behind the service: what did not apply, what is to be sent, what has waited too long, what has its hour.
//!
//! Postgres (rows that are due) → **work** → `inbox::retry`, `gateway`, `domain::standing`, scheduled jobs.
//!
//! Invariants (DESIGN.md, 6 and 7): rows are leased, and nothing that calls the network holds a transaction; every
//! row ends as done or dead; several processes may work side by side. A NOTIFY wakes the outbox loops at once,
//! polling stands behind it. An error of the database ends a round, never a loop.
//! Not here: what the delays are (`domain::backoff`).

mod cleanup;
pub(crate) mod inbox;
pub(crate) mod outbox;
pub(crate) mod payment_polls;
pub mod schedule;
pub(crate) mod subscriptions;
pub(crate) mod timeouts;
pub(crate) mod tokens;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::Origin;
use crate::db::{DbError, listen};
use crate::gateway::user_core::Client;
use crate::telemetry::Chain;
use crate::work::outbox::Lane;

/// How often the queues are looked at when nothing wakes us.
const POLL: Duration = Duration::from_secs(1);
/// How often payments that wait and subscriptions that fall due are looked at; both are counted in minutes.
const POLL_TIMEOUTS: Duration = Duration::from_secs(15);
/// How often payments without news are looked at; the first slot of one begins after a quarter of an hour.
const POLL_PAYMENTS: Duration = Duration::from_mins(5);
/// How often the times of scheduled jobs are looked at; they are given to the minute.
const POLL_JOBS: Duration = Duration::from_secs(15);
/// How often companies whose tokens fell due are brought up to date.
const POLL_SWEEP: Duration = Duration::from_mins(1);
/// How long a row is ours: longer than any send ([`Client`]'s 15 s, mail's 30 s) and any transaction.
const LEASE: Duration = Duration::from_mins(1);
/// How long to wait before listening again after the connection broke.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// What wakes the loops of each lane.
type Wakes = [(Lane, Notify); Lane::ALL.len()];

/// Whether a round found something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// A row was worked on; there may be more.
    Worked,
    /// Nothing was due.
    Idle,
}

/// Runs all loops until `stop` turns true; rounds that are under way are finished.
pub async fn run(origin: Arc<Origin>, stop: watch::Receiver<bool>) -> Result<(), reqwest::Error> {
    let client = Client::new()?;
    let wakes: Arc<Wakes> = Arc::new(Lane::ALL.map(|lane| (lane, Notify::new())));
    let mut sending = JoinSet::new();
    for index in 0..wakes.len() {
        let width = wakes.get(index).map_or(0, |(lane, _)| lane.width());
        for _ in 0..width {
            let (origin, wakes) = (Arc::clone(&origin), Arc::clone(&wakes));
            sending.spawn(keep_sending(origin, client.clone(), wakes, index, stop.clone()));
        }
    }
    let never = Notify::new();
    tokio::join!(
        keep("inbox", POLL, &never, stop.clone(), || inbox::round(&origin)),
        keep("timeouts", POLL_TIMEOUTS, &never, stop.clone(), || {
            timeouts::round(&origin)
        }),
        keep("schedule", POLL_JOBS, &never, stop.clone(), || {
            schedule::round(&origin, &client)
        }),
        keep("subscriptions", POLL_TIMEOUTS, &never, stop.clone(), || {
            subscriptions::round(&origin)
        }),
        keep("token_sweep", POLL_SWEEP, &never, stop.clone(), || {
            tokens::round(&origin)
        }),
        keep("payment_polls", POLL_PAYMENTS, &never, stop.clone(), || {
            payment_polls::round(&origin)
        }),
        keep_listening(&origin, &wakes, stop.clone()),
    );
    sending.join_all().await;
    Ok(())
}

/// One of the loops of a lane.
async fn keep_sending(
    origin: Arc<Origin>,
    client: Client,
    wakes: Arc<Wakes>,
    index: usize,
    stop: watch::Receiver<bool>,
) {
    if let Some((lane, wake)) = wakes.get(index) {
        let round = || outbox::round(&origin, &client, *lane);
        keep(lane.name(), POLL, wake, stop, round).await;
    }
}

/// Works while there is work, then waits for a wake-up, the interval or the end.
async fn keep<F>(
    name: &'static str,
    interval: Duration,
    wake: &Notify,
    mut stop: watch::Receiver<bool>,
    round: impl Fn() -> F,
) where
    F: Future<Output = Result<Round, DbError>>,
{
    while !*stop.borrow_and_update() {
        match round().await {
            Ok(Round::Worked) => continue,
            Ok(Round::Idle) => {}
            Err(error) => {
                tracing::warn!(
                    work.name = name,
                    error = %Chain(&error),
                    "a round of {name} failed"
                );
            }
        }
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(interval) => {}
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}

async fn keep_listening(origin: &Origin, wakes: &Wakes, mut stop: watch::Receiver<bool>) {
    let wake_all = || {
        for (_, wake) in wakes {
            // Those that wait, and the next that would have waited: a wake-up between two rounds is not lost.
            wake.notify_waiters();
            wake.notify_one();
        }
    };
    while !*stop.borrow_and_update() {
        let listening = async {
            if let Err(error) = listen::listen(&origin.config.database_url, wake_all).await {
                tracing::warn!(
                    error = %Chain(&error),
                    "listening broke; polling goes on"
                );
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        };
        tokio::select! {
            () = listening => {}
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}
