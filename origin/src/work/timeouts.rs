//! Payments that nobody paid: canceled with reason `timeout` once they have waited long enough (PM-8).
//!
//! payment past `pending_until` → **round** (lock → note → recompute) → canceled, told as `purchase_failed`.
//!
//! Invariant: time never outranks money. The row is locked while it is judged, so a paid notice comes before or
//! after, and one that comes after still wins (`domain::standing`). Not here: asking the provider first.

use super::Round;
use crate::Origin;
use crate::announce::{Announcement, Kind, announce};
use crate::apply::{payment_by_time, recompute_user};
use crate::db::payments::{self, Canceled, Payment};
use crate::db::{DbError, Tx};
use tollgate_shared::time::Timestamp;

const REASON: &str = "timeout";

/// Cancels one payment that has waited too long.
pub(crate) async fn round(origin: &Origin) -> Result<Round, DbError> {
    let now = origin.clock.now();
    let to_user_core = origin.config.user_core.is_some();
    let cancel = |tx: Tx| async move { cancel_one(&tx, to_user_core, now).await };
    origin.database.run_tx("payment_timeout", cancel).await
}

async fn cancel_one(tx: &Tx, to_user_core: bool, now: Timestamp) -> Result<Round, DbError> {
    let Some(mut payment) = payments::lock_overdue(tx, now).await? else {
        return Ok(Round::Idle);
    };
    announce(tx, &news(&payment, now), to_user_core, now).await?;
    payment.notes.canceled = Some(Canceled {
        at_ms: now,
        reason: REASON.to_owned(),
    });
    let (id, user) = (payment.id, payment.user.clone());
    payment_by_time(tx, payment, now).await?;
    recompute_user(tx, &user, now).await?;
    tracing::info!(payment.id = %id, "payment {id} was canceled: nobody paid in time");
    Ok(Round::Worked)
}

fn news(payment: &Payment, now: Timestamp) -> Announcement {
    Announcement {
        kind: Kind::Failed,
        // The wait is part of the fact: a payment that a code opened again can time out again.
        fact: format!("{}:{REASON}:{}", payment.id, payment.pending_until.unix_ms()),
        user: payment.user.to_string(),
        plan: payment.plan.to_string(),
        money: payment.price,
        payment: payment.id,
        provider: payment.provider.clone(),
        provider_payment_id: payment.provider_payment_id.clone(),
        reason: Some(REASON.to_owned()),
        delivery: None,
        occurred_at: now,
    }
}
