//! The control API: what tests and `xtask` do that a customer or a provider's console would.
//!
//! `/control/v1/…` → **`control`** → `App::act`, the clock, the sink, the token issuer.
//!
//! Invariants: every refusal is a 4xx problem document that names what is wrong; an unknown member of a body is
//! refused, so a misspelt option cannot be silently without effect; nothing is changed by a refused call.
//! Not here: what a move means (`trade`). It has no authentication: the sandbox listens on the loopback address.
//! Failure: [`Fault`], one exhaustive match to problem documents.

mod clock;
mod contracts;
mod limits;
mod mails;
mod notices;
mod sessions;
mod sink;
mod tokens;
mod trades;
mod turnstile;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use tollgate_shared::problem::Problem;

use crate::answer;
use crate::app::{ActError, App};

/// Why a control call is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the body is not the JSON that this call takes: {0}")]
    Body(String),
    #[error("the body is too large")]
    TooLarge,
    #[error("{member}: {expected}")]
    Value {
        member: &'static str,
        expected: &'static str,
    },
    #[error("there is no such {0}")]
    Unknown(&'static str),
    #[error(transparent)]
    Act(#[from] ActError),
    #[error("too many names are set up")]
    Full,
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let detail = self.to_string();
        let problem = match self {
            Self::Body(_) | Self::Value { .. } => {
                Problem::new(400, "invalid-request", "The request is not valid")
            }
            Self::TooLarge => Problem::new(413, "too-large", "The body is too large"),
            Self::Unknown(_) | Self::Act(ActError::UnknownTrade) => {
                Problem::new(404, "not-found", "Not found")
            }
            Self::Act(ActError::Refused(_)) => {
                Problem::new(409, "move-refused", "The trade cannot make this move")
            }
            Self::Full => Problem::new(409, "full", "The sandbox is full"),
        };
        answer::problem(&problem.detail(detail))
    }
}

/// All control routes.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/control/v1/sessions", post(sessions::issue))
        .route("/control/v1/turnstile", post(turnstile::issue))
        .route("/control/v1/trades/{provider}/{order}", get(trades::show))
        .route(
            "/control/v1/trades/{provider}/{order}/{action}",
            post(trades::act),
        )
        .route(
            "/control/v1/trades/{provider}/{order}/notices/resend",
            post(notices::resend),
        )
        .route("/control/v1/contracts/{provider}/{order}", get(contracts::show))
        .route(
            "/control/v1/contracts/{provider}/{order}/declines",
            post(contracts::decline).delete(contracts::approve),
        )
        .route(
            "/control/v1/contracts/{provider}/{order}/notices",
            post(contracts::tell).delete(contracts::tell_all),
        )
        .route("/control/v1/tokens/payuni/{name}", get(tokens::show))
        .route(
            "/control/v1/tokens/payuni/{name}/declines",
            post(tokens::decline).delete(tokens::approve),
        )
        .route("/control/v1/tokens/payuni/{name}/answers", post(tokens::answers))
        .route("/control/v1/limits/ecpay", post(limits::set))
        .route("/control/v1/mails", get(mails::list).delete(mails::clear))
        .route("/control/v1/mails/refusals", post(mails::refuse))
        .route("/control/v1/notices", get(notices::list))
        .route("/control/v1/clock", get(clock::show).post(clock::advance))
        .route(
            "/control/v1/sink/{name}",
            get(sink::list).put(sink::set).delete(sink::clear),
        )
        .route("/sink/{name}", post(sink::receive))
}

/// Reads a JSON body; an empty one stands for `{}`.
fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Fault> {
    let body = body.map_err(|_| Fault::TooLarge)?;
    let bytes: &[u8] = if body.is_empty() { b"{}" } else { &body };
    serde_json::from_slice(bytes).map_err(|error| Fault::Body(error.to_string()))
}

/// A successful answer.
fn answered(value: &serde_json::Value) -> Response {
    answer::json(StatusCode::OK, value)
}
