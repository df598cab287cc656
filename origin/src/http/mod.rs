//! The origin's HTTP side: routes, and the server that ends gracefully.
//!
//! edge → **http** (hop → parse → call → render) → inbox, checkout, status.
//!
//! Invariants: every route below `/internal/v1/` is behind the hop, also the ones that do not exist; every answer
//! that is not a success is problem+json, 404 and 405 included; a call ends within `CALL_TIME_MAX`, but for the test clock's. A call that is
//! cut off there leaves no transaction open: its connection is closed (`db::tx`), and a repeat is safe.
//! Not here: what a call means.

mod admin;
pub(crate) mod answer;
mod article_report;
mod articles;
mod billing;
mod body;
mod checkout;
mod events;
mod health;
mod hop;
pub(crate) mod metrics;
mod plan_change;
mod service;
mod status;
mod strict;
pub(crate) mod subscriptions;
mod test_clock;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::http::header::ALLOW;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tollgate_shared::problem::Problem;

use self::answer::{ProblemAnswer, unavailable};
use crate::Origin;

/// Longer than the database's statement timeout (10 s) and shorter than any proxy's patience.
const CALL_TIME_MAX: Duration = Duration::from_secs(20);

/// Serves until `stop` ends, then finishes the calls that are under way.
pub async fn serve(
    origin: Arc<Origin>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(origin))
        .with_graceful_shutdown(stop)
        .await
}

fn router(origin: Arc<Origin>) -> Router {
    let internal = Router::new()
        .route("/internal/v1/events", post(events::post).fallback(only_post))
        .route(
            "/internal/v1/payments/checkout",
            post(checkout::post).fallback(only_post),
        )
        .route(
            "/internal/v1/payments/{id}/status",
            get(status::get).fallback(only_get),
        )
        .route(
            "/internal/v1/billing/balance",
            get(billing::balance).fallback(only_get),
        )
        .route(
            "/internal/v1/articles/generate",
            post(articles::generate).fallback(only_post),
        )
        .route(
            "/internal/v1/webhooks/health",
            get(health::webhooks).fallback(only_get),
        )
        .route(
            "/internal/v1/webhooks/stats",
            get(health::stats).fallback(only_get),
        )
        .merge(own_subscriptions())
        .route("/internal/v1/admin/retry", post(admin::retry).fallback(only_post))
        .route(
            "/internal/v1/admin/maintenance",
            post(admin::maintenance).fallback(only_post),
        )
        .route(
            "/internal/v1/admin/users/{user}/subscriptions",
            get(admin::status).fallback(only_get),
        )
        .route("/internal/{*rest}", axum::routing::any(unknown_route))
        .layer(middleware::from_fn_with_state(Arc::clone(&origin), hop::check));
    let service = service::router().route(
        "/api/service/v1/articles/{job}/report",
        post(article_report::post).fallback(only_post),
    );
    let service = counted(service, &origin, CALL_TIME_MAX);
    let timed = Router::new()
        .route("/health/live", get(health::live).fallback(only_get))
        .route("/health/ready", get(health::ready).fallback(only_get))
        .merge(internal)
        .route("/metrics", get(metrics::get).fallback(only_get))
        .fallback(unknown_route)
        .layer(middleware::from_fn_with_state(CALL_TIME_MAX, in_time))
        .merge(service);
    if origin.test_clock.is_none() {
        return timed.with_state(origin);
    }
    let untimed = test_clock::router().layer(middleware::from_fn_with_state(Arc::clone(&origin), hop::check));
    timed.merge(untimed).with_state(origin)
}

/// What a browser does with its user's subscriptions.
fn own_subscriptions() -> Router<Arc<Origin>> {
    Router::new()
        .route(
            "/internal/v1/subscriptions",
            get(subscriptions::list).fallback(only_get),
        )
        .route(
            "/internal/v1/subscriptions/{id}/cancel",
            post(subscriptions::cancel).fallback(only_post),
        )
        .route(
            "/internal/v1/subscriptions/{id}/change-plan",
            post(plan_change::change).fallback(only_post),
        )
        .route(
            "/internal/v1/subscriptions/{id}/change-plan/preview",
            post(plan_change::preview).fallback(only_post),
        )
}

/// The time limit lies within the counting, so that a deduction which is cut off there is counted as our error.
fn counted(routes: Router<Arc<Origin>>, origin: &Arc<Origin>, time_max: Duration) -> Router<Arc<Origin>> {
    let count = middleware::from_fn_with_state(Arc::clone(origin), metrics::count);
    let in_time = middleware::from_fn_with_state(time_max, in_time);
    routes.layer(in_time).layer(count)
}

async fn in_time(State(time_max): State<Duration>, request: Request, next: Next) -> Response {
    let Ok(answer) = tokio::time::timeout(time_max, next.run(request)).await else {
        tracing::error!("a call took longer than {} s and was ended", time_max.as_secs());
        return ProblemAnswer(unavailable()).into_response();
    };
    answer
}

async fn unknown_route(uri: Uri) -> Response {
    tracing::debug!(http.path = uri.path(), "no such route");
    ProblemAnswer(Problem::new(404, "unknown-route", "No such route")).into_response()
}

async fn only_post() -> Response {
    wrong_method("POST")
}

async fn only_get() -> Response {
    wrong_method("GET, HEAD")
}

async fn only_get_post() -> Response {
    wrong_method("GET, HEAD, POST")
}

async fn only_get_put_delete() -> Response {
    wrong_method("GET, HEAD, PUT, DELETE")
}

fn wrong_method(allowed: &'static str) -> Response {
    let problem = Problem::new(405, "method-not-allowed", "The route does not take this method");
    ([(ALLOW, allowed)], ProblemAnswer(problem)).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use axum::Router;
    use axum::response::Response;
    use axum::routing::post;
    use tokio::net::TcpListener;
    use tollgate_shared::time::Timestamp;

    use super::counted;
    use crate::Origin;
    use crate::tests::stage::{config, settings};

    /// The routes never answer, so a limit of a millisecond is always reached.
    #[tokio::test]
    async fn tb_10_a_deduction_that_the_time_limit_cuts_off_counts_as_our_error() {
        let origin = Arc::new(Origin::new(config(&settings())).unwrap());
        let endless = ["tokens/deduct", "tokens/balance"]
            .iter()
            .fold(Router::new(), |routes, path| {
                let path = format!("/api/service/v1/{path}");
                routes.route(&path, post(std::future::pending::<Response>))
            });
        let router = counted(endless, &origin, Duration::from_millis(1)).with_state(Arc::clone(&origin));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/api/service/v1/tokens", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

        let client = reqwest::Client::new();
        for route in ["deduct", "balance"] {
            let answer = client.post(format!("{base}/{route}")).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 503, "{route}");
        }
        let page = origin.metrics.render(None, Timestamp::from_unix_seconds(0));
        assert!(
            page.contains("tollgate_token_deductions_total{result=\"error\"} 1\n"),
            "the deduction, and nothing else: {page}"
        );
    }
}
