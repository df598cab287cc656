//! Wishes about a subscription: end it, let it rest, try again, another card.
//!
//! http, effects → **a change** (a ladder of refusals, then a fact) → refold → what the fact brings about.
//!
//! Invariants: a wish is a fact under the caller's key, so a repeat finds it and changes nothing; a refusal writes
//! nothing. What a wish does at the provider is an effect of the step that it becomes (`tell`).
//! Not here: another plan (`plan`), who may wish (http).

use std::time::Duration;

use tollgate_shared::time::Timestamp;

use super::refold::refold;
use super::view::{View, view};
use super::{Asked, ChangeError, Context, NewFact, SubscriptionId, state, wanted};
use crate::db::subscriptions::{self, Subscription, facts};
use crate::db::{DbError, Tx};
use crate::domain::subscription::dunning::Phase;
use crate::domain::subscription::standing::{Standing, standing};
use crate::domain::subscription::{Mode, Noted, RetrySlot};

/// How long the answer to an attempt is waited for before another may be asked for by hand.
const ANSWER: Duration = Duration::from_hours(24);

/// So many new cards of a subscription are tried within the window.
const CARDS_MAX: usize = 3;
const CARDS_WINDOW: Duration = Duration::from_hours(1);

/// When to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelWhen {
    /// At once; what is paid for is not used up.
    Now,
    /// With what is paid for.
    PeriodEnd,
}

/// Ends a subscription, now or with what is paid for (PU-6).
pub(crate) async fn cancel(
    tx: &Tx,
    context: Context<'_>,
    asked: &Asked<'_>,
    when: CancelWhen,
) -> Result<View, ChangeError> {
    let noted = match when {
        CancelWhen::Now => Noted::CancelNowAsked,
        CancelWhen::PeriodEnd => Noted::CancelAtEndAsked,
    };
    change(tx, context, asked, noted, |_, standing| {
        // A contract that waits for its first charge can be ended, too.
        if !standing.awaits_first {
            begun(standing)?;
        }
        let is_ending = standing.ends_at.is_some_and(|_| standing.next_charge.is_none());
        if is_ending && when == CancelWhen::PeriodEnd {
            return Err(ChangeError::Ending);
        }
        Ok(())
    })
    .await
}

/// Lets a subscription rest: no charges until it is resumed. ECPay has no call for that.
pub(crate) async fn pause(tx: &Tx, context: Context<'_>, asked: &Asked<'_>) -> Result<View, ChangeError> {
    change(tx, context, asked, Noted::Paused, |subscription, standing| {
        going_on(standing)?;
        if subscription.mode == Mode::ProviderRun && subscription.provider != "payuni" {
            return Err(ChangeError::NotSupported);
        }
        match standing.phase {
            Phase::PastDue(_) | Phase::Downgraded(..) => Err(ChangeError::Owed),
            Phase::Paused => Err(ChangeError::Paused),
            Phase::Pending | Phase::Active | Phase::Over(..) => Ok(()),
        }
    })
    .await
}

/// Lets it go on.
pub(crate) async fn resume(tx: &Tx, context: Context<'_>, asked: &Asked<'_>) -> Result<View, ChangeError> {
    change(tx, context, asked, Noted::Resumed, |_, standing| {
        going_on(standing)?;
        match standing.phase {
            Phase::Paused => Ok(()),
            Phase::Pending | Phase::Active | Phase::PastDue(_) | Phase::Downgraded(..) | Phase::Over(..) => {
                Err(ChangeError::NotPaused)
            }
        }
    })
    .await
}

/// The customer has another card: what is owed is tried with it at once.
pub(crate) async fn card_changed(
    tx: &Tx,
    context: Context<'_>,
    asked: &Asked<'_>,
) -> Result<View, ChangeError> {
    let is_new = !facts::is_known(tx, asked.subscription, asked.key).await?;
    // The lock comes first: of two that are asked at once, the second counts the first.
    if subscriptions::lock(tx, asked.subscription).await?.is_some() && is_new {
        refuse_too_many(tx, asked).await?;
    }
    change(tx, context, asked, Noted::CardChanged, |_, standing| {
        going_on(standing)
    })
    .await
}

