//! What a new step of a subscription brings with it: a line of history, a line of the event log, a notice, an effect.
//!
//! `refold` → **tell** (steps that stand in the standing and not yet in the history) → `subscription_history`,
//! `event_log`, `notices`, `wanted`.
//!
//! Invariant: all four are written when the history's row is new, and only then, in one transaction; a step that is
//! decided again is told again to nobody. Not here: wording (`notices`), which steps there are (`domain::subscription`).

use serde_json::{Value, json};
use tollgate_shared::provider::DeclineReason;
use tollgate_shared::time::Timestamp;

use super::event_line::about;
use super::plan::REPLACED;
use super::{CANCEL, Context, PAUSE, RESUME, wanted};
use crate::db::event_log;
use crate::db::subscriptions::facts::{self, PlanPair};
use crate::db::subscriptions::history::{self, Line};
use crate::db::subscriptions::{Subscription, attempts};
use crate::db::{DbError, Tx, plans};
use crate::domain::subscription::dunning::Step;
use crate::domain::subscription::history::Taken;
use crate::domain::subscription::standing::{Standing, standing};
use crate::domain::subscription::{EndReason, Known, Mode, PlanNews, Policy, Terms};
use crate::notices::{self, Notice, NoticeFacts, NoticeKind};

/// The event type of a step; the history's kind is the same without its first word.
const PREFIX: &str = "subscription_";

/// What the steps are told from.
pub(super) struct Ground<'a> {
    pub(super) terms: &'a Terms,
    pub(super) known: &'a Known,
    pub(super) policy: &'a Policy,
    /// As it is now.
    pub(super) standing: &'a Standing,
    pub(super) now: Timestamp,
}

impl Ground<'_> {
    /// As it was when a step was taken, by what was known then: a sweep that comes late takes several steps at once, and
    /// each is told with its own dates.
    fn at(&self, taken: Timestamp) -> Option<Standing> {
        let facts = self.known.facts.iter().filter(|fact| fact.told_at <= taken);
        let known = Known {
            facts: facts.cloned().collect(),
            under_way_since: self.known.under_way_since.filter(|since| *since <= taken),
        };
        (taken < self.now).then(|| standing(self.terms, &known, self.policy, taken))
    }

    fn notice(&self, subscription: &Subscription, taken: &Taken, kind: NoticeKind) -> Notice {
        let then = self.at(taken.at);
        notice(subscription, then.as_ref().unwrap_or(self.standing), taken, kind)
    }
}

/// Tells every step that is new; the number of effects that they want.
pub(super) async fn new_steps(
    tx: &Tx,
    context: Context<'_>,
    subscription: &Subscription,
    ground: &Ground<'_>,
) -> Result<u32, DbError> {
    let (standing, now) = (ground.standing, ground.now);
    if standing.steps.is_empty() {
        return Ok(0);
    }
    let known = history::keys(tx, subscription.id).await?;
    let mut effects = 0_u32;
    for taken in standing.steps.iter().filter(|taken| !known.contains(&taken.key)) {
        let plans = plans_of(tx, subscription, taken).await?;
        let details = details(subscription, taken, plans.as_ref());
        if !history::insert(tx, subscription.id, &line(taken, details.clone()), now).await? {
            continue;
        }
        log(tx, subscription, (taken, details), now).await?;
        if let Some(kind) = notice_kind(taken.step) {
            let mut notice = ground.notice(subscription, taken, kind);
            notice.facts.decline = decline(tx, subscription, taken).await?;
            if is_about_other(taken.step) {
                name_plan(tx, &mut notice, plans.as_ref()).await?;
            }
            notices::enqueue(tx, &notice, context.notices, now).await?;
        }
        effects = effects.saturating_add(effect(tx, subscription, (standing, taken), now).await?);
    }
    Ok(effects)
}

/// Which plans a step leads from and to.
async fn plans_of(tx: &Tx, subscription: &Subscription, taken: &Taken) -> Result<Option<PlanPair>, DbError> {
    let fact_key = match taken.step {
        // These are named by their facts (`step_key`).
        Step::Plan(_) | Step::CancelScheduled => taken.key.split_once(':').map(|(_, fact_key)| fact_key),
        Step::Over(EndReason::Replaced) => Some(REPLACED),
        Step::Activated
        | Step::Renewed
        | Step::Failed(_)
        | Step::RetryAsked(_)
        | Step::Recovered
        | Step::Downgraded
        | Step::CardBound
        | Step::CardChanged
        | Step::Paused
        | Step::Resumed
        | Step::Over(_)
        | Step::ChargedAfterEnd
        | Step::ChargedTwice => None,
    };
    match fact_key {
        Some(key) => facts::plans(tx, subscription.id, key).await,
        None => Ok(None),
    }
}

