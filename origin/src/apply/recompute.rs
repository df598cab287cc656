//! Writing a payment's and a user's state from all that is known of them.
//!
//! settle, refund, decline, code and the timeouts of `work` → **recompute** → `payments`, `users`.
//!
//! Invariant (STYLE 2.24): state is recomputed, never adjusted; the payment is locked by the caller, the user's row
//! is locked here before its charges are read. Not here: the rules (`domain::standing`).

use serde_json::{Value, json};
use tollgate_shared::id::UserId;
use tollgate_shared::time::Timestamp;

use super::Step;
use crate::db::payments::{self, Payment, PaymentState};
use crate::db::{DbError, Tx, users};
use crate::domain::standing::{PaymentFacts, PaymentStatus, payment_status, user_standing};

/// Recomputes a payment after an event; `told_number` is the provider's number that the event tells.
pub(crate) async fn payment(
    step: Step<'_>,
    payment: Payment,
    told_number: Option<&str>,
) -> Result<PaymentStatus, DbError> {
    let told = told(step, told_number);
    write(step.tx, payment, told_number, Some(told), step.now).await
}

/// Recomputes a payment whose notes changed without an event.
pub(crate) async fn payment_by_time(
    tx: &Tx,
    payment: Payment,
    now: Timestamp,
) -> Result<PaymentStatus, DbError> {
    write(tx, payment, None, None, now).await
}

async fn write(
    tx: &Tx,
    payment: Payment,
    told_number: Option<&str>,
    told: Option<Value>,
    now: Timestamp,
) -> Result<PaymentStatus, DbError> {
    let sums = payments::sum_charges(tx, payment.id).await?;
    let status = payment_status(PaymentFacts {
        settled_minor: sums.settled_minor,
        refunded_minor: sums.refunded_minor,
        failed: payment.notes.is_failed(),
        canceled: payment.notes.canceled.is_some(),
    });
    // Without a charge, the greater of two numbers: any rule will do that does not depend on the order of arrival.
    let told_number = payment
        .provider_payment_id
        .clone()
        .max(told_number.map(str::to_owned));
    let state = PaymentState {
        status,
        provider_payment_id: sums.newest.or(told_number),
        error_message: error_message(status, &payment),
        told,
        instructions: payment.instructions,
        notes: payment.notes,
        pending_until: payment.pending_until,
    };
    payments::save(tx, payment.id, &state, now).await?;
    Ok(status)
}

fn error_message(status: PaymentStatus, payment: &Payment) -> Option<String> {
    match status {
        PaymentStatus::Failed => payment.notes.failure.as_ref().map(payments::Failure::text),
        PaymentStatus::Canceled => payment
            .notes
            .canceled
            .as_ref()
            .map(|canceled| canceled.reason.clone()),
        PaymentStatus::None | PaymentStatus::Pending | PaymentStatus::Active | PaymentStatus::Refunded => {
            None
        }
    }
}

/// `raw_payload`: what the last notice told, by the names that we compare. The bytes are in the inbox; copying a
/// notice here would copy card digits and e-mail addresses with it.
fn told(step: Step<'_>, told_number: Option<&str>) -> Value {
    json!({
        "eventKey": step.event.key.as_str(),
        "inboxEventId": step.inbox_event.to_string(),
        "deliveryId": step.delivery.to_string(),
        "occurredAt": step.occurred_at().to_string(),
        "providerPaymentId": told_number,
    })
}

/// Recomputes a user.
pub(crate) async fn user(tx: &Tx, user: &UserId, now: Timestamp) -> Result<(), DbError> {
    users::lock(tx, user).await?;
    let charges = users::charges(tx, user).await?;
    let latest = users::latest_payment_status(tx, user).await?;
    let subscriptions = users::subscriptions(tx, user).await?;
    let standing = user_standing(&charges, &subscriptions, latest, now);
    users::save(tx, user, &standing, now).await
}
