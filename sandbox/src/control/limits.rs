//! `POST /control/v1/limits/ecpay`: how often ECPay may be asked, and being refused on demand.
//!
//! Body `{"callsMax": 5, "windowSeconds": 60, "silenceSeconds": 1800}`, or `{"refuseSeconds": 1800}`: 403 to every
//! server call for so long from now, on the sandbox's clock; 0 ends every silence. → **`set`** → the rule in force.
//!
//! Invariant: members that are absent keep what they were. Not here: counting (`limiter`). Failure: 400.

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
use crate::limiter::CallLimit;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    calls_max: Option<u32>,
    window_seconds: Option<u32>,
    silence_seconds: Option<u32>,
    refuse_seconds: Option<u32>,
}

/// Sets the rule.
pub(super) async fn set(
    State(app): State<App>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let wanted: Wanted = read(body)?;
    let now = app.clock.now();
    let (limit, until) = app.world.with(|world| {
        let old = world.limiter.rule.unwrap_or(app.config.ecpay_call_limit);
        let limit = CallLimit {
            calls_max: wanted.calls_max.unwrap_or(old.calls_max),
            window: wanted.window_seconds.map_or(old.window, seconds),
            silence: wanted.silence_seconds.map_or(old.silence, seconds),
        };
        world.limiter.rule = Some(limit);
        match wanted.refuse_seconds {
            None => {}
            Some(0) => world.limiter.forget(),
            Some(some) => world.limiter.refused_until = Some(now.plus(seconds(some))),
        }
        (limit, world.limiter.refused_until)
    });
    Ok(answered(&json!({
        "callsMax": limit.calls_max,
        "windowSeconds": limit.window.as_secs(),
        "silenceSeconds": limit.silence.as_secs(),
        "refusedUntilUnixMs": until.map(Timestamp::unix_ms),
    })))
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}
