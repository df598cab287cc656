//! The calls that write: deduct, reserve, settle, release, compensate, grant.
//!
//! `call` → **these** → `batching` (deductions), `db::tokens` (the rest, a transaction each) → `wire`.
//!
//! Invariants: 200 means that what was asked for is so, by this call or an earlier one with the key
//! (`Idempotency-Replayed: true`); a call that is repeated with its key never does anything twice. A refusal for lack of
//! balance is committed, since it is final for its key. Not here: who may spend what.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use tollgate_shared::time::Timestamp;

use super::call::{Call, amount, company};
use super::error::ServiceError;
use super::wire::{
    CompensateRequest, DeductRequest, GrantBody, GrantRequest, Kind, OutcomeBody, RecordBody, ReleaseRequest,
    ReserveRequest, SettleRequest,
};
use crate::Origin;
use crate::db::Tx;
use crate::db::tokens::{self, BucketKind, Deduction, Grant, Outcome, Record};
use crate::http::answer::json;
use crate::service_keys::Scope;

const REPLAYED_HEADER: HeaderName = HeaderName::from_static("idempotency-replayed");
/// How long a reservation is held that does not say.
const HOLD_SECONDS: u32 = 3_600;
/// `token_reserve` allows seven days.
const HOLD_SECONDS_MAX: u32 = 7 * 24 * 3_600;
/// Of a grant that does not say.
const PRIORITY: i16 = 100;
/// `token_release` counts characters.
const REASON_LENGTH_MAX: usize = 200;

/// `POST deduct` (TB-3).
pub(super) async fn deduct(
    State(origin): State<Arc<Origin>>,
    request: Request,
) -> Result<Response, ServiceError> {
    let call: Call<DeductRequest> = Call::read(&origin, request, Scope::Deduct).await?;
    let key = call.key(call.body.idempotency_key.as_deref())?;
    let asked = call.body;
    let deduction = Deduction {
        key,
        company: company(&asked.company_id)?,
        article: asked
            .article_id
            .parse()
            .map_err(ServiceError::field("article_id"))?,
        amount: amount(asked.amount)?,
        metadata: asked.metadata.map(|metadata| metadata.0),
    };
    let outcome = match origin.batcher() {
        Some(batcher) => batcher.deduct(deduction).await?,
        None => deduct_alone(&origin, &deduction).await?,
    };
    match outcome.refusal {
        None => Ok(answer(&OutcomeBody::from(&outcome), outcome.idempotent)),
        Some(refusal) => Err(ServiceError::Refused {
            refusal,
            field: outcome.field.clone(),
            result: serde_json::to_value(OutcomeBody::from(&outcome)).ok(),
        }),
    }
}

/// Without batching: a transaction a deduction, for comparison.
async fn deduct_alone(origin: &Origin, deduction: &Deduction) -> Result<Outcome, ServiceError> {
    let now = origin.clock.now();
    let run = |tx: Tx| async move { tokens::deduct(&tx, deduction, now).await };
    Ok(origin.database.run_tx("tokens_deduct", run).await?)
}

/// `POST reserve`.
pub(super) async fn reserve(
    State(origin): State<Arc<Origin>>,
    request: Request,
) -> Result<Response, ServiceError> {
    let call: Call<ReserveRequest> = Call::read(&origin, request, Scope::Deduct).await?;
    let key = call.key(call.body.idempotency_key.as_deref())?;
    let asked = call.body;
    let seconds = asked.expires_in_seconds.unwrap_or(HOLD_SECONDS);
    if !(1..=HOLD_SECONDS_MAX).contains(&seconds) {
        let rule = "from 1 to 604800 (seven days)";
        return Err(ServiceError::Field {
            field: "expires_in_seconds",
            rule,
        });
    }
    let deduction = &Deduction {
        key,
        company: company(&asked.company_id)?,
        article: asked
            .article_id
            .parse()
            .map_err(ServiceError::field("article_id"))?,
        amount: amount(asked.amount)?,
        metadata: asked.metadata.map(|metadata| metadata.0),
    };
    let now = origin.clock.now();
    let until = now.plus(Duration::from_secs(u64::from(seconds)));
    let run = |tx: Tx| async move { tokens::reserve(&tx, deduction, until, now).await };
    let record = origin.database.run_tx("tokens_reserve", run).await?;
    if record.outcome.refusal.is_none() && !record.outcome.success {
        let result = serde_json::to_value(RecordBody::from(&record)).unwrap_or_default();
        return Err(ServiceError::HoldEnded { result });
    }
    decided(&record)
}

