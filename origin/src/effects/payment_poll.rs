//! `payment_poll`: asking the provider what became of a payment whose notice may be lost (OP-5).
//!
//! `work::payment_polls` → outbox row → **this** (`polls::ask`) → the inbox, as if the provider had told us.
//!
//! Invariant: an answer that tells nothing is a success: the payment is asked about again at its next slot, or its notice
//! comes. Not here: which payments, and when (`domain::payment_poll`).

use serde_json::Value;
use tollgate_shared::id::PaymentId;

use super::{Desk, Undone};
use crate::db::Tx;
use crate::db::polls;
use crate::polls::{ASK_CALLS, ask};

/// Asks about one payment.
pub(super) async fn make(desk: Desk<'_>, payload: &Value) -> Result<(), Undone> {
    let id = PaymentId::from_uuid(super::id(payload, "paymentId")?);
    let find = |tx: Tx| async move { polls::find(&tx, id).await };
    let Some(asked) = desk.origin.database.run_tx("payment_poll", find).await? else {
        return Err(Undone::Never("there is no such payment".to_owned()));
    };
    let shop = super::shop(desk.origin, &asked.provider, asked.merchant.as_ref())?;
    let mut line = desk.line(shop, ASK_CALLS).await?;
    let told = ask(&mut line, shop, &asked.order, desk.origin.clock.now()).await?;
    super::feed(desk.origin, shop, &told.observations).await
}
