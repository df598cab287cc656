//! Telling of a purchase: a line of the event log, and the event for user-core (PM-6).
//!
//! checkout, apply and the timeouts of `work` → **announce** → `event_log` and, where user-core is configured,
//! the outbox.
//!
//! Invariant: both rows stand in the transaction of the fact, under one operation key; a fact that was announced
//! before is not announced again. The payload holds ids and amounts, no personal data.
//! Not here: sending (`work::outbox`), signing (`gateway::user_core`).

use serde_json::{Value, json};
use tollgate_shared::id::{DeliveryId, PaymentId};
use tollgate_shared::money::Money;
use tollgate_shared::time::Timestamp;

use crate::db::event_log::{self, Line};
use crate::db::outbox::{self, NewEffect};
use crate::db::{DbError, Tx};
use crate::domain::backoff;
use crate::entropy;

/// The kind of outbox row that `gateway::user_core` sends.
pub(crate) const USER_CORE: &str = "user_core";

/// What happened to a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A payment was begun.
    Initiated,
    /// A charge settled.
    Success,
    /// An attempt was refused, or time ran out.
    Failed,
    /// A charge was paid back.
    Refunded,
}

impl Kind {
    /// PM-6's name.
    pub(crate) const fn event_type(self) -> &'static str {
        match self {
            Self::Initiated => "purchase_initiated",
            Self::Success => "purchase_success",
            Self::Failed => "purchase_failed",
            Self::Refunded => "purchase_refunded",
        }
    }
}

/// A purchase's news.
#[derive(Debug, Clone)]
pub(crate) struct Announcement {
    /// What happened.
    pub(crate) kind: Kind,
    /// Names the fact among those of its kind.
    pub(crate) fact: String,
    /// Whom it is about.
    pub(crate) user: String,
    /// What was bought.
    pub(crate) plan: String,
    /// For how much.
    pub(crate) money: Money,
    /// By which payment.
    pub(crate) payment: PaymentId,
    /// At which provider.
    pub(crate) provider: String,
    /// The provider's number.
    pub(crate) provider_payment_id: Option<String>,
    /// Why, of a failure.
    pub(crate) reason: Option<String>,
    /// The delivery that caused it; a timeout has none.
    pub(crate) delivery: Option<DeliveryId>,
    /// When it happened.
    pub(crate) occurred_at: Timestamp,
}

/// Announces, once. `to_user_core`: whether a receiver is configured.
pub(crate) async fn announce(
    tx: &Tx,
    news: &Announcement,
    to_user_core: bool,
    now: Timestamp,
) -> Result<(), DbError> {
    let line = line(news, now)?;
    let is_new = event_log::insert(tx, &line, now).await?;
    if is_new && to_user_core {
        outbox::insert(tx, &effect(news, &line), now).await?;
    }
    Ok(())
}

fn line(news: &Announcement, now: Timestamp) -> Result<Line, DbError> {
    Ok(Line {
        id: entropy::uuid_v7(now)?,
        operation_key: format!("{}:{}", news.kind.event_type(), news.fact),
        event_type: news.kind.event_type(),
        user: Some(news.user.clone()),
        plan: Some(news.plan.clone()),
        money: Some(news.money),
        payment: Some(news.payment),
        provider: Some(news.provider.clone()),
        provider_payment_id: news.provider_payment_id.clone(),
        reason: news.reason.clone(),
        details: json!({}),
        delivery: news.delivery,
        occurred_at: news.occurred_at,
    })
}

fn effect(news: &Announcement, line: &Line) -> NewEffect {
    NewEffect {
        id: line.id,
        operation_key: format!("{USER_CORE}:{}", line.operation_key),
        kind: USER_CORE,
        ordering_key: Some(format!("{USER_CORE}:{}", news.user)),
        payload: payload(news),
        delivery: news.delivery,
        attempts_max: backoff::OUTBOX.attempts_max,
    }
}

/// Standard Webhooks' recommended form: type, timestamp, data.
fn payload(news: &Announcement) -> Value {
    json!({
        "type": news.kind.event_type(),
        "timestamp": news.occurred_at.to_string(),
        "data": {
            "userId": news.user,
            "planId": news.plan,
            "amount": news.money.amount_minor.get(),
            "currency": news.money.currency.code(),
            "paymentId": news.payment.to_string(),
            "provider": news.provider,
            "providerPaymentId": news.provider_payment_id,
            "reason": news.reason,
        },
    })
}
