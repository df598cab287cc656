//! A trigger is sent only while its job waits for a generator, and one that ends dead ends its job (TB-7).
//!
//! `work::outbox` (before it sends) → **wanted?**; (the row ends dead) → **give up** → `report` judges, tokens go back.
//!
//! Invariants: row and job end in one transaction, so that no dead trigger keeps tokens held. Locks are taken in the order
//! row, job, company, and nobody takes them the other way round. A job that was reported meanwhile stays as it is: a
//! generator may do its work and still answer 500. A dead trigger that a person revives finds its job ended and is not
//! sent, so that nobody makes an article that nobody pays for; who still wants it asks again under a new key.
//! Failure: passing errors of the database undo the end of the row too, and it is tried again; where the books refuse
//! for good the row ends alone, which is logged, and reconciliation ends the job. Not here: when a row is dead (`work`).

use serde_json::Value;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::report::{ReportError, judge};
use crate::db::tokens::TokenError;
use crate::db::{DbError, Tx, article_jobs};
use crate::domain::jobs::Report;
use crate::telemetry::Chain;

/// The job's `error_message`; why exactly is in the row of the outbox, for a person.
pub(crate) const NOT_TAKEN: &str = "no generator took the job";

/// Whether the job that a trigger names still waits for a generator.
pub(crate) async fn is_wanted(tx: &Tx, payload: &Value) -> Result<bool, DbError> {
    match job_of(payload) {
        Some(job) => article_jobs::is_generating(tx, job).await,
        None => Ok(false),
    }
}

/// Ends the job of a trigger that ends dead in this transaction.
pub(crate) async fn give_up(tx: &Tx, payload: &Value, now: Timestamp) -> Result<(), DbError> {
    let Some(id) = job_of(payload) else { return Ok(()) };
    let failed = Report::Failed {
        reason: NOT_TAKEN.to_owned(),
    };
    match tx.savepoint(judge(tx, id, &failed, now)).await {
        Ok(_) | Err(ReportError::UnknownJob | ReportError::Ended(_) | ReportError::Differs) => Ok(()),
        Err(ReportError::Tokens(TokenError::Db(error))) if error.is_passing() => Err(error),
        Err(ReportError::Tokens(error)) => {
            tracing::error!(job.id = %id, error = %Chain(&error), "the tokens of job {id}, which no generator took, stay held");
            Ok(())
        }
    }
}

fn job_of(payload: &Value) -> Option<Uuid> {
    payload.get("data")?.get("jobId")?.as_str()?.parse().ok()
}
