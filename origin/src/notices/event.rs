//! A notice as an event for the team's own systems: `subscription.<kind>`.
//!
//! `enqueue` → **the outbox row** → `work::outbox` → `gateway::user_core` signs → `SUBSCRIPTION_WEBHOOK_URL`.
//!
//! Invariants: the payload holds ids, amounts and instants, no address and no name of a person. The row's id is the
//! receiver's idempotency key (`webhook-id`), the same over all attempts. Events have no ordering key: one that the
//! receiver chokes on would hold back the user's later ones for the 27 hours of its retries; `timestamp` orders them.

use serde_json::{Value, json};
use tollgate_shared::provider::DeclineReason;
use uuid::Uuid;

use super::Notice;
use crate::db::outbox::NewEffect;
use crate::domain::backoff;

/// The kind of outbox row.
pub(crate) const SUBSCRIPTION_EVENT: &str = "subscription_event";

/// The outbox row of a notice's event.
pub(super) fn effect(notice: &Notice, id: Uuid) -> NewEffect {
    NewEffect {
        id,
        operation_key: format!("{SUBSCRIPTION_EVENT}:{}", notice.operation_key),
        kind: SUBSCRIPTION_EVENT,
        ordering_key: None,
        payload: payload(notice),
        delivery: notice.delivery,
        attempts_max: backoff::SUBSCRIPTION_EVENT.attempts_max,
    }
}

/// Standard Webhooks' recommended form: type, timestamp, data. What is absent is null, never missing.
fn payload(notice: &Notice) -> Value {
    let facts = &notice.facts;
    json!({
        "type": format!("subscription.{}", notice.kind.label()),
        "timestamp": notice.occurred_at.to_string(),
        "data": {
            "userId": notice.user.as_str(),
            "subscriptionId": notice.subscription,
            "urgency": notice.kind.urgency().label(),
            "planName": facts.plan_name,
            "amount": facts.money.map(|money| money.amount_minor.get()),
            "currency": facts.money.map(|money| money.currency.code()),
            "periodNumber": facts.period_number,
            "periodTotal": facts.period_total,
            "nextChargeAt": facts.next_charge_at.map(|at| at.to_string()),
            "nextRetryAt": facts.next_retry_at.map(|at| at.to_string()),
            "gracePeriodEndsAt": facts.grace_period_ends_at.map(|at| at.to_string()),
            "accessUntil": facts.access_until.map(|at| at.to_string()),
            "reason": facts.reason,
            "declineReason": facts.decline.map(DeclineReason::label),
            "reference": facts.reference,
        },
    })
}
