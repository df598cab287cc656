//! A user asks for an article: tokens held, job recorded, generator triggered, all or nothing (TB-7).
//!
//! `http::articles` → **generate** (key → company → reserve → outbox) → the generator.
//!
//! Invariants: one job a user and idempotency key; a refusal writes nothing, so the same key may be used again
//! once there are tokens. The trigger is an outbox row: no call is made here.
//! Not here: who the user is (the edge's session), the generator's answer (`report`).

use serde_json::{Value, json};
use tollgate_shared::id::{DeliveryId, UserId};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use crate::Origin;
use crate::db::article_jobs::{self, NewJob};
use crate::db::outbox::{self, NewEffect};
use crate::db::sqlstate::TokenRefusal;
use crate::db::tokens::{self, CompanyId, Deduction, TokenAmount, TokenError};
use crate::db::{DbError, Retry, Tx, company_members};
use crate::domain::backoff;
use crate::domain::jobs::{ESTIMATE, HOLD};
use crate::entropy;

/// The kind of outbox row that triggers the generator.
pub(crate) const GENERATOR: &str = "generator";

/// An article asked for, as the edge hands it over.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Who asks.
    pub(crate) user: UserId,
    /// The caller's name for this effect.
    pub(crate) key: String,
    /// What the generator gets: an object.
    pub(crate) input: Value,
    /// The call's id in the logs.
    pub(crate) delivery: DeliveryId,
    /// When the hop was checked.
    pub(crate) now: Timestamp,
}

/// A job, new or repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun {
    /// The job.
    pub(crate) id: Uuid,
    /// Tokens held for it.
    pub(crate) reserved_tokens: i64,
    /// Whether it was begun before.
    pub(crate) repeated: bool,
}

/// Why no article is made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GenerateError {
    /// There is no generator.
    #[error("GENERATOR_WEBHOOK_URL is not set")]
    NotConfigured,
    /// The user's id cannot name a company, and nobody put the user into one.
    #[error("the user is in no company")]
    NoCompany,
    /// The key was used for another article.
    #[error("the idempotency key was used with another input")]
    KeyReused,
    /// The estimate is more than can be spent.
    #[error("the balance is short: {available} of {ESTIMATE} tokens")]
    Short {
        /// What can be spent.
        available: i64,
    },
    /// The tokens could not be reserved for another reason.
    #[error(transparent)]
    Tokens(TokenError),
}

impl From<TokenError> for GenerateError {
    fn from(error: TokenError) -> Self {
        match error.refusal() {
            // Nothing was ever granted: as short as can be.
            Some(TokenRefusal::CompanyNotFound) => Self::Short { available: 0 },
            Some(_) | None => Self::Tokens(error),
        }
    }
}

impl From<DbError> for GenerateError {
    fn from(error: DbError) -> Self {
        Self::Tokens(error.into())
    }
}

impl Retry for GenerateError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Tokens(error) if error.is_conflict())
    }
}

/// Begins a job, or names the one that the key has begun.
pub(crate) async fn generate(origin: &Origin, call: &Call) -> Result<Begun, GenerateError> {
    if origin.config.jobs.generator.is_none() {
        return Err(GenerateError::NotConfigured);
    }
    let id = entropy::uuid_v7(call.now).map_err(DbError::from)?;
    let write = |tx: Tx| async move { begin(&tx, call, id).await };
    let begun = origin.database.run_tx("article_generate", write).await?;
    tracing::info!(
        delivery.id = %call.delivery,
        job.id = %begun.id,
        repeated = begun.repeated,
        "article job {} is recorded", begun.id
    );
    Ok(begun)
}

async fn begin(tx: &Tx, call: &Call, id: Uuid) -> Result<Begun, GenerateError> {
    let company = company_members::company_of(tx, &call.user)
        .await?
        .ok_or(GenerateError::NoCompany)?;
    let job = NewJob {
        id,
        company: &company,
        user: &call.user,
        key: &call.key,
        input: &call.input,
        reserved_tokens: ESTIMATE,
        delivery: call.delivery,
    };
    if !article_jobs::insert(tx, &job, call.now).await? {
        let first = article_jobs::find_repeated(tx, &job).await?;
        return first.map(repeated).ok_or(GenerateError::KeyReused);
    }
    reserve(tx, &company, id, call.now).await?;
    // After this point the generator must be triggered.
    outbox::insert(tx, &trigger(&job, call.now)?, call.now).await?;
    Ok(Begun {
        id,
        reserved_tokens: ESTIMATE,
        repeated: false,
    })
}

const fn repeated((id, reserved_tokens): (Uuid, i64)) -> Begun {
    Begun {
        id,
        reserved_tokens,
        repeated: true,
    }
}

async fn reserve(tx: &Tx, company: &CompanyId, id: Uuid, now: Timestamp) -> Result<(), GenerateError> {
    let unreadable = |_| DbError::Unreadable {
        column: "article_jobs.id",
    };
    let deduction = Deduction {
        key: id.to_string().parse().map_err(unreadable)?,
        company: company.clone(),
        article: id.to_string().parse().map_err(unreadable)?,
        amount: TokenAmount::new(ESTIMATE).map_err(unreadable)?,
        metadata: None,
    };
    let record = tokens::reserve(tx, &deduction, now.plus(HOLD), now).await?;
    match record.outcome.refusal {
        None => Ok(()),
        Some(TokenRefusal::InsufficientBalance) => Err(GenerateError::Short {
            available: record.outcome.balance_before.unwrap_or_default(),
        }),
        Some(refusal) => Err(GenerateError::Tokens(TokenError::Refused {
            refusal,
            field: record.outcome.field,
            detail: String::new(),
        })),
    }
}

fn trigger(job: &NewJob<'_>, now: Timestamp) -> Result<NewEffect, DbError> {
    Ok(NewEffect {
        id: entropy::uuid_v7(now)?,
        operation_key: format!("{GENERATOR}:{}", job.id),
        kind: GENERATOR,
        // Jobs do not wait for one another.
        ordering_key: None,
        payload: json!({
            "type": "article.requested",
            "timestamp": now.to_string(),
            "data": {
                "jobId": job.id.to_string(),
                "companyId": job.company.as_str(),
                "input": job.input,
                "tokensReserved": job.reserved_tokens,
            },
        }),
        delivery: Some(job.delivery),
        attempts_max: backoff::OUTBOX.attempts_max,
    })
}
