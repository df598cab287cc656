//! `POST /control/v1/sessions`: a session token for a test user.
//!
//! Body `{"sub", "email"?, "expiresInSeconds"?, "secret"?, "issuer"?, "audience"?}` → **`issue`** → `{"token", "expiresInSeconds"}`.
//!
//! Invariant: lifetimes lie between a day ago (an expired token is worth testing) and thirty days ahead.
//! Not here: the token's form (`session`). Failure: 400 naming the member.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use tollgate_shared::secret::Secret;

use super::{Fault, answered, read};
use crate::app::App;
use crate::clock::machine_now;
use crate::session::{Claims, issue as token};

const EXPIRES_IN_SECONDS: i64 = 3600;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Wanted {
    sub: String,
    email: Option<String>,
    expires_in_seconds: Option<i64>,
    secret: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
}

/// Issues a token.
pub(super) async fn issue(
    State(app): State<App>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let wanted: Wanted = read(body)?;
    if !(1..=255).contains(&wanted.sub.len()) {
        return Err(Fault::Value {
            member: "sub",
            expected: "1 to 255 bytes",
        });
    }
    let expires_in_seconds = wanted.expires_in_seconds.unwrap_or(EXPIRES_IN_SECONDS);
    if !(-86_400..=2_592_000).contains(&expires_in_seconds) {
        return Err(Fault::Value {
            member: "expiresInSeconds",
            expected: "-86400 to 2592000",
        });
    }
    let secret = wanted
        .secret
        .map_or_else(|| app.config.session_secret.clone(), Secret::new);
    let claims = Claims {
        subject: &wanted.sub,
        email: wanted.email.as_deref(),
        issuer: wanted.issuer.as_deref().or(app.config.session_issuer.as_deref()),
        audience: wanted.audience.as_deref().unwrap_or(&app.config.session_audience),
        expires_in_seconds,
    };
    let token = token(&secret, &claims, machine_now());
    Ok(answered(
        &json!({ "token": token, "expiresInSeconds": expires_in_seconds }),
    ))
}
