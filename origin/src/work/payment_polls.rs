//! Payments without news: an effect for each slot in which one is to be asked about (OP-5).
//!
//! payments pending, failed or given up → **round** (`domain::payment_poll`) → outbox → `effects::payment_poll`.
//!
//! Invariant: the slot is in the effect's operation key, so several instances ask once. A payment that time canceled is
//! still asked about: money that arrived outranks it. Not here: asking.

use serde_json::json;
use tollgate_shared::id::PaymentId;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::Round;
use crate::Origin;
use crate::db::outbox::{self, NewEffect};
use crate::db::polls::{self, AskedPayment};
use crate::db::{DbError, Tx};
use crate::domain::payment_poll::{GIVEN_UP, slot};
use crate::effects::PAYMENT_POLL;
use crate::entropy;

/// Payments in one transaction.
const PAGE: i64 = 200;
/// An answer that cannot be had in an hour or two is had at the next slot.
const ATTEMPTS_MAX: i32 = 6;

/// Looks at every payment without news, once.
pub(crate) async fn round(origin: &Origin) -> Result<Round, DbError> {
    let now = origin.clock.now();
    let from = Timestamp::from_unix_ms(now.unix_ms().saturating_sub(millis(GIVEN_UP)));
    let mut after = (from, PaymentId::from_uuid(Uuid::nil()));
    loop {
        let page = |tx: Tx| async move {
            let payments = polls::without_news(&tx, (from, now), after, PAGE).await?;
            for payment in &payments {
                ask_later(&tx, payment, now).await?;
            }
            Ok::<_, DbError>(payments)
        };
        let payments = origin.database.run_tx("payment_polls", page).await?;
        match payments.last() {
            Some(last) => after = (last.ordered_at, last.id),
            None => return Ok(Round::Idle),
        }
    }
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

async fn ask_later(tx: &Tx, payment: &AskedPayment, now: Timestamp) -> Result<(), DbError> {
    let Some(slot) = slot(payment.ordered_at, now) else {
        return Ok(());
    };
    let effect = NewEffect {
        id: entropy::uuid_v7(now)?,
        operation_key: format!("{PAYMENT_POLL}:{}:{slot}", payment.id),
        kind: PAYMENT_POLL,
        ordering_key: Some(format!("payment:{}", payment.id)),
        payload: json!({ "paymentId": payment.id.to_string() }),
        delivery: None,
        attempts_max: ATTEMPTS_MAX,
    };
    outbox::insert(tx, &effect, now).await
}
