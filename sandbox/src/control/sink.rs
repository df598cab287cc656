//! The sink's routes: receiving, listing, setting up, clearing.
//!
//! `POST /sink/{name}` → **`receive`**; `/control/v1/sink/{name}`: GET **`list`**, PUT **`set`**
//! (`{"secret": "whsec_…", "status": 503}`), DELETE **`clear`**.
//!
//! Invariant: names are short and plain, so that they fit a path and a log.
//! Not here: keeping and checking messages (`crate::sink`). Failure: 400 or 413; a body that is not UTF-8 is 400.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tollgate_shared::secret::Secret;

use super::{Fault, answered, read};
use crate::app::App;
use crate::sink::{Manner, Message};

/// What a receiver of signed webhooks looks at.
const HEADERS: [&str; 6] = [
    "content-type",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "tollgate-delivery",
];

fn name(name: String) -> Result<String, Fault> {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if plain && (1..=64).contains(&name.len()) {
        Ok(name)
    } else {
        Err(Fault::Value {
            member: "name",
            expected: "1 to 64 of a-z, 0-9 and -",
        })
    }
}

/// Keeps a message.
pub(super) async fn receive(
    State(app): State<App>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let body = body.map_err(|_| Fault::TooLarge)?;
    let text = String::from_utf8(body.to_vec()).map_err(|_| Fault::Body("not UTF-8".into()))?;
    let kept: BTreeMap<&'static str, String> = HEADERS
        .into_iter()
        .filter_map(|name| Some((name, headers.get(name)?.to_str().ok()?.to_owned())))
        .collect();
    let message = Message {
        name: name(path)?,
        received_at: app.clock.now(),
        headers: kept,
        body: text,
        verified: None,
    };
    let status = app.world.with(|world| world.sink.receive(message));
    Ok(StatusCode::from_u16(status)
        .unwrap_or(StatusCode::NO_CONTENT)
        .into_response())
}

/// Lists messages, oldest first.
pub(super) async fn list(State(app): State<App>, Path(path): Path<String>) -> Result<Response, Fault> {
    let name = name(path)?;
    let messages: Vec<Value> = app
        .world
        .with(|world| world.sink.messages(&name).map(view).collect());
    Ok(answered(&json!({ "messages": messages })))
}

fn view(message: &Message) -> Value {
    json!({
        "receivedAt": message.received_at.to_string(),
        "headers": message.headers,
        "body": message.body,
        "verified": message.verified,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    secret: Option<String>,
    status: Option<u16>,
}

/// Sets how a name receives.
pub(super) async fn set(
    State(app): State<App>,
    Path(path): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let name = name(path)?;
    let options: Options = read(body)?;
    if options.status.is_some_and(|status| !(200..600).contains(&status)) {
        return Err(Fault::Value {
            member: "status",
            expected: "200 to 599",
        });
    }
    let manner = Manner {
        secret: options.secret.map(Secret::new),
        status: options.status,
    };
    let fits = app.world.with(|world| world.sink.set(&name, manner));
    if fits {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Fault::Full)
    }
}

/// Forgets the messages of a name.
pub(super) async fn clear(State(app): State<App>, Path(path): Path<String>) -> Result<Response, Fault> {
    let name = name(path)?;
    app.world.with(|world| world.sink.clear(&name));
    Ok(StatusCode::NO_CONTENT.into_response())
}
