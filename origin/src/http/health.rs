//! Health: alive, ready, and how the webhooks do.
//!
//! `GET /health/live` and `/health/ready` are unsigned, for whoever runs the process;
//! `GET /internal/v1/webhooks/health` and `/stats` are the origin's part of EC-7's answers, asked by the edge.
//!
//! Invariants: live asks nothing of the database (a database outage must not restart the process); ready says
//! every reason why not. Figures are counts, no ids.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::Number;
use tollgate_shared::problem::Problem;
use tollgate_shared::time::Timestamp;

use super::answer::{ProblemAnswer, json, unavailable};
use super::hop::Hop;
use crate::Origin;
use crate::db::inbox::{self, Figures};
use crate::db::migrate::{self, SchemaState};
use crate::db::webhook_stats::{self, Kind};
use crate::telemetry::Chain;

/// EC-7's window.
const WINDOW: Duration = Duration::from_hours(24);

#[derive(Serialize)]
struct Ok {
    status: &'static str,
}

/// `GET /health/live`.
pub(super) async fn live() -> Response {
    json(StatusCode::OK, &Ok { status: "ok" })
}

/// `GET /health/ready`.
pub(super) async fn ready(State(origin): State<Arc<Origin>>) -> Response {
    match not_ready(&origin).await {
        None => json(StatusCode::OK, &Ok { status: "ok" }),
        Some(reason) => {
            let problem = Problem::new(503, "not-ready", "Not ready").detail(reason);
            ProblemAnswer(problem).into_response()
        }
    }
}

async fn not_ready(origin: &Origin) -> Option<&'static str> {
    match migrate::state(&origin.database).await {
        Ok(SchemaState::Current) => None,
        Ok(SchemaState::Behind { .. }) => Some("The database is not migrated: run `tollgate migrate`."),
        Ok(SchemaState::Newer { .. }) => {
            Some("The database was migrated by a newer version: deploy that one.")
        }
        Err(error) => {
            tracing::warn!(
                error = %Chain(&error),
                "the database is not reachable"
            );
            Some("The database is not reachable.")
        }
    }
}

#[derive(Serialize)]
struct Webhooks {
    status: &'static str,
    service: &'static str,
    total_webhooks_24h: i64,
    successful_webhooks_24h: i64,
    failed_webhooks_24h: i64,
    success_rate_24h: Number,
    pending: i64,
    dead: i64,
    disputes_open: i64,
    outbox_dead: i64,
    mail_dead: i64,
}

/// `GET /internal/v1/webhooks/health`.
pub(super) async fn webhooks(State(origin): State<Arc<Origin>>, hop: Hop) -> Response {
    match inbox::figures(&origin.database, window_start(&hop)).await {
        Ok(figures) => json(StatusCode::OK, &answer(figures)),
        Err(error) => {
            tracing::error!(
                error = %Chain(&error),
                "the figures were not read"
            );
            ProblemAnswer(unavailable()).into_response()
        }
    }
}

#[derive(Serialize)]
struct Stats {
    window_hours: u64,
    webhooks: Vec<KindStats>,
}

#[derive(Serialize)]
struct KindStats {
    kind: String,
    total: i64,
    success: i64,
    failed: i64,
    success_rate: Number,
}

/// `GET /internal/v1/webhooks/stats`.
pub(super) async fn stats(State(origin): State<Arc<Origin>>, hop: Hop) -> Response {
    match webhook_stats::by_kind(&origin.database, window_start(&hop)).await {
        Ok(kinds) => {
            let webhooks = kinds.into_iter().map(KindStats::from).collect();
            let window_hours = WINDOW.as_secs() / 3_600;
            json(
                StatusCode::OK,
                &Stats {
                    window_hours,
                    webhooks,
                },
            )
        }
        Err(error) => {
            tracing::error!(error = %Chain(&error), "the figures were not read");
            ProblemAnswer(unavailable()).into_response()
        }
    }
}

impl From<Kind> for KindStats {
    fn from(kind: Kind) -> Self {
        Self {
            kind: format!("{}.{}", kind.source, kind.notice),
            total: kind.total,
            success: kind.success,
            failed: kind.failed,
            success_rate: percent(kind.success, kind.total),
        }
    }
}

fn window_start(hop: &Hop) -> Timestamp {
    let window_ms = i64::try_from(WINDOW.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_unix_ms(hop.received_at().unix_ms().saturating_sub(window_ms))
}

/// Mails that were given up degrade nothing: a customer's address that does not exist is no fault of the service.
fn answer(figures: Figures) -> Webhooks {
    let healthy = figures.failed == 0 && figures.dead == 0 && figures.outbox_dead == 0;
    Webhooks {
        status: if healthy { "ok" } else { "degraded" },
        service: "tollgate-origin",
        total_webhooks_24h: figures.total,
        successful_webhooks_24h: figures.applied,
        failed_webhooks_24h: figures.failed,
        success_rate_24h: percent(figures.applied, figures.total),
        pending: figures.pending,
        dead: figures.dead,
        disputes_open: figures.disputes_open,
        outbox_dead: figures.outbox_dead,
        mail_dead: figures.mail_dead,
    }
}

/// Percent with two decimals, rounded down; 100 where nothing came. Counted in integers, written as a decimal.
pub(super) fn percent(part: i64, whole: i64) -> Number {
    let hundredths = part.saturating_mul(10_000).checked_div(whole).unwrap_or(10_000);
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    text.parse()
        .ok()
        .and_then(Number::from_f64)
        .unwrap_or_else(|| Number::from(hundredths / 100))
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn ec_7_success_rate_is_percent_with_two_decimals() {
        for (part, whole, expected) in [
            (0, 0, "100.0"),
            (1, 1, "100.0"),
            (2, 3, "66.66"),
            (0, 5, "0.0"),
            (9_999, 10_000, "99.99"),
        ] {
            assert_eq!(percent(part, whole).to_string(), expected, "{part}/{whole}");
        }
    }
}
