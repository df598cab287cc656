//! `POST /internal/v1/test-clock/advance`: moves the clock, and returns when nothing is left to do (`TEST_CLOCK=on`).
//!
//! `cargo xtask clock`, a test of the whole stack → hop → **`test_clock`** → `crate::test_clock::advance`.
//!
//! Invariant: the route exists only with the setting, and then only behind the hop. It is the one call without a limit of
//! time: a year may take minutes, and the steps bound it. Not here: what happens on the way.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_shared::problem::Problem;
use tollgate_shared::time::Timestamp;

use super::answer::{ProblemAnswer, internal, json, unavailable};
use super::body::{self, BodyError, CALL_BYTES_MAX};
use super::hop::Hop;
use super::only_post;
use crate::Origin;
use crate::telemetry::Chain;
use crate::test_clock::{AdvanceError, Advanced, Target, advance};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wish {
    advance_seconds: Option<u32>,
    to: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum ClockError {
    #[error("the body was refused")]
    Body(#[from] BodyError),
    #[error("not one of advanceSeconds and to")]
    OneOfTwo,
    #[error("to is no instant")]
    NoInstant,
    #[error("the service has no test clock")]
    NoClock,
    #[error("the clock was not moved to the end")]
    Advance(#[from] AdvanceError),
}

impl ClockError {
    fn problem(&self) -> Problem {
        let invalid = || Problem::new(400, "invalid-request", "A member is missing or out of range");
        let stopped = || Problem::new(409, "clock-stopped", "The clock stopped on the way");
        match self {
            Self::Body(error) => error.problem(),
            Self::OneOfTwo => invalid().detail("Send advanceSeconds or to, one of the two."),
            Self::NoInstant => invalid().detail("to must be an instant such as 2027-01-31T16:00:00Z."),
            Self::Advance(AdvanceError::Db(error)) if error.is_unavailable() => unavailable(),
            Self::NoClock | Self::Advance(AdvanceError::Db(_) | AdvanceError::Client(_)) => internal(),
            Self::Advance(error @ (AdvanceError::Passed { .. } | AdvanceError::TooFar)) => {
                invalid().detail(error.to_string())
            }
            Self::Advance(error @ AdvanceError::UnderWay) => {
                Problem::new(409, "clock-under-way", "The clock is being moved").detail(error.to_string())
            }
            Self::Advance(
                error @ (AdvanceError::TooManySteps { .. }
                | AdvanceError::Restless { .. }
                | AdvanceError::Follow(_)),
            ) => stopped().detail(Chain(error).to_string()),
        }
    }
}

#[derive(Serialize)]
struct Answer {
    now: String,
    steps: u32,
    ran: Value,
}

/// The route, behind the hop; without the limit of time that the others have.
pub(super) fn router() -> Router<Arc<Origin>> {
    Router::new().route(
        "/internal/v1/test-clock/advance",
        post(post_advance).fallback(only_post),
    )
}

async fn post_advance(State(origin): State<Arc<Origin>>, hop: Hop, headers: HeaderMap) -> Response {
    match moved(&origin, &hop, &headers).await {
        Ok(advanced) => json(StatusCode::OK, &answer(advanced)),
        Err(error) => {
            tracing::warn!(delivery.id = %hop.delivery(), error = %Chain(&error), "the clock was not moved to the end");
            ProblemAnswer(error.problem()).into_response()
        }
    }
}

async fn moved(origin: &Origin, hop: &Hop, headers: &HeaderMap) -> Result<Advanced, ClockError> {
    let wish: Wish = body::parse(headers, hop.body(), CALL_BYTES_MAX)?;
    let mover = origin.test_clock.as_ref().ok_or(ClockError::NoClock)?;
    let target = match (wish.advance_seconds, wish.to) {
        (Some(seconds), None) => Target::By(Duration::from_secs(u64::from(seconds))),
        (None, Some(text)) => Target::To(instant(&text).ok_or(ClockError::NoInstant)?),
        (None, None) | (Some(_), Some(_)) => return Err(ClockError::OneOfTwo),
    };
    Ok(advance(origin, mover, target).await?)
}

fn instant(text: &str) -> Option<Timestamp> {
    let instant: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_unix_ms(instant.as_millisecond()))
}

fn answer(advanced: Advanced) -> Answer {
    Answer {
        now: advanced.now.to_string(),
        steps: advanced.steps,
        ran: advanced
            .ran
            .into_iter()
            .map(|(queue, rounds)| (queue.to_owned(), Value::from(rounds)))
            .collect(),
    }
}
