//! `POST /internal/v1/test-clock`: moves the origin's clock forward, where `TEST_CLOCK=on`.
//!
//! A test of the whole stack → hop → **`test_clock`** → `clock::ShiftedClock`.
//!
//! Invariant: the route exists only with the setting, and then only behind the hop. The clock never goes back, as
//! leases and ids would. Not here: the edge's and the sandbox's clocks.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use super::answer::{ProblemAnswer, internal, json};
use super::body::{self, CALL_BYTES_MAX};
use super::hop::Hop;
use crate::Origin;
use crate::clock::Clock as _;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advance {
    advance_seconds: u32,
}

#[derive(Serialize)]
struct Answer {
    now: String,
}

/// The route.
pub(super) async fn post(State(origin): State<Arc<Origin>>, hop: Hop, headers: HeaderMap) -> Response {
    let advance: Advance = match body::parse(&headers, hop.body(), CALL_BYTES_MAX) {
        Ok(advance) => advance,
        Err(error) => return ProblemAnswer(error.problem()).into_response(),
    };
    let Some(clock) = &origin.test_clock else {
        return ProblemAnswer(internal()).into_response();
    };
    clock.advance(Duration::from_secs(u64::from(advance.advance_seconds)));
    json(
        StatusCode::OK,
        &Answer {
            now: clock.now().to_string(),
        },
    )
}
