//! What is known of a subscription, as the domain reads it: attempts and everything beside them.
//!
//! `subscriptions::refold` → **these statements** → `subscription_payments`, `subscription_facts`.
//!
//! Invariants: both tables are only added to (an attempt that is paid back aside); a fact is one row, by its key,
//! however often it is told. Not here: what the facts amount to.

use tokio_postgres::Row;
use tollgate_shared::id::PlanId;
use tollgate_shared::time::Timestamp;

use super::{count, unreadable};
use crate::db::{DbError, Instant, Tx};
use crate::domain::subscription::{EndReason, Fact, Noted, PlanNews, RetrySlot, What};
use crate::subscriptions::SubscriptionId;

/// A fact beside the attempts.
#[derive(Debug, Clone)]
pub(crate) struct NewFact {
    /// Names it within the subscription: told twice, it is one fact.
    pub(crate) key: String,
    /// What it is.
    pub(crate) noted: Noted,
    /// Why, for a person.
    pub(crate) reason: Option<String>,
    /// `user`, `admin:<caller>`, `service:<caller>`, `schedule` or `provider`.
    pub(crate) actor: String,
    /// When it happened.
    pub(crate) occurred_at: Timestamp,
}

/// Everything that is known.
pub(crate) async fn load(tx: &Tx, id: SubscriptionId) -> Result<Vec<Fact>, DbError> {
    let mut facts = attempts(tx, id).await?;
    let sql = "select fact_key, kind, period_number, retry_slot, reason, occurred_at, recorded_at \
               from tollgate.subscription_facts where subscription_id = $1";
    for row in tx.query(sql, &[&id.as_uuid()]).await? {
        facts.push(fact(&row)?);
    }
    Ok(facts)
}

async fn attempts(tx: &Tx, id: SubscriptionId) -> Result<Vec<Fact>, DbError> {
    let sql = "select attempt_key, status, period_number, provider_payment_id, hard_decline, occurred_at, recorded_at \
               from tollgate.subscription_payments where subscription_id = $1";
    tx.query(sql, &[&id.as_uuid()])
        .await?
        .iter()
        .map(attempt)
        .collect()
}

fn attempt(row: &Row) -> Result<Fact, DbError> {
    let period = row
        .try_get::<_, Option<i32>>("period_number")?
        .and_then(|number| u32::try_from(number).ok());
    let what = match row.try_get("status")? {
        "failed" => What::Declined {
            period,
            hard: row.try_get("hard_decline")?,
            numbered: row.try_get::<_, Option<&str>>("provider_payment_id")?.is_some(),
        },
        status => What::Charged {
            period,
            returned: status == "refunded",
        },
    };
    told(row, "attempt_key", what)
}

fn fact(row: &Row) -> Result<Fact, DbError> {
    told(row, "fact_key", What::Noted(noted(row)?))
}

fn told(row: &Row, key: &str, what: What) -> Result<Fact, DbError> {
    Ok(Fact {
        key: row.try_get(key)?,
        occurred_at: row.try_get::<_, Instant>("occurred_at")?.0,
        told_at: row.try_get::<_, Instant>("recorded_at")?.0,
        what,
    })
}

fn noted(row: &Row) -> Result<Noted, DbError> {
    Ok(match row.try_get("kind")? {
        "charge_asked" => Noted::ChargeAsked {
            period: row
                .try_get::<_, Option<i32>>("period_number")?
                .and_then(|number| u32::try_from(number).ok())
                .ok_or_else(|| unreadable("subscription_facts.period_number"))?,
        },
        "retry_asked" => Noted::RetryAsked(
            row.try_get::<_, Option<i16>>("retry_slot")?
                .and_then(RetrySlot::from_number)
                .ok_or_else(|| unreadable("subscription_facts.retry_slot"))?,
        ),
        "card_bound" => Noted::CardBound,
        "card_changed" => Noted::CardChanged,
        "cancel_now_asked" => Noted::CancelNowAsked,
        "cancel_at_end_asked" => Noted::CancelAtEndAsked,
        "paused" => Noted::Paused,
        "resumed" => Noted::Resumed,
        "provider_ended" => Noted::ProviderEnded(
            row.try_get::<_, Option<&str>>("reason")?
                .and_then(EndReason::from_label)
                .ok_or_else(|| unreadable("subscription_facts.reason"))?,
        ),
        "replaced" => Noted::Replaced,
        kind => Noted::Plan(PlanNews::from_label(kind).ok_or_else(|| unreadable("subscription_facts.kind"))?),
    })
}

