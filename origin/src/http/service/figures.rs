//! `GET /api/service/v1/stats/subscriptions`: how the business of subscriptions does (PU-6).
//!
//! your backend → **get** (key with `subscriptions:read`) → `db::subscriptions::figures`.
//!
//! Invariant: counts and sums, nobody's id. Churn is what ended in 30 days, of what had begun before them; where nothing had,
//! it is 0. Not here: figures of webhooks (`http::health`).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Number;
use tollgate_shared::time::Timestamp;

use super::call::admit;
use super::error::ServiceError;
use crate::Origin;
use crate::db::Tx;
use crate::db::subscriptions::figures::{Figures, figures};
use crate::http::answer::json;
use crate::http::health::percent;
use crate::service_keys::Scope;

const WINDOW: Duration = Duration::from_hours(24 * 30);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    at: String,
    active: i64,
    past_due: i64,
    downgraded: i64,
    paused: i64,
    pending: i64,
    held_charges: i64,
    ended_30_days: i64,
    churn_rate_30_days: Number,
    monthly_recurring_revenue: i64,
    currency: &'static str,
}

/// The route.
pub(super) async fn get(
    State(origin): State<Arc<Origin>>,
    request: Request,
) -> Result<Response, ServiceError> {
    admit(&origin, request.headers(), Scope::SubscriptionsRead).await?;
    let now = origin.clock.now();
    let window_ms = i64::try_from(WINDOW.as_millis()).unwrap_or(i64::MAX);
    let since = Timestamp::from_unix_ms(now.unix_ms().saturating_sub(window_ms));
    let read = |tx: Tx| async move { figures(&tx, since).await };
    let figures = origin.database.run_tx("subscription_figures", read).await;
    Ok(json(
        StatusCode::OK,
        &answer(figures.map_err(ServiceError::Db)?, now),
    ))
}

fn answer(figures: Figures, now: Timestamp) -> Answer {
    let churn_rate = if figures.begun_before == 0 {
        Number::from(0)
    } else {
        percent(figures.lost, figures.begun_before)
    };
    Answer {
        at: now.to_string(),
        active: figures.active,
        past_due: figures.past_due,
        downgraded: figures.downgraded,
        paused: figures.paused,
        pending: figures.pending,
        held_charges: figures.held_charges,
        ended_30_days: figures.lost,
        churn_rate_30_days: churn_rate,
        monthly_recurring_revenue: figures.monthly_minor,
        currency: "TWD",
    }
}
