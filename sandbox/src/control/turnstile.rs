//! `POST /control/v1/turnstile`: a token as Turnstile's widget gives it to a page.
//!
//! Body `{"hostname"?, "action"?, "ageSeconds"?}` → **`issue`** → `{"token"}`; by default for a checkout on `localhost`, solved now.
//!
//! Invariant: nothing is refused that a widget could give. Not here: checking one (`turnstile`). Failure: 400 naming the member.

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
use crate::clock::machine_now;
use crate::turnstile::Visit;

/// Beyond it every token is long expired.
const AGE_MAX_SECONDS: u32 = 86_400;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    hostname: Option<String>,
    action: Option<String>,
    age_seconds: Option<u32>,
}

/// Gives a token out.
pub(super) async fn issue(
    State(app): State<App>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let wanted: Wanted = read(body)?;
    let age_seconds = wanted.age_seconds.unwrap_or_default();
    if age_seconds > AGE_MAX_SECONDS {
        return Err(Fault::Value {
            member: "ageSeconds",
            expected: "0 to 86400",
        });
    }
    let visit = Visit {
        hostname: wanted.hostname.unwrap_or_else(|| "localhost".to_owned()),
        action: wanted.action.unwrap_or_else(|| "checkout".to_owned()),
        solved_at: before(machine_now(), age_seconds),
    };
    let token = app.world.with(|world| world.visitors.issue(visit));
    Ok(answered(&json!({ "token": token })))
}

fn before(now: Timestamp, seconds: u32) -> Timestamp {
    let age = Duration::from_secs(u64::from(seconds)).as_millis();
    let age_ms = i64::try_from(age).unwrap_or_default();
    Timestamp::from_unix_ms(now.unix_ms().saturating_sub(age_ms))
}