/// `POST settle`.
pub(super) async fn settle(
    State(origin): State<Arc<Origin>>,
    request: Request,
) -> Result<Response, ServiceError> {
    let call: Call<SettleRequest> = Call::read(&origin, request, Scope::Deduct).await?;
    let key = &call.key(call.body.idempotency_key.as_deref())?;
    let (company, amount) = (&company(&call.body.company_id)?, amount(call.body.amount)?);
    let now = origin.clock.now();
    let run = |tx: Tx| async move { tokens::settle(&tx, key, company, amount, now).await };
    decided(&origin.database.run_tx("tokens_settle", run).await?)
}

/// `POST release`: here a failed record is the success.
pub(super) async fn release(
    State(origin): State<Arc<Origin>>,
    request: Request,
) -> Result<Response, ServiceError> {
    let call: Call<ReleaseRequest> = Call::read(&origin, request, Scope::Deduct).await?;
    let key = &call.key(call.body.idempotency_key.as_deref())?;
    let (company, reason) = (&company(&call.body.company_id)?, call.body.reason.as_deref());
    if reason.is_some_and(|reason| reason.chars().count() > REASON_LENGTH_MAX || reason.contains('\0')) {
        let rule = "at most 200 characters, without U+0000";
        return Err(ServiceError::Field {
            field: "reason",
            rule,
        });
    }
    let now = origin.clock.now();
    let run = |tx: Tx| async move { tokens::release(&tx, key, company, reason, now).await };
    let record = origin.database.run_tx("tokens_release", run).await?;
    Ok(answer(&RecordBody::from(&record), record.outcome.idempotent))
}

/// `POST compensate`.
pub(super) async fn compensate(
    State(origin): State<Arc<Origin>>,
    request: Request,
) -> Result<Response, ServiceError> {
    let call: Call<CompensateRequest> = Call::read(&origin, request, Scope::Compensate).await?;
    let key = &call.key(call.body.idempotency_key.as_deref())?;
    let company = &company(&call.body.company_id)?;
    let now = origin.clock.now();
    let run = |tx: Tx| async move { tokens::compensate(&tx, key, company, now).await };
    decided(&origin.database.run_tx("tokens_compensate", run).await?)
}

/// `POST grant`.
pub(super) async fn grant(
    State(origin): State<Arc<Origin>>,
    request: Request,
) -> Result<Response, ServiceError> {
    let call: Call<GrantRequest> = Call::read(&origin, request, Scope::Grant).await?;
    let key = call.key(call.body.idempotency_key.as_deref())?;
    let (asked, now) = (call.body, origin.clock.now());
    let kind = match asked.kind {
        Kind::Monthly => BucketKind::Monthly,
        Kind::Promotional => BucketKind::Promotional,
        Kind::Purchased => BucketKind::Purchased,
    };
    let grant = &Grant {
        key,
        company: company(&asked.company_id)?,
        kind,
        amount: amount(asked.amount)?,
        priority: asked.priority.unwrap_or(PRIORITY),
        expires_at: expiry(kind, asked.expires_at.as_deref())?,
    };
    let run = |tx: Tx| async move { tokens::grant(&tx, grant, now).await };
    let idempotent = origin.database.run_tx("tokens_grant", run).await?;
    let body = GrantBody {
        success: true,
        idempotent,
        company_id: grant.company.to_string(),
        kind: kind.code(),
        amount: grant.amount.get(),
    };
    Ok(answer(&body, idempotent))
}

/// Whether it lies ahead is left to `token_grant`: a repeat may come after the expiry of what it granted.
fn expiry(kind: BucketKind, text: Option<&str>) -> Result<Option<Timestamp>, ServiceError> {
    let refused = |rule| ServiceError::Field {
        field: "expires_at",
        rule,
    };
    match (kind, text) {
        (BucketKind::Purchased, None) => Ok(None),
        (BucketKind::Purchased, Some(_)) => Err(refused("absent: purchased tokens never expire")),
        (BucketKind::Monthly | BucketKind::Promotional, None) => {
            Err(refused("there, unless the kind is purchased"))
        }
        (BucketKind::Monthly | BucketKind::Promotional, Some(text)) => {
            let at = super::read::instant(text).ok_or_else(|| refused("an RFC 3339 instant"))?;
            Ok(Some(at))
        }
    }
}

/// A record whose success is the call's.
fn decided(record: &Record) -> Result<Response, ServiceError> {
    match record.outcome.refusal {
        None => Ok(answer(&RecordBody::from(record), record.outcome.idempotent)),
        Some(refusal) => Err(ServiceError::Refused {
            refusal,
            field: record.outcome.field.clone(),
            result: serde_json::to_value(RecordBody::from(record)).ok(),
        }),
    }
}

fn answer<T: Serialize>(body: &T, idempotent: bool) -> Response {
    let mut answer = json(StatusCode::OK, body);
    if idempotent {
        answer
            .headers_mut()
            .insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
    }
    answer
}
