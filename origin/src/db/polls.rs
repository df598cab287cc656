//! Payments that a provider is asked about.
//!
//! `work::payment_polls`, `effects::payment_poll`, `commands::reconcile` → **polls** → Postgres.
//!
//! Invariant: reads only. Not here: when to ask (`domain::payment_poll`).

use tokio_postgres::Row;
use tollgate_shared::id::{MerchantId, OrderNumber, PaymentId};
use tollgate_shared::money::{Minor, Money};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::plans::{money, unreadable};
use super::{DbError, Instant, Tx};

/// A payment to ask about.
#[derive(Debug, Clone)]
pub(crate) struct AskedPayment {
    /// Its id.
    pub(crate) id: PaymentId,
    /// The provider's name.
    pub(crate) provider: String,
    /// The shop; `None` at a provider that knows no shops.
    pub(crate) merchant: Option<MerchantId>,
    /// Our number at the provider.
    pub(crate) order: OrderNumber,
    /// When it was ordered.
    pub(crate) ordered_at: Timestamp,
    /// The amount of one charge.
    pub(crate) price: Money,
    /// What came, paid back or not.
    pub(crate) settled_minor: Minor,
    /// What was paid back of it.
    pub(crate) refunded_minor: Minor,
}

const SELECT: &str = "select payment.id, payment.provider, payment.merchant_id, payment.order_number, \
     payment.created_at, payment.amount, payment.currency, \
     (select coalesce(sum(charge.amount), 0)::bigint from tollgate.payment_charges charge \
         where charge.payment_id = payment.id) as settled, \
     (select coalesce(sum(charge.refunded_amount), 0)::bigint from tollgate.payment_charges charge \
         where charge.payment_id = payment.id) as refunded from tollgate.payments payment";

/// One payment.
pub(crate) async fn find(tx: &Tx, id: PaymentId) -> Result<Option<AskedPayment>, DbError> {
    let sql = format!("{SELECT} where payment.id = $1");
    tx.query_opt(&sql, &[&id.as_uuid()])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The payments of these orders at ECPay, whichever shop they were placed at.
pub(crate) async fn at_ecpay(tx: &Tx, orders: &[String]) -> Result<Vec<AskedPayment>, DbError> {
    let sql = format!("{SELECT} where payment.provider = 'ecpay' and payment.order_number = any($1)");
    tx.query(&sql, &[&orders]).await?.iter().map(read).collect()
}

/// Payments of these instants without a charge that a real provider may still be paid for, the oldest first, after the
/// given one.
pub(crate) async fn without_news(
    tx: &Tx,
    (from, to): (Timestamp, Timestamp),
    after: (Timestamp, PaymentId),
    limit: i64,
) -> Result<Vec<AskedPayment>, DbError> {
    let sql = &without_news_page();
    rows(tx, sql, (from, to), after, limit).await
}

/// Every payment of these instants at a real provider, the oldest first, after the given one.
pub(crate) async fn between(
    tx: &Tx,
    (from, to): (Timestamp, Timestamp),
    after: (Timestamp, PaymentId),
    limit: i64,
) -> Result<Vec<AskedPayment>, DbError> {
    rows(tx, &page("true"), (from, to), after, limit).await
}

/// The payments of contracts that were ordered before an instant and were not over then, the oldest first, after the
/// given one.
pub(crate) async fn contracts_before(
    tx: &Tx,
    instant: Timestamp,
    after: (Timestamp, PaymentId),
    limit: i64,
) -> Result<Vec<AskedPayment>, DbError> {
    let sql = page(
        "exists (select from tollgate.saas_subscriptions subscription where subscription.payment_id = payment.id \
         and subscription.mode = 'provider_run' and subscription.status <> 'pending' \
         and (subscription.ended_at is null or subscription.ended_at >= $2))",
    );
    rows(tx, &sql, (after.0, instant), after, limit).await
}

/// A charge of a stored card of ours, asked about like a payment, by its own number.
#[derive(Debug, Clone)]
pub(crate) struct AskedCharge {
    /// Its row's id.
    pub(crate) id: Uuid,
    /// The payment that it belongs to, with the number, the amount and the age of the charge.
    pub(crate) payment: AskedPayment,
}

const SELECT_CHARGE: &str = "select charge.id as charge_id, payment.id, payment.provider, payment.merchant_id, \
     charge.order_number, charge.created_at, charge.amount, payment.currency, \
     case when charge.status = 'paid' then charge.amount else 0 end as settled, \
     case when exists (select from tollgate.subscription_payments attempt \
         where attempt.subscription_id = charge.subscription_id and attempt.status = 'refunded' \
         and attempt.period_order_no = upper(charge.order_number)) then charge.amount else 0 end as refunded \
     from tollgate.subscription_charges charge \
     join tollgate.saas_subscriptions subscription on subscription.id = charge.subscription_id \
     join tollgate.payments payment on payment.id = subscription.payment_id";

/// One charge of ours.
pub(crate) async fn find_charge(tx: &Tx, id: Uuid) -> Result<Option<AskedCharge>, DbError> {
    let sql = format!("{SELECT_CHARGE} where charge.id = $1");
    tx.query_opt(&sql, &[&id])
        .await?
        .as_ref()
        .map(read_charge)
        .transpose()
}

/// The charges of ours of these instants that were sent, the oldest first, after the given one.
pub(crate) async fn charges_between(
    tx: &Tx,
    (from, to): (Timestamp, Timestamp),
    (after, after_id): (Timestamp, Uuid),
    limit: i64,
) -> Result<Vec<AskedCharge>, DbError> {
    let sql = format!(
        "{SELECT_CHARGE} where charge.status <> 'unsent' and charge.created_at between $1 and $2 \
         and (charge.created_at, charge.id) > ($3, $4) order by charge.created_at, charge.id limit $5"
    );
    let parameters: super::tx::Params<'_> =
        &[&Instant(from), &Instant(to), &Instant(after), &after_id, &limit];
    tx.query(&sql, parameters)
        .await?
        .iter()
        .map(read_charge)
        .collect()
}

fn read_charge(row: &Row) -> Result<AskedCharge, DbError> {
    Ok(AskedCharge {
        id: row.try_get("charge_id")?,
        payment: read(row)?,
    })
}

/// A charge that is booked for a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Booked {
    /// The provider's number.
    pub(crate) number: String,
    /// What came.
    pub(crate) amount_minor: Minor,
    /// What was paid back of it.
    pub(crate) refunded_minor: Minor,
}

