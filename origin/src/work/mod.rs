//! The loops behind the service: what did not apply, what is to be sent, what has waited too long, what nobody decided.
//!
//! Postgres (rows that are due) → **work** → `inbox::retry`, `gateway`, `domain::standing`, `jobs::reconcile`.
//!
//! Invariants (DESIGN.md, 6 and 7): rows are leased, and nothing that calls the network holds a transaction; every
//! row ends as done or dead; several processes may work side by side. A NOTIFY wakes the outbox loops at once,
//! polling stands behind it. An error of the database ends a round, never a loop.
//! Not here: what the delays are (`domain::backoff`).

pub(crate) mod inbox;
pub(crate) mod outbox;
pub(crate) mod reconcile;
pub(crate) mod timeouts;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::Origin;
use crate::db::{DbError, listen};
use crate::gateway::user_core::Client;
use crate::telemetry::Chain;
use crate::work::outbox::Lane;

/// How often the queues are looked at when nothing wakes us.
const POLL: Duration = Duration::from_secs(1);
/// How often payments that wait are looked at; a timeout is counted in minutes.
const POLL_TIMEOUTS: Duration = Duration::from_secs(15);
/// How often pending token records are reconciled (TB-8).
const POLL_RECONCILE: Duration = Duration::from_hours(1);
/// How often companies whose tokens fell due are brought up to date.
const POLL_SWEEP: Duration = Duration::from_mins(1);
/// How long a row is ours: longer than any send ([`Client`]'s 15 s, mail's 30 s) and any transaction.
const LEASE: Duration = Duration::from_mins(1);
/// How long to wait before listening again after the connection broke.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

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
    let wakes = Lane::ALL.map(|lane| (lane, Notify::new()));
    let [calls, events, mail] = wakes.each_ref().map(|(lane, wake)| {
        let round = || outbox::round(&origin, &client, *lane);
        keep(lane.name(), POLL, wake, stop.clone(), round)
    });
    let never = Notify::new();
    tokio::join!(
        keep("inbox", POLL, &never, stop.clone(), || inbox::round(&origin)),
        calls,
        events,
        mail,
        keep("timeouts", POLL_TIMEOUTS, &never, stop.clone(), || {
            timeouts::round(&origin)
        }),
        keep("reconcile", POLL_RECONCILE, &never, stop.clone(), || {
            reconcile::round(&origin, &client)
        }),
        keep("token_sweep", POLL_SWEEP, &never, stop.clone(), || {
            reconcile::sweep(&origin)
        }),
        keep_listening(&origin, &wakes, stop.clone()),
    );
    Ok(())
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

async fn keep_listening(origin: &Origin, wakes: &[(Lane, Notify)], mut stop: watch::Receiver<bool>) {
    let wake_all = || wakes.iter().for_each(|(_, wake)| wake.notify_one());
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
