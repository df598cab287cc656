//! Another plan for a running subscription: what it would cost, and the wish for it (issue 4, PM-8).
//!
//! http → **`preview`**, **`change_plan`** → `domain::subscription::plan_change` → a fact, a charge of ours, the plan to come.
//! checkout → **`replaceable`** → a payment that replaces; apply → `result`, `replace`.
//!
//! Invariants: a preview writes nothing and takes no lock; a change is decided under the row's lock, by the same function.
//! Several wishes: the newest counts, one at a time is charged for. A repeat of a key finds its fact and changes nothing.
//! Failure: a refusal has written nothing. Not here: who may wish (http), the arithmetic (`proration`).

mod paid;
mod replace;
mod result;

use serde::Serialize;
use tollgate_shared::id::{PlanId, UserId};
use tollgate_shared::money::{Minor, Money};
use tollgate_shared::time::Timestamp;

use super::change::standing_now;
use super::refold::refold;
use super::view::{View, view};
use super::wanted::{self, Proration};
use super::{Asked, ChangeError, Context, NewFact, SubscriptionId};
use crate::db::subscriptions::facts::{self, PlanPair};
use crate::db::subscriptions::{self, Subscription};
use crate::db::{DbError, Tx, plans};
use crate::domain::plan::Plan;
use crate::domain::subscription::plan_change::{Current, Offer, Refusal, Way, offer};
use crate::domain::subscription::proration::PaidDays;
use crate::domain::subscription::standing::Standing;
use crate::domain::subscription::{Noted, PlanNews};

pub(crate) use self::replace::lock_replaced;
pub(super) use self::replace::{REPLACED, replace};
pub(super) use self::result::finish;

/// A change that was only looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Preview {
    /// Of which subscription.
    pub(crate) subscription_id: SubscriptionId,
    /// The plan in force.
    pub(crate) from_plan_id: String,
    /// The other one.
    pub(crate) plan_id: String,
    /// As the customer knows it.
    pub(crate) plan_name: String,
    /// `in_place_now`, `in_place_next_period`, `new_contract`, `next_contract` or `revoke`.
    pub(crate) way: &'static str,
    /// From when the plan would be the other one.
    pub(crate) effective_at: String,
    /// ISO 4217.
    pub(crate) currency: &'static str,
    /// What the unused days are worth, in whole minor units.
    pub(crate) credit_minor: i64,
    /// To be charged for the change.
    pub(crate) due_minor: i64,
    /// To be paid back for it.
    pub(crate) refund_minor: i64,
    /// The next charge after the change.
    pub(crate) next_charge_at: Option<String>,
    /// Its amount.
    pub(crate) next_charge_minor: Option<i64>,
    /// From when the other plan can be bought, where it follows this contract.
    pub(crate) buy_from: Option<String>,
}

/// Another plan, and what the caller was told that it costs now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WantedPlan<'a> {
    /// Which.
    pub(crate) plan: &'a PlanId,
    /// The `due_minor` of the preview, where the caller wants no other.
    pub(crate) due_minor: Option<Minor>,
}

/// What a change to another plan would be. Writes nothing.
pub(crate) async fn preview(
    tx: &Tx,
    context: Context<'_>,
    (id, plan): (SubscriptionId, &PlanId),
    now: Timestamp,
) -> Result<Preview, ChangeError> {
    let subscription = subscriptions::find(tx, id).await?.ok_or(ChangeError::Unknown)?;
    let (wanted, offer) = offered(tx, context, &subscription, plan, now).await?;
    Ok(shown(&subscription, &wanted, &offer))
}

/// Refuses a subscription that a checkout of this plan cannot take the place of. Until when it gives access.
pub(crate) async fn replaceable(
    tx: &Tx,
    context: Context<'_>,
    (id, user, plan): (SubscriptionId, &UserId, &PlanId),
    now: Timestamp,
) -> Result<Option<Timestamp>, ChangeError> {
    let subscription = subscriptions::find(tx, id)
        .await?
        .filter(|found| found.user == *user)
        .ok_or(ChangeError::Unknown)?;
    let (_, offer) = offered(tx, context, &subscription, plan, now).await?;
    if offer.way != Way::NewContract {
        return Err(ChangeError::NotByCheckout(offer.way.label()));
    }
    Ok(standing_now(tx, context, &subscription, now).await?.access_until)
}

