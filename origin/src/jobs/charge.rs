//! The tokens of a job that was done: deducted once, or known to be missing.
//!
//! `report`, `reconcile` (job locked) → **charge** → `token_settle`, or `deduct_tokens_atomic` after a refusal.
//!
//! A refusal is final for its key, so the next try has the next key. A job's keys are ordinary keys of the service API,
//! which may have ended or used one: then the record tells whether the job is paid. The job's row is locked
//! meanwhile: of two tries there is one at a time, and a key comes after its predecessor has failed for good.
//! Not here: how much (`domain::jobs`), what is written into the job.

use tollgate_shared::time::Timestamp;

use crate::db::article_jobs::Job;
use crate::db::sqlstate::TokenRefusal;
use crate::db::tokens::{self, ArticleId, Deduction, RecordStatus, TokenAmount, TokenError};
use crate::db::{DbError, Tx};

/// What became of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charged {
    /// The tokens are deducted.
    Done,
    /// They are not, and under this key they never will be: too few, or somebody else ended or took the key.
    Refused(TokenRefusal),
}

/// Deducts a job's tokens; `None`: it used none, so what is held goes back.
pub(super) async fn charge(
    tx: &Tx,
    job: &Job,
    amount: Option<TokenAmount>,
    now: Timestamp,
) -> Result<Charged, TokenError> {
    let is_reserved = job.charge_key.as_str() == job.id.to_string();
    match (amount, is_reserved) {
        (Some(amount), true) => settle(tx, job, amount, now).await,
        (Some(amount), false) => deduct(tx, job, amount, now).await,
        (None, true) => {
            give_back(tx, job, "nothing was used", now).await?;
            Ok(Charged::Done)
        }
        (None, false) => Ok(Charged::Done),
    }
}

/// Gives back what a job holds, if it holds anything: the service API may have ended its reservation.
pub(super) async fn give_back(tx: &Tx, job: &Job, reason: &str, now: Timestamp) -> Result<(), TokenError> {
    let release = tokens::release(tx, &job.charge_key, &job.company, Some(reason), now);
    match tx.savepoint(release).await {
        Err(error) if error.refusal() == Some(TokenRefusal::NotReserved) => Ok(()),
        released => released.map(drop),
    }
}

async fn settle(tx: &Tx, job: &Job, amount: TokenAmount, now: Timestamp) -> Result<Charged, TokenError> {
    let settle = tokens::settle(tx, &job.charge_key, &job.company, amount, now);
    match tx.savepoint(settle).await {
        Ok(record) => Ok(record.outcome.refusal.map_or(Charged::Done, Charged::Refused)),
        Err(error) if error.refusal().is_some() => ended_elsewhere(tx, job, error).await,
        Err(error) => Err(error),
    }
}

/// The reservation was ended through the service API: the record tells whether the job is paid.
async fn ended_elsewhere(tx: &Tx, job: &Job, error: TokenError) -> Result<Charged, TokenError> {
    let record = tokens::record_by_key(tx, &job.charge_key, &job.company).await?;
    match record.and_then(|record| record.outcome.status) {
        Some(RecordStatus::Completed | RecordStatus::Compensated) => Ok(Charged::Done),
        Some(RecordStatus::Failed) => Ok(Charged::Refused(TokenRefusal::NotReserved)),
        Some(RecordStatus::Pending) | None => Err(error),
    }
}

async fn deduct(tx: &Tx, job: &Job, amount: TokenAmount, now: Timestamp) -> Result<Charged, TokenError> {
    let deduction = Deduction {
        key: job.charge_key.clone(),
        company: job.company.clone(),
        article: article_of(job)?,
        amount,
        metadata: None,
    };
    let outcome = tokens::deduct(tx, &deduction, now).await?;
    match outcome.refusal {
        None => Ok(Charged::Done),
        Some(
            refusal @ (TokenRefusal::InsufficientBalance
            | TokenRefusal::IdempotencyKeyReused
            | TokenRefusal::Released),
        ) => Ok(Charged::Refused(refusal)),
        Some(refusal) => Err(TokenError::Refused {
            refusal,
            field: outcome.field,
            detail: String::new(),
        }),
    }
}

/// What the tokens of a job are booked under: the job, since the article has no name when they are reserved.
pub(super) fn article_of(job: &Job) -> Result<ArticleId, DbError> {
    let id = job.id.to_string().parse();
    id.map_err(|_| DbError::Unreadable {
        column: "article_jobs.id",
    })
}
