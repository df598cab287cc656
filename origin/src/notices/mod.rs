//! Notices: what a customer is told about a subscription, by mail and as an event for the team (EC-8, PU-6).
//!
//! Whoever decides a step → **[`enqueue`]**, in the step's transaction → `notices` and the outbox → `work::outbox`.
//!
//! Invariants: a step is told once, whoever decides it how often: the operation key is the step's name, and the row of
//! `notices` is unique on it. A user without an address, or who muted the kind, still has the row and the event. No
//! address goes into the outbox: the mail names its user, and the address is looked up when it is sent.
//! Not here: which step it is (the subscription's code), sending (`work::outbox`), retries (`domain::backoff`).

pub(crate) mod event;
pub(crate) mod kind;

use tollgate_shared::id::{DeliveryId, UserId};
use tollgate_shared::money::Money;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

pub(crate) use self::kind::{Locale, NoticeKind};
use crate::config::NoticesConfig;
use crate::db::notices::{self, MailDecision, NewNotice};
use crate::db::outbox;
use crate::db::{DbError, Tx};
use crate::entropy;

/// A step to tell of.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    /// Who is told.
    pub(crate) user: UserId,
    /// Which subscription it is about.
    pub(crate) subscription: Option<Uuid>,
    /// Names the step, such as `<subscription>:first_failure:<period>`.
    pub(crate) operation_key: String,
    /// Which step it is.
    pub(crate) kind: NoticeKind,
    /// What there is to say about it.
    pub(crate) facts: NoticeFacts,
    /// The delivery that caused it; a sweep has none.
    pub(crate) delivery: Option<DeliveryId>,
    /// When it happened.
    pub(crate) occurred_at: Timestamp,
}

/// What a notice can say. The wording leaves out what is absent.
#[derive(Debug, Clone, Default)]
pub(crate) struct NoticeFacts {
    /// The plan, as the customer knows it; after a change of plan, the new one.
    pub(crate) plan_name: String,
    /// What was charged, was to be charged, or went back.
    pub(crate) money: Option<Money>,
    /// Which period.
    pub(crate) period_number: Option<u32>,
    /// Of how many.
    pub(crate) period_total: Option<u32>,
    /// When the next period is charged.
    pub(crate) next_charge_at: Option<Timestamp>,
    /// When a failed charge is tried again.
    pub(crate) next_retry_at: Option<Timestamp>,
    /// When the plan becomes FREE unless a charge succeeds before.
    pub(crate) grace_period_ends_at: Option<Timestamp>,
    /// How long what was paid for can be used.
    pub(crate) access_until: Option<Timestamp>,
    /// Why: the provider's words or our own. No personal data.
    pub(crate) reason: Option<String>,
    /// Our order number or the period's trade number (PU-5), for questions to the shop.
    pub(crate) reference: Option<String>,
}

/// Tells of a step, once: call it in the transaction that decides the step.
pub(crate) async fn enqueue(
    tx: &Tx,
    notice: &Notice,
    config: &NoticesConfig,
    now: Timestamp,
) -> Result<(), DbError> {
    let event_id = match config.subscription_events {
        Some(_) => Some(entropy::uuid_v7(now)?),
        None => None,
    };
    let row = NewNotice {
        id: entropy::uuid_v7(now)?,
        locale: Locale::USUAL,
        subject: notice.kind.label().to_owned(),
        mail: MailDecision::NotConfigured,
        event_id,
    };
    // Two who decide the same step at once wait for each other here, and the second finds the first's row.
    if !notices::insert(tx, notice, &row, now).await? {
        return Ok(());
    }
    if let Some(id) = event_id {
        let payload = event::payload(notice);
        outbox::insert(tx, &event::effect(notice, id, payload), now).await?;
    }
    Ok(())
}
