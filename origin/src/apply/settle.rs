//! A charge that succeeded: the only charge of an order, or one of a period.
//!
//! `Fact::Paid`, `Fact::PeriodPaid` → **settle** → charge, ledger, event log, payment, user, tokens.
//!
//! Invariant: a charge settles at most once, by the unique key of its row and again by the ledger's operation key;
//! which notice tells it, and how often, does not matter. A paid notice settles whatever the payment's state: money
//! that moved is booked. Not here: money that is paid back (`refund`).

use tollgate_shared::event::{Charge, Period};

use super::{ApplyError, Outcome, Step, binding, book, dispute, recompute, tokens};
use crate::db::payments::{self, Inserted, NewCharge, Payment};
use crate::domain::charge::{self, DisputeKind, Ordered, Told, Which};
use crate::entropy;
use crate::subscriptions::{Attempt, lock_replaced, note_attempt};

/// Settles a charge, or disputes it.
pub(super) async fn settle(
    step: Step<'_>,
    charge: &Charge,
    period: Option<&Period>,
) -> Result<Outcome, ApplyError> {
    let Some(payment) = step.payment().await? else {
        return dispute::record(step, DisputeKind::UnknownOrder, None, charge).await;
    };
    if period.is_none() && binding::is_before_first(step, &payment) {
        return binding::told_as_charge(step, payment, charge).await;
    }
    let which = period.map_or(Which::First, |period| Which::Period(period.number));
    if let Err(kind) = check(step, &payment, charge, which) {
        return dispute::record(step, kind, Some(&payment), charge).await;
    }
    lock_replaced(step.tx, &payment).await?;
    match book_once(step, &payment, charge, period).await? {
        Inserted::OfAnotherPayment => {
            dispute::record(step, DisputeKind::ChargeOfAnotherOrder, Some(&payment), charge).await
        }
        Inserted::Known { .. } => Ok(Outcome::KnownCharge),
        Inserted::New => {
            note_attempt(step, &payment, Attempt::Paid(charge, period)).await?;
            recompute::payment(step, payment.clone(), Some(charge.provider_payment_id.as_str())).await?;
            recompute::user(step.tx, &payment.user, step.now).await?;
            tokens::give(step, &payment, charge).await?;
            Ok(Outcome::Settled)
        }
    }
}

/// Whether the charge is one that we ordered.
pub(super) fn check(
    step: Step<'_>,
    payment: &Payment,
    charge: &Charge,
    which: Which,
) -> Result<(), DisputeKind> {
    let ordered = Ordered {
        merchant: payment.merchant.clone(),
        price: payment.price,
        period_price: payment.period_price,
        periodic: payment.periodic,
    };
    let told = Told {
        merchant: step.event.merchant.as_ref(),
        money: charge.money,
        which,
    };
    charge::check(&ordered, &told)
}

/// Inserts the charge and books it if it is new; the payment's state is the caller's to recompute.
pub(super) async fn book_once(
    step: Step<'_>,
    payment: &Payment,
    charge: &Charge,
    period: Option<&Period>,
) -> Result<Inserted, ApplyError> {
    let new = NewCharge {
        id: entropy::uuid_v7(step.now).map_err(crate::db::DbError::from)?,
        payment,
        charge,
        period,
        inbox_event: step.inbox_event.as_uuid(),
        occurred_at: step.occurred_at(),
    };
    let inserted = payments::insert_charge(step.tx, &new, step.now).await?;
    if inserted == Inserted::New {
        // After this point the charge must settle.
        book::settlement(step, payment, charge).await?;
    }
    Ok(inserted)
}
