//! The event log: what happened to payments, for people and for the record (PM-6).
//!
//! checkout, apply and the timeouts of `work` → **event log**, in the transaction of the fact.
//!
//! Invariant: one line a fact, by its operation key; a repeat writes nothing and says so, and then the outbox
//! gets nothing either. Not here: delivering it (`outbox`).

use serde_json::Value;
use tollgate_shared::id::{DeliveryId, PaymentId};
use tollgate_shared::money::Money;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{DbError, Instant, Tx};

/// A line to write.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Its id; also the id of the outbound event.
    pub(crate) id: Uuid,
    /// The name of the fact.
    pub(crate) operation_key: String,
    /// `purchase_success`, …
    pub(crate) event_type: &'static str,
    /// Whom it is about.
    pub(crate) user: Option<String>,
    /// What was bought.
    pub(crate) plan: Option<String>,
    /// For how much.
    pub(crate) money: Option<Money>,
    /// By which payment.
    pub(crate) payment: Option<PaymentId>,
    /// At which provider.
    pub(crate) provider: Option<String>,
    /// The provider's number.
    pub(crate) provider_payment_id: Option<String>,
    /// Why, of a failure.
    pub(crate) reason: Option<String>,
    /// Whatever else belongs to the type.
    pub(crate) details: Value,
    /// The delivery that caused it.
    pub(crate) delivery: Option<DeliveryId>,
    /// When it happened.
    pub(crate) occurred_at: Timestamp,
}

/// Writes a line; `false` where the fact had been written before.
pub(crate) async fn insert(tx: &Tx, line: &Line, now: Timestamp) -> Result<bool, DbError> {
    let sql = "insert into tollgate.event_log (id, operation_key, event_type, user_id, plan_id, amount, currency, \
               payment_id, provider, provider_payment_id, reason, details, delivery_id, occurred_at, recorded_at) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
               on conflict (operation_key) do nothing";
    let written = tx
        .execute(
            sql,
            &[
                /* id */ &line.id,
                /* operation_key */ &line.operation_key,
                /* event_type */ &line.event_type,
                /* user_id */ &line.user,
                /* plan_id */ &line.plan,
                /* amount */ &line.money.map(|money| money.amount_minor.get()),
                /* currency */ &line.money.map(|money| money.currency.code()),
                /* payment_id */ &line.payment.map(PaymentId::as_uuid),
                /* provider */ &line.provider,
                /* provider_payment_id */ &line.provider_payment_id,
                /* reason */ &line.reason,
                /* details */ &line.details,
                /* delivery_id */ &line.delivery.map(DeliveryId::as_uuid),
                /* occurred_at */ &Instant(line.occurred_at),
                /* recorded_at */ &Instant(now),
            ],
        )
        .await?;
    Ok(written == 1)
}