/// Every charge of a payment.
pub(crate) async fn booked(tx: &Tx, id: PaymentId) -> Result<Vec<Booked>, DbError> {
    let sql = "select provider_payment_id, amount, refunded_amount from tollgate.payment_charges \
               where payment_id = $1 order by occurred_at, provider_payment_id";
    let rows = tx.query(sql, &[&id.as_uuid()]).await?;
    let booked = rows.iter().map(|row| {
        Ok(Booked {
            number: row.try_get("provider_payment_id")?,
            amount_minor: Minor::new(row.try_get("amount")?),
            refunded_minor: Minor::new(row.try_get("refunded_amount")?),
        })
    });
    booked.collect()
}

/// A page of [`without_news`].
pub(crate) fn without_news_page() -> String {
    page("payment.status in ('pending', 'canceled', 'failed')")
}

/// Along `payments_by_age`, from where the page before ended.
fn page(condition: &str) -> String {
    format!(
        "{SELECT} where {condition} and payment.provider in ('ecpay', 'payuni') \
         and payment.created_at between $1 and $2 and (payment.created_at, payment.id) > ($3, $4) \
         order by payment.created_at, payment.id limit $5"
    )
}

async fn rows(
    tx: &Tx,
    sql: &str,
    (from, to): (Timestamp, Timestamp),
    (after, after_id): (Timestamp, PaymentId),
    limit: i64,
) -> Result<Vec<AskedPayment>, DbError> {
    let parameters: super::tx::Params<'_> = &[
        &Instant(from),
        &Instant(to),
        &Instant(after),
        &after_id.as_uuid(),
        &limit,
    ];
    tx.query(sql, parameters).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<AskedPayment, DbError> {
    let merchant: String = row.try_get("merchant_id")?;
    let merchant = (!merchant.is_empty()).then_some(merchant);
    Ok(AskedPayment {
        id: PaymentId::from_uuid(row.try_get("id")?),
        provider: row.try_get("provider")?,
        merchant: merchant
            .map(|text| text.try_into().map_err(|_| unreadable("payments.merchant_id")))
            .transpose()?,
        order: row
            .try_get::<_, String>("order_number")?
            .try_into()
            .map_err(|_| unreadable("payments.order_number"))?,
        ordered_at: row.try_get::<_, Instant>("created_at")?.0,
        price: money(row, "amount", "currency")?,
        settled_minor: Minor::new(row.try_get("settled")?),
        refunded_minor: Minor::new(row.try_get("refunded")?),
    })
}
