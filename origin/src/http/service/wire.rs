//! Bodies and answers of the service API, as they stand on the wire.
//!
//! `call` reads the requests, `write` and `read` make the answers of **these types**.
//!
//! Invariant: the names are those of TB-3 and TB-4. A member that is absent from a record is null, never missing, so
//! that a client can tell "none" from "an older version". Instants are RFC 3339 in UTC.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_shared::time::Timestamp;

use crate::db::sqlstate::TokenRefusal;
use crate::db::tokens::{Outcome, Record, RecordStatus};
use crate::http::strict::StrictObject;

/// `deduct` and `reserve`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeductRequest {
    pub(super) idempotency_key: Option<String>,
    pub(super) company_id: String,
    pub(super) article_id: String,
    pub(super) amount: i64,
    pub(super) metadata: Option<StrictObject>,
}

/// `reserve`: a deduction and how long it is held.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReserveRequest {
    pub(super) idempotency_key: Option<String>,
    pub(super) company_id: String,
    pub(super) article_id: String,
    pub(super) amount: i64,
    pub(super) metadata: Option<StrictObject>,
    pub(super) expires_in_seconds: Option<u32>,
}

/// `settle`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SettleRequest {
    pub(super) idempotency_key: Option<String>,
    pub(super) company_id: String,
    pub(super) amount: i64,
}

/// `release`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseRequest {
    pub(super) idempotency_key: Option<String>,
    pub(super) company_id: String,
    pub(super) reason: Option<String>,
}

/// `compensate`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompensateRequest {
    pub(super) idempotency_key: Option<String>,
    pub(super) company_id: String,
}

/// `grant`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantRequest {
    pub(super) idempotency_key: Option<String>,
    pub(super) company_id: String,
    pub(super) kind: Kind,
    pub(super) amount: i64,
    pub(super) priority: Option<i16>,
    pub(super) expires_at: Option<String>,
}

/// Kinds of bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Monthly,
    Promotional,
    Purchased,
}

/// TB-3's object.
#[derive(Debug, Serialize)]
pub(super) struct OutcomeBody {
    success: bool,
    idempotent: bool,
    record_id: Option<String>,
    status: Option<&'static str>,
    balance_before: Option<i64>,
    balance_after: Option<i64>,
    taken_monthly: i64,
    taken_promotional: i64,
    taken_purchased: i64,
    error_code: Option<&'static str>,
    error_field: Option<String>,
}

impl From<&Outcome> for OutcomeBody {
    fn from(outcome: &Outcome) -> Self {
        Self {
            success: outcome.success,
            idempotent: outcome.idempotent,
            record_id: outcome.record_id.map(|id| id.to_string()),
            status: outcome.status.map(status),
            balance_before: outcome.balance_before,
            balance_after: outcome.balance_after,
            taken_monthly: outcome.taken.monthly,
            taken_promotional: outcome.taken.promotional,
            taken_purchased: outcome.taken.purchased,
            error_code: outcome.refusal.map(error_code),
            error_field: outcome.field.clone(),
        }
    }
}

/// A record: TB-3's object and TB-4's columns.
#[derive(Debug, Serialize)]
pub(super) struct RecordBody {
    #[serde(flatten)]
    outcome: OutcomeBody,
    idempotency_key: String,
    company_id: String,
    article_id: String,
    amount: i64,
    reserved_amount: Option<i64>,
    reservation_expires_at: Option<String>,
    retry_count: i32,
    error_message: Option<String>,
    created_at: String,
    completed_at: Option<String>,
    compensated_at: Option<String>,
    metadata: Option<Value>,
}

impl From<&Record> for RecordBody {
    fn from(record: &Record) -> Self {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            outcome: OutcomeBody::from(&record.outcome),
            idempotency_key: record.key.clone(),
            company_id: record.company.clone(),
            article_id: record.article.clone(),
            amount: record.amount,
            reserved_amount: record.reserved_amount,
            reservation_expires_at: text(record.reservation_expires_at),
            retry_count: record.retry_count,
            error_message: record.error_message.clone(),
            created_at: record.created_at.to_string(),
            completed_at: text(record.completed_at),
            compensated_at: text(record.compensated_at),
            metadata: record.metadata.clone(),
        }
    }
}

/// `grant`'s answer.
#[derive(Debug, Serialize)]
pub(super) struct GrantBody {
    pub(super) success: bool,
    pub(super) idempotent: bool,
    pub(super) company_id: String,
    pub(super) kind: &'static str,
    pub(super) amount: i64,
}

/// `balance`'s answer; `reserved` and `available` are null in a past balance, where reservations are not seen.
#[derive(Debug, Serialize)]
pub(super) struct BalanceBody {
    pub(super) company_id: String,
    pub(super) monthly: i64,
    pub(super) promotional: i64,
    pub(super) purchased: i64,
    pub(super) total: i64,
    pub(super) reserved: Option<i64>,
    pub(super) available: Option<i64>,
    pub(super) at: String,
}

/// `history`'s answer: newest first; `next_cursor` is null on the last page.
#[derive(Debug, Serialize)]
pub(super) struct HistoryBody {
    pub(super) records: Vec<RecordBody>,
    pub(super) next_cursor: Option<String>,
}

const fn status(status: RecordStatus) -> &'static str {
    match status {
        RecordStatus::Pending => "pending",
        RecordStatus::Completed => "completed",
        RecordStatus::Failed => "failed",
        RecordStatus::Compensated => "compensated",
    }
}

const fn error_code(refusal: TokenRefusal) -> &'static str {
    match refusal {
        TokenRefusal::InvalidRequest => "InvalidRequest",
        TokenRefusal::CompanyNotFound => "CompanyNotFound",
        TokenRefusal::IdempotencyKeyReused => "IdempotencyKeyReused",
        TokenRefusal::DeductionInProgress => "DeductionInProgress",
        TokenRefusal::InsufficientBalance => "InsufficientBalance",
        TokenRefusal::RecordNotFound => "RecordNotFound",
        TokenRefusal::MoreThanReserved => "MoreThanReserved",
        TokenRefusal::NotReserved => "NotReserved",
        TokenRefusal::NotDeducted => "NotDeducted",
        TokenRefusal::Released => "Released",
    }
}
