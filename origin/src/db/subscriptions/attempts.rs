//! Attempts to charge: every one is a row, and each period shows its best (PU-4).
//!
//! `subscriptions::note_attempt` → **these statements** → `subscription_payments`, `period_transactions`.
//!
//! Invariants: one attempt of a provider is one row, whoever tells of it; a charge that was paid back stays so, in
//! whatever order that is told. `period_transactions`: a later success of the same period order number updates the row,
//! never the reverse. Not here: which period an attempt is counted to (`domain::subscription::standing`).

use tollgate_shared::id::PaymentId;
use tollgate_shared::provider::DeclineReason;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::count;
use crate::db::{DbError, Instant, Tx};
use crate::subscriptions::SubscriptionId;

/// An attempt, as a notice, a poll or the answer to our own charge tells it.
#[derive(Debug, Clone)]
pub(crate) struct NewAttempt {
    /// Its row's id.
    pub(crate) id: Uuid,
    /// Names it: `paid:<provider number>` or `failed:<event key>`.
    pub(crate) key: String,
    /// The number of the period, where the provider counts periods.
    pub(crate) period_number: Option<u32>,
    /// The provider's number of the period's order.
    pub(crate) period_order_no: Option<String>,
    /// The provider's number of the charge.
    pub(crate) provider_payment_id: Option<String>,
    /// In whole minor units.
    pub(crate) amount_minor: Option<i64>,
    /// `paid`, `failed` or `refunded`.
    pub(crate) status: &'static str,
    /// The provider's code of a refusal.
    pub(crate) error_code: Option<String>,
    /// The provider's words.
    pub(crate) error_message: Option<String>,
    /// Whether trying the same card again is pointless.
    pub(crate) hard: bool,
    /// Why it was refused, in a word for the customer.
    pub(crate) decline_reason: Option<DeclineReason>,
    /// `notice`, `poll` or `charge`.
    pub(crate) found_by: &'static str,
    /// When it happened.
    pub(crate) occurred_at: Timestamp,
    /// How many scheduled retries there are.
    pub(crate) retries_max: i32,
}

/// Writes an attempt, or learns that a known charge was paid back. The first teller's word stays.
pub(crate) async fn upsert(
    tx: &Tx,
    id: SubscriptionId,
    new: &NewAttempt,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "insert into tollgate.subscription_payments as known (id, subscription_id, attempt_key, period_number, \
               period_order_no, provider_payment_id, amount, status, error_code, error_message, hard_decline, \
               found_by, occurred_at, recorded_at, max_retries, decline_reason) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
               on conflict (subscription_id, attempt_key) do update set status = excluded.status \
               where known.status = 'paid' and excluded.status = 'refunded'";
    tx.execute(
        sql,
        &[
            /* id */ &new.id,
            /* subscription_id */ &id.as_uuid(),
            /* attempt_key */ &new.key,
            /* period_number */ &new.period_number.map(count),
            /* period_order_no */ &new.period_order_no,
            /* provider_payment_id */ &new.provider_payment_id,
            /* amount */ &new.amount_minor,
            /* status */ &new.status,
            /* error_code */ &new.error_code,
            /* error_message */ &new.error_message,
            /* hard_decline */ &new.hard,
            /* found_by */ &new.found_by,
            /* occurred_at */ &Instant(new.occurred_at),
            /* recorded_at */ &Instant(now),
            /* max_retries */ &new.retries_max,
            /* decline_reason */ &new.decline_reason.map(DeclineReason::label),
        ],
    )
    .await?;
    Ok(())
}

/// Refusals that may be another telling of the same: of the same day in Taiwan, and of no other period. The rules read them as
/// one (`domain::subscription::facts`).
const SAME_REFUSAL: &str = "known.subscription_id = $1 and known.status = 'failed' \
     and (known.occurred_at at time zone 'Asia/Taipei')::date = ($2::timestamptz at time zone 'Asia/Taipei')::date \
     and (known.period_number is null or $3::integer is null or known.period_number = $3)";

/// Whether a refusal without a number is another telling of one that is known.
pub(crate) async fn is_retold(tx: &Tx, id: SubscriptionId, new: &NewAttempt) -> Result<bool, DbError> {
    let sql = format!("select from tollgate.subscription_payments known where {SAME_REFUSAL} limit 1");
    let (at, period) = (Instant(new.occurred_at), new.period_number.map(count));
    let known = tx.query_opt(&sql, &[&id.as_uuid(), &at, &period]).await?;
    Ok(known.is_some())
}

