//! A charge that was paid back by the provider's own doing.
//!
//! `Fact::Refunded` → **refund** → charge, reversing ledger transaction, event log, payment, user, tokens.
//!
//! Invariants: nothing is deleted, the reversal is an entry of its own; a refund tells that the charge had
//! settled, so one that arrives before its paid notice books both, and the paid notice then finds the charge known.
//! A refund of another amount than the charge's is a dispute: partial refunds are for a person.

use tollgate_shared::event::Charge;

use super::settle::{book_once, check};
use super::{ApplyError, Outcome, Step, book, dispute, recompute, tokens};
use crate::db::payments::{self, Inserted, Payment};
use crate::domain::charge::DisputeKind;

/// Books a refund, or disputes it.
pub(super) async fn refund(step: Step<'_>, charge: &Charge) -> Result<Outcome, ApplyError> {
    let Some(payment) = step.payment().await? else {
        return dispute::record(step, DisputeKind::UnknownOrder, None, charge).await;
    };
    if let Err(kind) = check(step, &payment, charge, None) {
        return dispute::record(step, kind, Some(&payment), charge).await;
    }
    match book_once(step, &payment, charge, None).await? {
        Inserted::OfAnotherPayment => {
            dispute::record(step, DisputeKind::ChargeOfAnotherOrder, Some(&payment), charge).await
        }
        Inserted::Known { refunded: true } => Ok(Outcome::KnownCharge),
        inserted @ (Inserted::New | Inserted::Known { refunded: false }) => {
            reverse(step, &payment, charge).await?;
            if inserted == Inserted::New {
                // Its paid notice will find the charge known and give nothing: what it bought is given here first.
                tokens::give(step, &payment, charge).await?;
            }
            tokens::take_back(step, &payment, charge).await?;
            Ok(Outcome::Refunded)
        }
    }
}

async fn reverse(step: Step<'_>, payment: &Payment, charge: &Charge) -> Result<(), ApplyError> {
    // After this point the refund must be booked.
    let number = charge.provider_payment_id.as_str();
    payments::mark_refunded(step.tx, payment, number, step.occurred_at()).await?;
    book::reversal(step, payment, charge).await?;
    recompute::payment(step, payment.clone(), Some(number)).await?;
    recompute::user(step.tx, &payment.user, step.now).await?;
    Ok(())
}