/// Changes to another plan, as the preview says, or takes back what was scheduled.
pub(crate) async fn change_plan(
    tx: &Tx,
    context: Context<'_>,
    asked: &Asked<'_>,
    wanted: WantedPlan<'_>,
) -> Result<View, ChangeError> {
    let mut subscription = subscriptions::lock(tx, asked.subscription)
        .await?
        .ok_or(ChangeError::Unknown)?;
    if !facts::is_known(tx, subscription.id, asked.key).await? {
        let (plan, offer) = offered(tx, context, &subscription, wanted.plan, asked.now).await?;
        is_as_told(&offer, wanted.due_minor)?;
        let noted = noted(&offer)?;
        // After this point the wish must be noted.
        note(tx, asked, (noted, &pair(&subscription, &plan, &offer))).await?;
        take(tx, &mut subscription, asked, (&plan, &offer)).await?;
        refold(tx, context, &subscription, asked.now).await?;
    }
    let view = view(tx, context, subscription.id, asked.now).await?;
    view.ok_or(ChangeError::Unknown)
}

fn is_as_told(offer: &Offer, told: Option<Minor>) -> Result<(), ChangeError> {
    let due_minor = offer.due.amount_minor;
    match told {
        Some(told) if told != due_minor => Err(ChangeError::OtherDue { due_minor }),
        Some(_) | None => Ok(()),
    }
}

/// What the wish is called. A new contract is the customer's to conclude.
fn noted(offer: &Offer) -> Result<Noted, ChangeError> {
    Ok(match offer.way {
        Way::InPlaceNow if offer.due.amount_minor > Minor::ZERO => Noted::Plan(PlanNews::Asked),
        Way::InPlaceNow => Noted::Plan(PlanNews::Changed),
        Way::InPlaceNextPeriod => Noted::Plan(PlanNews::Scheduled),
        Way::Revoke => Noted::Plan(PlanNews::Revoked),
        Way::NextContract => Noted::CancelAtEndAsked,
        Way::NewContract => return Err(ChangeError::OnlyByCheckout),
    })
}

/// What is taken back leads from the plan that was to come.
fn pair(subscription: &Subscription, plan: &Plan, offer: &Offer) -> PlanPair {
    let next = subscription.next_plan.as_ref().map(|(next, _)| next);
    let from = match offer.way {
        Way::Revoke => next.unwrap_or(&subscription.plan.id),
        Way::InPlaceNow | Way::InPlaceNextPeriod | Way::NewContract | Way::NextContract => {
            &subscription.plan.id
        }
    };
    PlanPair {
        from: from.clone(),
        to: plan.id.clone(),
    }
}

async fn note(tx: &Tx, asked: &Asked<'_>, (noted, plans): (Noted, &PlanPair)) -> Result<(), DbError> {
    let fact = NewFact {
        key: asked.key.to_owned(),
        noted,
        reason: None,
        actor: asked.actor.to_owned(),
        occurred_at: asked.now,
    };
    facts::insert_about(tx, asked.subscription, (&fact, Some(plans)), asked.now).await?;
    Ok(())
}

/// What the wish does besides being known.
async fn take(
    tx: &Tx,
    subscription: &mut Subscription,
    asked: &Asked<'_>,
    (plan, offer): (&Plan, &Offer),
) -> Result<(), DbError> {
    match offer.way {
        Way::InPlaceNow if offer.due.amount_minor > Minor::ZERO => {
            let proration = Proration {
                wish: asked.key,
                due: offer.due,
                plan,
            };
            wanted::prorate(tx, subscription, &proration, (offer.period, asked.now)).await
        }
        Way::InPlaceNow => become_plan(tx, subscription, (plan, plan.price)).await,
        Way::InPlaceNextPeriod => set_next(tx, subscription, Some((plan, Some(plan.price)))).await,
        Way::Revoke => set_next(tx, subscription, None).await,
        // The customer buys it; until then it is only shown.
        Way::NextContract => set_next(tx, subscription, Some((plan, None))).await,
        Way::NewContract => Ok(()),
    }
}

