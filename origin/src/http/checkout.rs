//! `POST /internal/v1/payments/checkout`: a user wants to pay (PM-3).
//!
//! hop → **checkout** (parse → `checkout::place` → render) → the edge → the browser.
//!
//! Invariants: the user is the hop's subject, never a member of the body; an idempotency key is required, because a
//! browser repeats a call whose answer it lost, and it is a member of the body, because the hop signs the body and
//! no other header: a key in a header could be swapped within the hop's window, and one call would pay twice.
//! 201 for a new payment, 200 with `Idempotency-Replayed` for a repeat.
//! Not here: the edge's own idempotency, which spares us most repeats.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use tollgate_shared::id::PlanId;
use tollgate_shared::problem::Problem;

use super::answer::{ProblemAnswer, json};
use super::body::{self, BodyError, CALL_BYTES_MAX};
use super::hop::Hop;
use crate::Origin;
use crate::checkout::{self, Call, Kinds, PlaceError, Placed, Request};
use crate::subscriptions::SubscriptionId;
use crate::telemetry::Chain;

const REPLAYED_HEADER: HeaderName = HeaderName::from_static("idempotency-replayed");
/// `checkout_requests_key_shape`.
const KEY_BYTES_MAX: usize = 255;

/// The body: what is asked for, and the caller's name for it. An unknown member is refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    idempotency_key: Option<String>,
    plan_id: PlanId,
    provider: Option<String>,
    method: Option<String>,
    first_charge_on: Option<String>,
    replaces: Option<SubscriptionId>,
    #[serde(default)]
    kind: Kinds,
}

#[derive(Debug, thiserror::Error)]
enum CheckoutError {
    #[error("the hop names no user")]
    NoUser,
    #[error("the idempotency key is missing")]
    NoKey,
    #[error("the idempotency key is not 1 to {KEY_BYTES_MAX} visible ASCII characters")]
    BadKey,
    #[error("the body was refused")]
    Body(#[source] BodyError),
    #[error("the checkout was refused")]
    Place(#[source] PlaceError),
}

impl CheckoutError {
    fn problem(&self) -> Problem {
        match self {
            Self::NoUser => Problem::new(401, "session-required", "This call needs a session"),
            Self::NoKey => Problem::new(400, "idempotency-key-missing", "The idempotency key is missing")
                .detail("Send a new random value for each purchase, and the same one when repeating it."),
            Self::BadKey => Problem::new(
                400,
                "idempotency-key-malformed",
                "The idempotency key is unusable",
            )
            .detail("idempotencyKey must be 1 to 255 visible ASCII characters."),
            Self::Body(error) => error.problem(),
            Self::Place(error) => error.problem(),
        }
    }
}

/// The route.
pub(super) async fn post(State(origin): State<Arc<Origin>>, hop: Hop, headers: HeaderMap) -> Response {
    let error = match place(&origin, &hop, &headers).await {
        Ok(placed) => return answer(&placed),
        Err(error) => error,
    };
    let chain = Chain(&error);
    if matches!(&error, CheckoutError::Place(PlaceError::Db(_))) {
        tracing::error!(delivery.id = %hop.delivery(), error = %chain, "a checkout failed");
    } else {
        tracing::info!(delivery.id = %hop.delivery(), error = %chain, "a checkout was refused");
    }
    ProblemAnswer(error.problem()).into_response()
}

async fn place(origin: &Origin, hop: &Hop, headers: &HeaderMap) -> Result<Placed, CheckoutError> {
    let user = hop.subject().cloned().ok_or(CheckoutError::NoUser)?;
    let body: Body = body::parse(headers, hop.body(), CALL_BYTES_MAX).map_err(CheckoutError::Body)?;
    let key = key(body.idempotency_key.as_deref())?;
    let request = Request {
        plan_id: body.plan_id,
        provider: body.provider,
        method: body.method,
        first_charge_on: body.first_charge_on,
        replaces: body.replaces,
        kind: body.kind,
    };
    let call = Call {
        user,
        key,
        request,
        delivery: hop.delivery(),
        now: hop.received_at(),
    };
    checkout::place(origin, &call).await.map_err(CheckoutError::Place)
}

fn key(given: Option<&str>) -> Result<String, CheckoutError> {
    let key = given.ok_or(CheckoutError::NoKey)?;
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && (1..=KEY_BYTES_MAX).contains(&key.len()) {
        Ok(key.to_owned())
    } else {
        Err(CheckoutError::BadKey)
    }
}

fn answer(placed: &Placed) -> Response {
    if !placed.repeated {
        return json(StatusCode::CREATED, &placed.answer);
    }
    let mut answer = json(StatusCode::OK, &placed.answer);
    answer
        .headers_mut()
        .insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
    answer
}
