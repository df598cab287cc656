//! A card that was bound for a first charge on a chosen day (PU-7): known, told, and never money.
//!
//! `Fact::CardBound`, and a payment of NT$1 before that day → **binding** → payment (waits for the day), subscription.
//!
//! Invariants: nothing is booked and no period begins, whatever the authorisation is called: PAYUNi's pages do not say
//! whether NT$1 is ever captured (reference A.5), and a period costs more. The payment stays pending until its first
//! charge, some days past the chosen day at most; one that time had canceled is open again.
//! Not here: what the subscription makes of it (`domain::subscription`), the charge itself (`settle`).

use std::time::Duration;

use tollgate_shared::event::{CardBinding, Charge, Decline};
use tollgate_shared::id::ProviderPaymentId;
use tollgate_shared::money::Money;

use super::code::wait_until;
use super::{ApplyError, Outcome, Step, dispute, recompute};
use crate::db::payments::{CardBound, Payment};
use crate::domain::charge::DisputeKind;
use crate::domain::subscription::schedule::{midnight, taipei_date};
use crate::subscriptions::note_binding;

/// How long past the beginning of the chosen day the first charge is waited for: the day, and three of news that come late.
const FIRST_CHARGE_WAIT: Duration = Duration::from_hours(4 * 24);
/// What binds a card.
const BINDING_MONEY: Money = Money::twd(1);

/// Notes a card that was bound, or disputes it.
pub(super) async fn note(step: Step<'_>, binding: &CardBinding) -> Result<Outcome, ApplyError> {
    let Some(payment) = step.payment().await? else {
        return dispute::record_without_charge(step, DisputeKind::UnknownOrder, None).await;
    };
    if step.event.merchant != payment.merchant {
        return dispute::record_without_charge(step, DisputeKind::MerchantMismatch, Some(&payment)).await;
    }
    if !payment.periodic {
        return dispute::record_without_charge(step, DisputeKind::UnexpectedPeriod, Some(&payment)).await;
    }
    // After this point the binding must be noted.
    write(step, payment, binding).await
}

/// Whether a charge that is told as no period's comes before the day on which the first may be made: then it can only be
/// what bound the card, under whichever amount a query tells of it.
pub(super) fn is_before_first(step: Step<'_>, payment: &Payment) -> bool {
    let first = payment.first_charge_on;
    first.is_some_and(|first| taipei_date(step.occurred_at()).is_some_and(|day| day < first))
}

/// A payment before the chosen day, as a query tells it: NT$1 bound the card, anything else is for a person.
pub(super) async fn told_as_charge(
    step: Step<'_>,
    payment: Payment,
    charge: &Charge,
) -> Result<Outcome, ApplyError> {
    if step.event.merchant != payment.merchant {
        return dispute::record(step, DisputeKind::MerchantMismatch, Some(&payment), charge).await;
    }
    if charge.money != BINDING_MONEY {
        return dispute::record(step, DisputeKind::AmountMismatch, Some(&payment), charge).await;
    }
    let binding = CardBinding {
        money: charge.money,
        provider_payment_id: Some(charge.provider_payment_id.clone()),
        contract_number: None,
    };
    write(step, payment, &binding).await
}

/// Whether what is cancelled is the authorisation that bound the card: it was to be, and the card stays bound.
pub(super) fn is_released(payment: &Payment, decline: &Decline) -> bool {
    let bound = payment.notes.card_bound.as_ref();
    let number = bound.and_then(|bound| bound.provider_payment_id.as_deref());
    let told = decline.provider_payment_id.as_ref();
    number.is_some() && number == told.map(ProviderPaymentId::as_str)
}

async fn write(step: Step<'_>, mut payment: Payment, binding: &CardBinding) -> Result<Outcome, ApplyError> {
    note_binding(step, &payment, binding).await?;
    let number = binding.provider_payment_id.as_ref();
    let bound = CardBound {
        at_ms: step.occurred_at(),
        provider_payment_id: number.map(ToString::to_string),
    };
    payment.notes.card_bound = payment.notes.card_bound.take().max(Some(bound));
    let first_day = payment.first_charge_on.and_then(midnight);
    let from = first_day.unwrap_or(step.received_at);
    wait_until(&mut payment, from.plus(FIRST_CHARGE_WAIT), step.now);
    let user = payment.user.clone();
    recompute::payment(step, payment, None).await?;
    recompute::user(step.tx, &user, step.now).await?;
    Ok(Outcome::CardBound)
}