/// Makes a plan the subscription's from now on.
async fn become_plan(
    tx: &Tx,
    subscription: &mut Subscription,
    (plan, price): (&Plan, Money),
) -> Result<(), DbError> {
    subscriptions::set_plan(tx, subscription.id, &plan.id, price).await?;
    subscription.price = price;
    subscription.plan = plan.clone();
    subscription.next_plan = None;
    Ok(())
}

async fn set_next(
    tx: &Tx,
    subscription: &mut Subscription,
    next: Option<(&Plan, Option<Money>)>,
) -> Result<(), DbError> {
    let next = next.map(|(plan, price)| (plan.id.clone(), price));
    let column = next.as_ref().map(|(plan, price)| (plan, *price));
    subscriptions::set_next_plan(tx, subscription.id, column).await?;
    subscription.next_plan = next;
    Ok(())
}

/// The other plan, if it is sold, and what it means now.
async fn offered(
    tx: &Tx,
    context: Context<'_>,
    subscription: &Subscription,
    plan: &PlanId,
    now: Timestamp,
) -> Result<(Plan, Offer), ChangeError> {
    // What was scheduled can be taken back though the plan in force is not sold any more.
    let wanted = if *plan == subscription.plan.id {
        Some(subscription.plan.clone())
    } else {
        plans::find_available(tx, plan).await?
    };
    let wanted = wanted.ok_or(ChangeError::UnknownPlan)?;
    let standing = standing_now(tx, context, subscription, now).await?;
    let paid = paid::charges(tx, subscription, &standing).await?;
    let days: Vec<PaidDays> = paid.iter().map(|charge| charge.days).collect();
    let is_refunding = paid.iter().any(|charge| charge.is_refunding);
    let current = current(subscription, &standing, (&days, is_refunding));
    let offer = offer(&current, &wanted, now)?;
    Ok((wanted, offer))
}

fn current<'a>(
    subscription: &'a Subscription,
    standing: &'a Standing,
    (paid, is_refunding): (&'a [PaidDays], bool),
) -> Current<'a> {
    Current {
        mode: subscription.mode,
        schedule: subscription.schedule,
        plan: &subscription.plan.id,
        price: subscription.price,
        next_plan: subscription.next_plan.as_ref().map(|(plan, _)| plan),
        standing,
        paid,
        is_refunding,
    }
}

fn shown(subscription: &Subscription, wanted: &Plan, offer: &Offer) -> Preview {
    Preview {
        subscription_id: subscription.id,
        from_plan_id: subscription.plan.id.to_string(),
        plan_id: wanted.id.to_string(),
        plan_name: wanted.name.clone(),
        way: offer.way.label(),
        effective_at: offer.effective_at.to_string(),
        currency: offer.due.currency.code(),
        credit_minor: offer.credit.amount_minor.get(),
        due_minor: offer.due.amount_minor.get(),
        refund_minor: offer.refund.amount_minor.get(),
        next_charge_at: offer.next_charge.map(|(at, _)| at.to_string()),
        next_charge_minor: offer.next_charge.map(|(_, money)| money.amount_minor.get()),
        buy_from: offer.buy_from.map(|at| at.to_string()),
    }
}

impl From<Refusal> for ChangeError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotBegun => Self::NotBegun,
            Refusal::Ending => Self::Ending,
            Refusal::Paused => Self::Paused,
            Refusal::Owed => Self::Owed,
            Refusal::UnderWay => Self::UnderWay,
            Refusal::NotASubscription => Self::Plan("It does not renew itself; buy it at checkout."),
            Refusal::OtherCurrency => Self::Plan("It costs another currency."),
            Refusal::SamePlan => Self::Plan("It is the plan in force."),
            Refusal::Scheduled => {
                Self::Plan("It is scheduled already; ask for the plan in force to take it back.")
            }
            Refusal::RefundUnderWay => {
                Self::Plan("A refund of the running period has not ended; ask again when it has.")
            }
            Refusal::NotComputable => Self::Plan("What is left of the running period cannot be computed."),
        }
    }
}
