//! `GET`, `POST /control/v1/clock`: the sandbox's time, and moving it ahead.
//!
//! Body `{"advanceSeconds": 3600}` or `{"toUnixMs": 1798700000000}` → **`advance`** → `{"now", "unixMs", "nextDueUnixMs",
//! "noticesUnderWay"}`. What falls due on the way is played in order, each at its own time, and delivered before the answer (`play`);
//! re-sends that became due go out without delay.
//!
//! Invariant: only ahead, at most ten years a call, so no stamp runs backwards; an instant that has passed is refused.
//! `nextDueUnixMs` is the next charge, retry or held notice, null where there is none: a driver can step from one to
//! the next, and `noticesUnderWay` tells it when this one is over. Not here: the clock itself (`crate::clock`). Failure: 400.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use tollgate_shared::time::Timestamp;

use super::{Fault, answered, read};
use crate::app::App;
use crate::play;

const ADVANCE_SECONDS_MAX: u64 = 315_576_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    advance_seconds: Option<u64>,
    to_unix_ms: Option<i64>,
}

/// Tells the time.
pub(super) async fn show(State(app): State<App>) -> Response {
    let now = app.clock.now();
    let (next_due, under_way) = app
        .world
        .with(|world| (world.next_due(), world.notices_under_way(now)));
    answered(&json!({
        "now": now.to_string(),
        "unixMs": now.unix_ms(),
        "nextDueUnixMs": next_due.map(Timestamp::unix_ms),
        "noticesUnderWay": under_way,
    }))
}

/// Moves the clock ahead.
pub(super) async fn advance(
    State(app): State<App>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let wanted: Wanted = read(body)?;
    let end = end(&wanted, app.clock.now())?;
    play::until(&app, end).await;
    app.wake.notify_one();
    Ok(show(State(app)).await)
}

fn end(wanted: &Wanted, now: Timestamp) -> Result<Timestamp, Fault> {
    let latest = now.plus(Duration::from_secs(ADVANCE_SECONDS_MAX));
    let end = match (wanted.advance_seconds, wanted.to_unix_ms) {
        (Some(seconds), None) => now.plus(Duration::from_secs(seconds)),
        (None, Some(unix_ms)) => Timestamp::from_unix_ms(unix_ms),
        (None, None) | (Some(_), Some(_)) => return Err(ONE_OF_TWO),
    };
    if (now..=latest).contains(&end) {
        Ok(end)
    } else {
        Err(OUT_OF_RANGE)
    }
}

const ONE_OF_TWO: Fault = Fault::Value {
    member: "advanceSeconds",
    expected: "this or toUnixMs, one of the two",
};

const OUT_OF_RANGE: Fault = Fault::Value {
    member: "advanceSeconds, toUnixMs",
    expected: "ahead of the clock by at most 315576000 seconds (ten years)",
};
