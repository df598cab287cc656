//! Subscriptions that are due because of the time, in batches.
//!
//! `work::run`, scheduled jobs (all batches) → **round** → `subscriptions::sweep`.
//!
//! Invariant: a batch is one transaction of bounded size, and no network is in it; several processes share the rows.
//! Not here: what is due, and what it brings about.

use super::Round;
use crate::Origin;
use crate::db::DbError;
use crate::subscriptions::{self, Swept};

/// Rows in one transaction: enough to share a commit, few enough to hold locks briefly.
const BATCH: u16 = 50;

/// Batches of one job, so that it ends: half a million rows.
const BATCHES_MAX: u32 = 10_000;

/// Sweeps until nothing is due.
pub(crate) async fn everything(origin: &Origin) -> Result<Swept, DbError> {
    let mut all = Swept::default();
    for _ in 0..BATCHES_MAX {
        let swept = subscriptions::sweep(origin, BATCH).await?;
        if swept.claimed == 0 {
            break;
        }
        all.claimed = all.claimed.saturating_add(swept.claimed);
        all.effects = all.effects.saturating_add(swept.effects);
    }
    Ok(all)
}

/// Sweeps one batch.
pub(crate) async fn round(origin: &Origin) -> Result<Round, DbError> {
    let swept = subscriptions::sweep(origin, BATCH).await?;
    if swept.claimed == 0 {
        return Ok(Round::Idle);
    }
    tracing::info!(
        subscriptions = swept.claimed,
        effects = swept.effects,
        "swept {} subscriptions",
        swept.claimed
    );
    Ok(Round::Worked)
}
