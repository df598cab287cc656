//! Mails: what the SMTP sink accepted, and refusing on demand.
//!
//! `GET /control/v1/mails` → **`list`**: `{"address", "refusing", "mails": [{"receivedAt", "from", "to", "headers", "raw"}]}`,
//! oldest first; `address` is where the sink listens. `DELETE` → **`clear`**.
//! `POST /control/v1/mails/refusals` → **`refuse`**: `{"next": 2, "code": 451}`: the next recipients are refused.
//!
//! Invariant: only codes that mean a refusal, 4xx and 5xx. Not here: SMTP (`mail`). Failure: 400.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Fault, answered, read};
use crate::app::App;
use crate::mail::{Mail, parse_headers};

/// Lists mails.
pub(super) async fn list(State(app): State<App>) -> Response {
    let address = app.mail_address.to_string();
    let view = app.world.with(|world| {
        json!({
            "address": address,
            "refusing": world.mails.refusals(),
            "mails": world.mails.iter().map(view).collect::<Vec<_>>(),
        })
    });
    answered(&view)
}

fn view(mail: &Mail) -> Value {
    json!({
        "receivedAt": mail.received_at.to_string(),
        "from": mail.from,
        "to": mail.to,
        "headers": parse_headers(&mail.raw),
        "raw": mail.raw,
    })
}

/// Forgets every mail and refusal.
pub(super) async fn clear(State(app): State<App>) -> Response {
    app.world.with(|world| world.mails.clear());
    StatusCode::NO_CONTENT.into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    next: u32,
    code: u16,
}

/// Refuses the next recipients.
pub(super) async fn refuse(
    State(app): State<App>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let wanted: Wanted = read(body)?;
    if !(400..600).contains(&wanted.code) {
        return Err(Fault::Value {
            member: "code",
            expected: "400 to 599",
        });
    }
    app.world
        .with(|world| world.mails.refuse_next(wanted.next, wanted.code));
    Ok(StatusCode::NO_CONTENT.into_response())
}
