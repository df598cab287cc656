//! Disputes: genuine notices that do not match what we ordered.
//!
//! apply → **disputes** → a person.
//!
//! Invariant: one row an event and kind; recording one is a success of the event (it is acknowledged and done),
//! and never moves money. Not here: resolving them.

use serde_json::Value;
use tollgate_shared::event::Event;
use tollgate_shared::id::{InboxEventId, MerchantId, OrderNumber, PaymentId};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{DbError, Instant, Tx};
use crate::domain::charge::DisputeKind;

/// A dispute to record.
#[derive(Debug)]
pub(crate) struct NewDispute<'a> {
    /// Its row's id.
    pub(crate) id: Uuid,
    /// How the notice differs.
    pub(crate) kind: DisputeKind,
    /// The event of the notice.
    pub(crate) event: &'a Event,
    /// Its row in the inbox.
    pub(crate) inbox_event: InboxEventId,
    /// The payment, where the order number is one of ours.
    pub(crate) payment: Option<PaymentId>,
    /// What we ordered, in the fields that differ.
    pub(crate) expected: Value,
    /// What the notice says, in the same fields.
    pub(crate) received: Value,
}

/// Records a dispute, once.
pub(crate) async fn insert(tx: &Tx, dispute: &NewDispute<'_>, now: Timestamp) -> Result<(), DbError> {
    let sql = "insert into tollgate.disputes (id, kind, provider, merchant_id, order_number, payment_id, \
               inbox_event_id, expected, received, detail, created_at) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (inbox_event_id, kind) do nothing";
    tx.execute(
        sql,
        &[
            /* id */ &dispute.id,
            /* kind */ &dispute.kind.label(),
            /* provider */ &dispute.event.source.as_str(),
            /* merchant_id */ &dispute.event.merchant.as_ref().map(MerchantId::as_str),
            /* order_number */ &dispute.event.order.as_ref().map(OrderNumber::as_str),
            /* payment_id */ &dispute.payment.map(PaymentId::as_uuid),
            /* inbox_event_id */ &dispute.inbox_event.as_uuid(),
            /* expected */ &dispute.expected,
            /* received */ &dispute.received,
            /* detail */ &dispute.kind.detail(),
            /* created_at */ &Instant(now),
        ],
    )
    .await?;
    Ok(())
}
