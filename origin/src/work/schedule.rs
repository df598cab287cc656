//! Scheduled jobs: each at its times of the day, run by one of the instances, with its result on record (EC-4).
//!
//! `scheduled_jobs` row that is due → **round** (lease → the job → finish) → its next run and what this one did.
//! `tollgate job run` → **`run_at_once`**, and the same from there.
//!
//! Invariants: the lease is committed before the job and the result written after it, so nothing is locked while a job
//! runs; every job may run twice or beside itself, because each of its steps leases or locks what it works on. A job
//! that fails says why and is tried again soon, at its own next time at the latest.
//! Not here: what is due by rows of its own (the other loops); when a cadence falls (`domain::cadence`).

use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::cleanup::clean_up;
use super::{Round, subscriptions};
use crate::Origin;
use crate::db::{DbError, Tx, scheduled_jobs};
use crate::domain::cadence::Cadence;
use crate::entropy;
use crate::gateway::user_core::Client;
use crate::jobs::reconcile::reconcile;
use crate::telemetry::Chain;

/// How long a job is ours. One that takes longer may be joined by another instance, which does no harm.
const LEASE: Duration = Duration::from_mins(30);
/// When a job that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_mins(15);

/// A job with a cadence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduledJob {
    /// Asks the provider, or tries ourselves, what was refused and is due again (EC-2).
    FailedPaymentRetries,
    /// Empties what was applied or sent long ago.
    LogCleanup,
    /// Charges, ends, downgrades and asks for news, whatever time has brought about (EC-1, EC-3).
    SubscriptionMaintenance,
    /// Decides token records and article jobs that nobody decided (TB-8).
    TokenReconcile,
}

/// No job has that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such job")]
pub struct UnknownJob;

impl ScheduledJob {
    /// Every job.
    pub const ALL: [Self; 4] = [
        Self::FailedPaymentRetries,
        Self::LogCleanup,
        Self::SubscriptionMaintenance,
        Self::TokenReconcile,
    ];

    /// What an operator triggers (EC-5).
    const MAINTENANCE: [Self; 2] = [Self::FailedPaymentRetries, Self::SubscriptionMaintenance];

    /// `scheduled_jobs.name`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FailedPaymentRetries => "failed_payment_retries",
            Self::LogCleanup => "log_cleanup",
            Self::SubscriptionMaintenance => "subscription_maintenance",
            Self::TokenReconcile => "token_reconcile",
        }
    }

    const fn cadence(self) -> Cadence {
        match self {
            Self::FailedPaymentRetries => Cadence::every_hours(2, 30),
            Self::LogCleanup => Cadence::daily(2),
            Self::SubscriptionMaintenance => Cadence::every_hours(6, 0),
            Self::TokenReconcile => Cadence::every_hours(1, 0),
        }
    }
}

impl FromStr for ScheduledJob {
    type Err = UnknownJob;

    fn from_str(name: &str) -> Result<Self, UnknownJob> {
        Self::ALL
            .into_iter()
            .find(|job| job.name() == name)
            .ok_or(UnknownJob)
    }
}

/// Runs one job that is due.
pub(crate) async fn round(origin: &Origin, client: &Client) -> Result<Round, DbError> {
    match run(origin, client, &ScheduledJob::ALL, false).await? {
        Some(_) => Ok(Round::Worked),
        None => Ok(Round::Idle),
    }
}

/// Lets the jobs of subscriptions run with the next look; their names.
pub(crate) async fn maintenance_now(origin: &Origin) -> Result<Vec<&'static str>, DbError> {
    let now = origin.clock.now();
    let names: Vec<&str> = ScheduledJob::MAINTENANCE.iter().map(|job| job.name()).collect();
    let due = &names;
    let make_due = |tx: Tx| async move {
        scheduled_jobs::ensure(&tx, &first_runs(now)).await?;
        scheduled_jobs::make_due(&tx, due, now).await
    };
    origin.database.run_tx("scheduled_job_due", make_due).await?;
    Ok(names)
}

