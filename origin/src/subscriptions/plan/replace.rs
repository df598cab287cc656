//! A subscription takes the place of another when its first charge settles (an upgrade by a new contract).
//!
//! `apply::settle` → **`lock_replaced`** … `note_attempt` → **`replace`** → the old one's end, and its credit as refunds.
//!
//! Locks: payment (new, then old) → ledger accounts → subscription (new, then old) → user. The new one was made after the
//! old, and nobody who holds an old one's locks asks for a newer one's, so nothing waits in a circle.
//! Invariants: all of it is in the transaction that settles the charge; a subscription is replaced once, by the key of its
//! fact, and one that had ended meanwhile is left as it is: nothing is paid back. Without the new charge nothing happens.
//! Failure: a credit that cannot be refunded by a call is an operator's task, never a reason not to settle.

use tollgate_shared::id::PaymentId;
use tollgate_shared::money::Minor;

use super::super::change::standing_now;
use super::super::event_line::about;
use super::super::refold::refold_row;
use super::super::{NewFact, SubscriptionId};
use super::paid;
use crate::apply::{ApplyError, Step};
use crate::db::event_log::{self, Line};
use crate::db::payments::Payment;
use crate::db::subscriptions::facts::{self, PlanPair};
use crate::db::subscriptions::{self, Subscription};
use crate::db::{DbError, Tx};
use crate::domain::subscription::Noted;
use crate::domain::subscription::dunning::Phase;
use crate::domain::subscription::schedule::taipei_date;
use crate::refunds::{self, RefundError};

/// The key of the fact, one for each subscription.
pub(in crate::subscriptions) const REPLACED: &str = "replaced";
/// Why money goes back, for people.
const UNUSED: &str = "unused days of the plan that was replaced";
/// Who pays back what nobody asked for by itself.
const ACTOR: &str = "schedule";

/// Locks the payment of the subscription that this payment's would replace now. Before any ledger account is locked.
pub(crate) async fn lock_replaced(tx: &Tx, payment: &Payment) -> Result<(), DbError> {
    if payment.periodic {
        subscriptions::lock_replaced_payment(tx, payment.id).await?;
    }
    Ok(())
}

/// Ends the subscription that `new` replaces, and pays back what is left of it.
pub(in crate::subscriptions) async fn replace(
    step: Step<'_>,
    new: &Subscription,
    old: SubscriptionId,
) -> Result<(), ApplyError> {
    let (tx, context) = (step.tx, step.subscriptions);
    let Some(old) = subscriptions::lock(tx, old).await? else {
        return Ok(());
    };
    let standing = standing_now(tx, context, &old, step.now).await?;
    if let Phase::Over(..) = standing.phase {
        return Ok(note_too_late(step, new, &old).await?);
    }
    let paid = paid::charges(tx, &old, &standing).await?;
    // After this point the old one must end and its unused days must go back.
    note(step, new, &old).await?;
    refold_row(tx, context, &old, step.now).await?;
    // The days are those that were unused when the new plan was paid, however late that was told.
    let Some(today) = taipei_date(step.occurred_at().min(step.now)) else {
        return Ok(());
    };
    for charge in paid {
        let credit = charge.days.credit(today).amount_minor;
        if credit > Minor::ZERO {
            let key = format!("{REPLACED}:{}:{}", old.id, charge.number);
            pay_back(step, old.payment, (&charge.number, Some(credit), UNUSED), &key).await?;
        }
    }
    Ok(())
}

async fn note(step: Step<'_>, new: &Subscription, old: &Subscription) -> Result<(), DbError> {
    let fact = NewFact {
        key: REPLACED.to_owned(),
        noted: Noted::Replaced,
        reason: Some(new.id.to_string()),
        actor: "user".to_owned(),
        occurred_at: step.now,
    };
    let plans = PlanPair {
        from: old.plan.id.clone(),
        to: new.plan.id.clone(),
    };
    facts::insert_about(step.tx, old.id, (&fact, Some(&plans)), step.now).await?;
    Ok(())
}

/// Two new contracts were paid for one old, or the old one ended first: both are the customer's, and a person may look.
async fn note_too_late(step: Step<'_>, new: &Subscription, old: &Subscription) -> Result<(), DbError> {
    tracing::warn!(subscription.id = %new.id, "subscription {} replaces one that had ended: {}", new.id, old.id);
    let event_type = "subscription_replaced_nothing";
    let key = format!("{event_type}:{}", new.id);
    let line = Line {
        details: serde_json::json!({ "subscriptionId": new.id, "replacesId": old.id }),
        delivery: Some(step.delivery),
        ..about(new, event_type, key, step.now)?
    };
    event_log::insert(step.tx, &line, step.now).await?;
    Ok(())
}

/// Asks for a refund that is decided; where another refund of the charge has not ended, an operator makes this one.
pub(super) async fn pay_back(
    step: Step<'_>,
    payment: PaymentId,
    (number, amount, reason): (&str, Option<Minor>, &str),
    key: &str,
) -> Result<(), ApplyError> {
    let asked = refunds::Asked {
        payment,
        charge: Some(number),
        amount,
        reason,
        actor: ACTOR,
        key,
    };
    match refunds::request_decided(step.tx, &asked, step.now).await {
        Ok(_) => Ok(()),
        Err(RefundError::Apply(error)) => Err(error),
        Err(refusal) => {
            tracing::error!(error = %refusal, "a credit of payment {payment} could not be asked back");
            Ok(())
        }
    }
}
