//! Payments that a provider is asked about.
//!
//! `work::payment_polls`, `effects::payment_poll`, `commands::reconcile` → **polls** → Postgres.
//!
//! Invariant: reads only. Not here: when to ask (`domain::payment_poll`).

use tokio_postgres::Row;
use tollgate_shared::id::{MerchantId, OrderNumber, PaymentId};
use tollgate_shared::money::{Minor, Money};
use tollgate_shared::time::Timestamp;

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
}

const SELECT: &str = "select payment.id, payment.provider, payment.merchant_id, payment.order_number, \
     payment.created_at, payment.amount, payment.currency, \
     (select coalesce(sum(charge.amount), 0)::bigint from tollgate.payment_charges charge \
         where charge.payment_id = payment.id) as settled from tollgate.payments payment";

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
    })
}
