//! The calls of the token system's stored functions.
//!
//! http, cli, work → **these calls** (typed in, typed out) → `migrations/functions/deduct_tokens_*.sql`, `token_*.sql`.
//!
//! Invariant: nothing else writes tokens; `tollgate_app` has no DML on their tables. Every call that writes names its
//! effect by an idempotency key, so running a transaction again (`run_tx`, a client's retry) never charges twice.
//! A refusal of a deduction or reservation is part of its [`Outcome`] or [`Record`]; commit it, since a refusal for lack of
//! balance is recorded and final for its key. The other calls refuse by [`TokenError::Refused`], which aborts.
//! Not here: shapes of ids (`domain::tokens`), gathering of concurrent requests into batches, HTTP.

mod rows;
#[cfg(test)]
mod tests;

use serde_json::Value;
use tokio_postgres::types::Json;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

pub(crate) use self::rows::Revocation;
pub use self::rows::{Balance, Outcome, Record, RecordStatus, Taken};
use super::sqlstate::TokenRefusal;
use super::tx::Params;
use super::{DbError, Instant, Retry, Tx};
pub use crate::domain::tokens::{ArticleId, BucketKind, CompanyId, TokenAmount, TokenKey};
use crate::entropy;

/// Requests in one batch at most, as `deduct_tokens_batch` accepts them.
pub const BATCH_MAX: usize = 5_000;
/// Records on one page of a history at most.
pub const PAGE_MAX: i32 = 500;

/// Why a call did nothing.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The function said no.
    #[error("tokens refused ({}): {detail}", .refusal.code())]
    Refused {
        /// The reason.
        refusal: TokenRefusal,
        /// The field that differs, for a reused key.
        field: Option<String>,
        /// The figures, for a person.
        detail: String,
    },
    /// The database did not do its work.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl TokenError {
    /// The reason, if it was the function that said no.
    #[must_use]
    pub fn refusal(&self) -> Option<TokenRefusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            Self::Db(_) => None,
        }
    }
}

impl Retry for TokenError {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Refused { .. } => false,
            Self::Db(error) => error.is_conflict(),
        }
    }
}

/// One deduction asked for, or the deduction that a reservation is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Deduction {
    /// Names the effect.
    pub key: TokenKey,
    /// Whose tokens.
    pub company: CompanyId,
    /// What they are spent on.
    pub article: ArticleId,
    /// How many.
    pub amount: TokenAmount,
    /// An object, kept with the record; not compared with that of a repeat.
    pub metadata: Option<Value>,
}

/// Tokens given to a company.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// Names the effect; of a payment's tokens, its settlement.
    pub key: TokenKey,
    /// To whom; opened if it is not there.
    pub company: CompanyId,
    /// Into what kind of bucket.
    pub kind: BucketKind,
    /// How many.
    pub amount: TokenAmount,
    /// Lower is spent first among buckets that expire.
    pub priority: i16,
    /// `None` for purchased tokens, and only for them.
    pub expires_at: Option<Timestamp>,
}

/// What a plan gives a company.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenPlan {
    /// The plan, for people.
    pub plan: Option<String>,
    /// Tokens a period; zero ends the grants.
    pub monthly_quota: i64,
    /// Unused monthly tokens carried over into the next period at most.
    pub rollover_max: i64,
    /// What becomes of a compensated share whose bucket has expired: 0, it expires; n, it is promotional for n days.
    pub expired_share_days: i32,
    /// Start of the first period.
    pub period_anchor: Option<Timestamp>,
}

const DEDUCT: &str = "\
-- deduct_tokens_atomic
select tollgate.deduct_tokens_atomic($1, $2, $3, $4, $5, $6, $7)";