/// The notice is about the other plan and its price.
async fn name_plan(tx: &Tx, notice: &mut Notice, plans: Option<&PlanPair>) -> Result<(), DbError> {
    let Some(pair) = plans else { return Ok(()) };
    if let Some(plan) = plans::find(tx, &pair.to).await? {
        notice.facts.plan_name = plan.name;
        notice.facts.money = Some(plan.price);
    }
    Ok(())
}

/// Where the subscription's plan is not yet the one that is spoken of, or will not be.
const fn is_about_other(step: Step) -> bool {
    matches!(step, Step::Plan(PlanNews::Scheduled | PlanNews::Failed))
}

fn line(taken: &Taken, details: Value) -> Line {
    let event_type = event_type(taken.step);
    Line {
        key: taken.key.clone(),
        kind: event_type.strip_prefix(PREFIX).unwrap_or(event_type).to_owned(),
        details,
        occurred_at: taken.at,
    }
}

fn details(subscription: &Subscription, taken: &Taken, plans: Option<&PlanPair>) -> Value {
    let mut details = details_of_step(subscription, taken);
    if let (Some(plans), Some(members)) = (plans, details.as_object_mut()) {
        members.insert("fromPlanId".to_owned(), json!(plans.from));
        members.insert("planId".to_owned(), json!(plans.to));
    }
    details
}

fn details_of_step(subscription: &Subscription, taken: &Taken) -> Value {
    match taken.step {
        Step::Failed(number) => json!({ "period": taken.period, "failure": number }),
        Step::RetryAsked(slot) => json!({ "period": taken.period, "slot": slot.number() }),
        Step::Over(reason) => json!({ "reason": reason.label() }),
        Step::CardBound => json!({ "firstChargeOn": subscription.anchor.map(|day| day.to_string()) }),
        Step::Activated | Step::Renewed | Step::Recovered | Step::Downgraded | Step::ChargedTwice => {
            json!({ "period": taken.period })
        }
        Step::CardChanged
        | Step::Paused
        | Step::Resumed
        | Step::CancelScheduled
        | Step::Plan(_)
        | Step::ChargedAfterEnd => json!({}),
    }
}

const fn event_type(step: Step) -> &'static str {
    match step {
        Step::CardBound => "subscription_card_bound",
        Step::Activated => "subscription_activated",
        Step::Renewed => "subscription_renewed",
        Step::Failed(1) => "subscription_first_failure",
        Step::Failed(2) => "subscription_second_failure",
        Step::Failed(_) => "subscription_final_warning",
        Step::RetryAsked(_) => "subscription_retry_asked",
        Step::Recovered => "subscription_recovered",
        Step::Downgraded => "subscription_downgraded",
        Step::CardChanged => "subscription_card_changed",
        Step::Paused => "subscription_paused",
        Step::Resumed => "subscription_resumed",
        Step::CancelScheduled => "subscription_cancel_scheduled",
        Step::Plan(PlanNews::Asked) => "subscription_plan_change_asked",
        Step::Plan(PlanNews::Scheduled) => "subscription_plan_change_scheduled",
        Step::Plan(PlanNews::Revoked) => "subscription_plan_change_revoked",
        Step::Plan(PlanNews::Changed) => "subscription_plan_changed",
        Step::Plan(PlanNews::Failed) => "subscription_plan_change_failed",
        Step::Over(EndReason::Canceled) => "subscription_canceled",
        Step::Over(EndReason::Completed) => "subscription_ended",
        Step::Over(EndReason::Replaced) => "subscription_replaced",
        Step::Over(EndReason::ProviderFailures | EndReason::ProviderStopped) => "subscription_provider_ended",
        Step::ChargedAfterEnd => "subscription_charged_after_end",
        Step::ChargedTwice => "subscription_charged_twice",
    }
}

const fn notice_kind(step: Step) -> Option<NoticeKind> {
    Some(match step {
        Step::CardBound => NoticeKind::CardBound,
        Step::Activated | Step::Renewed => NoticeKind::PaymentReceived,
        Step::Failed(1) => NoticeKind::FirstFailure,
        Step::Failed(2) => NoticeKind::SecondFailure,
        Step::Failed(_) => NoticeKind::FinalWarning,
        Step::Recovered => NoticeKind::Recovered,
        Step::Downgraded => NoticeKind::Downgraded,
        Step::CardChanged => NoticeKind::CardChanged,
        Step::Paused => NoticeKind::Paused,
        Step::Resumed => NoticeKind::Resumed,
        Step::CancelScheduled => NoticeKind::CancelScheduled,
        Step::Plan(PlanNews::Scheduled | PlanNews::Changed) => NoticeKind::PlanChanged,
        Step::Plan(PlanNews::Failed) => NoticeKind::PlanChangeFailed,
        Step::Over(EndReason::Canceled) => NoticeKind::Canceled,
        Step::Over(EndReason::Completed) => NoticeKind::Ended,
        Step::Over(EndReason::ProviderFailures | EndReason::ProviderStopped) => NoticeKind::ProviderEnded,
        // The next try is told with the refusal; a replacement by the subscription that replaces; money after the end or
        // beside other money is for a person, who reads the event log; what was taken back leaves everything as it was.
        Step::RetryAsked(_)
        | Step::Plan(PlanNews::Asked | PlanNews::Revoked)
        | Step::Over(EndReason::Replaced)
        | Step::ChargedAfterEnd
        | Step::ChargedTwice => return None,
    })
}

