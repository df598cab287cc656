//! What the token functions answer, read into types.
//!
//! `deduct_tokens_*`, `token_*` → **[`Outcome`], [`Record`], [`Balance`]** → the caller.
//!
//! Invariant: a field that this version does not know is ignored, one that it cannot read is an error and never a default:
//! an answer about tokens is right or absent. Failure: [`DbError::Unreadable`] names what.

use serde::Deserialize;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use crate::db::DbError;
use crate::db::sqlstate::TokenRefusal;

/// Where a deduction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordStatus {
    /// Reserved, or its reservation has expired and nobody has decided yet.
    Pending,
    /// Deducted.
    Completed,
    /// Refused or released; nothing was deducted, for good.
    Failed,
    /// Deducted and taken back.
    Compensated,
}

/// From which kinds of bucket tokens were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Of the quota.
    pub monthly: i64,
    /// Of gifts.
    pub promotional: i64,
    /// Of what was bought.
    pub purchased: i64,
}

/// What became of one deduction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The record; none where nothing is recorded under the key for this request.
    pub record_id: Option<Uuid>,
    /// The tokens are deducted, by this call or the first.
    pub success: bool,
    /// The key had this result before the call.
    pub idempotent: bool,
    /// Of the record.
    pub status: Option<RecordStatus>,
    /// What could be spent before, when the record was made.
    pub balance_before: Option<i64>,
    /// What could be spent after.
    pub balance_after: Option<i64>,
    /// Where the tokens came from.
    pub taken: Taken,
    /// Why not, unless `success`.
    pub refusal: Option<TokenRefusal>,
    /// The field that is malformed, or that differs from the first call.
    pub field: Option<String>,
}

/// A deduction record as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What a deduction answers.
    pub outcome: Outcome,
    /// The record.
    pub id: Uuid,
    /// Its key.
    pub key: String,
    /// Whose.
    pub company: String,
    /// Spent on what.
    pub article: String,
    /// Deducted; of a pending record reserved, of a failed one asked for.
    pub amount: i64,
    /// What was reserved, if it began as a reservation.
    pub reserved_amount: Option<i64>,
    /// When the hold ends, or would have ended, by itself.
    pub reservation_expires_at: Option<Timestamp>,
    /// How often settling was tried after the hold had ended.
    pub retry_count: i32,
    /// For people.
    pub error_message: Option<String>,
    /// When the key was first used.
    pub created_at: Timestamp,
    /// When it was decided.
    pub completed_at: Option<Timestamp>,
    /// When it was taken back.
    pub compensated_at: Option<Timestamp>,
    /// The caller's.
    pub metadata: Option<Value>,
}

/// What a company has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Balance {
    /// Of the quota.
    pub monthly: i64,
    /// Of gifts.
    pub promotional: i64,
    /// Of what was bought.
    pub purchased: i64,
    /// All three.
    pub total: i64,
    /// Part of the total that reservations hold; zero in a past balance.
    #[serde(default)]
    pub reserved: i64,
}

impl Balance {
    /// What can be spent now.
    #[must_use]
    pub const fn available(self) -> i64 {
        self.total.saturating_sub(self.reserved)
    }
}

/// What became of a grant that was taken back: the JSON of `token_revoke_grant`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Revocation {
    /// It was taken back before this call.
    pub(crate) idempotent: bool,
    /// Whose tokens they were.
    pub(crate) company_id: String,
    /// All that had been given.
    pub(crate) granted: i64,
    /// Taken back by the call, or by the first one.
    pub(crate) revoked: i64,
    /// What reservations hold now; taken back as they give it back.
    pub(crate) held: i64,
}

impl Revocation {
    /// Tokens that were spent, so that nothing can take them back.
    pub(crate) const fn spent(&self) -> i64 {
        self.granted
            .saturating_sub(self.revoked)
            .saturating_sub(self.held)
    }
}

