//! `GET /internal/v1/payments/{id}/status`: what the browser polls while the notice is on its way (PM-5).
//!
//! hop → **status** → `db::payments::find_of_user`.
//!
//! Invariant: only the owner sees a payment; another user's is 404, like one that never was, and like an id that
//! is none, so that nothing can be learnt by trying ids.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tollgate_shared::problem::Problem;

use super::answer::{ProblemAnswer, internal, json, unavailable};
use super::hop::Hop;
use crate::Origin;
use crate::db::DbError;
use crate::db::payments::{self, Instructions, StatusView};
use crate::telemetry::Chain;

#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error("the hop names no user")]
    NoUser,
    #[error("no such payment of this user")]
    NotFound,
    #[error(transparent)]
    Db(#[from] DbError),
}

impl StatusError {
    fn problem(&self) -> Problem {
        match self {
            Self::NoUser => Problem::new(401, "session-required", "This call needs a session"),
            Self::NotFound => Problem::new(404, "unknown-payment", "No such payment"),
            Self::Db(error) if error.is_unavailable() => unavailable(),
            Self::Db(_) => internal(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    payment_id: String,
    plan_id: String,
    status: &'static str,
    amount: i64,
    currency: &'static str,
    provider: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_payment_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<Instructions>,
    updated_at: String,
}

/// The route.
pub(super) async fn get(State(origin): State<Arc<Origin>>, hop: Hop, Path(id): Path<String>) -> Response {
    match find(&origin, &hop, &id).await {
        Ok(view) => json(StatusCode::OK, &answer(id, view)),
        Err(error) => {
            if let StatusError::Db(error) = &error {
                let chain = Chain(error);
                tracing::error!(delivery.id = %hop.delivery(), error = %chain, "a payment's status was not read");
            }
            ProblemAnswer(error.problem()).into_response()
        }
    }
}

async fn find(origin: &Origin, hop: &Hop, id: &str) -> Result<StatusView, StatusError> {
    let user = hop.subject().ok_or(StatusError::NoUser)?;
    let id = id.parse().map_err(|_| StatusError::NotFound)?;
    payments::find_of_user(&origin.database, id, user)
        .await?
        .ok_or(StatusError::NotFound)
}

fn answer(id: String, view: StatusView) -> Answer {
    Answer {
        payment_id: id,
        plan_id: view.plan,
        status: view.status.label(),
        amount: view.price.amount_minor.get(),
        currency: view.price.currency.code(),
        provider: view.provider,
        provider_payment_id: view.provider_payment_id,
        message: view.error_message,
        instructions: view.instructions,
        updated_at: view.updated_at.to_string(),
    }
}
