//! The audit trail: what people did by hand (OP-4).
//!
//! `http::admin`, `subscriptions::{by_hand, number}` → **`insert`** → `tollgate.admin_actions`, append-only by privilege.
//!
//! Invariant: a row is written before what it tells of is begun, so an action that fails or is refused is on record as well.
//! Not here: what became of it (the subscription's history, the job's result).

use serde_json::Value;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{DbError, Instant, Tx};

/// One action.
#[derive(Debug, Clone)]
pub(crate) struct AdminAction {
    /// Its name; a repeat of the delivery that asked is a row of its own.
    pub(crate) id: Uuid,
    /// Whoever held which kind of token or key.
    pub(crate) actor: String,
    /// What, in a word.
    pub(crate) action: &'static str,
    /// To whom or what.
    pub(crate) target: String,
    /// What belongs to it, such as the delivery id.
    pub(crate) details: Value,
}

const INSERT: &str = "\
-- admin_action_insert
insert into tollgate.admin_actions (id, actor, action, target, details, recorded_at)
values ($1, $2, $3, $4, $5, $6)";

/// Writes one down.
pub(crate) async fn insert(tx: &Tx, action: &AdminAction, now: Timestamp) -> Result<(), DbError> {
    tx.execute(
        INSERT,
        &[
            &action.id,
            &action.actor,
            &action.action,
            &action.target,
            &action.details,
            &Instant(now),
        ],
    )
    .await?;
    Ok(())
}
