//! Events that were accepted and not applied: tried again with growing delays, then dead with the reason.
//!
//! inbox row that is due → **round** (lease → `inbox::retry`) → applied, pending again, or dead.
//!
//! Invariants: the attempt is counted with the lease, before anything can go wrong; applying and marking are one
//! transaction, which checks the lease. A worker that vanishes leaves a lease that runs out.

use uuid::Uuid;

use super::{LEASE, Round};
use crate::Origin;
use crate::db::inbox;
use crate::db::{DbError, Tx};
use crate::domain::backoff;
use crate::entropy;
use crate::telemetry::Chain;

/// Works on one event that is due.
pub(crate) async fn round(origin: &Origin) -> Result<Round, DbError> {
    let now = origin.clock.now();
    let token = Uuid::from_bytes(entropy::random()?);
    let claim = |tx: Tx| async move { inbox::claim(&tx, token, now.plus(LEASE), now).await };
    let Some(claimed) = origin.database.run_tx("inbox_claim", claim).await? else {
        return Ok(Round::Idle);
    };
    let (id, attempts) = (claimed.id, claimed.attempts);
    if attempts > backoff::INBOX.attempts_max {
        // Each attempt before took its worker with it, so none could note why.
        let reason = "gave up: every attempt ended without a result";
        let bury = |tx: Tx| async move { inbox::mark_dead(&tx, id, reason, now).await };
        origin.database.run_tx("inbox_bury", bury).await?;
        return Ok(Round::Worked);
    }
    if let Err(error) = crate::inbox::retry(origin, &claimed, token, now).await {
        // The transaction is lost, so the lease stays until it runs out: a delay in itself.
        tracing::warn!(event.id = %id, error = %Chain(&error), "event {id} was not worked on");
    }
    Ok(Round::Worked)
}
