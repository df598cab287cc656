//! Writing a charge that moved: its ledger transaction, and the news of it.
//!
//! settle, refund → **book** → `db::ledger`, `announce`.
//!
//! Invariant: whatever moves a charge's money is written here, ledger and news together. That it happens once is the
//! caller's doing (the charge's row) and the operation key's. Not here: the state of payment and user (`recompute`).

use tollgate_shared::event::Charge;
use tollgate_shared::id::MerchantId;

use super::{ApplyError, Step};
use crate::announce::{Announcement, Kind, announce};
use crate::db::ledger::{self, Occasion};
use crate::db::payments::Payment;
use crate::ledger::Posting;

/// Books the money that arrived.
pub(super) async fn settlement(step: Step<'_>, payment: &Payment, charge: &Charge) -> Result<(), ApplyError> {
    let posting = Posting::settle(
        &payment.user,
        &step.event.source,
        merchant(payment),
        &charge.provider_payment_id,
        charge.money,
    )?;
    book(step, payment, charge, &posting, Kind::Success).await
}

/// Books the money that was paid back.
pub(super) async fn reversal(step: Step<'_>, payment: &Payment, charge: &Charge) -> Result<(), ApplyError> {
    let posting = Posting::refund(
        &payment.user,
        &step.event.source,
        merchant(payment),
        &charge.provider_payment_id,
        charge.money,
    )?;
    book(step, payment, charge, &posting, Kind::Refunded).await
}

async fn book(
    step: Step<'_>,
    payment: &Payment,
    charge: &Charge,
    posting: &Posting,
    kind: Kind,
) -> Result<(), ApplyError> {
    ledger::post(step.tx, posting, occasion(step)).await?;
    let news = news(step, payment, charge, kind);
    announce(step.tx, &news, step.to_user_core, step.now).await?;
    Ok(())
}

/// When, and by which delivery, for the ledger.
fn occasion(step: Step<'_>) -> Occasion {
    Occasion {
        occurred_at: step.occurred_at(),
        recorded_at: step.now,
        delivery: Some(step.delivery),
    }
}

fn news(step: Step<'_>, payment: &Payment, charge: &Charge, kind: Kind) -> Announcement {
    Announcement {
        kind,
        fact: format!("{}:{}", payment.id, charge.provider_payment_id),
        user: payment.user.to_string(),
        plan: payment.plan.to_string(),
        money: charge.money,
        payment: payment.id,
        provider: payment.provider.clone(),
        provider_payment_id: Some(charge.provider_payment_id.to_string()),
        reason: None,
        delivery: Some(step.delivery),
        occurred_at: step.occurred_at(),
    }
}

/// The shop as keys write it; a provider that knows no shops (mock) has none.
pub(super) fn merchant(payment: &Payment) -> &str {
    payment.merchant.as_ref().map_or("", MerchantId::as_str)
}
