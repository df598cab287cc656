//! Every way in which the service API refuses, and its problem document.
//!
//! `call`, `write`, `read` → **[`ServiceError`]** → one exhaustive match → problem+json.
//!
//! Invariant: a refusal of a token function carries its code in the type, the field that differs in `field`, and, where
//! the function answered rather than raised, the whole TB-3 object in `result`. What Postgres wrote for people stays in
//! the log. Not here: success.

use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tollgate_shared::id::InvalidId;
use tollgate_shared::problem::Problem;

use crate::apply::ApplyError;
use crate::batching::BatchFailure;
use crate::db::DbError;
use crate::db::sqlstate::TokenRefusal;
use crate::db::tokens::TokenError;
use crate::domain::refund::RefundRefusal;
use crate::http::answer::{ProblemAnswer, internal, unavailable};
use crate::http::body::BodyError;
use crate::http::subscriptions::problem as change_problem;
use crate::refunds::RefundError;
use crate::service_keys::KeyError;
use crate::subscriptions::{ChangeError, SettleError};
use crate::telemetry::Chain;

/// Why a call has no answer of success.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    /// The service key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The body.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The query.
    #[error("the query is not the documented one")]
    Query,
    /// No idempotency key.
    #[error("the idempotency key is missing")]
    NoKey,
    /// Two that differ.
    #[error("two idempotency keys")]
    TwoKeys,
    /// A member or parameter is out of its range.
    #[error("{field} must be {rule}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// A token function answered no.
    #[error("refused: {refusal:?}")]
    Refused {
        /// Why.
        refusal: TokenRefusal,
        /// The field that differs.
        field: Option<String>,
        /// TB-3's object, where the function answered one.
        result: Option<Value>,
    },
    /// The hold of the reservation has ended by itself.
    #[error("the reservation has expired")]
    HoldEnded {
        /// The record.
        result: Value,
    },
    /// The batch.
    #[error(transparent)]
    Batch(#[from] BatchFailure),
    /// A subscription is not changed.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// A charge is not ended by hand.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// A refund is not begun.
    #[error(transparent)]
    Refund(#[from] RefundError),
    /// The database.
    #[error(transparent)]
    Db(DbError),
}

impl From<TokenError> for ServiceError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Refused { refusal, field, .. } => Self::Refused {
                refusal,
                field,
                result: None,
            },
            TokenError::Db(error) => Self::Db(error),
        }
    }
}

impl ServiceError {
    /// A member that breaks its type's rule.
    pub(super) fn field(field: &'static str) -> impl Fn(InvalidId) -> Self {
        move |error| Self::Field {
            field,
            rule: error.rule,
        }
    }

    fn problem(self) -> Problem {
        match self {
            Self::Key(error) => error.problem(),
            Self::Body(error) => error.problem(),
            Self::Query => Problem::new(400, "malformed-query", "The query cannot be read")
                .detail("Send the documented parameters, each once."),
            Self::NoKey => Problem::new(400, "idempotency-key-missing", "The idempotency key is missing")
                .detail("Send it in the header Idempotency-Key or in the member idempotency_key; the same one when repeating."),
            Self::TwoKeys => Problem::new(400, "idempotency-key-malformed", "There are two idempotency keys")
                .detail("The header and the member must be the same, and each be there once."),
            Self::Field { field, rule } => invalid(Some(field.to_owned())).detail(format!("{field} must be {rule}.")),
            Self::Refused { refusal, field, result } => with_result(refused(refusal, field), result),
            Self::HoldEnded { result } => {
                let ended = Problem::new(409, "reservation-expired", "The reservation has ended by itself");
                with_result(ended.detail("Settle it late, or release it and reserve with a new key."), Some(result))
            }
            Self::Change(error) => change_problem(&error),
            Self::Settle(error) => settle(&error),
            Self::Refund(error) => refund(&error),
            Self::Batch(BatchFailure::Overloaded) => {
                Problem::new(503, "overloaded", "Too many deductions wait already")
                    .detail("Nothing was recorded. Try again with the same key.")
            }
            Self::Batch(BatchFailure::Unavailable) => unknown_outcome(),
            Self::Db(error) if error.is_passing() => unknown_outcome(),
            Self::Batch(BatchFailure::Internal) | Self::Db(_) => internal(),
        }
    }

    /// Our fault rather than the caller's.
    fn is_ours(&self) -> bool {
        match self {
            Self::Batch(_)
            | Self::Db(_)
            | Self::Key(KeyError::Db(_))
            | Self::Change(ChangeError::Db(_))
            | Self::Settle(SettleError::Db(_) | SettleError::Accept(_) | SettleError::NotApplied(_))
            | Self::Refund(RefundError::Apply(_)) => true,
            Self::Key(_)
            | Self::Body(_)
            | Self::Query
            | Self::NoKey
            | Self::TwoKeys
            | Self::Field { .. }
            | Self::Refused { .. }
            | Self::HoldEnded { .. }
            | Self::Change(_)
            | Self::Settle(_)
            | Self::Refund(_) => false,
        }
    }
}

impl IntoResponse for ServiceError {
    fn into_response(self) -> Response {
        if self.is_ours() {
            tracing::error!(error = %Chain(&self), "a service call failed");
        } else {
            tracing::info!(error = %Chain(&self), "a service call was refused");
        }
        let problem = self.problem();
        let challenge = problem.status == 401;
        let mut answer = ProblemAnswer(problem).into_response();
        if challenge {
            // RFC 9110 §11.6.1: a 401 says how to authenticate.
            let bearer = axum::http::HeaderValue::from_static("Bearer");
            answer
                .headers_mut()
                .insert(axum::http::header::WWW_AUTHENTICATE, bearer);
        }
        answer
    }
}

