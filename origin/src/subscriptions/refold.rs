//! Recomputing a subscription: load what is known, ask the rules, write what they say.
//!
//! A fact that was added, or time that passed → **refold** → row, history (`tell`), effects (`wanted`).
//!
//! Invariants: the caller holds the row's lock; what was due and is asked for now is a fact of the same transaction, so
//! that nobody asks twice. The user is recomputed by the caller, after the subscription (order of locks).
//! Not here: what the facts amount to (`domain::subscription`).

use tollgate_shared::time::Timestamp;

use super::state::{self, Poll};
use super::tell::{self, Ground};
use super::{Context, wanted};
use crate::apply::recompute_user;
use crate::db::subscriptions::{self, Subscription, attempts};
use crate::db::{DbError, Tx};
use crate::domain::subscription::standing::{Standing, standing};
use crate::domain::subscription::{Fact, Noted, What};

/// Recomputes a locked subscription and then its user; the number of effects that were written.
pub(super) async fn refold(
    tx: &Tx,
    context: Context<'_>,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<u32, DbError> {
    let effects = refold_row(tx, context, subscription, now).await?;
    recompute_user(tx, &subscription.user, now).await?;
    Ok(effects)
}

/// Recomputes a locked subscription; its user is left to the caller.
pub(super) async fn refold_row(
    tx: &Tx,
    context: Context<'_>,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<u32, DbError> {
    let mut known = wanted::known(tx, subscription.id).await?;
    let terms = state::terms(subscription, &known.facts);
    let before = standing(&terms, &known, context.policy, now);
    // What is due becomes a fact, and the rules are asked once more with it.
    let (asked, charges) = wanted::ask(tx, subscription, &before, now).await?;
    let standing = if asked.is_empty() {
        before
    } else {
        known.facts.extend(asked);
        // What was asked for becomes a charge of ours below.
        known.under_way_since = known.under_way_since.or(Some(now));
        standing(&terms, &known, context.policy, now)
    };
    let poll = state::poll(subscription, standing.poll_from, now);
    let state = state::state(subscription.mode, &standing, poll, now);
    subscriptions::save(tx, subscription.id, &state, now).await?;
    set_retry(tx, subscription, &known.facts, &standing).await?;
    let ground = Ground {
        terms: &terms,
        known: &known,
        policy: context.policy,
        standing: &standing,
        now,
    };
    let told = tell::new_steps(tx, context, subscription, &ground).await?;
    let polls = ask_provider(tx, subscription, poll, now).await?;
    Ok(charges.saturating_add(told).saturating_add(polls))
}

/// EC-6's columns of the newest refusal.
async fn set_retry(
    tx: &Tx,
    subscription: &Subscription,
    known: &[Fact],
    standing: &Standing,
) -> Result<(), DbError> {
    if !known
        .iter()
        .any(|fact| matches!(fact.what, What::Declined { .. }))
    {
        return Ok(());
    }
    let last = known
        .iter()
        .filter(|fact| matches!(fact.what, What::Noted(Noted::RetryAsked(_))))
        .map(|fact| fact.occurred_at)
        .max();
    let next = standing.next_retry.map(|retry| retry.at);
    let asked = i32::from(standing.retries_asked);
    attempts::set_retry(tx, subscription.id, next, (asked, last)).await
}

async fn ask_provider(
    tx: &Tx,
    subscription: &Subscription,
    poll: Poll,
    now: Timestamp,
) -> Result<u32, DbError> {
    if !poll.is_due {
        return Ok(0);
    }
    wanted::poll(tx, subscription, poll.count, now).await?;
    Ok(1)
}
