//! Commands of scheduled jobs: `job list`, `job run`.
//!
//! main → **these** → `work::schedule`, and one JSON line an answer on standard output.
//!
//! Invariant: a run by hand takes the same lease as one by the clock, so it never runs beside it; its next time is counted
//! from now. Failure: [`CommandError`]; a job that is being run elsewhere is one.

use serde_json::json;
use tollgate_shared::secret::Secret;
use tollgate_shared::time::Timestamp;

use super::{CommandError, print_line};
use crate::Origin;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::db::scheduled_jobs::{self, Listed};
use crate::db::{Database, DbError, PoolSettings, Tx};
use crate::gateway::user_core::Client;
use crate::work::schedule::{self, ScheduledJob};

/// `tollgate job list`: every job, when it ran, what it did, when it runs again.
pub async fn list(database_url: &Secret) -> Result<(), CommandError> {
    let database = Database::new(&PoolSettings::new(database_url.clone()))?;
    let now = SystemClock.now();
    let read = |tx: Tx| async move {
        scheduled_jobs::ensure(&tx, &schedule::first_runs(now)).await?;
        scheduled_jobs::list(&tx, now).await
    };
    let jobs: Result<Vec<Listed>, DbError> = database.run_tx("scheduled_job_list", read).await;
    for job in jobs? {
        print_line(&line(&job))?;
    }
    Ok(())
}

/// `tollgate job run`: once, now.
pub async fn run(config: Config, job: ScheduledJob) -> Result<(), CommandError> {
    let origin = Origin::new(config)?;
    let result = schedule::run_at_once(&origin, &Client::new()?, job).await?;
    let result = result.ok_or(CommandError::JobRunning(job.name()))?;
    print_line(&json!({ "event": "ran", "job": job.name(), "result": result }))?;
    if result.get("error").is_some() {
        return Err(CommandError::JobFailed(job.name()));
    }
    Ok(())
}

fn line(job: &Listed) -> serde_json::Value {
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "job": job.name,
        "running": job.is_running,
        "nextRunAt": job.next_run_at.to_string(),
        "lastStartedAt": text(job.last_started_at),
        "lastFinishedAt": text(job.last_finished_at),
        "lastResult": job.last_result,
    })
}
