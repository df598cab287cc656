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
mod line;
pub(crate) mod mail;
pub(crate) mod preferences;
mod words;

use tollgate_shared::id::{DeliveryId, UserId};
use tollgate_shared::money::Money;
use tollgate_shared::provider::DeclineReason;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

pub(crate) use self::kind::{Locale, NoticeKind, Urgency};
use self::line::one_line;
use self::mail::Letter;
pub(crate) use self::preferences::{EmailAddress, Preferences};
use crate::config::{MailConfig, NoticesConfig};
use crate::db::notices::{self, MailDecision, NewNotice};
use crate::db::{DbError, Tx, outbox};
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
    /// Why a charge was refused; told in the customer's language.
    pub(crate) decline: Option<DeclineReason>,
    /// Why, where no charge was refused: the provider's words or our own. No personal data.
    pub(crate) reason: Option<String>,
    /// Our order number or the period's trade number (PU-5), for questions to the shop.
    pub(crate) reference: Option<String>,
}

impl NoticeFacts {
    /// The same with every text in one line.
    fn tidied(&self) -> Self {
        Self {
            plan_name: one_line(&self.plan_name),
            reason: self.reason.as_deref().map(one_line),
            reference: self.reference.as_deref().map(one_line),
            ..self.clone()
        }
    }
}

/// Tells of a step, once: call it in the transaction that decides the step.
pub(crate) async fn enqueue(
    tx: &Tx,
    notice: &Notice,
    config: &NoticesConfig,
    now: Timestamp,
) -> Result<(), DbError> {
    let notice = &Notice {
        facts: notice.facts.tidied(),
        ..notice.clone()
    };
    let preferences = notices::preferences(tx, &notice.user).await?.unwrap_or_default();
    let row = row(notice, config, &preferences, now)?;
    // Two who decide the same step at once wait for each other here, and the second finds the first's row.
    if !notices::insert(tx, notice, &row, now).await? {
        return Ok(());
    }
    if let (MailDecision::Queued(id), Some(mail)) = (row.mail, &config.mail) {
        let letter = letter(notice, row.locale, mail);
        outbox::insert(tx, &mail::effect(notice, id, &letter), now).await?;
    }
    if let Some(id) = row.event_id {
        outbox::insert(tx, &event::effect(notice, id), now).await?;
    }
    Ok(())
}

fn row(
    notice: &Notice,
    config: &NoticesConfig,
    preferences: &Preferences,
    now: Timestamp,
) -> Result<NewNotice, DbError> {
    let event_id = match config.subscription_events {
        Some(_) => Some(entropy::uuid_v7(now)?),
        None => None,
    };
    let mail = match &preferences.email {
        _ if config.mail.is_none() => MailDecision::NotConfigured,
        None => MailDecision::NoAddress,
        Some(_) if preferences.muted.contains(&notice.kind) => MailDecision::Muted,
        Some(_) => MailDecision::Queued(entropy::uuid_v7(now)?),
    };
    Ok(NewNotice {
        id: entropy::uuid_v7(now)?,
        locale: preferences.locale,
        subject: words::subject(notice, preferences.locale),
        mail,
        event_id,
    })
}

fn letter(notice: &Notice, locale: Locale, config: &MailConfig) -> Letter {
    let manage_url = words::manage_url(&config.manage_url, notice);
    let words = words::write(notice, locale, &manage_url);
    Letter::new(notice, words, manage_url)
}
