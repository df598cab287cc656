//! No money yet: a code to pay with was issued, or the bank has not decided.
//!
//! `Fact::CodeIssued` → **store** → instructions that the status route shows; `Fact::PaymentHeld` →
//! **`wait_for_bank`**. Both make the payment wait longer before it is canceled.
//!
//! Invariants: a code never counts as paid; the newest code is the one shown; the wait only ever grows, so the
//! order of notices does not matter. A code that is issued after a timeout opens the payment again.

use std::time::Duration;

use tollgate_shared::event::{Decline, IssuedCode};
use tollgate_shared::time::Timestamp;

use super::{ApplyError, Outcome, Step, dispute, recompute, record};
use crate::db::payments::{Instructions, Payment};
use crate::domain::charge::DisputeKind;

/// ECPay tells of a barcode's payment about two days later (reference §1.4.5); a day more for its re-sends.
const NOTICE_DELAY_MAX: Duration = Duration::from_hours(3 * 24);
/// Where the code's expiry is not told: ECPay's default for convenience stores, 7 days.
const EXPIRY_DEFAULT: Duration = Duration::from_hours(7 * 24);
/// PAYUNi decides an `UNKNOWN` within minutes (reference A.9: query after 15); a review takes a working day.
const BANK_DELAY_MAX: Duration = Duration::from_hours(24);

/// Stores how to pay, or disputes it.
pub(super) async fn store(step: Step<'_>, code: &IssuedCode) -> Result<Outcome, ApplyError> {
    let Some(mut payment) = step.payment().await? else {
        return dispute::record_without_charge(step, DisputeKind::UnknownOrder, None).await;
    };
    if step.event.merchant != payment.merchant {
        return dispute::record_without_charge(step, DisputeKind::MerchantMismatch, Some(&payment)).await;
    }
    if code.money != payment.price {
        return dispute::record_code(step, &payment, code).await;
    }
    payment.instructions = payment.instructions.take().max(Some(instructions(step, code)));
    let expires_at = code
        .expires_at
        .unwrap_or_else(|| step.occurred_at().plus(EXPIRY_DEFAULT));
    wait_until(&mut payment, expires_at.plus(NOTICE_DELAY_MAX), step.now);
    let user = payment.user.clone();
    recompute::payment(step, payment, Some(code.provider_payment_id.as_str())).await?;
    recompute::user(step.tx, &user, step.now).await?;
    Ok(Outcome::CodeStored)
}

/// Gives the bank a day more, and says so in the event log.
pub(super) async fn wait_for_bank(step: Step<'_>, undecided: &Decline) -> Result<Outcome, ApplyError> {
    let Some(mut payment) = step.payment().await? else {
        return dispute::record_without_charge(step, DisputeKind::UnknownOrder, None).await;
    };
    if step.event.merchant != payment.merchant {
        return dispute::record_without_charge(step, DisputeKind::MerchantMismatch, Some(&payment)).await;
    }
    record::held(step, &payment, undecided).await?;
    wait_until(&mut payment, step.received_at.plus(BANK_DELAY_MAX), step.now);
    let user = payment.user.clone();
    recompute::payment(step, payment, None).await?;
    recompute::user(step.tx, &user, step.now).await?;
    Ok(Outcome::Held)
}

fn instructions(step: Step<'_>, code: &IssuedCode) -> Instructions {
    Instructions {
        issued_at_ms: step.occurred_at(),
        method: code.method.clone(),
        code_parts: code.code_parts.clone(),
        expires_at: code.expires_at.map(|instant| instant.to_string()),
    }
}

/// Makes the payment wait at least until then, and opens one that was given up before.
pub(super) fn wait_until(payment: &mut Payment, instant: Timestamp, now: Timestamp) {
    payment.pending_until = payment.pending_until.max(instant);
    if payment.pending_until > now {
        payment.notes.canceled = None;
    }
}
