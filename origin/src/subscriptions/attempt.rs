//! An attempt to charge a subscription, as apply learns of it from a notice, a poll or the answer to our own charge.
//!
//! apply (settle, decline, refund) → **`note_attempt`** → `subscription_payments`, `period_transactions` → refold.
//! `effects::subscription_retry` → **`note_refused_retry`** → the same, of an attempt that no notice has told yet.
//!
//! Invariants: whoever tells of an attempt, it is one row and starts the same dunning (OP-5); the money is booked before,
//! and the user recomputed after, by the caller. A payment that is no subscription's changes nothing here.
//! Not here: money (`apply::book`), whether the amount is ours (`domain::charge`).

use tollgate_shared::event::{Charge, Decline, Period};
use tollgate_shared::id::ProviderPaymentId;
use tollgate_shared::provider::{
    CHARGE_BY_HAND, CHARGE_REPLY, DeclineReason, Hardness, decline_hardness, decline_reason,
};
use tollgate_shared::time::Timestamp;

use super::plan;
use super::refold::{refold, refold_row};
use super::{Context, SubscriptionId, number};
use crate::apply::{ApplyError, Step};
use crate::db::payments::Payment;
use crate::db::subscriptions::attempts::{self, NewAttempt, NewPeriod};
use crate::db::subscriptions::charges::{self, Purpose, Sent};
use crate::db::subscriptions::{self, Subscription};
use crate::db::{DbError, Tx};
use crate::domain::subscription::Mode;
use crate::entropy;

/// No provider sends a longer message; what is longer is cut.
const MESSAGE_CHARACTERS_MAX: usize = 200;

/// Who told of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundBy {
    /// The provider, unasked.
    Notice,
    /// The provider, asked for news (OP-5).
    Poll,
    /// The provider, in its answer to our charge.
    Charge,
    /// A person, of a charge that no answer ended (`by_hand`).
    Operator,
}

impl FoundBy {
    /// Who told, by the name of the notice: observations have names of their own.
    pub(crate) fn from_notice(notice: &str) -> Self {
        match notice {
            CHARGE_REPLY => Self::Charge,
            CHARGE_BY_HAND => Self::Operator,
            _ if notice.starts_with("observed-") => Self::Poll,
            _ => Self::Notice,
        }
    }