/// One deduction. A twin of the key that another single call has not committed yet is answered with
/// [`TokenRefusal::DeductionInProgress`].
pub async fn deduct(tx: &Tx, deduction: &Deduction, now: Timestamp) -> Result<Outcome, TokenError> {
    let id = new_id(now)?;
    let params: Params<'_> = &[
        /* p_idempotency_key */ &deduction.key.as_str(),
        /* p_company_id */ &deduction.company.as_str(),
        /* p_article_id */ &deduction.article.as_str(),
        /* p_amount */ &deduction.amount.get(),
        /* p_metadata */ &deduction.metadata,
        /* p_record_id */ &id,
        /* p_now */ &Instant(now),
    ];
    json::<rows::OutcomeRow>(tx, DEDUCT, params)
        .await?
        .try_into()
        .map_err(TokenError::Db)
}

const DEDUCT_BATCH: &str = "\
-- deduct_tokens_batch
select record_id, success, idempotent, status, balance_before, balance_after,
    taken_monthly, taken_promotional, taken_purchased, error_code, error_field
from tollgate.deduct_tokens_batch($1, $2, $3, $4, $5, $6, $7)
order by request";

/// Many deductions in one go, as if they came one after another; an outcome each, in their order.
pub async fn deduct_batch(
    tx: &Tx,
    deductions: &[Deduction],
    now: Timestamp,
) -> Result<Vec<Outcome>, TokenError> {
    let ids = deductions
        .iter()
        .map(|_| new_id(now))
        .collect::<Result<Vec<_>, _>>()?;
    let texts = |of: fn(&Deduction) -> &str| deductions.iter().map(of).collect::<Vec<_>>();
    let amounts: Vec<i64> = deductions.iter().map(|one| one.amount.get()).collect();
    let metadata: Vec<Option<&Value>> = deductions.iter().map(|one| one.metadata.as_ref()).collect();
    let params: Params<'_> = &[
        /* p_idempotency_keys */ &texts(|one| one.key.as_str()),
        /* p_company_ids */ &texts(|one| one.company.as_str()),
        /* p_article_ids */ &texts(|one| one.article.as_str()),
        /* p_amounts */ &amounts,
        /* p_metadata */ &metadata,
        /* p_record_ids */ &ids,
        /* p_now */ &Instant(now),
    ];
    let rows = tx.query(DEDUCT_BATCH, params).await.map_err(refused)?;
    rows.iter()
        .map(|row| rows::read_outcome(row).map_err(TokenError::Db))
        .collect()
}

const RESERVE: &str = "\
-- token_reserve
select tollgate.token_reserve($1, $2, $3, $4, $5, $6, $7, $8)";

/// Holds tokens until `expires_at`, seven days from now at most, for a job whose cost is not known yet.
pub async fn reserve(
    tx: &Tx,
    deduction: &Deduction,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<Record, TokenError> {
    let id = new_id(now)?;
    let params: Params<'_> = &[
        /* p_idempotency_key */ &deduction.key.as_str(),
        /* p_company_id */ &deduction.company.as_str(),
        /* p_article_id */ &deduction.article.as_str(),
        /* p_amount */ &deduction.amount.get(),
        /* p_metadata */ &deduction.metadata,
        /* p_expires_at */ &Instant(expires_at),
        /* p_record_id */ &id,
        /* p_now */ &Instant(now),
    ];
    record(tx, RESERVE, params).await
}

const SETTLE: &str = "\
-- token_settle
select tollgate.token_settle($1, $2, $3, $4)";

/// Turns a reservation into a deduction of what the job cost, up to what was reserved.
pub async fn settle(
    tx: &Tx,
    key: &TokenKey,
    company: &CompanyId,
    amount: TokenAmount,
    now: Timestamp,
) -> Result<Record, TokenError> {
    let (key, company, amount) = (key.as_str(), company.as_str(), amount.get());
    record(tx, SETTLE, &[&key, &company, &amount, &Instant(now)]).await
}

const RELEASE: &str = "\
-- token_release
select tollgate.token_release($1, $2, $3, $4)";

