//! `/internal/v1/subscriptions/{id}/change-plan`: a browser changes the plan of its own subscription, or looks what it costs.
//!
//! hop (subject) → **these** → `crate::subscriptions::{preview, change_plan}`.
//!
//! Invariants: a user sees and changes only their own; another's is 404, like one that never was. A preview writes nothing and
//! so needs no key; a repeat of a change's key finds the wish. A change that takes a new contract is refused here: it is
//! concluded at checkout, with `replaces`.
//! Not here: the words of refusals (`subscriptions`), the service API's routes (`service::subscriptions`).

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use tollgate_shared::id::{PlanId, UserId};
use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use super::answer::json;
use super::body::{self, CALL_BYTES_MAX};
use super::hop::Hop;
use super::subscriptions::{BrowserError, refused};
use crate::Origin;
use crate::db::Tx;
use crate::subscriptions::{self, Asked, ChangeError, Preview, SubscriptionId, View, WantedPlan};

/// What a preview asks for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PreviewBody {
    /// The other plan.
    pub(super) plan_id: PlanId,
}

/// What a change asks for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ChangeBody {
    /// The other plan.
    pub(super) plan_id: PlanId,
    /// What the preview said is due, where no other amount is to be charged.
    #[serde(default)]
    pub(super) due_minor: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wish {
    plan_id: PlanId,
    #[serde(default)]
    due_minor: Option<i64>,
    idempotency_key: String,
}

/// `POST /internal/v1/subscriptions/{id}/change-plan/preview`.
pub(super) async fn preview(
    State(origin): State<Arc<Origin>>,
    Path(id): Path<String>,
    hop: Hop,
    headers: HeaderMap,
) -> Response {
    match previewed(&origin, &id, &hop, &headers).await {
        Ok(preview) => json(StatusCode::OK, &preview),
        Err(error) => refused(&hop, &error),
    }
}

async fn previewed(
    origin: &Origin,
    id: &str,
    hop: &Hop,
    headers: &HeaderMap,
) -> Result<Preview, BrowserError> {
    let user = hop.subject().ok_or(BrowserError::NoUser)?;
    let wanted: PreviewBody = body::parse(headers, hop.body(), CALL_BYTES_MAX)?;
    let subscription = parse(id)?;
    let (plan, now) = (&wanted.plan_id, hop.received_at());
    let preview = |tx: Tx| async move {
        is_own(&tx, origin, (subscription, user), now).await?;
        subscriptions::preview(&tx, origin.subscriptions(), (subscription, plan), now).await
    };
    Ok(origin.database.run_tx("plan_preview", preview).await?)
}

/// `POST /internal/v1/subscriptions/{id}/change-plan`.
pub(super) async fn change(
    State(origin): State<Arc<Origin>>,
    Path(id): Path<String>,
    hop: Hop,
    headers: HeaderMap,
) -> Response {
    match changed(&origin, &id, &hop, &headers).await {
        Ok(view) => json(StatusCode::OK, &view),
        Err(error) => refused(&hop, &error),
    }
}

async fn changed(origin: &Origin, id: &str, hop: &Hop, headers: &HeaderMap) -> Result<View, BrowserError> {
    let user = hop.subject().ok_or(BrowserError::NoUser)?;
    let wish: Wish = body::parse(headers, hop.body(), CALL_BYTES_MAX)?;
    let subscription = parse(id)?;
    let key = &format!("user:change_plan:{}:{}", wish.plan_id, wish.idempotency_key);
    let asked = &Asked {
        subscription,
        actor: "user",
        key,
        now: hop.received_at(),
    };
    let wanted = WantedPlan {
        plan: &wish.plan_id,
        due_minor: wish.due_minor.map(Minor::new),
    };
    let change = |tx: Tx| async move {
        is_own(&tx, origin, (subscription, user), asked.now).await?;
        subscriptions::change_plan(&tx, origin.subscriptions(), asked, wanted).await
    };
    Ok(origin.database.run_tx("plan_change", change).await?)
}

fn parse(id: &str) -> Result<SubscriptionId, ChangeError> {
    id.parse().map_err(|_| ChangeError::Unknown)
}

async fn is_own(
    tx: &Tx,
    origin: &Origin,
    (subscription, user): (SubscriptionId, &UserId),
    now: Timestamp,
) -> Result<(), ChangeError> {
    let known = subscriptions::view(tx, origin.subscriptions(), subscription, now).await?;
    match known {
        Some(view) if view.user_id == user.as_str() => Ok(()),
        Some(_) | None => Err(ChangeError::Unknown),
    }
}
