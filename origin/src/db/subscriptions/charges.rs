//! Charges that we make ourselves (merchant-run), and the order numbers by which the provider tells of them.
//!
//! `subscriptions::refold` inserts → `effects` sends, once → apply finds the subscription's payment by the number.
//!
//! Invariants: one intended charge is one row, by its operation key, so that two sweeps make one; a row that was sent
//! is never sent again, it is asked for. Not here: sending (`effects`).

use tokio_postgres::Row;
use tollgate_shared::event::StoredCredential;
use tollgate_shared::id::{OrderNumber, PlanId, ProviderPaymentId};
use tollgate_shared::money::{Minor, Money};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{count, unreadable};
use crate::db::{DbError, Instant, Tx};
use crate::subscriptions::SubscriptionId;

/// What a charge is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A period.
    Period,
    /// The rest of a period in a dearer plan; no period's money.
    Proration,
}

impl Purpose {
    /// The label in `subscription_charges.purpose`.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Period => "period",
            Self::Proration => "proration",
        }
    }
}

/// A charge to be.
#[derive(Debug, Clone)]
pub(crate) struct NewCharge<'a> {
    /// Its row's id.
    pub(crate) id: Uuid,
    /// Names the intention.
    pub(crate) operation_key: &'a str,
    /// Which period.
    pub(crate) period: u32,
    /// Our number of it at the provider.
    pub(crate) order: &'a OrderNumber,
    /// How much.
    pub(crate) price: Money,
    /// What for.
    pub(crate) purpose: Purpose,
    /// The plan that it is for and the price of a period there, if another than the subscription's.
    pub(crate) plan: Option<(&'a PlanId, Money)>,
}

/// Writes a charge; `false` where it was intended before.
pub(crate) async fn insert(
    tx: &Tx,
    id: SubscriptionId,
    new: &NewCharge<'_>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "insert into tollgate.subscription_charges (id, subscription_id, operation_key, period_number, \
               order_number, amount, purpose, plan_id, plan_amount, created_at) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
               on conflict (operation_key) do nothing";
    let written = tx
        .execute(
            sql,
            &[
                /* id */ &new.id,
                /* subscription_id */ &id.as_uuid(),
                /* operation_key */ &new.operation_key,
                /* period_number */ &count(new.period),
                /* order_number */ &new.order.as_str(),
                /* amount */ &new.price.amount_minor.get(),
                /* purpose */ &new.purpose.label(),
                /* plan_id */ &new.plan.map(|(plan, _)| plan.as_str()),
                /* plan_amount */ &new.plan.map(|(_, price)| price.amount_minor.get()),
                /* created_at */ &Instant(now),
            ],
        )
        .await?;
    Ok(written == 1)
}

/// A charge of ours, by its number.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// Its row's id.
    pub(crate) id: Uuid,
    /// Which period.
    pub(crate) period: u32,
    /// What for.
    pub(crate) purpose: Purpose,
    /// The plan that it is for and the price of a period there, if another than the subscription's.
    pub(crate) plan: Option<(PlanId, Minor)>,
}