/// The JSON of `deduct_tokens_atomic`, which `token_answer` extends.
#[derive(Debug, Deserialize)]
pub(super) struct OutcomeRow {
    success: bool,
    idempotent: bool,
    record_id: Option<Uuid>,
    status: Option<RecordStatus>,
    balance_before: Option<i64>,
    balance_after: Option<i64>,
    taken_monthly: i64,
    taken_promotional: i64,
    taken_purchased: i64,
    error_code: Option<String>,
    error_field: Option<String>,
}

/// The JSON of `token_answer`.
#[derive(Debug, Deserialize)]
pub(super) struct RecordRow {
    #[serde(flatten)]
    outcome: OutcomeRow,
    idempotency_key: String,
    company_id: String,
    article_id: String,
    amount: i64,
    reserved_amount: Option<i64>,
    reservation_expires_at_ms: Option<i64>,
    retry_count: i32,
    error_message: Option<String>,
    created_at_ms: i64,
    completed_at_ms: Option<i64>,
    compensated_at_ms: Option<i64>,
    metadata: Option<Value>,
}

impl TryFrom<OutcomeRow> for Outcome {
    type Error = DbError;

    fn try_from(row: OutcomeRow) -> Result<Self, DbError> {
        Ok(Self {
            record_id: row.record_id,
            success: row.success,
            idempotent: row.idempotent,
            status: row.status,
            balance_before: row.balance_before,
            balance_after: row.balance_after,
            taken: Taken {
                monthly: row.taken_monthly,
                promotional: row.taken_promotional,
                purchased: row.taken_purchased,
            },
            refusal: row.error_code.as_deref().map(read_refusal).transpose()?,
            field: row.error_field,
        })
    }
}

pub(super) fn read_record(Json(row): Json<RecordRow>) -> Result<Record, DbError> {
    let outcome = Outcome::try_from(row.outcome)?;
    Ok(Record {
        id: outcome.record_id.ok_or(DbError::Unreadable {
            column: "token_deduction_records.id",
        })?,
        outcome,
        key: row.idempotency_key,
        company: row.company_id,
        article: row.article_id,
        amount: row.amount,
        reserved_amount: row.reserved_amount,
        reservation_expires_at: row.reservation_expires_at_ms.map(Timestamp::from_unix_ms),
        retry_count: row.retry_count,
        error_message: row.error_message,
        created_at: Timestamp::from_unix_ms(row.created_at_ms),
        completed_at: row.completed_at_ms.map(Timestamp::from_unix_ms),
        compensated_at: row.compensated_at_ms.map(Timestamp::from_unix_ms),
        metadata: row.metadata,
    })
}

/// A row of `deduct_tokens_batch`, by position: it is read a thousand times a batch.
pub(super) fn read_outcome(row: &Row) -> Result<Outcome, DbError> {
    let status: Option<&str> = row.try_get(3)?;
    let error_code: Option<&str> = row.try_get(9)?;
    Ok(Outcome {
        record_id: row.try_get(0)?,
        success: row.try_get(1)?,
        idempotent: row.try_get(2)?,
        status: status.map(read_status).transpose()?,
        balance_before: row.try_get(4)?,
        balance_after: row.try_get(5)?,
        taken: Taken {
            monthly: row.try_get(6)?,
            promotional: row.try_get(7)?,
            purchased: row.try_get(8)?,
        },
        refusal: error_code.map(read_refusal).transpose()?,
        field: row.try_get(10)?,
    })
}

fn read_status(status: &str) -> Result<RecordStatus, DbError> {
    match status {
        "pending" => Ok(RecordStatus::Pending),
        "completed" => Ok(RecordStatus::Completed),
        "failed" => Ok(RecordStatus::Failed),
        "compensated" => Ok(RecordStatus::Compensated),
        _ => Err(DbError::Unreadable {
            column: "token_deduction_records.status",
        }),
    }
}

/// By the name of the variant, which is what the functions answer.
fn read_refusal(error_code: &str) -> Result<TokenRefusal, DbError> {
    let named = TokenRefusal::ALL
        .iter()
        .copied()
        .find(|refusal| format!("{refusal:?}") == error_code);
    named.ok_or(DbError::Unreadable {
        column: "deduct_tokens_batch.error_code",
    })
}