fn unknown_outcome() -> Problem {
    unavailable().detail("Try again in a moment, with the same key: it tells whether this call was recorded.")
}

fn invalid(field: Option<String>) -> Problem {
    with_field(
        Problem::new(400, "invalid-request", "A member is missing or out of range"),
        field,
    )
}

/// The type of each refusal.
fn refused(refusal: TokenRefusal, field: Option<String>) -> Problem {
    let (status, slug, title, detail) = match refusal {
        TokenRefusal::InvalidRequest => return invalid(field),
        TokenRefusal::CompanyNotFound => (
            404,
            "company-not-found",
            "The company has never had tokens",
            "Grant some first.",
        ),
        TokenRefusal::IdempotencyKeyReused => (
            422,
            "idempotency-key-reused",
            "The idempotency key was used for something else",
            "`field` names the first member that differs. Use a new key for a new operation.",
        ),
        TokenRefusal::DeductionInProgress => (
            409,
            "deduction-in-progress",
            "The key is under way",
            "It belongs to a call that has not ended, or to a reservation that is not settled.",
        ),
        TokenRefusal::InsufficientBalance => (
            402,
            "insufficient-balance",
            "There are not enough tokens",
            "This is final for its key, whatever is granted later. Use a new key for a new attempt.",
        ),
        TokenRefusal::RecordNotFound => (
            404,
            "record-not-found",
            "No record of the company has this key",
            "",
        ),
        TokenRefusal::MoreThanReserved => (422, "more-than-reserved", "That is more than was reserved", ""),
        TokenRefusal::NotReserved => (
            409,
            "not-reserved",
            "Nothing is reserved under this key",
            "It was settled, released or refused, or is no reservation.",
        ),
        TokenRefusal::NotDeducted => (409, "not-deducted", "Nothing was deducted under this key", ""),
        TokenRefusal::Released => (
            409,
            "reservation-released",
            "The reservation of this key was released",
            "This is final for its key.",
        ),
    };
    with_field(Problem::new(status, slug, title).detail(detail), field)
}

/// The refusals of charges that a person ends.
fn settle(error: &SettleError) -> Problem {
    let conflict = |slug, title: &'static str| Problem::new(409, slug, title);
    match error {
        SettleError::Unknown => Problem::new(404, "unknown-charge", "There is no such charge"),
        SettleError::Ended(status) => conflict("charge-ended", "The charge has its result already")
            .with("chargeStatus", status.as_str()),
        SettleError::UnderWay => conflict("charge-under-way", "The charge is still being asked for")
            .detail("Nothing is to be decided while the provider may still answer."),
        SettleError::NeverSent => conflict("charge-never-sent", "The charge was never sent")
            .detail("It cannot have been paid; settle it as failed."),
        SettleError::NumberTaken => conflict(
            "number-taken",
            "Another charge is booked under this number of the provider",
        ),
        SettleError::NoShop => conflict("not-supported", "The shop of this charge is not configured here"),
        SettleError::Db(error) if error.is_passing() => unknown_outcome(),
        SettleError::Accept(_) | SettleError::NotApplied(_) | SettleError::Db(_) => internal(),
    }
}

/// The refusals of refunds.
fn refund(error: &RefundError) -> Problem {
    let conflict = |slug, title: &'static str| Problem::new(409, slug, title);
    match error {
        RefundError::Refused(refusal) => refund_refused(*refusal),
        RefundError::Unknown => Problem::new(404, "unknown-refund", "There is no such refund"),
        RefundError::Ended(_) => conflict("refund-ended", "The refund has ended otherwise"),
        RefundError::Apply(ApplyError::Db(error)) if error.is_passing() => unknown_outcome(),
        RefundError::Apply(_) => internal(),
    }
}

fn refund_refused(refusal: RefundRefusal) -> Problem {
    let conflict = |slug, title: &'static str| Problem::new(409, slug, title);
    match refusal {
        RefundRefusal::UnknownCharge => Problem::new(404, "unknown-charge", "There is no such charge"),
        RefundRefusal::ChargeNotNamed => {
            Problem::new(422, "charge-not-named", "The payment has several charges")
                .detail("Name one by providerPaymentId.")
        }
        RefundRefusal::KeyReused => Problem::new(
            422,
            "idempotency-key-reused",
            "The idempotency key was used for another refund",
        ),
        RefundRefusal::NothingLeft => conflict("nothing-left", "The charge was paid back in full"),
        RefundRefusal::UnderWay => conflict("refund-under-way", "A refund of this charge has not ended"),
        RefundRefusal::NotPositive => invalid(Some("amount".to_owned())).detail("amount must be above zero."),
        RefundRefusal::MoreThanLeft { left_minor } => {
            Problem::new(422, "more-than-left", "That is more than is left of the charge")
                .with("leftAmount", left_minor.get())
        }
    }
}

fn with_field(problem: Problem, field: Option<String>) -> Problem {
    match field {
        Some(field) => problem.with("field", field),
        None => problem,
    }
}

fn with_result(problem: Problem, result: Option<Value>) -> Problem {
    match result {
        Some(result) => problem.with("result", result),
        None => problem,
    }
}
