//! Article jobs, and the pending token records that reconciliation looks at.
//!
//! jobs → **these calls** → `article_jobs`, `token_deduction_records` (read only).
//!
//! Invariant: whoever changes a job has its row locked (`lock`) or made it in the same transaction (`insert`), and
//! locks the company after it, so that two reports never wait for each other in a circle.
//! Not here: what a status means (`domain::jobs`), tokens (`db::tokens`).

use serde_json::Value;
use tokio_postgres::Row;
use tollgate_shared::id::{DeliveryId, UserId};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::tx::Params;
use super::{DbError, Instant, Tx};
use crate::domain::jobs::JobStatus;
use crate::domain::tokens::{ArticleId, CompanyId, TokenKey};

/// A job to be.
#[derive(Debug)]
pub(crate) struct NewJob<'a> {
    /// Also the key of its reservation.
    pub(crate) id: Uuid,
    /// Whose tokens.
    pub(crate) company: &'a CompanyId,
    /// Who asked.
    pub(crate) user: &'a UserId,
    /// The browser's name for this effect.
    pub(crate) key: &'a str,
    /// What the generator gets: an object.
    pub(crate) input: &'a Value,
    /// Tokens held.
    pub(crate) reserved_tokens: i64,
    /// The call that asked.
    pub(crate) delivery: DeliveryId,
}

/// A job as it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Job {
    /// Its id.
    pub(crate) id: Uuid,
    /// Whose tokens.
    pub(crate) company: CompanyId,
    /// Where it stands.
    pub(crate) status: JobStatus,
    /// Tokens held for it.
    pub(crate) reserved_tokens: i64,
    /// Tokens reported.
    pub(crate) used_tokens: Option<i64>,
    /// The key under which they are deducted.
    pub(crate) charge_key: TokenKey,
    /// The article, where it was named.
    pub(crate) article: Option<String>,
    /// Why not, of a job that failed or waits.
    pub(crate) error_message: Option<String>,
    /// Charges refused, each under a key of its own.
    pub(crate) retry_count: i32,
    /// Since when it has its status.
    pub(crate) updated_at: Timestamp,
}

const COLUMNS: &str = "id, company_id, status, reserved_tokens, used_tokens, charge_key, article_id, error_message, retry_count, updated_at";

/// Writes a job; false where the user's key has one already (waiting for a twin that has not committed).
pub(crate) async fn insert(tx: &Tx, job: &NewJob<'_>, now: Timestamp) -> Result<bool, DbError> {
    let sql = "insert into tollgate.article_jobs (id, company_id, user_id, idempotency_key, input, reserved_tokens, \
               charge_key, delivery_id, created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) \
               on conflict (user_id, idempotency_key) do nothing";
    let params: Params<'_> = &[
        /* id */ &job.id,
        /* company_id */ &job.company.as_str(),
        /* user_id */ &job.user.as_str(),
        /* idempotency_key */ &job.key,
        /* input */ &job.input,
        /* reserved_tokens */ &job.reserved_tokens,
        /* charge_key */ &job.id.to_string(),
        /* delivery_id */ &job.delivery.as_uuid(),
        /* now */ &Instant(now),
    ];
    Ok(tx.execute(sql, params).await? == 1)
}

/// The job of a user's key, and the tokens held for it; none where it was made with another input.
///
/// The inputs are compared as the server keeps them: a number that went there and back need not be the same one here.
pub(crate) async fn find_repeated(tx: &Tx, job: &NewJob<'_>) -> Result<Option<(Uuid, i64)>, DbError> {
    let sql = "select id, reserved_tokens from tollgate.article_jobs \
               where user_id = $1 and idempotency_key = $2 and input = $3";
    let params: Params<'_> = &[&job.user.as_str(), &job.key, &job.input];
    let row = tx.query_opt(sql, params).await?;
    row.map(|row| Ok((row.try_get("id")?, row.try_get("reserved_tokens")?)))
        .transpose()
}

/// A job, locked until the transaction ends.
pub(crate) async fn lock(tx: &Tx, id: Uuid) -> Result<Option<Job>, DbError> {
    let sql = format!("select {COLUMNS} from tollgate.article_jobs where id = $1 for update");
    let row = tx.query_opt(&sql, &[&id]).await?;
    row.as_ref().map(read_job).transpose()
}

/// Whether a job waits for its generator's report.
pub(crate) async fn is_generating(tx: &Tx, id: Uuid) -> Result<bool, DbError> {
    let sql = "select from tollgate.article_jobs where id = $1 and status = 'generating'";
    Ok(tx.query_opt(sql, &[&id]).await?.is_some())
}

/// Writes what became of a locked job.
pub(crate) async fn update(tx: &Tx, job: &Job, now: Timestamp) -> Result<(), DbError> {
    let sql = "update tollgate.article_jobs set status = $2, used_tokens = $3, charge_key = $4, article_id = $5, \
               error_message = $6, retry_count = $7, \
               updated_at = case when status = $2 then updated_at else $8 end, \
               completed_at = case when $2 in ('completed', 'failed') then $8::timestamptz end where id = $1";
    let params: Params<'_> = &[
        /* id */ &job.id,
        /* status */ &job.status.label(),
        /* used_tokens */ &job.used_tokens,
        /* charge_key */ &job.charge_key.as_str(),
        /* article_id */ &job.article,
        /* error_message */ &job.error_message,
        /* retry_count */ &job.retry_count,
        /* now */ &Instant(now),
    ];
    tx.execute(sql, params).await?;
    Ok(())
}

