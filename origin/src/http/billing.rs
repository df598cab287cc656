//! `GET /internal/v1/billing/balance`: what the session's user may spend (TB-5).
//!
//! hop → **billing** → `company_members`, `token_balance` → the edge → the browser.
//!
//! Invariant: the company is the user's, never a parameter. `promotional` and `reserved` stand beside TB-5's three
//! members, because `total` is all three kinds of bucket, and what a running job holds is part of it.
//! Not here: pages (TB-9 polls this).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tollgate_shared::id::UserId;
use tollgate_shared::problem::Problem;
use tollgate_shared::time::Timestamp;

use super::answer::{ProblemAnswer, internal, json, unavailable};
use super::hop::Hop;
use crate::Origin;
use crate::db::tokens::{self, Balance, TokenError};
use crate::db::{Tx, company_members};
use crate::telemetry::Chain;

#[derive(Debug, thiserror::Error)]
enum BalanceError {
    #[error("the hop names no user")]
    NoUser,
    #[error(transparent)]
    Tokens(#[from] TokenError),
}

impl BalanceError {
    fn problem(&self) -> Problem {
        match self {
            Self::NoUser => Problem::new(401, "session-required", "This call needs a session"),
            Self::Tokens(TokenError::Db(error)) if error.is_passing() => unavailable(),
            Self::Tokens(_) => internal(),
        }
    }
}

#[derive(Serialize)]
struct Answer {
    monthly: i64,
    purchased: i64,
    total: i64,
    promotional: i64,
    reserved: i64,
}

/// The route.
pub(super) async fn balance(State(origin): State<Arc<Origin>>, hop: Hop) -> Response {
    match read(&origin, &hop).await {
        Ok(balance) => json(StatusCode::OK, &answer(balance)),
        Err(error) => {
            if let BalanceError::Tokens(error) = &error {
                tracing::error!(delivery.id = %hop.delivery(), error = %Chain(error), "a balance was not read");
            }
            ProblemAnswer(error.problem()).into_response()
        }
    }
}

async fn read(origin: &Origin, hop: &Hop) -> Result<Balance, BalanceError> {
    let user = hop.subject().ok_or(BalanceError::NoUser)?;
    let now = hop.received_at();
    let balance = |tx: Tx| async move { balance_of(&tx, user, now).await };
    Ok(origin.database.run_tx("billing_balance", balance).await?)
}

async fn balance_of(tx: &Tx, user: &UserId, now: Timestamp) -> Result<Balance, TokenError> {
    match company_members::company_of(tx, user)
        .await
        .map_err(TokenError::Db)?
    {
        Some(company) => tokens::balance(tx, &company, now).await,
        // In no company, so there is nothing to spend: zero, as for a company that never had tokens.
        None => Ok(Balance {
            monthly: 0,
            promotional: 0,
            purchased: 0,
            total: 0,
            reserved: 0,
        }),
    }
}

const fn answer(balance: Balance) -> Answer {
    Answer {
        monthly: balance.monthly,
        purchased: balance.purchased,
        total: balance.total,
        promotional: balance.promotional,
        reserved: balance.reserved,
    }
}
