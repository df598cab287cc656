//! A charge of ours has its result; one that was for another plan makes that the subscription's, or does not.
//!
//! `note_attempt` → **`finish`** → the charge's row, the plan, the fact that it changed or failed.
//!
//! Invariants: the plan changes with the money and never before; a refused proration changes nothing and begins no dunning,
//! because it is no period's money. One that was paid though the subscription had ended is paid back.
//! Not here: attempts at periods (`attempt`).

use tollgate_shared::money::Money;

use super::super::{Attempt, NewFact};
use super::{become_plan, replace};
use crate::apply::{ApplyError, Step};
use crate::db::payments::Payment;
use crate::db::plans;
use crate::db::subscriptions::Subscription;
use crate::db::subscriptions::charges::{self, Purpose, Sent};
use crate::db::subscriptions::facts::{self, PlanPair};
use crate::domain::plan::Plan;
use crate::domain::subscription::{Noted, PlanNews};

/// Why money goes back, for people.
const AFTER_END: &str = "an upgrade that was paid after the subscription had ended";

/// Notes the result of a charge, and what it makes of the plan.
pub(in crate::subscriptions) async fn finish(
    step: Step<'_>,
    (payment, subscription): (&Payment, &mut Subscription),
    sent: &Sent,
    attempt: Attempt<'_>,
) -> Result<(), ApplyError> {
    let paid = match attempt {
        Attempt::Paid(charge, _) => Some(&charge.provider_payment_id),
        Attempt::Failed(..) | Attempt::Returned(_) => None,
    };
    if !charges::finish(step.tx, sent.id, paid, step.now).await? {
        return Ok(());
    }
    let Some((plan, price)) = plan_of(step, subscription, sent).await? else {
        return Ok(());
    };
    let is_over = matches!(subscription.status.as_str(), "canceled" | "ended");
    match (paid, sent.purpose) {
        (Some(number), Purpose::Proration) if is_over => {
            let key = format!("proration_after_end:{}", sent.id);
            replace::pay_back(step, payment.id, (number.as_str(), None, AFTER_END), &key).await
        }
        // Money after the end is for a person (`dunning`); the plan that it was for matters no more.
        (_, _) if is_over => Ok(()),
        (Some(_), _) => changed(step, subscription, sent, (&plan, price)).await,
        (None, Purpose::Proration) => failed(step, subscription, sent, &plan).await,
        // Dunning tries it again, in that plan.
        (None, Purpose::Period) => Ok(()),
    }
}

async fn plan_of(
    step: Step<'_>,
    subscription: &Subscription,
    sent: &Sent,
) -> Result<Option<(Plan, Money)>, ApplyError> {
    let Some((plan, amount_minor)) = &sent.plan else {
        return Ok(None);
    };
    let price = Money {
        amount_minor: *amount_minor,
        ..subscription.price
    };
    let plan = plans::find(step.tx, plan).await?;
    Ok(plan.map(|plan| (plan, price)))
}

async fn changed(
    step: Step<'_>,
    subscription: &mut Subscription,
    sent: &Sent,
    (plan, price): (&Plan, Money),
) -> Result<(), ApplyError> {
    let news = (PlanNews::Changed, plan);
    note(step, subscription, sent, news).await?;
    become_plan(step.tx, subscription, (plan, price)).await?;
    Ok(())
}

async fn failed(
    step: Step<'_>,
    subscription: &Subscription,
    sent: &Sent,
    plan: &Plan,
) -> Result<(), ApplyError> {
    note(step, subscription, sent, (PlanNews::Failed, plan)).await
}

async fn note(
    step: Step<'_>,
    subscription: &Subscription,
    sent: &Sent,
    (news, plan): (PlanNews, &Plan),
) -> Result<(), ApplyError> {
    let fact = NewFact {
        key: format!("charge:{}", sent.id),
        noted: Noted::Plan(news),
        reason: None,
        actor: "provider".to_owned(),
        occurred_at: step.now,
    };
    let plans = PlanPair {
        from: subscription.plan.id.clone(),
        to: plan.id.clone(),
    };
    facts::insert_about(step.tx, subscription.id, (&fact, Some(&plans)), step.now).await?;
    Ok(())
}