/// Jobs whose tokens have not been deducted since `before`, or earlier, after the job `after`.
pub(crate) async fn undecided(
    tx: &Tx,
    before: Timestamp,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>, DbError> {
    let sql = "select id from tollgate.article_jobs where status = 'pending_token_deduction' \
               and updated_at <= $1 and id > $2 order by id limit $3";
    let rows = tx.query(sql, &[&Instant(before), &after, &limit]).await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

/// A pending token record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PendingRecord {
    /// Its id.
    pub(crate) id: Uuid,
    /// Its key.
    pub(crate) key: TokenKey,
    /// Whose.
    pub(crate) company: CompanyId,
    /// For what.
    pub(crate) article: ArticleId,
    /// Tokens reserved.
    pub(crate) reserved_tokens: i64,
    /// The caller's.
    pub(crate) metadata: Option<Value>,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// When its hold ends, or has ended.
    pub(crate) hold_ends_at: Timestamp,
    /// The article job that it belongs to.
    pub(crate) job: Option<Uuid>,
}

/// Records pending since `before`, oldest first, after the one at `after`; not those of jobs that were reported.
pub(crate) async fn pending_records(
    tx: &Tx,
    before: Timestamp,
    after: (Timestamp, Uuid),
    limit: i64,
) -> Result<Vec<PendingRecord>, DbError> {
    let sql = "select record.id, record.idempotency_key, record.company_id, record.article_id, record.amount, \
               record.metadata, record.created_at, reservation.expires_at, job.id as job_id \
               from tollgate.token_deduction_records as record \
               join tollgate.token_reservations as reservation on reservation.record_id = record.id \
               left join tollgate.article_jobs as job on job.charge_key = record.idempotency_key \
               where record.status = 'pending' and record.created_at <= $1 \
               and (record.created_at, record.id) > ($2, $3) and (job.id is null or job.status = 'generating') \
               order by record.created_at, record.id limit $4";
    let (at, id) = after;
    let rows = tx
        .query(sql, &[&Instant(before), &Instant(at), &id, &limit])
        .await?;
    rows.iter().map(read_pending).collect()
}

/// Pending records by what they wait for, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Reservations of work that may still go on.
    pub(crate) held: i64,
    /// Records whose hold has ended, and jobs whose tokens are not deducted.
    pub(crate) undecided: i64,
    /// Since when the oldest of those waits.
    pub(crate) oldest: Option<Timestamp>,
}

/// Counts what is pending at `now`, from the indexes of what is not completed.
pub(crate) async fn waiting(tx: &Tx, now: Timestamp) -> Result<Waiting, DbError> {
    let sql = "select count(*) filter (where since is null) as held, count(since) as undecided, min(since) as oldest \
               from (select case when reservation.expires_at <= $1 then reservation.expires_at end as since \
                     from tollgate.token_deduction_records as record \
                     join tollgate.token_reservations as reservation on reservation.record_id = record.id \
                     where record.status = 'pending' \
                     union all select job.updated_at from tollgate.article_jobs as job \
                     where job.status = 'pending_token_deduction') as waiting";
    let row = tx.query_one(sql, &[&Instant(now)]).await?;
    Ok(Waiting {
        held: row.try_get("held")?,
        undecided: row.try_get("undecided")?,
        oldest: row.try_get::<_, Option<Instant>>("oldest")?.map(|at| at.0),
    })
}

fn read_job(row: &Row) -> Result<Job, DbError> {
    let unreadable = |column| DbError::Unreadable { column };
    let status: &str = row.try_get("status")?;
    let known = JobStatus::ALL.into_iter().find(|known| known.label() == status);
    Ok(Job {
        id: row.try_get("id")?,
        company: read_text(row, "company_id", "article_jobs.company_id")?,
        status: known.ok_or_else(|| unreadable("article_jobs.status"))?,
        reserved_tokens: row.try_get("reserved_tokens")?,
        used_tokens: row.try_get("used_tokens")?,
        charge_key: read_text(row, "charge_key", "article_jobs.charge_key")?,
        article: row.try_get("article_id")?,
        error_message: row.try_get("error_message")?,
        retry_count: row.try_get("retry_count")?,
        updated_at: row.try_get::<_, Instant>("updated_at")?.0,
    })
}

fn read_pending(row: &Row) -> Result<PendingRecord, DbError> {
    Ok(PendingRecord {
        id: row.try_get("id")?,
        key: read_text(row, "idempotency_key", "token_deduction_records.idempotency_key")?,
        company: read_text(row, "company_id", "token_deduction_records.company_id")?,
        article: read_text(row, "article_id", "token_deduction_records.article_id")?,
        reserved_tokens: row.try_get("amount")?,
        metadata: row.try_get("metadata")?,
        created_at: row.try_get::<_, Instant>("created_at")?.0,
        hold_ends_at: row.try_get::<_, Instant>("expires_at")?.0,
        job: row.try_get("job_id")?,
    })
}

fn read_text<T: std::str::FromStr>(row: &Row, name: &str, column: &'static str) -> Result<T, DbError> {
    let text: &str = row.try_get(name)?;
    text.parse().map_err(|_| DbError::Unreadable { column })
}
