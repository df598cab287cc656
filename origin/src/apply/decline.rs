//! A charge that was refused or cancelled, of an order or of one of its periods.
//!
//! `Fact::PaymentFailed`, `PaymentCanceled`, `PeriodFailed` → **decline** → payment, user, event log, or a dispute.
//!
//! Invariants: of several refusals the one that happened last is shown, in whatever order they arrive; a refusal
//! never outranks money that has settled. One that takes a settled charge back (PAYUNi: TradeStatus 1, then 3) is a
//! dispute and moves nothing: the notice does not say whether money went back, so a person asks the provider.
//! Not here: dunning (`subscriptions`); refunds that the provider tells as such (`refund`).

use tollgate_shared::event::{Decline, Period};
use tollgate_shared::id::ProviderPaymentId;

use super::{ApplyError, Outcome, Step, binding, dispute, recompute};
use crate::announce::{Announcement, Kind, announce};
use crate::db::payments::{self, Failure, Payment};
use crate::domain::charge::{DisputeKind, takes_back};
use crate::subscriptions::{Attempt, note_attempt};

/// The provider's words are shown to the customer's page; no provider sends more than 200 characters.
const MESSAGE_CHARACTERS_MAX: usize = 200;

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused<'a> {
    /// An attempt to pay the order.
    Attempt,
    /// The payment, by a cancellation.
    Canceled,
    /// The charge of a period.
    Period(&'a Period),
}

/// Notes a refused attempt, or disputes it.
pub(super) async fn note(
    step: Step<'_>,
    decline: &Decline,
    refused: Refused<'_>,
) -> Result<Outcome, ApplyError> {
    let Some(mut payment) = step.payment().await? else {
        return dispute::record_without_charge(step, DisputeKind::UnknownOrder, None).await;
    };
    if step.event.merchant != payment.merchant {
        return dispute::record_without_charge(step, DisputeKind::MerchantMismatch, Some(&payment)).await;
    }
    if refused == Refused::Canceled && binding::is_released(&payment, decline) {
        return Ok(Outcome::Acknowledged);
    }
    if reverses(step, &payment, decline, refused).await? {
        return dispute::record_reversal(step, &payment, decline).await;
    }
    let failure = failure(step, decline);
    let to_user_core = step.to_user_core && concerns_user_core(step, &payment, refused).await?;
    let news = news(step, &payment, decline, &failure);
    announce(step.tx, &news, to_user_core, step.now).await?;
    note_attempt_of(step, &payment, decline, refused).await?;
    payment.notes.failure = payment.notes.failure.take().max(Some(failure));
    let user = payment.user.clone();
    let number = decline
        .provider_payment_id
        .as_ref()
        .map(ProviderPaymentId::as_str);
    recompute::payment(step, payment, number).await?;
    recompute::user(step.tx, &user, step.now).await?;
    Ok(Outcome::DeclineNoted)
}

/// A refused charge of a subscription is dunning's to judge; a cancellation is the customer's doing.
async fn note_attempt_of(
    step: Step<'_>,
    payment: &Payment,
    decline: &Decline,
    refused: Refused<'_>,
) -> Result<(), ApplyError> {
    let period = match refused {
        Refused::Canceled => return Ok(()),
        Refused::Attempt => None,
        Refused::Period(period) => Some(period),
    };
    note_attempt(step, payment, Attempt::Failed(decline, period)).await?;
    Ok(())
}

/// Whether a charge that has settled is taken back.
async fn reverses(
    step: Step<'_>,
    payment: &Payment,
    decline: &Decline,
    refused: Refused<'_>,
) -> Result<bool, ApplyError> {
    let Some(number) = &decline.provider_payment_id else {
        return Ok(false);
    };
    let charged_at = payments::settled_at(step.tx, payment, number).await?;
    let takes_back = |charged_at| takes_back(refused == Refused::Canceled, charged_at, step.occurred_at());
    Ok(charged_at.is_some_and(takes_back))
}

/// A refused period is news beside the periods that were paid; a refused attempt at an order that is paid is history.
async fn concerns_user_core(
    step: Step<'_>,
    payment: &Payment,
    refused: Refused<'_>,
) -> Result<bool, ApplyError> {
    if matches!(refused, Refused::Period(_)) {
        return Ok(true);
    }
    let sums = payments::sum_charges(step.tx, payment.id).await?;
    Ok(sums.newest.is_none())
}

fn failure(step: Step<'_>, decline: &Decline) -> Failure {
    Failure {
        occurred_at_ms: step.occurred_at(),
        key: step.event.key.to_string(),
        code: decline.code.chars().take(MESSAGE_CHARACTERS_MAX).collect(),
        message: decline.message.chars().take(MESSAGE_CHARACTERS_MAX).collect(),
    }
}

fn news(step: Step<'_>, payment: &Payment, decline: &Decline, failure: &Failure) -> Announcement {
    Announcement {
        kind: Kind::Failed,
        fact: step.event.key.to_string(),
        user: payment.user.to_string(),
        plan: payment.plan.to_string(),
        money: decline.money.unwrap_or(payment.price),
        payment: payment.id,
        provider: payment.provider.clone(),
        provider_payment_id: decline.provider_payment_id.as_ref().map(ToString::to_string),
        reason: Some(failure.text()),
        delivery: Some(step.delivery),
        occurred_at: step.occurred_at(),
    }
}
