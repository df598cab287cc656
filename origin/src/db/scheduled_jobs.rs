//! The rows of scheduled jobs: who runs which, when it ran, when it runs again (EC-4).
//!
//! `work::schedule` claims, runs, finishes → **these statements** → `tollgate.scheduled_jobs` (V14).
//!
//! Invariants: a claim is a lease with a token, so of several instances one runs a job; only the holder may finish it.
//! A row that is new is due at the time it is given, never before. Not here: which jobs there are (`work::schedule`).

use serde_json::Value;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{DbError, Instant, Tx};

/// A job as a person sees it in a list.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// Its name.
    pub(crate) name: String,
    /// When it is due.
    pub(crate) next_run_at: Timestamp,
    /// Whether somebody runs it now.
    pub(crate) is_running: bool,
    /// When it began last.
    pub(crate) last_started_at: Option<Timestamp>,
    /// When it ended last.
    pub(crate) last_finished_at: Option<Timestamp>,
    /// What it did, or why it failed.
    pub(crate) last_result: Option<Value>,
}

const ENSURE: &str = "\
-- scheduled_job_ensure
insert into tollgate.scheduled_jobs (name, next_run_at)
select job.name, job.next_run_at from unnest($1::text[], $2::timestamptz[]) as job (name, next_run_at)
on conflict (name) do nothing";

/// Writes the rows that are missing, each with its first run.
pub(crate) async fn ensure(tx: &Tx, jobs: &[(&str, Timestamp)]) -> Result<(), DbError> {
    let names: Vec<&str> = jobs.iter().map(|(name, _)| *name).collect();
    let runs: Vec<Instant> = jobs.iter().map(|(_, at)| Instant(*at)).collect();
    tx.execute(ENSURE, &[&names, &runs]).await?;
    Ok(())
}

const CLAIM: &str = "\
-- scheduled_job_claim
update tollgate.scheduled_jobs set lease_token = $1, lease_expires_at = $2, last_started_at = $3
where name = (
    select job.name from tollgate.scheduled_jobs as job
    where job.name = any($4) and (job.next_run_at <= $3 or $5)
    and (job.lease_expires_at is null or job.lease_expires_at <= $3)
    order by job.next_run_at, job.name
    limit 1
    for update skip locked
)
returning name";

/// Leases one of these jobs that is due, or, `at_once`, whenever it is due.
pub(crate) async fn claim(
    tx: &Tx,
    names: &[&str],
    (token, lease_expires_at): (Uuid, Timestamp),
    at_once: bool,
    now: Timestamp,
) -> Result<Option<String>, DbError> {
    let row = tx
        .query_opt(
            CLAIM,
            &[
                &token,
                &Instant(lease_expires_at),
                &Instant(now),
                &names,
                &at_once,
            ],
        )
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

const FINISH: &str = "\
-- scheduled_job_finish
update tollgate.scheduled_jobs set next_run_at = $3, last_finished_at = $4, last_result = $5,
    lease_token = null, lease_expires_at = null
where name = $1 and lease_token = $2";

/// Ends a run; false where the lease had passed to somebody else, whose result is the one that is kept.
pub(crate) async fn finish(
    tx: &Tx,
    (name, token): (&str, Uuid),
    result: &Value,
    next_run_at: Timestamp,
    now: Timestamp,
) -> Result<bool, DbError> {
    let finished = tx
        .execute(
            FINISH,
            &[&name, &token, &Instant(next_run_at), &Instant(now), result],
        )
        .await?;
    Ok(finished == 1)
}

const MAKE_DUE: &str = "\
-- scheduled_job_make_due
update tollgate.scheduled_jobs set next_run_at = $2 where name = any($1) and next_run_at > $2";

/// Lets these run now; one that is due already stays so.
pub(crate) async fn make_due(tx: &Tx, names: &[&str], now: Timestamp) -> Result<(), DbError> {
    tx.execute(MAKE_DUE, &[&names, &Instant(now)]).await?;
    Ok(())
}

const LIST: &str = "\
-- scheduled_job_list
select name, next_run_at, lease_expires_at > $1 as is_running, last_started_at, last_finished_at, last_result
from tollgate.scheduled_jobs
order by name";

/// Every job.
pub(crate) async fn list(tx: &Tx, now: Timestamp) -> Result<Vec<Listed>, DbError> {
    let rows = tx.query(LIST, &[&Instant(now)]).await?;
    rows.iter()
        .map(|row| {
            let at = |name: &str| Ok::<_, DbError>(row.try_get::<_, Option<Instant>>(name)?.map(|at| at.0));
            Ok(Listed {
                name: row.try_get("name")?,
                next_run_at: row.try_get::<_, Instant>("next_run_at")?.0,
                is_running: row.try_get::<_, Option<bool>>("is_running")?.unwrap_or_default(),
                last_started_at: at("last_started_at")?,
                last_finished_at: at("last_finished_at")?,
                last_result: row.try_get("last_result")?,
            })
        })
        .collect()
}