/// Gives back what a reservation holds; its record fails for good.
pub async fn release(
    tx: &Tx,
    key: &TokenKey,
    company: &CompanyId,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<Record, TokenError> {
    let (key, company) = (key.as_str(), company.as_str());
    record(tx, RELEASE, &[&key, &company, &reason, &Instant(now)]).await
}

const COMPENSATE: &str = "\
-- token_compensate
select tollgate.token_compensate($1, $2, $3, $4)";

/// Takes a deduction back, once, into the buckets it came from.
pub async fn compensate(
    tx: &Tx,
    key: &TokenKey,
    company: &CompanyId,
    now: Timestamp,
) -> Result<Record, TokenError> {
    let (key, company, id) = (key.as_str(), company.as_str(), new_id(now)?);
    record(tx, COMPENSATE, &[&key, &company, &id, &Instant(now)]).await
}

const GRANT: &str = "\
-- token_grant
select (tollgate.token_grant($1, $2, $3, $4, $5, $6, $7, $8) -> 'idempotent')::boolean";

/// Gives tokens, once per key; true if they were given before this call.
pub async fn grant(tx: &Tx, grant: &Grant, now: Timestamp) -> Result<bool, TokenError> {
    let params: Params<'_> = &[
        /* p_idempotency_key */ &grant.key.as_str(),
        /* p_company_id */ &grant.company.as_str(),
        /* p_kind */ &grant.kind.code(),
        /* p_amount */ &grant.amount.get(),
        /* p_priority */ &grant.priority,
        /* p_expires_at */ &grant.expires_at.map(Instant),
        /* p_bucket_id */ &new_id(now)?,
        /* p_now */ &Instant(now),
    ];
    let row = tx.query_one(GRANT, params).await.map_err(refused)?;
    Ok(row.try_get(0).map_err(DbError::from)?)
}

const REVOKE_GRANT: &str = "\
-- token_revoke_grant
select tollgate.token_revoke_grant($1, $2, $3)";

/// Takes back what is left of purchased tokens whose purchase was paid back, once; `None` where nothing was given.
pub(crate) async fn revoke_grant(
    tx: &Tx,
    key: &TokenKey,
    now: Timestamp,
) -> Result<Option<Revocation>, TokenError> {
    let (key, id) = (key.as_str(), new_id(now)?);
    let row = tx.query_one(REVOKE_GRANT, &[&key, &id, &Instant(now)]).await;
    let found: Option<Json<_>> = row.map_err(refused)?.try_get(0).map_err(DbError::from)?;
    Ok(found.map(|Json(revocation)| revocation))
}

const PLAN_SET: &str = "\
-- token_plan_set
select tollgate.token_plan_set($1, $2, $3, $4, $5, $6, $7)";

/// Sets what a company's plan gives it.
pub async fn set_plan(
    tx: &Tx,
    company: &CompanyId,
    plan: &TokenPlan,
    now: Timestamp,
) -> Result<(), TokenError> {
    let params: Params<'_> = &[
        /* p_company_id */ &company.as_str(),
        /* p_plan_id */ &plan.plan,
        /* p_monthly_quota */ &plan.monthly_quota,
        /* p_rollover_max */ &plan.rollover_max,
        /* p_expired_share_days */ &plan.expired_share_days,
        /* p_period_anchor */ &plan.period_anchor.map(Instant),
        /* p_now */ &Instant(now),
    ];
    tx.execute(PLAN_SET, params).await.map_err(refused)?;
    Ok(())
}

const EXPIRE_DUE: &str = "\
-- token_expire_due
select tollgate.token_expire_due($1, $2)";

/// The sweep: brings at most `companies_max` companies up to date; none: nothing is left that could be.
pub async fn expire_due(tx: &Tx, companies_max: i32, now: Timestamp) -> Result<i32, TokenError> {
    let row = tx
        .query_one(EXPIRE_DUE, &[&Instant(now), &companies_max])
        .await
        .map_err(refused)?;
    Ok(row.try_get(0).map_err(DbError::from)?)
}

