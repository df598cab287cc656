//! Lines of the event log beside a purchase's own (`announce`): simulated notices, undecided payments, events of carried
//! sources, and the tokens that a charge bought.
//!
//! `Event::test`, `Fact::PaymentHeld`, `Fact::Foreign`, `tokens` → **record** → the event log.
//!
//! Invariant (DESIGN.md, Event identity): a simulated notice is visible and changes nothing, whatever it claims.
//! The payload of a carried event stays in the inbox; the log names its type.

use serde_json::{Value, json};
use tollgate_shared::event::{Charge, Decline};
use tollgate_shared::id::OrderNumber;

use super::{ApplyError, Outcome, Step};
use crate::db::DbError;
use crate::db::event_log::{self, Line};
use crate::db::payments::Payment;
use crate::entropy;

/// Logs a simulated notice.
pub(super) async fn test(step: Step<'_>) -> Result<Outcome, ApplyError> {
    let order = step.event.order.as_ref().map(OrderNumber::as_str);
    let line = line(step, "test_event", json!({ "orderNumber": order }))?;
    event_log::insert(step.tx, &line, step.now).await?;
    Ok(Outcome::TestLogged)
}

/// Logs an event of a carried source.
pub(super) async fn carried(step: Step<'_>, event_type: &str) -> Result<Outcome, ApplyError> {
    let line = line(step, "source_event", json!({ "eventType": event_type }))?;
    event_log::insert(step.tx, &line, step.now).await?;
    Ok(Outcome::Carried)
}

/// Logs that the provider has not decided, or tells a success without saying which charge succeeded.
pub(super) async fn held(step: Step<'_>, payment: &Payment, undecided: &Decline) -> Result<(), DbError> {
    let number = undecided.provider_payment_id.as_ref();
    let line = Line {
        user: Some(payment.user.to_string()),
        plan: Some(payment.plan.to_string()),
        money: undecided.money,
        payment: Some(payment.id),
        provider_payment_id: number.map(ToString::to_string),
        ..line(step, "payment_held", json!({ "code": undecided.code }))?
    };
    event_log::insert(step.tx, &line, step.now).await?;
    Ok(())
}

/// Logs that a charge's tokens came or went.
pub(super) async fn tokens(
    step: Step<'_>,
    payment: &Payment,
    charge: &Charge,
    (event_type, details): (&'static str, Value),
) -> Result<(), DbError> {
    let line = Line {
        user: Some(payment.user.to_string()),
        plan: Some(payment.plan.to_string()),
        payment: Some(payment.id),
        provider_payment_id: Some(charge.provider_payment_id.to_string()),
        ..line(step, event_type, details)?
    };
    event_log::insert(step.tx, &line, step.now).await?;
    Ok(())
}

fn line(step: Step<'_>, event_type: &'static str, details: Value) -> Result<Line, DbError> {
    Ok(Line {
        id: entropy::uuid_v7(step.now)?,
        operation_key: format!("{event_type}:{}", step.event.key),
        event_type,
        user: None,
        plan: None,
        money: None,
        payment: None,
        provider: Some(step.event.source.to_string()),
        provider_payment_id: None,
        reason: None,
        details,
        delivery: Some(step.delivery),
        occurred_at: step.occurred_at(),
    })
}
