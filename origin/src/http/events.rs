//! `POST /internal/v1/events`: one provider notice from the edge.
//!
//! hop → **events** (parse the envelope → `inbox::accept` → render) → the edge marks it delivered.
//!
//! Invariant: 2xx means that the event is durable here. 4xx means that no retry can help; everything else is kept
//! by the edge. Not here: anything about money.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tollgate_shared::envelope::{Envelope, EnvelopeError};
use tollgate_shared::problem::Problem;

use super::answer::{ProblemAnswer, json};
use super::body::{BodyError, check_media_type};
use super::hop::Hop;
use crate::Origin;
use crate::inbox::{self, AcceptError, Accepted};
use crate::telemetry::Chain;

/// Why a call of the route is refused.
#[derive(Debug, thiserror::Error)]
enum EventsError {
    #[error("the body was refused")]
    Body(#[source] BodyError),
    #[error("the body is no envelope")]
    Envelope(#[source] EnvelopeError),
    #[error("the event was not accepted")]
    Accept(#[source] AcceptError),
}

impl EventsError {
    fn problem(&self) -> Problem {
        match self {
            Self::Body(error) => error.problem(),
            Self::Envelope(EnvelopeError::Malformed(_) | EnvelopeError::NotBase64) => {
                Problem::new(400, "malformed-body", "The body cannot be read")
                    .detail("It must be an event envelope (shared::envelope).")
            }
            // 503, so that the edge keeps the event until an origin that knows the version is deployed.
            Self::Envelope(EnvelopeError::UnknownVersion(_)) => Problem::new(
                503,
                "unknown-envelope-version",
                "The envelope's version is not known here",
            )
            .detail("Deploy the origin before the edge."),
            Self::Accept(error) => error.problem(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    outcome: &'static str,
    applied: bool,
    event_id: String,
}

/// The route.
pub(super) async fn post(State(origin): State<Arc<Origin>>, hop: Hop, headers: HeaderMap) -> Response {
    match accept(&origin, &hop, &headers).await {
        Ok(accepted) => json(
            StatusCode::OK,
            &Answer {
                outcome: if accepted.repeated { "repeated" } else { "accepted" },
                applied: accepted.applied,
                event_id: accepted.id.to_string(),
            },
        ),
        Err(error) => {
            let (delivery, error_chain) = (hop.delivery(), Chain(&error));
            tracing::warn!(delivery.id = %delivery, error = %error_chain, "event of delivery {delivery} not accepted");
            ProblemAnswer(error.problem()).into_response()
        }
    }
}

async fn accept(origin: &Origin, hop: &Hop, headers: &HeaderMap) -> Result<Accepted, EventsError> {
    check_media_type(headers).map_err(EventsError::Body)?;
    let envelope = Envelope::from_json(hop.body()).map_err(EventsError::Envelope)?;
    inbox::accept(origin, &envelope, hop.delivery(), hop.received_at())
        .await
        .map_err(EventsError::Accept)
}
