//! A subscription as people and programs read it: where it stands now, every period, every step (PU-5).
//!
//! `db::subscriptions`, `domain::subscription` → **view** → http (edge and service API).
//!
//! Invariant: the standing is computed at the instant of the question, so an answer is right between two sweeps, too.
//! Nothing is written. Not here: who may see it (http).

use serde::Serialize;
use serde_json::Value;
use tollgate_shared::id::UserId;
use tollgate_shared::time::Timestamp;

use super::change::standing_now;
use super::{Context, HeldCharge, SubscriptionId, state};
use crate::db::subscriptions::{self, Subscription, attempts, held, history};
use crate::db::{DbError, Tx};
use crate::domain::plan::FREE;
use crate::domain::subscription::EndReason;
use crate::domain::subscription::dunning::Phase;
use crate::domain::subscription::standing::Standing;

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    /// Its id.
    pub(crate) id: SubscriptionId,
    /// Whose.
    pub(crate) user_id: String,
    /// What was bought.
    pub(crate) plan_id: String,
    /// As the customer knows it.
    pub(crate) plan_name: String,
    /// The plan whose limits hold now: the one that was bought, or FREE (EC-3).
    pub(crate) plan_in_force: String,
    /// The plan from the next charge on; of a subscription that ends, the one that was chosen to follow it.
    pub(crate) next_plan_id: Option<String>,
    /// The subscription that it takes the place of.
    pub(crate) replaces_id: Option<SubscriptionId>,
    /// `pending`, `active`, `past_due`, `paused`, `canceled` or `ended`.
    pub(crate) status: &'static str,
    /// `provider_run` or `merchant_run`.
    pub(crate) mode: &'static str,
    /// With whom.
    pub(crate) provider: String,
    /// Our number there.
    pub(crate) order_number: String,
    /// The provider's number of the contract; where it has none, ours.
    pub(crate) period_trade_number: String,
    /// In whole minor units.
    pub(crate) amount: i64,
    /// ISO 4217.
    pub(crate) currency: &'static str,
    /// `day`, `week`, `month` or `year`.
    pub(crate) period_type: &'static str,
    /// Units in one period.
    pub(crate) period_frequency: u16,
    /// Charges in all.
    pub(crate) period_total: u16,
    /// The chosen day of the first charge (PU-7).
    pub(crate) first_charge_on: Option<String>,
    /// Charges that were kept.
    pub(crate) periods_paid: u32,
    /// Refusals since the last success.
    pub(crate) failure_count: u32,
    /// The first instant that is not paid for.
    pub(crate) paid_until: Option<String>,
    /// The first instant without access.
    pub(crate) access_until: Option<String>,
    /// When the next charge is due; it has passed while the answer to a charge of ours is awaited.
    pub(crate) next_charge_at: Option<String>,
    /// When a refused charge is tried again.
    pub(crate) next_retry_at: Option<String>,
    /// When the plan becomes FREE unless a charge succeeds before.
    pub(crate) grace_period_ends_at: Option<String>,
    /// When it ends, as asked for.
    pub(crate) cancel_at: Option<String>,
    /// Since when the limits are those of FREE.
    pub(crate) downgraded_at: Option<String>,
    /// Why.
    pub(crate) downgrade_reason: Option<String>,
    /// When it ended.
    pub(crate) ended_at: Option<String>,
    /// Why.
    pub(crate) end_reason: Option<&'static str>,
    /// Charges of ours that wait for a person, because no answer ended them (merchant-run).
    pub(crate) held_charges: Vec<HeldCharge>,
    /// Every attempt to charge, in order.
    pub(crate) attempts: Vec<AttemptView>,
    /// Every step, in order.
    pub(crate) history: Vec<StepView>,
}

/// An attempt to charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttemptView {
    /// The period that it was counted to.
    pub(crate) period: Option<u32>,
    /// The period's number at the provider.
    pub(crate) period_order_number: Option<String>,
    /// The provider's number of the charge.
    pub(crate) provider_payment_id: Option<String>,
    /// In whole minor units.
    pub(crate) amount: Option<i64>,
    /// `paid`, `failed` or `refunded`.
    pub(crate) status: String,
    /// The provider's code of a refusal.
    pub(crate) error_code: Option<String>,
    /// The provider's words.
    pub(crate) error_message: Option<String>,
    /// `card_expired`, `insufficient_funds`, `card_unusable` or `refused`.
    pub(crate) decline_reason: Option<String>,
    /// `notice`, `poll`, `charge` or `operator`.
    pub(crate) found_by: String,
    /// When it happened.
    pub(crate) occurred_at: String,
    /// When it is tried again.
    pub(crate) next_retry_at: Option<String>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepView {
    /// `activated`, `first_failure`, …
    pub(crate) kind: String,
    /// What belongs to the kind.
    pub(crate) details: Value,
    /// When it was taken.
    pub(crate) occurred_at: String,
}