const BALANCE: &str = "\
-- token_balance
select tollgate.token_balance($1, $2)";

/// What a company has and can spend; applies what is due first.
pub async fn balance(tx: &Tx, company: &CompanyId, now: Timestamp) -> Result<Balance, TokenError> {
    json(tx, BALANCE, &[&company.as_str(), &Instant(now)]).await
}

const BALANCE_AT: &str = "\
-- token_balance_at
select tollgate.token_balance_at($1, $2, $3)";

/// What a company had at a past instant, by the books; reservations are not seen.
pub async fn balance_at(
    tx: &Tx,
    company: &CompanyId,
    at: Timestamp,
    now: Timestamp,
) -> Result<Balance, TokenError> {
    json(tx, BALANCE_AT, &[&company.as_str(), &Instant(at), &Instant(now)]).await
}

const HISTORY: &str = "\
-- token_history
select tollgate.token_history($1, $2, $3, $4)";

/// A page of a company's records, newest first; the next page comes before the last record of this one.
pub async fn history(
    tx: &Tx,
    company: &CompanyId,
    before: Option<(Timestamp, Uuid)>,
    limit: i32,
) -> Result<Vec<Record>, TokenError> {
    let (at, id) = before.unzip();
    let params: Params<'_> = &[&company.as_str(), &at.map(Instant), &id, &limit];
    let rows = tx.query(HISTORY, params).await.map_err(refused)?;
    rows.iter()
        .map(|row| rows::read_record(row.try_get(0).map_err(DbError::from)?).map_err(TokenError::Db))
        .collect()
}

const RECORD_BY_KEY: &str = "\
-- token_record_by_key
select tollgate.token_record_by_key($1, $2)";

/// The record of a key, if it is this company's.
pub async fn record_by_key(
    tx: &Tx,
    key: &TokenKey,
    company: &CompanyId,
) -> Result<Option<Record>, TokenError> {
    let row = tx
        .query_one(RECORD_BY_KEY, &[&key.as_str(), &company.as_str()])
        .await
        .map_err(refused)?;
    let found: Option<Json<rows::RecordRow>> = row.try_get(0).map_err(DbError::from)?;
    found
        .map(|found| rows::read_record(found).map_err(TokenError::Db))
        .transpose()
}

const FAULTS: &str = "\
-- token_faults
select concat_ws(' ', fault, owner, subject, detail) from tollgate.token_faults()";

/// Everything in the token tables that contradicts them or the ledger, a line a fault; reads all of it.
pub async fn faults(tx: &Tx) -> Result<Vec<String>, DbError> {
    let rows = tx.query(FAULTS, &[]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

fn new_id(now: Timestamp) -> Result<Uuid, TokenError> {
    Ok(entropy::uuid_v7(now).map_err(DbError::from)?)
}

async fn record(tx: &Tx, sql: &str, params: Params<'_>) -> Result<Record, TokenError> {
    let row = tx.query_one(sql, params).await.map_err(refused)?;
    rows::read_record(row.try_get(0).map_err(DbError::from)?).map_err(TokenError::Db)
}

async fn json<T>(tx: &Tx, sql: &str, params: Params<'_>) -> Result<T, TokenError>
where
    T: serde::de::DeserializeOwned,
{
    let row = tx.query_one(sql, params).await.map_err(refused)?;
    let Json(value) = row.try_get::<_, Json<T>>(0).map_err(DbError::from)?;
    Ok(value)
}

fn refused(error: DbError) -> TokenError {
    let refusal = error.sqlstate().and_then(TokenRefusal::from_sqlstate);
    match (refusal, error.server()) {
        (Some(refusal), Some(server)) => TokenError::Refused {
            refusal,
            field: server.column().map(str::to_owned),
            detail: server.detail().unwrap_or(server.message()).to_owned(),
        },
        (_, _) => TokenError::Db(error),
    }
}
