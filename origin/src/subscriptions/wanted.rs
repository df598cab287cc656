//! What is to be done outside the database: rows of the outbox, and the facts that they were asked for.
//!
//! `refold` (what is due), `tell` (what a step wants) → **wanted** → outbox → `effects`.
//!
//! Invariants: an effect is named by what it is for, so two sweeps write it once; a charge of ours has its row and its
//! order number before it is sent. Where the provider runs the contract nothing here charges (EC-2): a retry asks the
//! provider to. Not here: sending.

use serde_json::json;
use tollgate_shared::id::OrderNumber;
use tollgate_shared::money::Money;
use tollgate_shared::time::Timestamp;

use crate::db::outbox::{self, NewEffect};
use crate::db::subscriptions::charges::{self, NewCharge, Purpose};
use crate::db::subscriptions::facts::{self, NewFact};
use crate::db::subscriptions::{Subscription, unreadable};
use crate::db::{DbError, Tx};
use crate::domain::backoff;
use crate::domain::order_number::order_number;
use crate::domain::plan::Plan;
use crate::domain::subscription::dunning::Step;
use crate::domain::subscription::history::step_key;
use crate::domain::subscription::standing::{Due, Retry, Standing};
use crate::domain::subscription::{Fact, Known, Mode, Noted, PlanNews, RetrySlot, What};
use crate::entropy;
use crate::subscriptions::SubscriptionId;

/// Asks the provider to try a refused charge again (provider-run).
pub(crate) const RETRY: &str = "subscription_retry";
/// Charges a stored token (merchant-run).
pub(crate) const CHARGE: &str = "subscription_charge";
/// Ends the contract at the provider.
pub(crate) const CANCEL: &str = "subscription_cancel";
/// Suspends the contract at the provider.
pub(crate) const PAUSE: &str = "subscription_pause";
/// Lets it go on.
pub(crate) const RESUME: &str = "subscription_resume";
/// Asks the provider for news that did not come.
pub(crate) const POLL: &str = "subscription_poll";

/// Who asks for what is due.
const SCHEDULE: &str = "schedule";

/// Everything that is known of a subscription.
pub(super) async fn known(tx: &Tx, id: SubscriptionId) -> Result<Known, DbError> {
    let facts = facts::load(tx, id).await?;
    let charges: Vec<String> = facts.iter().filter_map(|fact| charge_key(id, fact)).collect();
    Ok(Known {
        under_way_since: charges::under_way_since(tx, &charges).await?,
        facts,
    })
}

/// Names the charge of ours that a fact asked for, if we are who charges.
fn charge_key(id: SubscriptionId, fact: &Fact) -> Option<String> {
    match fact.what {
        What::Noted(Noted::ChargeAsked { period }) => Some(format!("{CHARGE}:{id}:{period}")),
        What::Noted(Noted::RetryAsked(slot)) => {
            let step = step_key(Step::RetryAsked(slot), None, &fact.key);
            Some(format!("{CHARGE}:{id}:{step}"))
        }
        What::Noted(Noted::Plan(PlanNews::Asked)) => Some(proration_key(id, &fact.key)),
        What::Charged { .. } | What::Declined { .. } | What::Noted(_) => None,
    }
}

/// Names the charge of a wish for a dearer plan.
fn proration_key(id: SubscriptionId, wish: &str) -> String {
    format!("{CHARGE}:{id}:plan_change:{wish}")
}

/// Turns what is due into facts, and writes the charges among it.
pub(super) async fn ask(
    tx: &Tx,
    subscription: &Subscription,
    standing: &Standing,
    now: Timestamp,
) -> Result<(Vec<Fact>, u32), DbError> {
    if let Some(retry) = standing.next_retry.filter(|retry| retry.at <= now) {
        let asked = note(
            tx,
            subscription,
            retry_key(&retry),
            Noted::RetryAsked(retry.slot),
            now,
        )
        .await?;
        // The attempt itself is an effect of the step.
        return Ok((asked.into_iter().collect(), 0));
    }
    let is_ours = subscription.mode == Mode::MerchantRun;
    if let Some(due) = standing.next_charge.filter(|due| is_ours && due.at <= now) {
        return charge_period(tx, subscription, due, now).await;
    }
    Ok((Vec::new(), 0))
}

async fn charge_period(
    tx: &Tx,
    subscription: &Subscription,
    due: Due,
    now: Timestamp,
) -> Result<(Vec<Fact>, u32), DbError> {
    let noted = Noted::ChargeAsked { period: due.period };
    let Some(fact) = note(tx, subscription, format!("charge:{}", due.period), noted, now).await? else {
        return Ok((Vec::new(), 0));
    };
    let key = format!("{CHARGE}:{}:{}", subscription.id, due.period);
    charge(tx, subscription, (&key, due.period), now).await?;
    Ok((vec![fact], 1))
}

async fn note(
    tx: &Tx,
    subscription: &Subscription,
    key: String,
    noted: Noted,
    now: Timestamp,
) -> Result<Option<Fact>, DbError> {
    let new = NewFact {
        key: key.clone(),
        noted,
        reason: None,
        actor: SCHEDULE.to_owned(),
        occurred_at: now,
    };
    let is_new = facts::insert(tx, subscription.id, &new, now).await?;
    Ok(is_new.then_some(Fact {
        key,
        occurred_at: now,
        told_at: now,
        what: What::Noted(noted),
    }))
}

