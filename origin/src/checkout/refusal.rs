//! Why a checkout is refused, and what the page is told.
//!
//! checkout → **refusal** → problem+json with a type of its own a reason.
//!
//! Invariant: the words are for the developer of the page and hold nothing of other users; a refusal by coverage
//! tells when to renew (PM-3, PM-8).

use tollgate_shared::problem::Problem;
use tollgate_shared::time::Timestamp;

use crate::db::{DbError, Retry};
use crate::domain::coverage::Covered;
use crate::http::answer::{internal, no_company, unavailable};
use crate::http::subscriptions;
use crate::subscriptions::{ChangeError, SubscriptionId};

/// Why a checkout is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// The idempotency key stands for another request.
    #[error("the idempotency key was used with another {field}")]
    KeyReused {
        /// The member that differs.
        field: &'static str,
    },
    /// No plan of that id is sold.
    #[error("no such plan")]
    UnknownPlan,
    /// The plan is not of the kind that the route sells.
    #[error("the plan is of the other kind")]
    OtherKind,
    /// The user has paid for it already.
    #[error("the plan is covered")]
    Covered(Covered),
    /// A subscription to the same is not over, though it covers nothing now (PM-8).
    #[error("a subscription to the same is not over")]
    Running(SubscriptionId),
    /// The subscription that is to be replaced cannot be, by this plan.
    #[error("the subscription cannot be replaced")]
    Replace(#[source] ChangeError),
    /// The plan sells tokens, and the user has no company to give them to.
    #[error("the user is in no company")]
    NoCompany,
    /// No provider of that name.
    #[error("no such provider")]
    UnknownProvider,
    /// The provider has no settings here.
    #[error("the provider is not configured")]
    ProviderNotConfigured,
    /// The provider has no such method.
    #[error("no such method")]
    UnknownMethod,
    /// The day of the first charge is missing, superfluous or none that can be chosen: why.
    #[error("the day of the first charge cannot be taken: {0}")]
    FirstChargeOn(&'static str),
    /// The provider does not take such an order.
    #[error("the provider does not take the order: {0}")]
    NotPayable(String),
    /// The order number is taken; another is drawn.
    #[error("the order number is taken")]
    OrderNumberTaken,
    /// The database did not do its work.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Retry for PlaceError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Db(error) if error.is_conflict())
    }
}

impl PlaceError {
    /// Tells a taken order number apart, by the name of the constraint.
    pub(super) fn from_insert(error: DbError) -> Self {
        if error.constraint() == Some("payments_order_key") {
            Self::OrderNumberTaken
        } else {
            Self::Db(error)
        }
    }

    /// A failure of the database is one here, too; any other refusal is told as such.
    pub(super) fn from_replaced(error: ChangeError) -> Self {
        if let ChangeError::Db(error) = error {
            Self::Db(error)
        } else {
            Self::Replace(error)
        }
    }

    /// The answer to the page.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::KeyReused { field } => Problem::new(
                422,
                "idempotency-mismatch",
                "The idempotency key was used for another request",
            )
            .detail(format!(
                "Member {field} differs. Use a new key for a new purchase."
            ))
            .with("field", *field),
            Self::UnknownPlan => Problem::new(404, "unknown-plan", "No such plan"),
            Self::OtherKind => Problem::new(409, "plan-kind", "The plan is not sold by this route")
                .detail("create-payment sells one-time plans, create-subscription sells subscriptions."),
            Self::Covered(covered) => covered_problem(*covered),
            Self::Running(subscription) => Problem::new(
                409,
                "subscription-running",
                "A subscription to the same is not over",
            )
            .detail(
                "It is paused or owed and can be charged again: resume it or have it charged, or cancel it first. \
                 Another plan: once it goes on, ask for its change-plan preview.",
            )
            .with("subscriptionId", subscription.to_string()),
            Self::Replace(refusal) => subscriptions::problem(refusal),
            Self::NoCompany => no_company(),
            Self::UnknownProvider => Problem::new(422, "unknown-provider", "No such provider")
                .detail("provider must be ecpay, payuni or mock.")
                .with("field", "provider"),
            Self::ProviderNotConfigured => Problem::new(
                422,
                "provider-not-configured",
                "The provider is not configured here",
            )
            .with("field", "provider"),
            Self::UnknownMethod => {
                Problem::new(422, "unknown-method", "The provider has no such method").with("field", "method")
            }
            Self::FirstChargeOn(reason) => Problem::new(
                422,
                "first-charge-on",
                "The day of the first charge cannot be taken",
            )
            .detail(*reason)
            .with("field", "firstChargeOn"),
            // Names the provider's field and limit, from `shared`'s checks; no value of ours but the plan's.
            Self::NotPayable(reason) => {
                Problem::new(422, "plan-not-payable", "The provider does not take this plan")
                    .detail(reason.as_str())
            }
            Self::OrderNumberTaken => unavailable(),
            Self::Db(error) if error.is_unavailable() || error.is_conflict() => unavailable(),
            Self::Db(_) => internal(),
        }
    }
}

fn covered_problem(covered: Covered) -> Problem {
    let problem = Problem::new(409, "plan-covered", "The plan is already paid for");
    match covered {
        Covered::Forever => problem.detail("It does not end, so there is nothing to renew."),
        Covered::Until {
            renew_after,
            expires_at,
            renews_itself,
        } => problem
            .detail(renewal_hint(renew_after, renews_itself))
            .with("renewAfter", renew_after.to_string())
            .with("expiresAt", expires_at.to_string()),
    }
}

fn renewal_hint(renew_after: Timestamp, renews_itself: bool) -> String {
    let day = renew_after
        .to_taipei("%Y-%m-%d")
        .unwrap_or_else(|| renew_after.to_string());
    if renews_itself {
        format!(
            "It renews by itself. If that ends, buy it again from {day} (Asia/Taipei). \
             Another plan of the same: ask for the subscription's change-plan preview."
        )
    } else {
        format!("Renew it from {day} (Asia/Taipei); the new period starts when the present one ends.")
    }
}