/// Each new card makes an attempt at once, which costs a fee and looks like fraud to a bank.
async fn refuse_too_many(tx: &Tx, asked: &Asked<'_>) -> Result<(), ChangeError> {
    let window_ms = i64::try_from(CARDS_WINDOW.as_millis()).unwrap_or(i64::MAX);
    let since = Timestamp::from_unix_ms(asked.now.unix_ms().saturating_sub(window_ms));
    let changes = facts::card_changes_since(tx, asked.subscription, since).await?;
    match changes.iter().rev().nth(CARDS_MAX.saturating_sub(1)) {
        Some(oldest) => Err(ChangeError::TooOften {
            until: oldest.plus(CARDS_WINDOW),
            now: asked.now,
        }),
        None => Ok(()),
    }
}

/// Tries a refused charge again, beside the schedule (EC-5).
pub(crate) async fn retry_now(tx: &Tx, context: Context<'_>, asked: &Asked<'_>) -> Result<View, ChangeError> {
    let noted = Noted::RetryAsked(RetrySlot::Manual);
    change(tx, context, asked, noted, |subscription, standing| {
        going_on(standing)?;
        match standing.phase {
            Phase::PastDue(_) | Phase::Downgraded(..) => {}
            Phase::Pending | Phase::Active | Phase::Paused | Phase::Over(..) => {
                return Err(ChangeError::NothingOwed);
            }
        }
        // Two attempts at one refused charge may both succeed. A provider tries a charge of its own once; one of ours is
        // under way until its answer is known, however long that takes.
        let is_ours = subscription.mode == Mode::MerchantRun;
        let waits = standing
            .unanswered_since
            .is_some_and(|since| is_ours || since.plus(ANSWER) > asked.now);
        if waits { Err(ChangeError::UnderWay) } else { Ok(()) }
    })
    .await
}

/// What somebody else found out, such as that the provider ended its contract.
pub(crate) async fn note_fact(
    tx: &Tx,
    context: Context<'_>,
    subscription: SubscriptionId,
    fact: NewFact,
    now: Timestamp,
) -> Result<(), DbError> {
    let Some(subscription) = subscriptions::lock(tx, subscription).await? else {
        return Ok(());
    };
    facts::insert(tx, subscription.id, &fact, now).await?;
    refold(tx, context, &subscription, now).await?;
    Ok(())
}

/// Locks, refuses or notes, recomputes.
async fn change(
    tx: &Tx,
    context: Context<'_>,
    asked: &Asked<'_>,
    noted: Noted,
    ladder: impl Fn(&Subscription, &Standing) -> Result<(), ChangeError>,
) -> Result<View, ChangeError> {
    let subscription = subscriptions::lock(tx, asked.subscription)
        .await?
        .ok_or(ChangeError::Unknown)?;
    if !facts::is_known(tx, subscription.id, asked.key).await? {
        let standing = standing_now(tx, context, &subscription, asked.now).await?;
        ladder(&subscription, &standing)?;
        // After this point the wish must be noted.
        note(tx, context, &subscription, asked, noted).await?;
    }
    let view = view(tx, context, subscription.id, asked.now).await?;
    view.ok_or(ChangeError::Unknown)
}

async fn note(
    tx: &Tx,
    context: Context<'_>,
    subscription: &Subscription,
    asked: &Asked<'_>,
    noted: Noted,
) -> Result<(), DbError> {
    let fact = NewFact {
        key: asked.key.to_owned(),
        noted,
        reason: None,
        actor: asked.actor.to_owned(),
        occurred_at: asked.now,
    };
    facts::insert(tx, subscription.id, &fact, asked.now).await?;
    refold(tx, context, subscription, asked.now).await?;
    Ok(())
}

/// Where a subscription stands at `now`, whenever it was last recomputed.
pub(super) async fn standing_now(
    tx: &Tx,
    context: Context<'_>,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<Standing, DbError> {
    let known = wanted::known(tx, subscription.id).await?;
    let terms = state::terms(subscription, &known.facts);
    Ok(standing(&terms, &known, context.policy, now))
}

/// Refuses what has not begun or is over.
fn begun(standing: &Standing) -> Result<(), ChangeError> {
    match standing.phase {
        Phase::Pending => Err(ChangeError::NotBegun),
        Phase::Over(..) => Err(ChangeError::Ending),
        Phase::Active | Phase::PastDue(_) | Phase::Downgraded(..) | Phase::Paused => Ok(()),
    }
}

/// Refuses what is to end, too.
fn going_on(standing: &Standing) -> Result<(), ChangeError> {
    begun(standing)?;
    if standing.ends_at.is_some() {
        return Err(ChangeError::Ending);
    }
    Ok(())
}