    /// The label in `subscription_payments.found_by`.
    const fn label(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Poll => "poll",
            Self::Charge => "charge",
            Self::Operator => "operator",
        }
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attempt<'a> {
    /// It succeeded.
    Paid(&'a Charge, Option<&'a Period>),
    /// It was refused.
    Failed(&'a Decline, Option<&'a Period>),
    /// It had succeeded and was paid back in full.
    Returned(&'a Charge),
}

/// Notes an attempt at a payment and recomputes its subscription, if it is one's.
pub(crate) async fn note_attempt(
    step: Step<'_>,
    payment: &Payment,
    attempt: Attempt<'_>,
) -> Result<(), ApplyError> {
    if !payment.periodic {
        return Ok(());
    }
    let Some(mut subscription) = subscriptions::lock_of_payment(step.tx, payment.id).await? else {
        return Ok(());
    };
    let sent = match &step.event.order {
        Some(order) => charges::by_order(step.tx, subscription.id, order).await?,
        None => None,
    };
    if let Some(sent) = &sent {
        Box::pin(plan::finish(step, (payment, &mut subscription), sent, attempt)).await?;
    }
    note_contract(step, &mut subscription, attempt).await?;
    if !sent
        .as_ref()
        .is_some_and(|sent| sent.purpose == Purpose::Proration)
    {
        write(step, &subscription, sent.as_ref(), attempt).await?;
    }
    refold_row(step.tx, step.subscriptions, &subscription, step.now).await?;
    match subscription.replaces {
        // Rare and large: boxed, so that every other attempt's future stays small.
        Some(old) if is_first_charge(&subscription, attempt) => {
            Box::pin(plan::replace(step, &subscription, old)).await
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether it makes a pending subscription an active one.
fn is_first_charge(before: &Subscription, attempt: Attempt<'_>) -> bool {
    before.status == "pending" && matches!(attempt, Attempt::Paid(..))
}

/// What a notice tells beside the attempt: the contract's number, and the card that may be charged again.
async fn note_contract(
    step: Step<'_>,
    subscription: &mut Subscription,
    attempt: Attempt<'_>,
) -> Result<(), DbError> {
    let number = period_of(attempt).and_then(|period| period.contract_number.as_ref());
    note_contract_number(step, subscription, number).await?;
    let has_contract = subscription.mode == Mode::ProviderRun && subscription.provider == "payuni";
    if has_contract && subscription.contract_number.is_none() && matches!(attempt, Attempt::Paid(..)) {
        number::tell_missing(step.tx, subscription, step.now).await?;
    }
    if let Attempt::Paid(charge, _) = attempt
        && let Some(credential) = &charge.credential
        && subscription.mode == Mode::MerchantRun
    {
        charges::store_credential(step.tx, subscription.id, credential, step.now).await?;
    }
    Ok(())
}

/// Keeps the provider's number of the contract, the first time that it is told.
pub(super) async fn note_contract_number(
    step: Step<'_>,
    subscription: &mut Subscription,
    number: Option<&ProviderPaymentId>,
) -> Result<(), DbError> {
    if let Some(number) = number.filter(|_| subscription.contract_number.is_none()) {
        subscriptions::set_contract_number(step.tx, subscription.id, number.as_str()).await?;
        subscription.contract_number = Some(number.to_string());
    }
    Ok(())
}

async fn write(
    step: Step<'_>,
    subscription: &Subscription,
    sent: Option<&Sent>,
    attempt: Attempt<'_>,
) -> Result<(), DbError> {
    let mut new = new_attempt(step, subscription, sent, attempt)?;
    new.period_order_no = period_order_no(step, subscription, sent, &new);
    insert(step.tx, subscription, &new, step.now).await?;
    let period = period_of(attempt);
    let Some(order_no) = &new.period_order_no else {
        return Ok(());
    };
    let row = NewPeriod {
        id: entropy::uuid_v7(step.now)?,
        user: subscription.user.as_str(),
        trade_no: subscription.contract_number.as_deref(),
        order_no,
        number: sent
            .map(|sent| sent.period)
            .or_else(|| period.and_then(|period| period.number)),
        total: period
            .and_then(|period| period.total)
            .or(Some(u32::from(subscription.schedule.times))),
        amount_minor: new.amount_minor,
        status: new.status,
        auth_time: new.occurred_at,
    };
    attempts::upsert_period(step.tx, subscription.id, &row, step.now).await
}

/// Writes an attempt, unless it is another telling of a known refusal: where the provider runs the contract, one may be told
/// with its number and without (ECPay's log, PAYUNi's schedule), in either order.
async fn insert(
    tx: &Tx,
    subscription: &Subscription,
    new: &NewAttempt,
    now: Timestamp,
) -> Result<(), DbError> {
    let may_be_known = new.status == "failed" && subscription.mode == Mode::ProviderRun;
    let is_known = may_be_known
        && match new.provider_payment_id {
            Some(_) => attempts::take_number(tx, subscription.id, new).await?,
            None => attempts::is_retold(tx, subscription.id, new).await?,
        };
    if is_known {
        return Ok(());
    }
    attempts::upsert(tx, subscription.id, new, now).await
}

/// A refusal that the provider told in its answer to our asking for another attempt, before any notice.
#[derive(Debug, Clone)]
pub(crate) struct RefusedRetry {
    /// Names the request, so that a repeat of it is the same refusal.
    pub(crate) key: String,
    /// Which period.
    pub(crate) period: u32,
    /// The provider's code.
    pub(crate) code: String,
    /// The provider's words.
    pub(crate) message: String,
    /// When it was tried, as the provider says.
    pub(crate) tried_at: Timestamp,
}

/// Notes that another attempt was made and refused. Its notice, which has the number, takes the row over when it comes.
pub(crate) async fn note_refused_retry(
    tx: &Tx,
    context: Context<'_>,
    id: SubscriptionId,
    refused: &RefusedRetry,
    now: Timestamp,
) -> Result<(), DbError> {
    let Some(subscription) = subscriptions::lock(tx, id).await? else {
        return Ok(());
    };
    let new = NewAttempt {
        id: entropy::uuid_v7(now)?,
        key: format!("failed:{}", refused.key),
        period_number: Some(refused.period),
        period_order_no: Some(format!("{}_{}", subscription.order, refused.period)),
        provider_payment_id: None,
        amount_minor: None,
        status: "failed",
        error_code: Some(cut(&refused.code)),
        error_message: Some(cut(&refused.message)),
        // The answer carries no code of the bank.
        decline_reason: Some(DeclineReason::Refused),
        hard: false,
        found_by: FoundBy::Charge.label(),
        occurred_at: refused.tried_at,
        retries_max: retries_max(context),
    };
    insert(tx, &subscription, &new, now).await?;
    refold(tx, context, &subscription, now).await?;
    Ok(())
}

fn cut(text: &str) -> String {
    text.chars().take(MESSAGE_CHARACTERS_MAX).collect()
}

/// How many retries the schedule has.
fn retries_max(context: Context<'_>) -> i32 {
    i32::try_from(context.policy.retry_days.len()).unwrap_or(i32::MAX)
}

const fn period_of(attempt: Attempt<'_>) -> Option<&Period> {
    match attempt {
        Attempt::Paid(_, period) | Attempt::Failed(_, period) => period,
        Attempt::Returned(_) => None,
    }
}

fn new_attempt(
    step: Step<'_>,
    subscription: &Subscription,
    sent: Option<&Sent>,
    attempt: Attempt<'_>,
) -> Result<NewAttempt, DbError> {
    let period = period_of(attempt);
    let (charge, decline, status) = match attempt {
        Attempt::Paid(charge, _) => (Some(charge), None, "paid"),
        Attempt::Returned(charge) => (Some(charge), None, "refunded"),
        Attempt::Failed(decline, _) => (None, Some(decline), "failed"),
    };
    let number = charge
        .map(|charge| &charge.provider_payment_id)
        .or_else(|| decline.and_then(|decline| decline.provider_payment_id.as_ref()));
    let money = charge
        .map(|charge| charge.money)
        .or_else(|| decline.and_then(|decline| decline.money));
    Ok(NewAttempt {
        id: entropy::uuid_v7(step.now)?,
        key: match charge {
            Some(charge) => format!("paid:{}", charge.provider_payment_id),
            None => format!("failed:{}", step.event.key),
        },
        period_number: sent
            .map(|sent| sent.period)
            .or_else(|| told_number(subscription, attempt)),
        period_order_no: period.map(|period| period.period_order_number.clone()),
        provider_payment_id: number.map(ToString::to_string),
        amount_minor: money.map(|money| money.amount_minor.get()),
        status,
        error_code: decline.map(|decline| cut(&decline.code)),
        error_message: decline.map(|decline| cut(&decline.message)),
        decline_reason: decline.map(decline_reason),
        hard: decline.is_some_and(|decline| decline_hardness(decline) == Hardness::Hard),
        found_by: step.found_by.label(),
        occurred_at: step.occurred_at(),
        retries_max: retries_max(step.subscriptions),
    })
}

/// The number of the period, where the provider counts periods; a payment that is told as no period's is the first.
/// ECPay counts successes: after a period that stayed unpaid its number is another period's, so there the day decides.
fn told_number(subscription: &Subscription, attempt: Attempt<'_>) -> Option<u32> {
    let counts_periods = subscription.provider != "ecpay";
    match (attempt, period_of(attempt)) {
        (_, Some(period)) => period.number.filter(|_| counts_periods),
        (Attempt::Paid(..), None) => Some(1),
        // The row is that of the charge, and knows its period.
        (Attempt::Failed(..) | Attempt::Returned(_), None) => None,
    }
}

/// The period's number at the provider. Ours has the charge's; a first charge that ECPay tells as a payment, the order's.
fn period_order_no(
    step: Step<'_>,
    subscription: &Subscription,
    sent: Option<&Sent>,
    new: &NewAttempt,
) -> Option<String> {
    if let Some(told) = &new.period_order_no {
        return Some(told.clone());
    }
    if sent.is_some() {
        return step
            .event
            .order
            .as_ref()
            .map(|order| order.as_str().to_uppercase());
    }
    let number = new
        .provider_payment_id
        .as_ref()
        .filter(|_| new.status != "failed")?;
    Some(format!("{}_{number}", subscription.order))
}
