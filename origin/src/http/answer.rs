//! Rendering: JSON and problem documents as HTTP answers.
//!
//! Every route ends here; the match from an error to its problem stands beside the error (one a boundary).
//!
//! Invariant (DESIGN.md, 8): a body is a typed answer or a `Problem`, which is made of words written for the
//! client. Not here: statuses of success (each route states its own).

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use tollgate_shared::problem::{self, Problem};

/// The member of a problem that its header `Retry-After` repeats.
pub(crate) const RETRY_AFTER_SECONDS: &str = "retryAfterSeconds";

/// A problem on its way to the client.
#[derive(Debug)]
pub(crate) struct ProblemAnswer(pub(crate) Problem);

impl IntoResponse for ProblemAnswer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = (status, [(CONTENT_TYPE, problem::CONTENT_TYPE)], self.0.to_json()).into_response();
        let later = self.0.extensions.get(RETRY_AFTER_SECONDS).and_then(Value::as_u64);
        let later = later.or_else(|| (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1));
        if let Some(seconds) = later {
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        not_cached(answer)
    }
}

/// A typed answer as JSON.
pub(crate) fn json<T: Serialize>(status: StatusCode, answer: &T) -> Response {
    // Types of strings, numbers and maps of strings always serialise.
    let body = serde_json::to_vec(answer).unwrap_or_default();
    not_cached((status, [(CONTENT_TYPE, "application/json")], body).into_response())
}

fn not_cached(mut answer: Response) -> Response {
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The database is not there, or too slow: the edge keeps the event and tries again.
pub(crate) fn unavailable() -> Problem {
    Problem::new(503, "unavailable", "The service cannot answer right now").detail("Try again in a moment.")
}

/// The user's id cannot name a company of their own, and nobody put the user into one: tokens have nowhere to be.
pub(crate) fn no_company() -> Problem {
    Problem::new(409, "no-company", "The user is in no company")
        .detail("Put the user into one with `tollgate company put`.")
}

/// Our own fault: the log has the chain, the client has the delivery id to quote.
pub(crate) fn internal() -> Problem {
    Problem::new(500, "internal", "Something went wrong here")
        .detail("Quote the delivery id; the log has the reason.")
}
