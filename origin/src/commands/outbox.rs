//! Commands over the outbox: what did not leave, and one more round for what a person mended (OP-4).
//!
//! main → **outbox** → `db::outbox`, and one JSON line a row on standard output.
//!
//! Invariants: a line holds no payload, which may be long and is nobody's reading; `retry` revives dead rows only, with
//! all attempts before them again, and never makes a second row. Failure: [`CommandError`].

use serde_json::json;
use tollgate_shared::secret::Secret;
use uuid::Uuid;

use super::{CommandError, print_line};
use crate::clock::{Clock as _, SystemClock};
use crate::db::outbox::{self, Listed};
use crate::db::{Database, PoolSettings, Tx};

/// `tollgate outbox list [--dead]`: what is pending or dead, oldest first.
pub async fn list(database_url: &Secret, only_dead: bool) -> Result<(), CommandError> {
    let database = Database::new(&PoolSettings::new(database_url.clone()))?;
    let read = |tx: Tx| async move { outbox::list(&tx, only_dead).await };
    for row in database.run_tx("outbox_list", read).await? {
        print_line(&line(&row))?;
    }
    Ok(())
}

fn line(row: &Listed) -> serde_json::Value {
    json!({
        "event": "effect",
        "id": row.id.to_string(),
        "kind": row.kind,
        "operationKey": row.operation_key,
        "status": row.status,
        "attempts": row.attempts,
        "attemptsMax": row.attempts_max,
        "lastError": row.last_error,
        "nextAttemptAt": row.next_attempt_at.map(|at| at.to_string()),
        "createdAt": row.created_at.to_string(),
        "deadAt": row.dead_at.map(|at| at.to_string()),
    })
}

/// `tollgate outbox retry <id>`: makes a dead row pending again, due now.
pub async fn retry(database_url: &Secret, id: Uuid) -> Result<(), CommandError> {
    let database = Database::new(&PoolSettings::new(database_url.clone()))?;
    let now = SystemClock.now();
    let revive = |tx: Tx| async move { outbox::revive(&tx, id, now).await };
    if !database.run_tx("outbox_retry", revive).await? {
        return Err(CommandError::NotDead(id));
    }
    print_line(&json!({ "event": "revived", "id": id.to_string() }))?;
    Ok(())
}
