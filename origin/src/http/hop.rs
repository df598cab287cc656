//! The door of the internal routes: a request is the edge's, or it goes no further (ED-4).
//!
//! edge forward → **hop** (cap → headers → signature over the received bytes) → the route.
//!
//! Invariant: a [`Hop`] exists only for a request whose signature, age and key id were checked here; a route that
//! takes one as an argument cannot be reached without. The body that a route reads is the one that was signed.
//! Not here: replay within the window (unique keys make it a repeat). Every refusal is 401, so that the edge keeps
//! the event: a wrong key is a fault of ours, not of the event; only an oversized body is refused for good.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tollgate_shared::handoff::{
    self, DELIVERY_HEADER, HandoffError, KEY_ID_HEADER, SIGNATURE_HEADER, SUBJECT_HEADER, TIMESTAMP_HEADER,
};
use tollgate_shared::id::{DeliveryId, UserId};
use tollgate_shared::problem::Problem;
use tollgate_shared::time::Timestamp;

use super::answer::{ProblemAnswer, internal};
use super::body::{self, BodyError, EVENT_BYTES_MAX};
use crate::Origin;
use crate::telemetry::Chain;

/// A request that the edge signed.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    delivery: DeliveryId,
    subject: Option<UserId>,
    body: Bytes,
    received_at: Timestamp,
}

impl Hop {
    /// The id that follows this call into the logs, the inbox and the ledger.
    pub(crate) const fn delivery(&self) -> DeliveryId {
        self.delivery
    }

    /// The user whose session the edge verified; `None` for a provider's call.
    pub(crate) const fn subject(&self) -> Option<&UserId> {
        self.subject.as_ref()
    }

    /// The body that was signed.
    pub(crate) const fn body(&self) -> &Bytes {
        &self.body
    }

    /// When the signature was checked, by the service's clock: the `now` of everything that this request does.
    pub(crate) const fn received_at(&self) -> Timestamp {
        self.received_at
    }
}

/// Why a request is not the edge's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HopError {
    /// A header of the hand-off is missing or is not of its type.
    #[error("header {0} is missing or unusable")]
    Header(&'static str),
    /// The body could not be taken.
    #[error("the body was refused")]
    Body(#[source] BodyError),
    /// The signature, its age or its key is not accepted.
    #[error("the hand-off was refused")]
    Handoff(#[source] HandoffError),
}

impl HopError {
    fn problem(&self) -> Problem {
        let refused = Problem::new(401, "handoff-refused", "The hand-off is not accepted");
        match self {
            Self::Header(name) => refused.detail(format!("Header {name} is missing or unusable.")),
            Self::Body(error) => error.problem(),
            Self::Handoff(HandoffError::UnknownKey) => refused
                .detail("No key of that id is configured here: deploy the origin's HANDOFF_KEY_ID first."),
            Self::Handoff(HandoffError::Stale) => {
                refused.detail("The timestamp is more than 300 s from this clock.")
            }
            Self::Handoff(HandoffError::Mismatch) => {
                refused.detail("The signature does not match: is HANDOFF_KEY the same on both sides?")
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Hop {
    type Rejection = ProblemAnswer;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ProblemAnswer> {
        // Only `check` inserts it. A route outside the middleware gets a refusal, not a default.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            tracing::error!("a route asks for a Hop outside the middleware");
            ProblemAnswer(internal())
        })
    }
}

/// The middleware of the internal routes.
pub(crate) async fn check(State(origin): State<Arc<Origin>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admit(&origin, &parts, body).await {
        Ok(hop) => {
            parts.extensions.insert(hop);
            next.run(Request::from_parts(parts, Body::empty())).await
        }
        Err(error) => {
            tracing::warn!(
                error = %Chain(&error),
                "refused a request at the internal door"
            );
            ProblemAnswer(error.problem()).into_response()
        }
    }
}

async fn admit(origin: &Origin, parts: &Parts, body: Body) -> Result<Hop, HopError> {
    let timestamp = header(&parts.headers, TIMESTAMP_HEADER)?;
    let delivery = header(&parts.headers, DELIVERY_HEADER)?;
    let subject = header(&parts.headers, SUBJECT_HEADER)?;
    let key_id = header(&parts.headers, KEY_ID_HEADER)?;
    let signature = header(&parts.headers, SIGNATURE_HEADER)?;
    let body = body::read(&parts.headers, body, EVENT_BYTES_MAX)
        .await
        .map_err(HopError::Body)?;
    let signed = handoff::Request {
        method: parts.method.as_str(),
        path_and_query: parts.uri.path_and_query().map_or("/", |path| path.as_str()),
        timestamp,
        delivery,
        subject,
        body: &body,
    };
    // The edge signs with its own clock, which nobody can move: a moved one would find every call a year old.
    handoff::verify(
        &origin.config.handoff,
        key_id,
        &signed,
        signature,
        origin.wall.now(),
    )
    .map_err(HopError::Handoff)?;
    let received_at = origin.clock.now();
    let delivery = delivery.parse().map_err(|_| HopError::Header(DELIVERY_HEADER))?;
    let subject = match subject {
        "" => None,
        user => Some(user.parse().map_err(|_| HopError::Header(SUBJECT_HEADER))?),
    };
    Ok(Hop {
        delivery,
        subject,
        body,
        received_at,
    })
}

/// A header that occurs once and is visible ASCII; two of one name could be read as either.
fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, HopError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| HopError::Header(name)),
        _ => Err(HopError::Header(name)),
    }
}
