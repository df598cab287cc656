//! The tokens of a job that was done: deducted once, or known to be missing.
//!
//! `report`, `reconcile` (job locked) → **charge** → `token_settle`, or `deduct_tokens_atomic` after a refusal.
//!
//! A refusal for lack of balance is final for its key, so the next try has the next key. The job's row is locked
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
    /// They are not there; final for this key.
    Short,
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
            tokens::release(tx, &job.charge_key, &job.company, Some("nothing was used"), now).await?;
            Ok(Charged::Done)
        }
        (None, false) => Ok(Charged::Done),
    }
}

async fn settle(tx: &Tx, job: &Job, amount: TokenAmount, now: Timestamp) -> Result<Charged, TokenError> {
    let record = tokens::settle(tx, &job.charge_key, &job.company, amount, now).await?;
    Ok(match record.outcome.status {
        Some(RecordStatus::Completed | RecordStatus::Compensated) => Charged::Done,
        Some(RecordStatus::Failed | RecordStatus::Pending) | None => Charged::Short,
    })
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
        Some(TokenRefusal::InsufficientBalance) => Ok(Charged::Short),
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
