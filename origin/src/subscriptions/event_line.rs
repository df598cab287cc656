//! A line of the event log about a subscription: who, which plan, which payment, at which provider.
//!
//! `tell`, `number`, `plan::replace`, `effects::subscription_poll` → **`about`** → `db::event_log`.
//!
//! Invariant: a line about a subscription names its user, plan, price, payment and provider, whoever writes it; what is special
//! (reason, details, instant, delivery) the caller puts over it. Not here: which events there are, writing the line.

use serde_json::json;
use tollgate_shared::time::Timestamp;

use crate::db::DbError;
use crate::db::event_log::Line;
use crate::db::subscriptions::Subscription;
use crate::entropy;

/// A line of this type and key, happened now.
pub(crate) fn about(
    subscription: &Subscription,
    event_type: &'static str,
    operation_key: String,
    now: Timestamp,
) -> Result<Line, DbError> {
    Ok(Line {
        id: entropy::uuid_v7(now)?,
        operation_key,
        event_type,
        user: Some(subscription.user.to_string()),
        plan: Some(subscription.plan.id.to_string()),
        money: Some(subscription.price),
        payment: Some(subscription.payment),
        provider: Some(subscription.provider.clone()),
        provider_payment_id: None,
        reason: None,
        details: json!({ "subscriptionId": subscription.id }),
        delivery: None,
        occurred_at: now,
    })
}