/// A refusal that was known without its number, and is told with it now: the row becomes that of this telling, so that
/// either order leaves the same. `false` where there is none.
pub(crate) async fn take_number(tx: &Tx, id: SubscriptionId, new: &NewAttempt) -> Result<bool, DbError> {
    let sql = format!(
        "update tollgate.subscription_payments attempt set attempt_key = $4, period_number = coalesce($3, attempt.period_number), \
         period_order_no = coalesce($5, attempt.period_order_no), provider_payment_id = $6, \
         amount = coalesce($7, attempt.amount), error_code = $8, error_message = $9, hard_decline = $10, \
         found_by = $11, occurred_at = $2, decline_reason = $12 \
         where attempt.id = (select known.id from tollgate.subscription_payments known where {SAME_REFUSAL} \
             and known.provider_payment_id is null order by known.occurred_at, known.attempt_key limit 1) \
         and not exists (select from tollgate.subscription_payments same \
             where same.subscription_id = $1 and same.attempt_key = $4)"
    );
    let taken = tx
        .execute(
            &sql,
            &[
                &id.as_uuid(),
                /* occurred_at */ &Instant(new.occurred_at),
                /* period_number */ &new.period_number.map(count),
                /* attempt_key */ &new.key,
                /* period_order_no */ &new.period_order_no,
                /* provider_payment_id */ &new.provider_payment_id,
                /* amount */ &new.amount_minor,
                /* error_code */ &new.error_code,
                /* error_message */ &new.error_message,
                /* hard_decline */ &new.hard,
                /* found_by */ &new.found_by,
                /* decline_reason */ &new.decline_reason.map(DeclineReason::label),
            ],
        )
        .await?;
    Ok(taken == 1)
}

/// We paid a charge back: its attempt and its period say so. What that makes of the subscription is the sweep's to say, at
/// once. A payment that is no subscription's changes nothing here.
pub(crate) async fn take_back(
    tx: &Tx,
    payment: PaymentId,
    number: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let lock = "update tollgate.saas_subscriptions set next_due_at = $2 where payment_id = $1 returning id";
    let Some(row) = tx.query_opt(lock, &[&payment.as_uuid(), &Instant(now)]).await? else {
        return Ok(());
    };
    let id: Uuid = row.try_get("id")?;
    let attempt = "update tollgate.subscription_payments set status = 'refunded' \
                   where subscription_id = $1 and attempt_key = 'paid:' || $2 and status = 'paid'";
    tx.execute(attempt, &[&id, &number]).await?;
    // A period goes by its own number at the provider, a first charge by the order's, a charge of ours by its period.
    let period = "update tollgate.period_transactions period set status = 'refunded', updated_at = $3 \
                  from tollgate.subscription_payments attempt \
                  join tollgate.saas_subscriptions subscription on subscription.id = attempt.subscription_id \
                  where attempt.subscription_id = $1 and attempt.attempt_key = 'paid:' || $2 \
                  and period.subscription_id = $1 and period.status = 'paid' \
                  and (period.period_order_no \
                           = coalesce(attempt.period_order_no, subscription.order_number || '_' || $2) \
                       or (attempt.period_order_no is null and period.this_period = attempt.period_number))";
    tx.execute(period, &[&id, &number, &Instant(now)]).await?;
    Ok(())
}

/// EC-6: when the newest refusal is tried again; elsewhere null.
pub(crate) async fn set_retry(
    tx: &Tx,
    id: SubscriptionId,
    next_retry_at: Option<Timestamp>,
    (retry_count, last_retry_at): (i32, Option<Timestamp>),
) -> Result<(), DbError> {
    let sql = "update tollgate.subscription_payments attempt set \
               next_retry_at = case when attempt.id = newest.id then $2::timestamptz end, \
               retry_count = case when attempt.id = newest.id then $3 else attempt.retry_count end, \
               last_retry_at = case when attempt.id = newest.id then $4::timestamptz else attempt.last_retry_at end \
               from (select id from tollgate.subscription_payments where subscription_id = $1 and status = 'failed' \
                     order by occurred_at desc, attempt_key desc limit 1) newest \
               where attempt.subscription_id = $1 and (attempt.id = newest.id or attempt.next_retry_at is not null)";
    tx.execute(
        sql,
        &[
            &id.as_uuid(),
            &next_retry_at.map(Instant),
            &retry_count,
            &last_retry_at.map(Instant),
        ],
    )
    .await?;
    Ok(())
}

/// A period's result, as the provider numbers it.
#[derive(Debug, Clone)]
pub(crate) struct NewPeriod<'a> {
    /// Its row's id.
    pub(crate) id: Uuid,
    /// Whose.
    pub(crate) user: &'a str,
    /// The contract's number at the provider.
    pub(crate) trade_no: Option<&'a str>,
    /// The period's number at the provider.
    pub(crate) order_no: &'a str,
    /// Which period, as told.
    pub(crate) number: Option<u32>,
    /// Of how many.
    pub(crate) total: Option<u32>,
    /// In whole minor units.
    pub(crate) amount_minor: Option<i64>,
    /// `paid`, `failed` or `refunded`.
    pub(crate) status: &'static str,
    /// When it was charged.
    pub(crate) auth_time: Timestamp,
}

