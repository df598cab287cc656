//! The daily clean-up: what was applied or sent long ago loses its content (EC-4).
//!
//! `work::schedule` → **`clean_up`** → `db::retention`, batch by batch.
//!
//! Invariants: a batch is one short transaction, so that nobody waits for a night's work; two at once share the rows. What
//! may go, and why rows stay, stands in `db::retention`. Failure: the job's; what was emptied stays emptied.

use std::time::Duration;

use tollgate_shared::time::Timestamp;

use crate::Origin;
use crate::db::{DbError, Tx, retention};

/// Rows in one transaction.
const BATCH: i64 = 500;
/// What one run empties at most, so that it ends: five million rows of each kind.
const BATCHES_MAX: u32 = 10_000;

/// What a clean-up did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cleaned {
    /// Events without their bytes.
    pub(crate) events: u64,
    /// Effects without their payload.
    pub(crate) effects: u64,
}

/// Empties everything that is older than the retention.
pub(crate) async fn clean_up(origin: &Origin, now: Timestamp) -> Result<Cleaned, DbError> {
    let before = before(origin.config.upkeep.retention, now);
    let mut cleaned = Cleaned::default();
    for _ in 0..BATCHES_MAX {
        let empty = |tx: Tx| async move {
            let events = retention::empty_inbox(&tx, before, BATCH).await?;
            let effects = retention::empty_outbox(&tx, before, BATCH).await?;
            Ok::<_, DbError>((events, effects))
        };
        let (events, effects) = origin.database.run_tx("log_cleanup", empty).await?;
        if (events, effects) == (0, 0) {
            break;
        }
        cleaned.events = cleaned.events.saturating_add(events);
        cleaned.effects = cleaned.effects.saturating_add(effects);
    }
    Ok(cleaned)
}

fn before(retention: Duration, now: Timestamp) -> Timestamp {
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_unix_ms(now.unix_ms().saturating_sub(retention_ms))
}