/// A subscription at `now`.
pub(crate) async fn view(
    tx: &Tx,
    context: Context<'_>,
    id: SubscriptionId,
    now: Timestamp,
) -> Result<Option<View>, DbError> {
    match subscriptions::find(tx, id).await? {
        Some(subscription) => Ok(Some(shown(tx, context, &subscription, now).await?)),
        None => Ok(None),
    }
}

/// Every subscription of a user, the newest first.
pub(crate) async fn views_of_user(
    tx: &Tx,
    context: Context<'_>,
    user: &UserId,
    now: Timestamp,
) -> Result<Vec<View>, DbError> {
    let mut views = Vec::new();
    for subscription in subscriptions::of_user(tx, user).await? {
        views.push(shown(tx, context, &subscription, now).await?);
    }
    Ok(views)
}

async fn shown(
    tx: &Tx,
    context: Context<'_>,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<View, DbError> {
    let standing = standing_now(tx, context, subscription, now).await?;
    let mut view = facts_of(subscription, &standing, now);
    let held = held::of_subscription(tx, subscription.id).await?;
    view.held_charges = held.iter().map(HeldCharge::from).collect();
    let known = attempts::list(tx, subscription.id).await?;
    view.attempts = known
        .into_iter()
        .map(|attempt| attempt_view(&standing, attempt))
        .collect();
    let steps = history::list(tx, subscription.id).await?;
    view.history = steps.into_iter().map(step_view).collect();
    Ok(view)
}

fn facts_of(subscription: &Subscription, standing: &Standing, now: Timestamp) -> View {
    let poll = state::poll(subscription, standing.poll_from, now);
    let state = state::state(subscription.mode, standing, poll, now);
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let order_number = subscription.order.to_string();
    View {
        id: subscription.id,
        user_id: subscription.user.to_string(),
        plan_id: subscription.plan.id.to_string(),
        plan_name: subscription.plan.name.clone(),
        plan_in_force: plan_in_force(subscription, &standing.phase),
        next_plan_id: subscription.next_plan.as_ref().map(|(plan, _)| plan.to_string()),
        replaces_id: subscription.replaces,
        status: state.status,
        mode: subscription.mode.label(),
        provider: subscription.provider.clone(),
        period_trade_number: subscription
            .contract_number
            .clone()
            .unwrap_or_else(|| order_number.clone()),
        order_number,
        amount: subscription.price.amount_minor.get(),
        currency: subscription.price.currency.code(),
        period_type: subscription.schedule.unit.label(),
        period_frequency: subscription.schedule.frequency,
        period_total: subscription.schedule.times,
        first_charge_on: subscription.anchor.map(|day| day.to_string()),
        periods_paid: state.periods_paid,
        failure_count: state.failures,
        paid_until: text(state.paid_until),
        access_until: text(state.access_until),
        next_charge_at: text(state.next_charge_at),
        next_retry_at: text(state.next_retry_at),
        grace_period_ends_at: text(state.grace_ends_at),
        cancel_at: text(state.cancel_at),
        downgraded_at: state.downgraded.as_ref().map(|(at, _)| at.to_string()),
        downgrade_reason: state.downgraded.map(|(_, reason)| reason),
        ended_at: state.ended.map(|(at, _)| at.to_string()),
        end_reason: state.ended.map(|(_, reason)| reason.label()),
        held_charges: Vec::new(),
        attempts: Vec::new(),
        history: Vec::new(),
    }
}

fn plan_in_force(subscription: &Subscription, phase: &Phase) -> String {
    match phase {
        Phase::Downgraded(..) | Phase::Over(EndReason::ProviderFailures, _) => FREE.to_owned(),
        Phase::Pending | Phase::Active | Phase::PastDue(_) | Phase::Paused | Phase::Over(..) => {
            subscription.plan.id.to_string()
        }
    }
}

fn attempt_view(standing: &Standing, known: attempts::Known) -> AttemptView {
    AttemptView {
        period: standing.periods_of.get(&known.key).copied(),
        period_order_number: known.period_order_no,
        provider_payment_id: known.provider_payment_id,
        amount: known.amount_minor,
        status: known.status,
        error_code: known.error_code,
        error_message: known.error_message,
        decline_reason: known.decline_reason,
        found_by: known.found_by,
        occurred_at: known.occurred_at.to_string(),
        next_retry_at: known.next_retry_at.map(|at| at.to_string()),
    }
}

fn step_view(line: history::Line) -> StepView {
    StepView {
        kind: line.kind,
        details: line.details,
        occurred_at: line.occurred_at.to_string(),
    }
}
