//! `GET`, `POST /control/v1/clock`: the sandbox's time, and moving it ahead.
//!
//! Body `{"advanceSeconds": 3600}` → **`advance`** → `{"now", "unixMs"}`; what became due is sent without delay.
//!
//! Invariant: only ahead, at most ten years a call, so no stamp runs backwards.
//! Not here: the clock itself (`crate::clock`). Failure: 400.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::{Fault, answered, read};
use crate::app::App;

const ADVANCE_SECONDS_MAX: u64 = 315_576_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    advance_seconds: u64,
}

/// Tells the time.
pub(super) async fn show(State(app): State<App>) -> Response {
    let now = app.clock.now();
    answered(&json!({ "now": now.to_string(), "unixMs": now.unix_ms() }))
}

/// Moves the clock ahead.
pub(super) async fn advance(
    State(app): State<App>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let wanted: Wanted = read(body)?;
    if wanted.advance_seconds > ADVANCE_SECONDS_MAX {
        return Err(Fault::Value {
            member: "advanceSeconds",
            expected: "at most 315576000 (ten years)",
        });
    }
    app.clock.advance(Duration::from_secs(wanted.advance_seconds));
    app.wake.notify_one();
    Ok(show(State(app)).await)
}
