//! `/internal/v1/admin/`: what an operator may do by hand (EC-5).
//!
//! edge (which checks `ADMIN_WEBHOOK_TOKEN`) → hop → **these** → audit trail → `crate::subscriptions`, `scheduled_jobs`.
//!
//! The token is checked at the edge, because it must not travel further than it has to; the origin believes the hop, as it
//! does for sessions. Invariant: each call is a row of `admin_actions` before anything else happens, also one that is then
//! refused. A manual retry goes through the same refusals as any other, so it never charges beside an attempt that is
//! under way. Not here: who holds the token.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json as object};
use tollgate_shared::id::UserId;
use tollgate_shared::problem::Problem;

use super::answer::{ProblemAnswer, json};
use super::body::{self, BodyError, CALL_BYTES_MAX};
use super::hop::Hop;
use super::subscriptions::{Listed, of_user, problem};
use crate::Origin;
use crate::db::admin_actions::{self, AdminAction};
use crate::db::{DbError, Tx};
use crate::entropy;
use crate::subscriptions::{self, Asked, ChangeError, SubscriptionId, View};
use crate::telemetry::Chain;
use crate::work::schedule;

/// Whoever holds the token; it is one for all.
const ACTOR: &str = "admin:webhook";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RetryWish {
    subscription_id: String,
}

#[derive(Debug, thiserror::Error)]
enum AdminError {
    #[error("the body was refused")]
    Body(#[from] BodyError),
    #[error("not a user's id")]
    User,
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl From<DbError> for AdminError {
    fn from(error: DbError) -> Self {
        Self::Change(ChangeError::Db(error))
    }
}

impl AdminError {
    fn problem(&self) -> Problem {
        match self {
            Self::Body(error) => error.problem(),
            Self::User => Problem::new(404, "unknown-user", "There is no such user"),
            Self::Change(error) => problem(error),
        }
    }
}

/// `POST /internal/v1/admin/retry`.
pub(super) async fn retry(State(origin): State<Arc<Origin>>, hop: Hop, headers: HeaderMap) -> Response {
    match retried(&origin, &hop, &headers).await {
        Ok(view) => json(StatusCode::OK, &view),
        Err(error) => refused(&hop, &error),
    }
}

async fn retried(origin: &Origin, hop: &Hop, headers: &HeaderMap) -> Result<View, AdminError> {
    let wish: RetryWish = body::parse(headers, hop.body(), CALL_BYTES_MAX)?;
    let subscription: SubscriptionId = wish.subscription_id.parse().map_err(|_| ChangeError::Unknown)?;
    note(origin, hop, "manual_retry", subscription.to_string()).await?;
    let key = &format!("{ACTOR}:{}", hop.delivery());
    let asked = &Asked {
        subscription,
        actor: ACTOR,
        key,
        now: hop.received_at(),
    };
    let retry = |tx: Tx| async move { subscriptions::retry_now(&tx, origin.subscriptions(), asked).await };
    Ok(origin.database.run_tx("admin_retry", retry).await?)
}

/// `GET /internal/v1/admin/users/{user}/subscriptions`.
pub(super) async fn status(
    State(origin): State<Arc<Origin>>,
    Path(user): Path<String>,
    hop: Hop,
) -> Response {
    match seen(&origin, &hop, &user).await {
        Ok(listed) => json(StatusCode::OK, &listed),
        Err(error) => refused(&hop, &error),
    }
}

async fn seen(origin: &Origin, hop: &Hop, user: &str) -> Result<Listed, AdminError> {
    let user: UserId = user.parse().map_err(|_| AdminError::User)?;
    note(origin, hop, "subscription_status", user.to_string()).await?;
    Ok(of_user(origin, &user).await?)
}

/// `POST /internal/v1/admin/maintenance`: the jobs of subscriptions are due now. They are not waited for, because they may
/// take longer than a call.
pub(super) async fn maintenance(State(origin): State<Arc<Origin>>, hop: Hop) -> Response {
    match due_now(&origin, &hop).await {
        Ok(answer) => json(StatusCode::ACCEPTED, &answer),
        Err(error) => refused(&hop, &error),
    }
}

async fn due_now(origin: &Origin, hop: &Hop) -> Result<Value, AdminError> {
    note(origin, hop, "maintenance", String::new()).await?;
    let jobs = schedule::maintenance_now(origin).await?;
    Ok(object!({ "dueNow": jobs }))
}

/// Writes the action down.
async fn note(origin: &Origin, hop: &Hop, action: &'static str, target: String) -> Result<(), DbError> {
    let now = hop.received_at();
    let action = &AdminAction {
        id: entropy::uuid_v7(now)?,
        actor: ACTOR.to_owned(),
        action,
        target,
        details: object!({ "delivery": hop.delivery().to_string() }),
    };
    let insert = |tx: Tx| async move { admin_actions::insert(&tx, action, now).await };
    origin.database.run_tx("admin_action", insert).await
}

fn refused(hop: &Hop, error: &AdminError) -> Response {
    if let AdminError::Change(ChangeError::Db(error)) = error {
        tracing::error!(delivery.id = %hop.delivery(), error = %Chain(error), "an admin's call failed");
    }
    ProblemAnswer(error.problem()).into_response()
}
