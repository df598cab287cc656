//! What a person must decide: a genuine notice that does not match what we ordered, or tokens that could not follow money.
//!
//! settle, refund, decline, code, tokens → **dispute** → a row that a person reads.
//!
//! Invariant: the event ends as applied (the provider was right to send it and need not repeat it). Of a notice that does
//! not match no money moves; money that matched stays booked although its tokens are disputed. What is kept are the
//! fields that were compared, not the notice.

use serde_json::{Value, json};
use tollgate_shared::event::{Charge, Decline, IssuedCode};
use tollgate_shared::id::{MerchantId, ProviderPaymentId};
use tollgate_shared::money::Money;

use super::{ApplyError, Outcome, Step};
use crate::db::DbError;
use crate::db::disputes::{self, NewDispute};
use crate::db::payments::Payment;
use crate::domain::charge::DisputeKind;
use crate::domain::tokens::TokenAmount;
use crate::entropy;

/// Disputes a charge.
pub(super) async fn record(
    step: Step<'_>,
    kind: DisputeKind,
    payment: Option<&Payment>,
    charge: &Charge,
) -> Result<Outcome, ApplyError> {
    let number = charge.provider_payment_id.as_str();
    insert(step, kind, payment, told(step, Some(charge.money), Some(number))).await
}

/// Disputes a notice that tells of no charge.
pub(super) async fn record_without_charge(
    step: Step<'_>,
    kind: DisputeKind,
    payment: Option<&Payment>,
) -> Result<Outcome, ApplyError> {
    insert(step, kind, payment, told(step, None, None)).await
}

/// Disputes the amount of a code.
pub(super) async fn record_code(
    step: Step<'_>,
    payment: &Payment,
    code: &IssuedCode,
) -> Result<Outcome, ApplyError> {
    insert(
        step,
        DisputeKind::AmountMismatch,
        Some(payment),
        told(step, Some(code.money), Some(code.provider_payment_id.as_str())),
    )
    .await
}

/// Disputes that a settled charge was taken back.
pub(super) async fn record_reversal(
    step: Step<'_>,
    payment: &Payment,
    decline: &Decline,
) -> Result<Outcome, ApplyError> {
    let number = decline
        .provider_payment_id
        .as_ref()
        .map(ProviderPaymentId::as_str);
    let told = told(step, decline.money, number);
    insert(step, DisputeKind::ChargeReversed, Some(payment), told).await
}

/// Disputes the tokens of a charge whose money is booked.
pub(super) async fn record_tokens(
    step: Step<'_>,
    kind: DisputeKind,
    payment: &Payment,
    received: Value,
) -> Result<(), ApplyError> {
    insert(step, kind, Some(payment), received).await.map(drop)
}

async fn insert(
    step: Step<'_>,
    kind: DisputeKind,
    payment: Option<&Payment>,
    received: Value,
) -> Result<Outcome, ApplyError> {
    let dispute = NewDispute {
        id: entropy::uuid_v7(step.now).map_err(DbError::from)?,
        kind,
        event: step.event,
        inbox_event: step.inbox_event,
        payment: payment.map(|payment| payment.id),
        expected: payment.map_or_else(|| json!({}), ordered),
        received,
    };
    disputes::insert(step.tx, &dispute, step.now).await?;
    tracing::warn!(
        delivery.id = %step.delivery,
        event.id = %step.inbox_event,
        dispute.kind = kind.label(),
        "a person must decide: {}",
        kind.label()
    );
    Ok(Outcome::Disputed)
}

fn ordered(payment: &Payment) -> Value {
    json!({
        "merchant": payment.merchant.as_ref().map(MerchantId::as_str),
        "amount": payment.price.amount_minor.get(),
        "currency": payment.price.currency.code(),
        "periodic": payment.periodic,
        "tokens": payment.tokens.map(TokenAmount::get),
    })
}

fn told(step: Step<'_>, money: Option<Money>, provider_payment_id: Option<&str>) -> Value {
    json!({
        "merchant": step.event.merchant.as_ref().map(MerchantId::as_str),
        "amount": money.map(|money| money.amount_minor.get()),
        "currency": money.map(|money| money.currency.code()),
        "providerPaymentId": provider_payment_id,
    })
}
