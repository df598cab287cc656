//! `/internal/v1/subscriptions`: a browser's own subscriptions, and ending one of them (PU-5, PU-6).
//!
//! hop (subject) → **these** → `crate::subscriptions`.
//!
//! Invariants: a user sees and ends only their own; another's is 404, like one that never was. A repeat of a key finds the
//! wish and changes nothing. What the provider has to do is an effect, so the answer does not wait for it.
//! Also here: every refusal of a change as a problem, which the service API and the admin routes share.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use tollgate_shared::id::UserId;
use tollgate_shared::problem::Problem;

use super::answer::{ProblemAnswer, RETRY_AFTER_SECONDS, internal, json, unavailable};
use super::body::{self, BodyError, CALL_BYTES_MAX};
use super::hop::Hop;
use crate::Origin;
use crate::db::{DbError, Tx};
use crate::subscriptions::{self, Asked, CancelWhen, ChangeError, SubscriptionId, View};
use crate::telemetry::Chain;

/// What a user has.
#[derive(Serialize)]
pub(super) struct Listed {
    /// The newest first.
    pub(super) subscriptions: Vec<View>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CancelWish {
    when: When,
    idempotency_key: String,
}

/// When to end, on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum When {
    /// At once.
    Now,
    /// With what is paid for.
    PeriodEnd,
}

impl When {
    /// Part of the fact's key, so that a key used for both is two wishes.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Now => "cancel_now",
            Self::PeriodEnd => "cancel_period_end",
        }
    }
}

impl From<When> for CancelWhen {
    fn from(when: When) -> Self {
        match when {
            When::Now => Self::Now,
            When::PeriodEnd => Self::PeriodEnd,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum BrowserError {
    /// Only the edge's mistake: a browser's call has a subject.
    #[error("the hop names no user")]
    NoUser,
    /// Not JSON, or not this route's.
    #[error("the body was refused")]
    Body(#[from] BodyError),
    /// The rules refuse it.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl From<DbError> for BrowserError {
    fn from(error: DbError) -> Self {
        Self::Change(ChangeError::Db(error))
    }
}

impl BrowserError {
    fn problem(&self) -> Problem {
        match self {
            Self::NoUser => Problem::new(401, "session-required", "This call needs a session"),
            Self::Body(error) => error.problem(),
            Self::Change(error) => problem(error),
        }
    }
}

/// A refusal of a change.
pub(crate) fn problem(error: &ChangeError) -> Problem {
    let conflict = |slug, title: &'static str| Problem::new(409, slug, title);
    match error {
        ChangeError::Unknown => Problem::new(404, "unknown-subscription", "There is no such subscription"),
        ChangeError::NotBegun => conflict("subscription-not-begun", "No charge has come yet"),
        ChangeError::Ending => conflict("subscription-ending", "The subscription is over or about to end"),
        ChangeError::NothingOwed => conflict("nothing-owed", "No charge of the subscription was refused"),
        ChangeError::Owed => conflict("charge-owed", "A refused charge is still owed")
            .detail("Try it again, or change the card, first."),
        ChangeError::Paused => conflict("subscription-paused", "The subscription is paused"),
        ChangeError::NotPaused => conflict("subscription-not-paused", "The subscription is not paused"),
        ChangeError::NotSupported => conflict(
            "not-supported",
            "The provider of this subscription cannot do that",
        ),
        ChangeError::UnderWay => conflict("charge-under-way", "An attempt to charge is under way")
            .detail("Its result decides; ask again when it is known."),
        ChangeError::TooOften { until, now } => {
            let seconds = until.distance(*now).as_secs().max(1);
            Problem::new(429, "too-many-cards", "New cards were told too often")
                .detail("Each is tried at once; wait before the next.")
                .with(RETRY_AFTER_SECONDS, seconds)
        }
        ChangeError::Plan(why) => {
            conflict("plan-not-possible", "The subscription cannot become this plan").detail(*why)
        }
        ChangeError::UnknownPlan => Problem::new(404, "unknown-plan", "No such plan"),
        ChangeError::OnlyByCheckout => conflict("new-contract-needed", "The change takes a new contract")
            .detail("Send the customer to checkout with this planId and replaces: the subscription's id."),
        ChangeError::NotByCheckout(way) => conflict("no-new-contract", "The change takes no new contract")
            .detail("Ask for it at the subscription's change-plan.")
            .with("way", *way),
        ChangeError::OtherDue { due_minor } => conflict("due-changed", "The change costs another amount now")
            .detail("Show the customer a new preview.")
            .with("dueMinor", due_minor.get()),
        ChangeError::Db(error) if error.is_unavailable() => unavailable(),
        ChangeError::Db(_) => internal(),
    }
}

/// `GET /internal/v1/subscriptions`.
pub(super) async fn list(State(origin): State<Arc<Origin>>, hop: Hop) -> Response {
    match listed(&origin, &hop).await {
        Ok(listed) => json(StatusCode::OK, &listed),
        Err(error) => refused(&hop, &error),
    }
}

async fn listed(origin: &Origin, hop: &Hop) -> Result<Listed, BrowserError> {
    let user = hop.subject().ok_or(BrowserError::NoUser)?;
    Ok(of_user(origin, user).await?)
}

/// What a user has, now.
pub(super) async fn of_user(origin: &Origin, user: &UserId) -> Result<Listed, DbError> {
    let now = origin.clock.now();
    let read =
        |tx: Tx| async move { subscriptions::views_of_user(&tx, origin.subscriptions(), user, now).await };
    let subscriptions = origin.database.run_tx("subscriptions_of_user", read).await?;
    Ok(Listed { subscriptions })
}

/// `POST /internal/v1/subscriptions/{id}/cancel`.
pub(super) async fn cancel(
    State(origin): State<Arc<Origin>>,
    Path(id): Path<String>,
    hop: Hop,
    headers: HeaderMap,
) -> Response {
    match canceled(&origin, &id, &hop, &headers).await {
        Ok(view) => json(StatusCode::OK, &view),
        Err(error) => refused(&hop, &error),
    }
}

async fn canceled(origin: &Origin, id: &str, hop: &Hop, headers: &HeaderMap) -> Result<View, BrowserError> {
    let user = hop.subject().ok_or(BrowserError::NoUser)?;
    let wish: CancelWish = body::parse(headers, hop.body(), CALL_BYTES_MAX)?;
    let subscription: SubscriptionId = id.parse().map_err(|_| ChangeError::Unknown)?;
    let key = &format!("user:{}:{}", wish.when.label(), wish.idempotency_key);
    let asked = &Asked {
        subscription,
        actor: "user",
        key,
        now: hop.received_at(),
    };
    let when = CancelWhen::from(wish.when);
    let cancel = |tx: Tx| async move {
        let context = origin.subscriptions();
        let known = subscriptions::view(&tx, context, subscription, asked.now).await?;
        if known.is_none_or(|view| view.user_id != user.as_str()) {
            return Err(ChangeError::Unknown);
        }
        subscriptions::cancel(&tx, context, asked, when).await
    };
    Ok(origin.database.run_tx("subscription_cancel", cancel).await?)
}

/// The answer to a refused call; what is our fault is logged.
pub(super) fn refused(hop: &Hop, error: &BrowserError) -> Response {
    if let BrowserError::Change(ChangeError::Db(error)) = error {
        tracing::error!(delivery.id = %hop.delivery(), error = %Chain(error), "a subscription's call failed");
    }
    ProblemAnswer(error.problem()).into_response()
}
