//! `/api/service/v1/`: what a team's backend asks of tokens and notices, with a service key.
//!
//! your backend → **service** (key and scope → body → call → render) → `batching`, `db::tokens`, `db::notices`.
//!
//! Members are named as TB-3 and TB-4 name them (`idempotency_key`, `balance_before`), so that the field that a refusal
//! names is the one that was sent. The pages: `origin/SERVICE_API.md`.
//! Invariants: no route does anything before the key's scope is known; every route that moves tokens has an idempotency key;
//! a refusal is problem+json whose type tells which, and whose `result` is what TB-3 answers.
//! Not here: what a call means (`migrations/functions`), when deductions are committed together (`batching`).

mod call;
mod error;
mod preferences;
mod read;
mod wire;
mod write;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get, post};

use super::{only_get, only_get_put_delete, only_post, unknown_route};
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
        .nest("/api/service/v1/tokens", tokens)
        .route("/api/service/v1/users/{user}/notice-preferences", preferences)
}
