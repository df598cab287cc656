//! Charges: money that a provider took for a payment, and what it paid back (PM-2).
//!
//! apply inserts and marks → **charges** → `recompute` sums them.
//!
//! Invariants: one charge of a provider is one row, whoever tells of it how often (the unique key decides, not a look
//! beforehand); a charge belongs to one payment for good. Not here: the ledger, whose operation keys are read here only.

use tollgate_shared::event::Charge;
use tollgate_shared::id::{PaymentId, ProviderPaymentId};
use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{Payment, merchant_column};
use crate::db::{DbError, Instant, Tx};

/// A charge to be.
#[derive(Debug, Clone)]
pub(crate) struct NewCharge<'a> {
    /// Its row's id.
    pub(crate) id: Uuid,
    /// The payment that it settles.
    pub(crate) payment: &'a Payment,
    /// What the provider tells.
    pub(crate) charge: &'a Charge,
    /// Which period, of a periodic order.
    pub(crate) period: Option<&'a tollgate_shared::event::Period>,
    /// The event that tells it.
    pub(crate) inbox_event: Uuid,
    /// When it was paid.
    pub(crate) occurred_at: Timestamp,
}

/// What became of a charge's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It is new.
    New,
    /// The same charge of the same payment was there.
    Known {
        /// Whether it has been paid back.
        refunded: bool,
        /// What was charged.
        amount_minor: Minor,
    },
    /// The charge belongs to another payment.
    OfAnotherPayment,
}

/// Inserts a charge, or finds it.
pub(crate) async fn insert_charge(tx: &Tx, new: &NewCharge<'_>, now: Timestamp) -> Result<Inserted, DbError> {
    let sql = "insert into tollgate.payment_charges (id, payment_id, provider, merchant_id, provider_payment_id, \
               amount, currency, method, period_order_number, period_number, period_total, inbox_event_id, \
               occurred_at, recorded_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
               on conflict (provider, merchant_id, provider_payment_id) do nothing";
    let count = |number: Option<u32>| {
        number
            .and_then(|number| i32::try_from(number).ok())
            .filter(|number| *number > 0)
    };
    let inserted = tx
        .execute(
            sql,
            &[
                /* id */ &new.id,
                /* payment_id */ &new.payment.id.as_uuid(),
                /* provider */ &new.payment.provider,
                /* merchant_id */ &merchant_column(new.payment.merchant.as_ref()),
                /* provider_payment_id */ &new.charge.provider_payment_id.as_str(),
                /* amount */ &new.charge.money.amount_minor.get(),
                /* currency */ &new.charge.money.currency.code(),
                /* method */ &new.charge.method,
                /* period_order_number */ &new.period.map(|period| &period.period_order_number),
                /* period_number */ &new.period.and_then(|period| count(period.number)),
                /* period_total */ &new.period.and_then(|period| count(period.total)),
                /* inbox_event_id */ &new.inbox_event,
                /* occurred_at */ &Instant(new.occurred_at),
                /* now */ &Instant(now),
            ],
        )
        .await?;
    if inserted == 1 {
        Ok(Inserted::New)
    } else {
        known_charge(tx, new).await
    }
}

async fn known_charge(tx: &Tx, new: &NewCharge<'_>) -> Result<Inserted, DbError> {
    let sql = "select payment_id, status, amount from tollgate.payment_charges \
               where provider = $1 and merchant_id = $2 and provider_payment_id = $3";
    let merchant = merchant_column(new.payment.merchant.as_ref());
    let number = new.charge.provider_payment_id.as_str();
    let row = tx
        .query_one(sql, &[&new.payment.provider, &merchant, &number])
        .await?;
    if row.try_get::<_, Uuid>("payment_id")? != new.payment.id.as_uuid() {
        return Ok(Inserted::OfAnotherPayment);
    }
    Ok(Inserted::Known {
        refunded: row.try_get::<_, &str>("status")? == "refunded",
        amount_minor: Minor::new(row.try_get("amount")?),
    })
}

/// When a charge of a payment was paid; `None` where it did not settle, or was paid back since.
pub(crate) async fn settled_at(
    tx: &Tx,
    payment: &Payment,
    number: &ProviderPaymentId,
) -> Result<Option<Timestamp>, DbError> {
    let sql = "select occurred_at from tollgate.payment_charges where provider = $1 and merchant_id = $2 \
               and provider_payment_id = $3 and payment_id = $4 and status = 'settled'";
    let merchant = merchant_column(payment.merchant.as_ref());
    let row = tx
        .query_opt(
            sql,
            &[
                &payment.provider,
                &merchant,
                &number.as_str(),
                &payment.id.as_uuid(),
            ],
        )
        .await?;
    row.map(|row| Ok(row.try_get::<_, Instant>("occurred_at")?.0))
        .transpose()
}

/// Marks a charge as paid back.
pub(crate) async fn mark_refunded(
    tx: &Tx,
    payment: &Payment,
    provider_payment_id: &str,
    refunded_at: Timestamp,
) -> Result<(), DbError> {
    let sql = "update tollgate.payment_charges set status = 'refunded', refunded_amount = amount, refunded_at = $4 \
               where provider = $1 and merchant_id = $2 and provider_payment_id = $3 and status = 'settled'";
    let merchant = merchant_column(payment.merchant.as_ref());
    tx.execute(
        sql,
        &[
            &payment.provider,
            &merchant,
            &provider_payment_id,
            &Instant(refunded_at),
        ],
    )
    .await?;
    Ok(())
}

/// Sums over the charges of a payment.
#[derive(Debug, Clone)]
pub(crate) struct ChargeSums {
    /// All charges that came.
    pub(crate) settled_minor: Minor,
    /// What was paid back of them.
    pub(crate) refunded_minor: Minor,
    /// The provider's number of the newest.
    pub(crate) newest: Option<String>,
}

/// Adds up the charges of a payment.
pub(crate) async fn sum_charges(tx: &Tx, id: PaymentId) -> Result<ChargeSums, DbError> {
    let sql = "select coalesce(sum(amount), 0)::bigint as settled, \
               coalesce(sum(refunded_amount), 0)::bigint as refunded, \
               (array_agg(provider_payment_id order by occurred_at desc, provider_payment_id desc))[1] as newest \
               from tollgate.payment_charges where payment_id = $1";
    let row = tx.query_one(sql, &[&id.as_uuid()]).await?;
    Ok(ChargeSums {
        settled_minor: Minor::new(row.try_get("settled")?),
        refunded_minor: Minor::new(row.try_get("refunded")?),
        newest: row.try_get("newest")?,
    })
}

/// The ledger's operation keys of a payment's charges and their tokens, as `ledger::Posting` and `apply::tokens` make them.
pub(crate) async fn operation_keys(tx: &Tx, id: PaymentId) -> Result<Vec<String>, DbError> {
    let sql = "select operation || ':' || provider || ':' || merchant_id || ':' || provider_payment_id as key \
               from tollgate.payment_charges, unnest(array['settle', 'refund', 'token_grant:settle', 'token_revoke:settle']) as operation \
               where payment_id = $1 order by occurred_at, operation desc";
    tx.query(sql, &[&id.as_uuid()])
        .await?
        .iter()
        .map(|row| Ok(row.try_get("key")?))
        .collect()
}
