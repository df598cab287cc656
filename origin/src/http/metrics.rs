//! `GET /metrics` for Prometheus, and the counting of deductions on their way out (TB-10).
//!
//! service routes → **count** → `crate::metrics`; Prometheus → **get** → its page and what waits in the database.
//!
//! Invariants: counting reads a path, a status and what the route says of its deduction, never a body or a caller. A
//! deduction that the time limit cut off counts as our error (`http::counted`); one whose caller went away was not
//! answered and is not counted. The page is open like `/health/*`: it holds numbers only, and the origin listens inside.
//! Failure: without a database the page comes without the gauges.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::Origin;
use crate::db::{Tx, article_jobs};
use crate::metrics::{Ended, Told};
use crate::telemetry::Chain;

/// Sent by `tollgate tokens`: which attempt a call is, from 1.
pub(crate) const ATTEMPT_HEADER: &str = "tollgate-attempt";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page.
pub(super) async fn get(State(origin): State<Arc<Origin>>) -> Response {
    let now = origin.clock.now();
    let read = |tx: Tx| async move { article_jobs::waiting(&tx, now).await };
    let waiting = match origin.database.run_tx("metrics", read).await {
        Ok(waiting) => Some(waiting),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "the metrics come without what waits");
            None
        }
    };
    ([(CONTENT_TYPE, TEXT)], origin.metrics.render(waiting, now)).into_response()
}

/// Counts what moves tokens out of a balance.
pub(super) async fn count(State(origin): State<Arc<Origin>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_deduction = matches!(
        path.strip_prefix("/api/service/v1/"),
        Some("tokens/deduct" | "tokens/settle")
    ) || path.ends_with("/report");
    if !is_deduction {
        return next.run(request).await;
    }
    let is_retry = attempt(request.headers()) > 1;
    let began = origin.clock.now();
    let answer = next.run(request).await;
    let duration_ms = origin.clock.now().unix_ms().saturating_sub(began.unix_ms());
    let by_status = Some(Ended::of_status(answer.status().as_u16()));
    let told = answer.extensions().get::<Told>();
    if let Some(ended) = told.map_or(by_status, |Told(ended)| *ended) {
        let duration_ms = u64::try_from(duration_ms).unwrap_or_default();
        origin.metrics.deduction(ended, duration_ms, is_retry);
    }
    answer
}

fn attempt(headers: &HeaderMap) -> u32 {
    let text = headers.get(ATTEMPT_HEADER).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(1)
}
