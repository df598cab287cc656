//! `/api/service/v1/`: what a team's backend asks of tokens, subscriptions, refunds and notices, with a service key.
//!
//! your backend → **service** (key and scope → body → call → render) → `batching`, `db::tokens`, `subscriptions`, `refunds`,
//! `db::notices`.
//!
//! Members of the tokens' calls are named as TB-3 and TB-4 name them (`idempotency_key`, `balance_before`), so that the
//! field that a refusal names is the one that was sent; subscriptions and refunds are written as for browsers. The pages: `origin/SERVICE_API.md`.
//! Invariants: no route does anything before the key's scope is known; every route that moves tokens has an idempotency key;
//! a refusal is problem+json whose type tells which, and whose `result` is what TB-3 answers.
//! Not here: what a call means (`migrations/functions`), when deductions are committed together (`batching`).

mod call;
mod error;
mod figures;
mod preferences;
mod read;
mod refunds;
mod subscriptions;
mod wire;
mod write;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get, post};

use super::{only_get, only_get_post, only_get_put_delete, only_post, unknown_route};
use crate::Origin;

/// The routes.
pub(super) fn router() -> Router<Arc<Origin>> {
    let tokens = Router::new()
        .route("/deduct", post(write::deduct).fallback(only_post))
        .route("/reserve", post(write::reserve).fallback(only_post))
        .route("/settle", post(write::settle).fallback(only_post))
        .route("/release", post(write::release).fallback(only_post))
        .route("/compensate", post(write::compensate).fallback(only_post))
        .route("/grant", post(write::grant).fallback(only_post))
        .route("/balance", get(read::balance).fallback(only_get))
        .route("/history", get(read::history).fallback(only_get))
        .route("/records/{key}", get(read::record).fallback(only_get))
        .route("/{*rest}", any(unknown_route));
    let preferences = get(preferences::get)
        .put(preferences::put)
        .delete(preferences::delete)
        .fallback(only_get_put_delete);
    Router::new()
        .merge(of_subscriptions())
        .route(
            "/api/service/v1/payments/{payment}/refunds",
            get(refunds::list).post(refunds::post).fallback(only_get_post),
        )
        .nest("/api/service/v1/tokens", tokens)
        .route("/api/service/v1/users/{user}/notice-preferences", preferences)
}

fn of_subscriptions() -> Router<Arc<Origin>> {
    let one = Router::new()
        .route("/", get(subscriptions::get).fallback(only_get))
        .route("/cancel", post(subscriptions::cancel).fallback(only_post))
        .route("/pause", post(subscriptions::pause).fallback(only_post))
        .route("/resume", post(subscriptions::resume).fallback(only_post))
        .route("/retry", post(subscriptions::retry).fallback(only_post))
        .route(
            "/change-plan",
            post(subscriptions::change_plan).fallback(only_post),
        )
        .route(
            "/change-plan/preview",
            post(subscriptions::preview).fallback(only_post),
        )
        .route(
            "/card-changed",
            post(subscriptions::card_changed).fallback(only_post),
        )
        .route(
            "/charges/{charge}/settle",
            post(subscriptions::settle_charge).fallback(only_post),
        )
        .route("/{*rest}", any(unknown_route));
    Router::new()
        .nest("/api/service/v1/subscriptions/{id}", one)
        .route(
            "/api/service/v1/users/{user}/subscriptions",
            get(subscriptions::list).fallback(only_get),
        )
        .route(
            "/api/service/v1/stats/subscriptions",
            get(figures::get).fallback(only_get),
        )
}