fn notice(subscription: &Subscription, standing: &Standing, taken: &Taken, kind: NoticeKind) -> Notice {
    Notice {
        user: subscription.user.clone(),
        subscription: Some(subscription.id.as_uuid()),
        operation_key: format!("{}:{}", subscription.id, taken.key),
        kind,
        facts: NoticeFacts {
            plan_name: subscription.plan.name.clone(),
            money: Some(subscription.price_of(taken.period)),
            period_number: taken.period,
            period_total: Some(u32::from(subscription.schedule.times)),
            next_charge_at: standing.next_charge.map(|due| due.at),
            next_retry_at: standing.next_retry.map(|retry| retry.at),
            grace_period_ends_at: standing.grace_ends_at,
            access_until: standing.access_until,
            decline: None,
            reason: None,
            reference: Some(
                subscription
                    .contract_number
                    .clone()
                    .unwrap_or_else(|| subscription.order.to_string()),
            ),
        },
        delivery: None,
        occurred_at: taken.at,
    }
}

/// Why the charge was refused that a step is about.
async fn decline(
    tx: &Tx,
    subscription: &Subscription,
    taken: &Taken,
) -> Result<Option<DeclineReason>, DbError> {
    match taken.step {
        Step::Failed(_) | Step::Downgraded | Step::Over(EndReason::ProviderFailures) => {
            attempts::decline_reason_at(tx, subscription.id, taken.at).await
        }
        Step::CardBound
        | Step::Activated
        | Step::Renewed
        | Step::RetryAsked(_)
        | Step::Recovered
        | Step::CardChanged
        | Step::Paused
        | Step::Resumed
        | Step::CancelScheduled
        | Step::Plan(_)
        | Step::Over(_)
        | Step::ChargedAfterEnd
        | Step::ChargedTwice => Ok(None),
    }
}

async fn log(
    tx: &Tx,
    subscription: &Subscription,
    (taken, mut details): (&Taken, Value),
    now: Timestamp,
) -> Result<(), DbError> {
    if let Some(members) = details.as_object_mut() {
        members.insert("subscriptionId".to_owned(), json!(subscription.id));
        members.insert("period".to_owned(), json!(taken.period));
    }
    let event_type = event_type(taken.step);
    let key = format!("{event_type}:{}:{}", subscription.id, taken.key);
    let line = event_log::Line {
        money: Some(subscription.price_of(taken.period)),
        details,
        occurred_at: taken.at,
        ..about(subscription, event_type, key, now)?
    };
    event_log::insert(tx, &line, now).await?;
    Ok(())
}

/// What a step wants done outside; 1 where it wants anything.
async fn effect(
    tx: &Tx,
    subscription: &Subscription,
    (standing, taken): (&Standing, &Taken),
    now: Timestamp,
) -> Result<u32, DbError> {
    if let Step::RetryAsked(_) = taken.step {
        let period = taken.period.unwrap_or(1);
        wanted::retry(tx, subscription, (&taken.key, period), now).await?;
        return Ok(1);
    }
    let is_whole = standing.periods_paid >= u32::from(subscription.schedule.times);
    let kind = on_contract(taken.step, is_whole).filter(|_| subscription.mode == Mode::ProviderRun);
    let Some(kind) = kind else { return Ok(0) };
    wanted::on_contract(tx, subscription, (kind, &taken.key), now).await?;
    Ok(1)
}

/// What a step does to a contract that the provider runs. The end is asked for at once, also where access goes on to the
/// end of what is paid: a contract that stands would charge again. Money that came after the end asks once more. An end
/// that we only infer (the calendar, six refusals) is asked for, too: no provider says whether failed periods prolong its
/// contract, and one that has ended takes it for done. Where every period was charged there is nothing left to charge.
const fn on_contract(step: Step, is_whole: bool) -> Option<&'static str> {
    match step {
        Step::Over(EndReason::Completed) if is_whole => None,
        Step::CancelScheduled
        | Step::Over(
            EndReason::Canceled | EndReason::Replaced | EndReason::Completed | EndReason::ProviderFailures,
        )
        | Step::ChargedAfterEnd => Some(CANCEL),
        Step::Paused => Some(PAUSE),
        Step::Resumed => Some(RESUME),
        Step::CardBound
        | Step::Activated
        | Step::Renewed
        | Step::Failed(_)
        | Step::RetryAsked(_)
        | Step::Recovered
        | Step::Downgraded
        | Step::CardChanged
        | Step::Plan(_)
        | Step::ChargedTwice
        | Step::Over(EndReason::ProviderStopped) => None,
    }
}
