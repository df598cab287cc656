//! Charges as the books have them, to be compared with a settlement file (OP-5).
//!
//! `commands::reconcile` → **settlements** → Postgres.
//!
//! Invariants: reads only; the amount is that of the ledger's entry, so a charge whose posting is missing shows 0, whatever its
//! own row says. Not here: how the two are compared (`domain::settlement`).

use std::ops::Range;

use tokio_postgres::Row;
use tollgate_shared::id::{MerchantId, PaymentId};
use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use super::{DbError, Instant, Tx};
use crate::domain::settlement::BookedCharge;

/// Every charge at ECPay of a shop that was paid within these instants, has one of the numbers or is of one of the orders.
pub(crate) async fn charges(
    tx: &Tx,
    merchant: &MerchantId,
    days: &Range<Timestamp>,
    (numbers, orders): (&[&str], &[String]),
) -> Result<Vec<BookedCharge>, DbError> {
    let sql = "select charge.payment_id, payment.order_number, charge.provider_payment_id, \
               charge.period_order_number is not null as of_period, charge.occurred_at, charge.refunded_amount, \
               (select coalesce(sum(entry.amount), 0)::bigint from tollgate.ledger_transaction posted \
                   join tollgate.ledger_entry entry on entry.transaction_id = posted.id \
                   where posted.operation_key = \
                       'settle:' || charge.provider || ':' || charge.merchant_id || ':' || charge.provider_payment_id \
                   and entry.account_kind = 'provider_clearing:' || charge.provider) as settled \
               from tollgate.payment_charges charge \
               join tollgate.payments payment on payment.id = charge.payment_id \
               where charge.provider = 'ecpay' and charge.merchant_id = $1 \
               and ((charge.occurred_at >= $2 and charge.occurred_at < $3) \
                   or charge.provider_payment_id = any($4) or payment.order_number = any($5)) \
               order by charge.occurred_at, charge.provider_payment_id";
    let (from, to) = (Instant(days.start), Instant(days.end));
    let parameters: super::tx::Params<'_> = &[&merchant.as_str(), &from, &to, &numbers, &orders];
    tx.query(sql, parameters).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<BookedCharge, DbError> {
    Ok(BookedCharge {
        payment: PaymentId::from_uuid(row.try_get("payment_id")?),
        order: row.try_get("order_number")?,
        number: row.try_get("provider_payment_id")?,
        of_period: row.try_get("of_period")?,
        paid_at: row.try_get::<_, Instant>("occurred_at")?.0,
        settled_minor: Minor::new(row.try_get("settled")?),
        refunded_minor: Minor::new(row.try_get("refunded_amount")?),
    })
}