/// The charge of a subscription that has this number at the provider.
pub(crate) async fn by_order(
    tx: &Tx,
    id: SubscriptionId,
    order: &OrderNumber,
) -> Result<Option<Sent>, DbError> {
    let sql = "select id, period_number, purpose, plan_id, plan_amount from tollgate.subscription_charges \
               where subscription_id = $1 and order_number = upper($2)";
    tx.query_opt(sql, &[&id.as_uuid(), &order.as_str()])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

fn read(row: &Row) -> Result<Sent, DbError> {
    let period: i32 = row.try_get("period_number")?;
    Ok(Sent {
        id: row.try_get("id")?,
        period: u32::try_from(period).map_err(|_| unreadable("subscription_charges.period_number"))?,
        purpose: match row.try_get("purpose")? {
            "proration" => Purpose::Proration,
            _ => Purpose::Period,
        },
        plan: plan(row)?,
    })
}

fn plan(row: &Row) -> Result<Option<(PlanId, Minor)>, DbError> {
    let plan: Option<String> = row.try_get("plan_id")?;
    let amount: Option<i64> = row.try_get("plan_amount")?;
    plan.zip(amount)
        .map(|(plan, amount)| {
            let plan = plan.try_into();
            let plan = plan.map_err(|_| unreadable("subscription_charges.plan_id"))?;
            Ok((plan, Minor::new(amount)))
        })
        .transpose()
}

/// What was paid for the rest of a period in a dearer plan.
#[derive(Debug, Clone)]
pub(crate) struct Proration {
    /// The provider's number of the charge.
    pub(crate) number: String,
    /// When it was asked for, which is the day that it was computed for.
    pub(crate) asked_at: Timestamp,
}

/// The prorations of a period that were paid.
pub(crate) async fn prorations(tx: &Tx, id: SubscriptionId, period: u32) -> Result<Vec<Proration>, DbError> {
    let sql = "select provider_payment_id, created_at from tollgate.subscription_charges \
               where subscription_id = $1 and period_number = $2 and purpose = 'proration' and status = 'paid' \
               and provider_payment_id is not null order by created_at, id";
    let rows = tx.query(sql, &[&id.as_uuid(), &count(period)]).await?;
    let paid = rows.iter().map(|row| {
        Ok(Proration {
            number: row.try_get("provider_payment_id")?,
            asked_at: row.try_get::<_, Instant>("created_at")?.0,
        })
    });
    paid.collect()
}

/// Since when the oldest of these charges, by their names, is intended or sent and has no answer.
pub(crate) async fn under_way_since(tx: &Tx, keys: &[String]) -> Result<Option<Timestamp>, DbError> {
    if keys.is_empty() {
        return Ok(None);
    }
    let sql = "select min(created_at) as since from tollgate.subscription_charges \
               where operation_key = any($1) and status in ('unsent', 'unknown')";
    let row = tx.query_one(sql, &[&keys]).await?;
    Ok(row.try_get::<_, Option<Instant>>("since")?.map(|since| since.0))
}

/// Ends a charge as its result says, whoever tells it; with the provider's number, where it is paid. `false` where it was
/// known to be paid.
pub(crate) async fn finish(
    tx: &Tx,
    id: Uuid,
    paid: Option<&ProviderPaymentId>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "update tollgate.subscription_charges set status = $2, finished_at = $3, provider_payment_id = $4 \
               where id = $1 and status <> 'paid'";
    let status = if paid.is_some() { "paid" } else { "failed" };
    let number = paid.map(ProviderPaymentId::as_str);
    Ok(tx.execute(sql, &[&id, &status, &Instant(now), &number]).await? == 1)
}

/// The newest reference to the card of a subscription, as the provider gave it.
pub(crate) async fn store_credential(
    tx: &Tx,
    id: SubscriptionId,
    credential: &StoredCredential,
    now: Timestamp,
) -> Result<(), DbError> {
    let hash = credential.hash.expose();
    let same = "select from tollgate.payment_credentials \
                where subscription_id = $1 and credit_hash = $2 and replaced_at is null";
    if tx.query_opt(same, &[&id.as_uuid(), &hash]).await?.is_some() {
        return Ok(());
    }
    let replace = "update tollgate.payment_credentials set replaced_at = $2 \
                   where subscription_id = $1 and replaced_at is null";
    tx.execute(replace, &[&id.as_uuid(), &Instant(now)]).await?;
    let insert = "insert into tollgate.payment_credentials (subscription_id, credit_hash, expires, card_last4, \
                  created_at) values ($1, $2, $3, $4, $5) on conflict (subscription_id, created_at) do nothing";
    tx.execute(
        insert,
        &[
            /* subscription_id */ &id.as_uuid(),
            /* credit_hash */ &hash,
            /* expires */ &credential.expires,
            /* card_last4 */ &credential.card_last4,
            /* now */ &Instant(now),
        ],
    )
    .await?;
    Ok(())
}