/// Names an attempt: of a period and a slot of its schedule, or of the instant at which a new card came.
fn retry_key(retry: &Retry) -> String {
    match retry.slot {
        RetrySlot::Scheduled(number) => format!("retry:{}:{number}", retry.period_owed),
        RetrySlot::CardChanged | RetrySlot::Manual => {
            format!("retry:{}:card:{}", retry.period_owed, retry.at.unix_ms())
        }
    }
}

/// The attempt of a step "retry asked".
pub(super) async fn retry(
    tx: &Tx,
    subscription: &Subscription,
    (step_key, period): (&str, u32),
    now: Timestamp,
) -> Result<(), DbError> {
    match subscription.mode {
        Mode::MerchantRun => {
            let key = format!("{CHARGE}:{}:{step_key}", subscription.id);
            charge(tx, subscription, (&key, period), now).await
        }
        Mode::ProviderRun => {
            let payload = json!({
                "subscriptionId": subscription.id, "period": period, "slot": step_key,
                "provider": subscription.provider,
            });
            let key = format!("{RETRY}:{}:{step_key}", subscription.id);
            write(tx, subscription, (RETRY, key, payload), now).await
        }
    }
}

/// A charge of ours: its row, its order number, its effect. In the plan from this period on, if one was chosen.
async fn charge(
    tx: &Tx,
    subscription: &Subscription,
    (key, period): (&str, u32),
    now: Timestamp,
) -> Result<(), DbError> {
    let next = subscription.next_plan.as_ref();
    let next = next.and_then(|(plan, price)| Some((plan, (*price)?)));
    let new = NewCharge {
        id: entropy::uuid_v7(now)?,
        operation_key: key,
        period,
        order: &new_order(now)?,
        price: next.map_or(subscription.price, |(_, price)| price),
        purpose: Purpose::Period,
        plan: next,
    };
    write_charge(tx, subscription, &new, now).await
}

/// What the rest of the running period costs more in another plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proration<'a> {
    /// The key of the wish.
    pub(super) wish: &'a str,
    /// How much.
    pub(super) due: Money,
    /// The plan, which it becomes when that is paid.
    pub(super) plan: &'a Plan,
}

/// Charges a proration, once for each wish.
pub(super) async fn prorate(
    tx: &Tx,
    subscription: &Subscription,
    proration: &Proration<'_>,
    (period, now): (u32, Timestamp),
) -> Result<(), DbError> {
    let new = NewCharge {
        id: entropy::uuid_v7(now)?,
        operation_key: &proration_key(subscription.id, proration.wish),
        period,
        order: &new_order(now)?,
        price: proration.due,
        purpose: Purpose::Proration,
        plan: Some((&proration.plan.id, proration.plan.price)),
    };
    write_charge(tx, subscription, &new, now).await
}

fn new_order(now: Timestamp) -> Result<OrderNumber, DbError> {
    let random = u64::from_le_bytes(entropy::random()?);
    order_number(now, random).ok_or_else(|| unreadable("subscription_charges.order_number"))
}

/// The row of a charge and, where that is new, its effect.
async fn write_charge(
    tx: &Tx,
    subscription: &Subscription,
    charge: &NewCharge<'_>,
    now: Timestamp,
) -> Result<(), DbError> {
    if !charges::insert(tx, subscription.id, charge, now).await? {
        return Ok(());
    }
    let payload = json!({
        "subscriptionId": subscription.id, "chargeId": charge.id, "period": charge.period,
    });
    write(
        tx,
        subscription,
        (CHARGE, charge.operation_key.to_owned(), payload),
        now,
    )
    .await
}

/// A question for news; `count` tells the questions about the same news apart.
pub(super) async fn poll(
    tx: &Tx,
    subscription: &Subscription,
    count: i32,
    now: Timestamp,
) -> Result<(), DbError> {
    let key = format!("{POLL}:{}:{}:{count}", subscription.id, now.unix_ms());
    let payload = json!({ "subscriptionId": subscription.id });
    write(tx, subscription, (POLL, key, payload), now).await
}

/// An effect on the contract at the provider, named by the step that wants it.
pub(super) async fn on_contract(
    tx: &Tx,
    subscription: &Subscription,
    (kind, step_key): (&'static str, &str),
    now: Timestamp,
) -> Result<(), DbError> {
    let key = format!("{kind}:{}:{step_key}", subscription.id);
    let payload = json!({ "subscriptionId": subscription.id });
    // In order among themselves, and past whatever waits: who cancels is not charged because a question is stuck.
    let ordering_key = format!("subscription_contract:{}", subscription.id);
    write_in(tx, ordering_key, (kind, key, payload), now).await
}

async fn write(
    tx: &Tx,
    subscription: &Subscription,
    effect: (&'static str, String, serde_json::Value),
    now: Timestamp,
) -> Result<(), DbError> {
    write_in(tx, format!("subscription:{}", subscription.id), effect, now).await
}

async fn write_in(
    tx: &Tx,
    ordering_key: String,
    (kind, operation_key, payload): (&'static str, String, serde_json::Value),
    now: Timestamp,
) -> Result<(), DbError> {
    let effect = NewEffect {
        id: entropy::uuid_v7(now)?,
        operation_key,
        kind,
        ordering_key: Some(ordering_key),
        payload,
        delivery: None,
        attempts_max: backoff::PROVIDER.attempts_max,
    };
    outbox::insert(tx, &effect, now).await
}
