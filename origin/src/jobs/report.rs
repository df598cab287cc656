//! A generator reports how a job ended; its tokens are settled, given back, or owed (TB-7).
//!
//! `http::article_report`, `reconcile` → **report** (lock → decide → charge → write) → the job as it is now.
//!
//! Invariants: the job's row is locked while it is judged, so that reports come one after another; a report that was
//! made before changes nothing. Where the charge itself fails, the article is there and the job says
//! `pending_token_deduction`: written in a transaction of its own, because the failed one is lost.
//! Not here: who may report (`service_keys`), trying again (`reconcile`).

use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::charge::{Charged, charge, give_back};
use crate::Origin;
use crate::db::article_jobs::{self, Job};
use crate::db::tokens::{TokenAmount, TokenError};
use crate::db::{DbError, Retry, Tx};
use crate::domain::jobs::{JobStatus, Report, Step, after_refusal, charge_key, on_report};
use crate::telemetry::Chain;

/// Begins the message of a job whose charge met an error of ours; what follows is for a person who reads the table.
pub(crate) const CHARGE_FAILED: &str = "ChargeFailed";
/// `token_release` takes no longer reason.
const REASON_CHARS_MAX: usize = 200;

/// Why a report changed nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// There is no such job.
    #[error("no such job")]
    UnknownJob,
    /// It ended the other way.
    #[error("the job has ended as {}", .0.label())]
    Ended(JobStatus),
    /// It was reported with another number of tokens.
    #[error("the job was reported with another number of tokens")]
    Differs,
    /// The tokens could not be moved.
    #[error("the tokens of the job were not moved")]
    Tokens(#[from] TokenError),
}

impl From<DbError> for ReportError {
    fn from(error: DbError) -> Self {
        Self::Tokens(error.into())
    }
}

impl Retry for ReportError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Tokens(error) if error.is_conflict())
    }
}

/// Takes a report.
pub(crate) async fn report(
    origin: &Origin,
    id: Uuid,
    report: &Report,
    now: Timestamp,
) -> Result<Job, ReportError> {
    let judge = |tx: Tx| async move { judge(&tx, id, report, now).await };
    let error = match origin.database.run_tx("article_report", judge).await {
        Err(ReportError::Tokens(error)) => error,
        decided => return decided,
    };
    tracing::error!(job.id = %id, error = %Chain(&error), "the tokens of job {id} were not moved");
    match report {
        Report::Succeeded { .. } => {
            let reason = &format!("{CHARGE_FAILED}: {}", Chain(&error));
            let owe = |tx: Tx| async move { owe(&tx, id, report, reason, now).await };
            origin.database.run_tx("article_owed", owe).await
        }
        Report::Failed { .. } => Err(error.into()),
    }
}

/// Locks a job, decides on a report about it and writes what comes of that.
pub(super) async fn judge(tx: &Tx, id: Uuid, report: &Report, now: Timestamp) -> Result<Job, ReportError> {
    let mut job = article_jobs::lock(tx, id).await?.ok_or(ReportError::UnknownJob)?;
    match on_report(job.status, job.reserved_tokens, job.used_tokens, report) {
        Step::RefuseEnded => return Err(ReportError::Ended(job.status)),
        Step::RefuseDiffers => return Err(ReportError::Differs),
        Step::Repeat => return Ok(job),
        Step::Charge(amount) => {
            note(&mut job, report);
            charge_and_note(tx, &mut job, amount, now).await?;
        }
        Step::Release => {
            let reason = reason(report);
            give_back(tx, &job, &reason, now).await?;
            job.status = JobStatus::Failed;
            job.error_message = Some(reason);
        }
    }
    article_jobs::update(tx, &job, now).await?;
    tracing::info!(job.id = %id, status = job.status.label(), "job {id} is {}", job.status.label());
    Ok(job)
}

/// Charges a locked job and writes into it what came of it.
pub(super) async fn charge_and_note(
    tx: &Tx,
    job: &mut Job,
    amount: Option<TokenAmount>,
    now: Timestamp,
) -> Result<(), TokenError> {
    if job.used_tokens > Some(job.reserved_tokens) {
        tracing::warn!(job.id = %job.id, "job {} used more than was reserved; the rest is not charged", job.id);
    }
    match charge(tx, job, amount, now).await? {
        Charged::Done => {
            job.status = JobStatus::Completed;
            job.error_message = None;
        }
        Charged::Refused(refusal) => {
            let is_owed = job.status == JobStatus::PendingTokenDeduction;
            job.status = after_refusal(is_owed.then(|| job.updated_at.distance(now)));
            job.retry_count = job.retry_count.saturating_add(1);
            job.error_message = Some(format!("{refusal:?}"));
            job.charge_key =
                charge_key(job.id, job.retry_count)
                    .parse()
                    .map_err(|_| DbError::Unreadable {
                        column: "article_jobs.charge_key",
                    })?;
        }
    }
    Ok(())
}

async fn owe(tx: &Tx, id: Uuid, report: &Report, reason: &str, now: Timestamp) -> Result<Job, ReportError> {
    let mut job = article_jobs::lock(tx, id).await?.ok_or(ReportError::UnknownJob)?;
    if !matches!(
        job.status,
        JobStatus::Generating | JobStatus::PendingTokenDeduction
    ) {
        // Another report was quicker, and better.
        return Ok(job);
    }
    note(&mut job, report);
    job.status = JobStatus::PendingTokenDeduction;
    job.error_message = Some(reason.to_owned());
    article_jobs::update(tx, &job, now).await?;
    Ok(job)
}

fn note(job: &mut Job, report: &Report) {
    if let Report::Succeeded { used_tokens, article } = report {
        job.used_tokens = Some(*used_tokens);
        job.article = article.as_ref().map(ToString::to_string).or(job.article.take());
    }
}

fn reason(report: &Report) -> String {
    match report {
        Report::Failed { reason } => reason.chars().take(REASON_CHARS_MAX).collect(),
        Report::Succeeded { .. } => String::new(),
    }
}
