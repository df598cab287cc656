//! What time alone brings about: charges and retries that fall due, grace and subscriptions that end, overdue news.
//!
//! `work::subscriptions`, the maintenance job → **sweep** → refold of every row that is due.
//!
//! Invariants: rows that another sweep holds are left to it; a row's effects are written with its new state, so a sweep
//! that dies half-way has done nothing. One row that cannot be recomputed is put off and holds up no other. Users are
//! recomputed last and in order, so that two sweeps never wait for each other in a circle.
//! Not here: sending (`effects`).

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate_shared::id::UserId;
use tollgate_shared::time::Timestamp;

use super::SubscriptionId;
use super::refold::refold_row;
use crate::Origin;
use crate::apply::recompute_user;
use crate::db::subscriptions::{Subscription, due};
use crate::db::{DbError, Retry as _, Tx};
use crate::telemetry::Chain;

/// When a row that could not be recomputed is tried again.
const PUT_OFF: Duration = Duration::from_mins(15);

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Rows that were due.
    pub(crate) claimed: usize,
    /// Effects that were written.
    pub(crate) effects: u32,
}

/// Recomputes up to `limit` subscriptions that are due.
pub(crate) async fn sweep(origin: &Origin, limit: u16) -> Result<Swept, DbError> {
    let now = origin.clock.now();
    let round = |tx: Tx| async move { round(origin, &tx, i64::from(limit), now).await };
    origin.database.run_tx("subscription_sweep", round).await
}

async fn round(origin: &Origin, tx: &Tx, limit: i64, now: Timestamp) -> Result<Swept, DbError> {
    let claimed = due::claim(tx, limit, now).await?;
    let mut swept = Swept {
        claimed: claimed.len(),
        effects: 0,
    };
    let mut users: BTreeMap<&UserId, Vec<SubscriptionId>> = BTreeMap::new();
    for subscription in &claimed {
        if let Some(effects) = refold_or_put_off(origin, tx, subscription, now).await? {
            swept.effects = swept.effects.saturating_add(effects);
            users.entry(&subscription.user).or_default().push(subscription.id);
        }
    }
    for (user, subscriptions) in users {
        recompute_user_or_put_off(tx, (user, &subscriptions), now).await?;
    }
    Ok(swept)
}

/// A user who cannot be recomputed takes no other user's work along; what led to it is looked at again.
async fn recompute_user_or_put_off(
    tx: &Tx,
    (user, subscriptions): (&UserId, &[SubscriptionId]),
    now: Timestamp,
) -> Result<(), DbError> {
    match tx.savepoint(recompute_user(tx, user, now)).await {
        Ok(()) => return Ok(()),
        Err(error) if error.is_conflict() || error.is_unavailable() => return Err(error),
        Err(error) => {
            tracing::error!(error = %Chain(&error), "a user of swept subscriptions could not be recomputed; they are put off");
        }
    }
    for id in subscriptions {
        due::put_off(tx, *id, now.plus(PUT_OFF)).await?;
    }
    Ok(())
}

/// A failure is undone to before the row; only one that loses the transaction ends the round.
async fn refold_or_put_off(
    origin: &Origin,
    tx: &Tx,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<Option<u32>, DbError> {
    let refold = refold_row(tx, origin.subscriptions(), subscription, now);
    match tx.savepoint(refold).await {
        Ok(effects) => Ok(Some(effects)),
        Err(error) if error.is_conflict() || error.is_unavailable() => Err(error),
        Err(error) => {
            tracing::error!(
                subscription.id = %subscription.id,
                error = %Chain(&error),
                "subscription {} could not be recomputed and is put off", subscription.id
            );
            due::put_off(tx, subscription.id, now.plus(PUT_OFF)).await?;
            Ok(None)
        }
    }
}