/// PU-4: writes a period's result once; what is better than what is known replaces it.
pub(crate) async fn upsert_period(
    tx: &Tx,
    id: SubscriptionId,
    new: &NewPeriod<'_>,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "insert into tollgate.period_transactions as known (id, user_id, subscription_id, period_trade_no, \
               period_order_no, this_period, total_times, auth_amt, status, auth_time, created_at, updated_at) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11) \
               on conflict (subscription_id, period_order_no) do update set status = excluded.status, \
               auth_amt = coalesce(excluded.auth_amt, known.auth_amt), auth_time = excluded.auth_time, \
               this_period = coalesce(excluded.this_period, known.this_period), updated_at = excluded.updated_at \
               where (known.status, excluded.status) in (('failed', 'paid'), ('failed', 'refunded'), ('paid', 'refunded'))";
    tx.execute(
        sql,
        &[
            /* id */ &new.id,
            /* user_id */ &new.user,
            /* subscription_id */ &id.as_uuid(),
            /* period_trade_no */ &new.trade_no,
            /* period_order_no */ &new.order_no,
            /* this_period */ &new.number.map(count),
            /* total_times */ &new.total.map(count),
            /* auth_amt */ &new.amount_minor,
            /* status */ &new.status,
            /* auth_time */ &Instant(new.auth_time),
            /* now */ &Instant(now),
        ],
    )
    .await?;
    Ok(())
}

/// An attempt as people read it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Its name.
    pub(crate) key: String,
    /// The period's number at the provider.
    pub(crate) period_order_no: Option<String>,
    /// The provider's number of the charge.
    pub(crate) provider_payment_id: Option<String>,
    /// In whole minor units.
    pub(crate) amount_minor: Option<i64>,
    /// `paid`, `failed` or `refunded`.
    pub(crate) status: String,
    /// The provider's code of a refusal.
    pub(crate) error_code: Option<String>,
    /// The provider's words.
    pub(crate) error_message: Option<String>,
    /// Why it was refused, in a word for the customer.
    pub(crate) decline_reason: Option<String>,
    /// Who told first.
    pub(crate) found_by: String,
    /// When it happened.
    pub(crate) occurred_at: Timestamp,
    /// When it is tried again.
    pub(crate) next_retry_at: Option<Timestamp>,
}

/// Why the newest refusal that was known at an instant was one.
pub(crate) async fn decline_reason_at(
    tx: &Tx,
    id: SubscriptionId,
    at: Timestamp,
) -> Result<Option<DeclineReason>, DbError> {
    let sql = "select decline_reason from tollgate.subscription_payments \
               where subscription_id = $1 and status = 'failed' and greatest(occurred_at, recorded_at) <= $2 \
               order by greatest(occurred_at, recorded_at) desc, occurred_at desc, attempt_key desc limit 1";
    let row = tx.query_opt(sql, &[&id.as_uuid(), &Instant(at)]).await?;
    let label: Option<Option<String>> = row.map(|row| row.try_get("decline_reason")).transpose()?;
    Ok(label
        .flatten()
        .and_then(|label| DeclineReason::from_label(&label)))
}

/// Every attempt, in order.
pub(crate) async fn list(tx: &Tx, id: SubscriptionId) -> Result<Vec<Known>, DbError> {
    let sql = "select attempt_key, period_order_no, provider_payment_id, amount, status, error_code, error_message, \
               decline_reason, found_by, occurred_at, next_retry_at from tollgate.subscription_payments where subscription_id = $1 \
               order by occurred_at, attempt_key";
    let rows = tx.query(sql, &[&id.as_uuid()]).await?;
    let known = rows.iter().map(|row| {
        Ok(Known {
            key: row.try_get("attempt_key")?,
            period_order_no: row.try_get("period_order_no")?,
            provider_payment_id: row.try_get("provider_payment_id")?,
            amount_minor: row.try_get("amount")?,
            status: row.try_get("status")?,
            error_code: row.try_get("error_code")?,
            error_message: row.try_get("error_message")?,
            decline_reason: row.try_get("decline_reason")?,
            found_by: row.try_get("found_by")?,
            occurred_at: row.try_get::<_, Instant>("occurred_at")?.0,
            next_retry_at: row
                .try_get::<_, Option<Instant>>("next_retry_at")?
                .map(|instant| instant.0),
        })
    });
    known.collect()
}
