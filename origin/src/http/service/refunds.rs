//! `/api/service/v1/payments/{payment}/refunds`: paying a charge back, in full or in part (PM-8).
//!
//! your backend → **these** (key and scope → id → body → idempotency key) → `crate::refunds`.
//!
//! Invariants: a refund is asked for once for each idempotency key of a caller; a repeat answers how it is now, and one
//! with other members is refused. 202 says that it is asked for, not that the money is back: `status` tells that.
//! Not here: the rules (`domain::refund`), the provider's call (`effects`), refunds that an operator ends by hand.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tollgate_shared::id::PaymentId;
use tollgate_shared::money::Minor;

use super::call::{Call, admit};
use super::error::ServiceError;
use crate::Origin;
use crate::db::Tx;
use crate::domain::refund::RefundRefusal;
use crate::http::answer::json;
use crate::refunds::{self, Asked, RefundError, View};
use crate::service_keys::Scope;

/// Letters in a reason or a note.
const PROSE_LENGTH_MAX: usize = 200;

type InPath = Result<Path<String>, PathRejection>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    amount: Option<i64>,
    provider_payment_id: Option<String>,
    reason: String,
}

#[derive(Serialize)]
struct Listed {
    refunds: Vec<View>,
}

/// `POST payments/{payment}/refunds`.
pub(super) async fn post(
    State(origin): State<Arc<Origin>>,
    payment: InPath,
    request: Request,
) -> Result<Response, ServiceError> {
    let call: Call<Body> = Call::read(&origin, request, Scope::Refunds).await?;
    let (payment, key) = (payment_of(payment)?, call.key(None)?);
    let actor = &format!("service:{}", call.caller);
    let key = &format!("{actor}:{}", key.as_str());
    let asked = &Asked {
        payment,
        charge: call.body.provider_payment_id.as_deref(),
        amount: call.body.amount.map(Minor::new),
        reason: prose("reason", &call.body.reason)?,
        actor,
        key,
    };
    let now = origin.clock.now();
    let ask = |tx: Tx| async move { refunds::request(&tx, asked, now).await };
    let view = origin.database.run_tx("refund_request", ask).await?;
    Ok(json(StatusCode::ACCEPTED, &view))
}

/// `GET payments/{payment}/refunds`.
pub(super) async fn list(
    State(origin): State<Arc<Origin>>,
    payment: InPath,
    request: Request,
) -> Result<Response, ServiceError> {
    admit(&origin, request.headers(), Scope::Refunds).await?;
    let payment = payment_of(payment)?;
    let read = |tx: Tx| async move { refunds::of_payment(&tx, payment).await };
    let refunds = origin.database.run_tx("refunds_of_payment", read).await;
    let refunds = refunds.map_err(ServiceError::Db)?;
    Ok(json(StatusCode::OK, &Listed { refunds }))
}

fn payment_of(payment: InPath) -> Result<PaymentId, ServiceError> {
    let text = payment.map(|Path(payment)| payment).unwrap_or_default();
    let unknown = |_| ServiceError::Refund(RefundError::Refused(RefundRefusal::UnknownCharge));
    text.parse().map_err(unknown)
}

/// A sentence for people.
pub(super) fn prose<'a>(field: &'static str, text: &'a str) -> Result<&'a str, ServiceError> {
    let length = text.chars().count();
    let usable = (1..=PROSE_LENGTH_MAX).contains(&length) && !text.chars().any(char::is_control);
    usable.then_some(text).ok_or(ServiceError::Field {
        field,
        rule: "1 to 200 characters without control characters",
    })
}
