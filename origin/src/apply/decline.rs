//! A charge that was refused, of an order or of one of its periods.
//!
//! `Fact::PaymentFailed`, `Fact::PeriodFailed` → **decline** → payment, user, event log.
//!
//! Invariant: of several refusals the one that happened last is shown, in whatever order they arrive; a refusal
//! never outranks money that has settled. Not here: dunning.

use tollgate_shared::event::Decline;
use tollgate_shared::id::ProviderPaymentId;

use super::{ApplyError, Outcome, Step, dispute, recompute};
use crate::announce::{Announcement, Kind, announce};
use crate::db::payments::{Failure, Payment};
use crate::domain::charge::DisputeKind;

/// The provider's words are shown to the customer's page; no provider sends more than 200 characters.
const MESSAGE_CHARACTERS_MAX: usize = 200;

/// Notes a refused attempt, or disputes it.
pub(super) async fn note(step: Step<'_>, decline: &Decline) -> Result<Outcome, ApplyError> {
    let Some(mut payment) = step.payment().await? else {
        return dispute::record_without_charge(step, DisputeKind::UnknownOrder, None).await;
    };
    if step.event.merchant != payment.merchant {
        return dispute::record_without_charge(step, DisputeKind::MerchantMismatch, Some(&payment)).await;
    }
    let failure = failure(step, decline);
    announce(
        step.tx,
        &news(step, &payment, decline, &failure),
        step.to_user_core,
        step.now,
    )
    .await?;
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
