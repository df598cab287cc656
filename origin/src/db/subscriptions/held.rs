//! Charges of ours without a result that nothing asks for any more: each waits for a person.
//!
//! `effects::subscription_charge` ends (disputed answer, dead) → **these statements** → views, figures, `by_hand`.
//!
//! Invariant: a charge is held when it has no result, its effect has ended and no news of it waits in the inbox; so a held
//! charge has nobody but a person to end it. It is read off the rows, so nothing can forget to mark it.
//! Not here: ending one (`subscriptions::by_hand`).

use tokio_postgres::Row;
use tollgate_shared::id::{MerchantId, OrderNumber, ProviderPaymentId};
use tollgate_shared::money::{Currency, Minor, Money};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::unreadable;
use crate::db::{DbError, Instant, Tx};
use crate::subscriptions::SubscriptionId;

/// A charge of ours, and whether it waits for a person.
#[derive(Debug, Clone)]
pub(crate) struct OwnCharge {
    /// Its row's id.
    pub(crate) id: Uuid,
    /// Of which subscription.
    pub(crate) subscription: SubscriptionId,
    /// Whose.
    pub(crate) user: String,
    /// At whom.
    pub(crate) provider: String,
    /// In which shop.
    pub(crate) merchant: Option<MerchantId>,
    /// Our number of it at the provider.
    pub(crate) order: OrderNumber,
    /// Of which period.
    pub(crate) period: u32,
    /// How much.
    pub(crate) money: Money,
    /// `unsent`, `unknown`, `paid` or `failed`.
    pub(crate) status: String,
    /// When it was sent last.
    pub(crate) sent_at: Option<Timestamp>,
    /// When it was intended.
    pub(crate) created_at: Timestamp,
    /// Whether nothing but a person can end it.
    pub(crate) is_held: bool,
    /// Why its effect ended without a result, for a person.
    pub(crate) last_error: Option<String>,
}

/// Beside whatever follows, which begins with `where`.
const SELECT: &str = "\
-- subscription_charge_held
select own.* from (
    select charge.id, charge.subscription_id, subscription.user_id, subscription.provider, subscription.merchant_id,
        charge.order_number, charge.period_number, charge.amount, charge.status, charge.sent_at, charge.created_at,
        effect.last_error,
        charge.status in ('unsent', 'unknown') and effect.status <> 'pending' and not exists (
            select from tollgate.inbox_events as told
            where told.status = 'pending' and told.source = subscription.provider
                and told.order_number = charge.order_number) as is_held
    from tollgate.subscription_charges as charge
    join tollgate.saas_subscriptions as subscription on subscription.id = charge.subscription_id
    join tollgate.outbox as effect on effect.operation_key = charge.operation_key
";

/// A charge by its row.
pub(crate) async fn find(tx: &Tx, id: Uuid) -> Result<Option<OwnCharge>, DbError> {
    let sql = format!("{SELECT} where charge.id = $1) as own");
    tx.query_opt(&sql, &[&id]).await?.as_ref().map(read).transpose()
}

/// The held charges of a subscription, the oldest first.
pub(crate) async fn of_subscription(tx: &Tx, id: SubscriptionId) -> Result<Vec<OwnCharge>, DbError> {
    let sql = format!(
        "{SELECT} where charge.subscription_id = $1 and charge.status in ('unsent', 'unknown')) as own \
         where own.is_held order by own.created_at, own.id"
    );
    tx.query(&sql, &[&id.as_uuid()]).await?.iter().map(read).collect()
}

/// Every held charge, the oldest first.
pub(crate) async fn all(tx: &Tx) -> Result<Vec<OwnCharge>, DbError> {
    let sql = format!(
        "{SELECT} where charge.status in ('unsent', 'unknown')) as own \
         where own.is_held order by own.created_at, own.id"
    );
    tx.query(&sql, &[]).await?.iter().map(read).collect()
}

/// Whether a charge of this number at the provider is booked, for whichever payment.
pub(crate) async fn is_booked(
    tx: &Tx,
    charge: &OwnCharge,
    number: &ProviderPaymentId,
) -> Result<bool, DbError> {
    let sql = "select from tollgate.payment_charges \
               where provider = $1 and merchant_id = $2 and provider_payment_id = $3";
    let merchant = charge.merchant.as_ref().map_or("", MerchantId::as_str);
    let found = tx
        .query_opt(sql, &[&charge.provider, &merchant, &number.as_str()])
        .await?;
    Ok(found.is_some())
}

/// Whether this charge is booked under this number of the provider.
pub(crate) async fn is_paid_as(
    tx: &Tx,
    charge: &OwnCharge,
    number: &ProviderPaymentId,
) -> Result<bool, DbError> {
    let sql = "select from tollgate.subscription_payments \
               where subscription_id = $1 and provider_payment_id = $2 and period_number = $3 and status <> 'failed'";
    let period = super::count(charge.period);
    let id = charge.subscription.as_uuid();
    let found = tx.query_opt(sql, &[&id, &number.as_str(), &period]).await?;
    Ok(found.is_some())
}

fn read(row: &Row) -> Result<OwnCharge, DbError> {
    let period: i32 = row.try_get("period_number")?;
    let merchant: String = row.try_get("merchant_id")?;
    Ok(OwnCharge {
        id: row.try_get("id")?,
        subscription: SubscriptionId::from_uuid(row.try_get("subscription_id")?),
        user: row.try_get("user_id")?,
        provider: row.try_get("provider")?,
        merchant: merchant.parse().ok(),
        order: row
            .try_get::<_, String>("order_number")?
            .try_into()
            .map_err(|_| unreadable("subscription_charges.order_number"))?,
        period: u32::try_from(period).map_err(|_| unreadable("subscription_charges.period_number"))?,
        money: Money {
            amount_minor: Minor::new(row.try_get("amount")?),
            currency: Currency::Twd,
        },
        status: row.try_get("status")?,
        sent_at: row.try_get::<_, Option<Instant>>("sent_at")?.map(|at| at.0),
        created_at: row.try_get::<_, Instant>("created_at")?.0,
        is_held: row.try_get("is_held")?,
        last_error: row.try_get("last_error")?,
    })
}
