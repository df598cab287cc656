//! A charge that was paid back by the provider's own doing.
//!
//! `Fact::Refunded` → **refund** → charge, reversing ledger transaction, event log, payment, user, tokens.
//!
//! Invariants: nothing is deleted, the reversal is an entry of its own; a refund tells that the charge had
//! settled, so one that arrives before its paid notice books both, and the paid notice then finds the charge known.
//! A refund of another amount than the charge's is a dispute: partial refunds are for a person. A charge that we paid
//! back ourselves is not booked again: the notice is the echo of our refunds, and ends those that wait for an answer.

use tollgate_shared::event::Charge;

use super::settle::{book_once, check};
use super::{ApplyError, Outcome, Step, dispute, recompute, tokens};
use crate::db::payments::{self, Inserted, Payment};
use crate::db::refunds::{self, Refund, RefundStatus};
use crate::domain::charge::{DisputeKind, Which};
use crate::refunds::book::{self, Happened};
use crate::subscriptions::{Attempt, note_attempt};

/// Books a refund, or disputes it.
pub(super) async fn refund(step: Step<'_>, charge: &Charge) -> Result<Outcome, ApplyError> {
    let Some(payment) = step.payment().await? else {
        return dispute::record(step, DisputeKind::UnknownOrder, None, charge).await;
    };
    if let Err(kind) = check(step, &payment, charge, Which::Any) {
        return dispute::record(step, kind, Some(&payment), charge).await;
    }
    match book_once(step, &payment, charge, None).await? {
        Inserted::OfAnotherPayment => {
            dispute::record(step, DisputeKind::ChargeOfAnotherOrder, Some(&payment), charge).await
        }
        Inserted::Known { refunded: true, .. } => Ok(Outcome::KnownCharge),
        Inserted::Known { amount_minor, .. } if amount_minor != charge.money.amount_minor => {
            dispute::record(step, DisputeKind::AmountMismatch, Some(&payment), charge).await
        }
        inserted @ (Inserted::New | Inserted::Known { refunded: false, .. }) => {
            let ours = ours(step, &payment, charge).await?;
            if !ours.is_empty() {
                return echo(step, &payment, charge, &ours).await;
            }
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
    super::book::reversal(step, payment, charge).await?;
    note_attempt(step, payment, Attempt::Returned(charge)).await?;
    recompute::payment(step, payment.clone(), Some(number)).await?;
    recompute::user(step.tx, &payment.user, step.now).await?;
    Ok(())
}

/// Our own refunds of the charge that were not refused.
async fn ours(step: Step<'_>, payment: &Payment, charge: &Charge) -> Result<Vec<Refund>, ApplyError> {
    let mut refunds = refunds::of_payment(step.tx, payment.id).await?;
    refunds.retain(|refund| {
        refund.charge.number == charge.provider_payment_id && refund.status != RefundStatus::Refused
    });
    Ok(refunds)
}

/// The notice tells of the whole charge. Where our refunds make up the whole, it is theirs; else nobody knows whether it
/// tells of our part or of the rest.
async fn echo(
    step: Step<'_>,
    payment: &Payment,
    charge: &Charge,
    ours: &[Refund],
) -> Result<Outcome, ApplyError> {
    let sum: i64 = ours.iter().map(|refund| refund.money.amount_minor.get()).sum();
    if sum != charge.money.amount_minor.get() {
        return dispute::record(step, DisputeKind::RefundUnclear, Some(payment), charge).await;
    }
    let happened = Happened {
        at: step.occurred_at(),
        now: step.now,
        delivery: Some(step.delivery),
        to_user_core: step.to_user_core,
    };
    for refund in ours {
        book::done(step.tx, payment, refund, &happened).await?;
    }
    Ok(Outcome::Refunded)
}