const fn kind(noted: Noted) -> &'static str {
    match noted {
        Noted::ChargeAsked { .. } => "charge_asked",
        Noted::RetryAsked(_) => "retry_asked",
        Noted::CardBound => "card_bound",
        Noted::CardChanged => "card_changed",
        Noted::CancelNowAsked => "cancel_now_asked",
        Noted::CancelAtEndAsked => "cancel_at_end_asked",
        Noted::Paused => "paused",
        Noted::Resumed => "resumed",
        Noted::ProviderEnded(_) => "provider_ended",
        Noted::Replaced => "replaced",
        Noted::Plan(news) => news.label(),
    }
}

/// From which plan to which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanPair {
    /// The one before.
    pub(crate) from: PlanId,
    /// The one that it leads to.
    pub(crate) to: PlanId,
}

/// Writes a fact; `false` where it was known.
pub(crate) async fn insert(
    tx: &Tx,
    id: SubscriptionId,
    new: &NewFact,
    now: Timestamp,
) -> Result<bool, DbError> {
    insert_about(tx, id, (new, None), now).await
}

/// Writes a fact about a change of plan, a replacement or an end for another plan's sake.
pub(crate) async fn insert_about(
    tx: &Tx,
    id: SubscriptionId,
    (new, plans): (&NewFact, Option<&PlanPair>),
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "insert into tollgate.subscription_facts (subscription_id, fact_key, kind, period_number, retry_slot, \
               reason, actor, from_plan_id, plan_id, occurred_at, recorded_at) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
               on conflict (subscription_id, fact_key) do nothing";
    let (period, slot, reason) = match new.noted {
        Noted::ChargeAsked { period } => (Some(count(period)), None, new.reason.as_deref()),
        Noted::RetryAsked(slot) => (None, Some(slot.number()), new.reason.as_deref()),
        // The reason is what the fact says, so it is the column's.
        Noted::ProviderEnded(reason) => (None, None, Some(reason.label())),
        Noted::CardBound
        | Noted::CardChanged
        | Noted::CancelNowAsked
        | Noted::CancelAtEndAsked
        | Noted::Paused
        | Noted::Resumed
        | Noted::Replaced
        | Noted::Plan(_) => (None, None, new.reason.as_deref()),
    };
    let written = tx
        .execute(
            sql,
            &[
                /* subscription_id */ &id.as_uuid(),
                /* fact_key */ &new.key,
                /* kind */ &kind(new.noted),
                /* period_number */ &period,
                /* retry_slot */ &slot,
                /* reason */ &reason,
                /* actor */ &new.actor,
                /* from_plan_id */ &plans.map(|plans| plans.from.as_str()),
                /* plan_id */ &plans.map(|plans| plans.to.as_str()),
                /* occurred_at */ &Instant(new.occurred_at),
                /* recorded_at */ &Instant(now),
            ],
        )
        .await?;
    Ok(written == 1)
}

/// When a new card was told, since an instant, the oldest first.
pub(crate) async fn card_changes_since(
    tx: &Tx,
    id: SubscriptionId,
    since: Timestamp,
) -> Result<Vec<Timestamp>, DbError> {
    let sql = "select recorded_at from tollgate.subscription_facts \
               where subscription_id = $1 and kind = 'card_changed' and recorded_at > $2 order by recorded_at";
    let rows = tx.query(sql, &[&id.as_uuid(), &Instant(since)]).await?;
    let instants = rows.iter().map(|row| row.try_get::<_, Instant>("recorded_at"));
    instants.map(|at| Ok(at?.0)).collect()
}

/// Which plans a fact is about.
pub(crate) async fn plans(tx: &Tx, id: SubscriptionId, key: &str) -> Result<Option<PlanPair>, DbError> {
    let sql = "select from_plan_id, plan_id from tollgate.subscription_facts \
               where subscription_id = $1 and fact_key = $2 and plan_id is not null";
    let row = tx.query_opt(sql, &[&id.as_uuid(), &key]).await?;
    row.map(|row| {
        Ok(PlanPair {
            from: plan(&row, "from_plan_id")?,
            to: plan(&row, "plan_id")?,
        })
    })
    .transpose()
}

fn plan(row: &Row, column: &'static str) -> Result<PlanId, DbError> {
    let id: Option<String> = row.try_get(column)?;
    id.and_then(|id| id.try_into().ok())
        .ok_or_else(|| unreadable("subscription_facts.plan_id"))
}

/// Whether a fact of this key is known.
pub(crate) async fn is_known(tx: &Tx, id: SubscriptionId, key: &str) -> Result<bool, DbError> {
    let sql = "select from tollgate.subscription_facts where subscription_id = $1 and fact_key = $2";
    Ok(tx.query_opt(sql, &[&id.as_uuid(), &key]).await?.is_some())
}