/// Runs a job now, whenever it is due; `None` where somebody else is running it.
pub(crate) async fn run_at_once(
    origin: &Origin,
    client: &Client,
    job: ScheduledJob,
) -> Result<Option<Value>, DbError> {
    run(origin, client, &[job], true).await
}

async fn run(
    origin: &Origin,
    client: &Client,
    jobs: &[ScheduledJob],
    at_once: bool,
) -> Result<Option<Value>, DbError> {
    let token = Uuid::from_bytes(entropy::random()?);
    let Some(job) = claim(origin, jobs, token, at_once).await? else {
        return Ok(None);
    };
    tracing::info!(job.name = job.name(), "job {} begins", job.name());
    let result = work(origin, client, job).await;
    finish(origin, (job, token), result).await.map(Some)
}

async fn claim(
    origin: &Origin,
    jobs: &[ScheduledJob],
    token: Uuid,
    at_once: bool,
) -> Result<Option<ScheduledJob>, DbError> {
    let now = origin.clock.now();
    let names: Vec<&str> = jobs.iter().map(|job| job.name()).collect();
    let (names, lease) = (&names, (token, now.plus(LEASE)));
    let claim = |tx: Tx| async move {
        scheduled_jobs::ensure(&tx, &first_runs(now)).await?;
        scheduled_jobs::claim(&tx, names, lease, at_once, now).await
    };
    let name: Option<String> = origin.database.run_tx("scheduled_job_claim", claim).await?;
    // The statement names only jobs of ours.
    Ok(name.and_then(|name| name.parse().ok()))
}

/// Gives every job that is new its first run, so that whoever looks for what is due sees it.
pub(crate) async fn ensure(origin: &Origin) -> Result<(), DbError> {
    let now = origin.clock.now();
    let ensure = |tx: Tx| async move { scheduled_jobs::ensure(&tx, &first_runs(now)).await };
    origin.database.run_tx("scheduled_job_ensure", ensure).await
}

/// Every job with its next run: what a row that is missing begins with.
pub(crate) fn first_runs(now: Timestamp) -> [(&'static str, Timestamp); ScheduledJob::ALL.len()] {
    ScheduledJob::ALL.map(|job| (job.name(), job.cadence().next_after(now)))
}

async fn work(origin: &Origin, client: &Client, job: ScheduledJob) -> Result<Value, DbError> {
    match job {
        ScheduledJob::LogCleanup => {
            let cleaned = clean_up(origin, origin.clock.now()).await?;
            Ok(json!({ "eventsEmptied": cleaned.events, "effectsEmptied": cleaned.effects }))
        }
        // One sweep does both: each row that is due says itself what for. The loop of `work` does the same meanwhile; the jobs
        // are what holds, and what is on record, should it have stood still.
        ScheduledJob::FailedPaymentRetries | ScheduledJob::SubscriptionMaintenance => {
            let swept = subscriptions::everything(origin).await?;
            Ok(json!({ "subscriptions": swept.claimed, "effects": swept.effects }))
        }
        ScheduledJob::TokenReconcile => Ok(reconcile(origin, client).await?.shown()),
    }
}

async fn finish(
    origin: &Origin,
    (job, token): (ScheduledJob, Uuid),
    result: Result<Value, DbError>,
) -> Result<Value, DbError> {
    let now = origin.clock.now();
    let usual = job.cadence().next_after(now);
    let (shown, next_run_at) = match result {
        Ok(shown) => (shown, usual),
        Err(error) => {
            tracing::error!(job.name = job.name(), error = %Chain(&error), "job {} failed", job.name());
            (
                json!({ "error": error.to_string() }),
                usual.min(now.plus(TRY_AGAIN)),
            )
        }
    };
    let kept = &shown;
    let finish = |tx: Tx| async move {
        scheduled_jobs::finish(&tx, (job.name(), token), kept, next_run_at, now).await
    };
    if origin.database.run_tx("scheduled_job_finish", finish).await? {
        tracing::info!(job.name = job.name(), job.result = %shown, "job {} ended", job.name());
    } else {
        tracing::warn!(
            job.name = job.name(),
            "job {} took so long that another instance ran it too",
            job.name()
        );
    }
    Ok(shown)
}
