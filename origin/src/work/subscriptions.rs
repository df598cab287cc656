//! Subscriptions that are due because of the time, in batches.
//!
//! `work::run` → **round** → `subscriptions::sweep`.
//!
//! Invariant: a batch is one transaction of bounded size, and no network is in it; several processes share the rows.
//! Not here: what is due, and what it brings about.

use super::Round;
use crate::Origin;
use crate::db::DbError;
use crate::subscriptions;

/// Rows in one transaction: enough to share a commit, few enough to hold locks briefly.
const BATCH: u16 = 50;

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
