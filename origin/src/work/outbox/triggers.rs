//! Effects that are a generator's trigger.
//!
//! `outbox::make` → **send** (does the job still wait? → signed POST) → `gateway::user_core`.
//!
//! Invariants: a trigger of a job that has ended is not sent and ends dead, saying so; the connection to the
//! database is given back before the call. Not here: what the end of a trigger means for its job (`jobs::trigger`).

use tollgate_shared::time::Timestamp;

use super::{Failure, posts};
use crate::Origin;
use crate::db::Tx;
use crate::db::outbox::Claimed;
use crate::gateway::user_core::Client;
use crate::jobs::trigger;
use crate::telemetry::Chain;

/// Sends it, if its job still waits for it.
pub(super) async fn send(
    origin: &Origin,
    client: &Client,
    claimed: &Claimed,
    now: Timestamp,
) -> Result<(), Failure> {
    let ask = |tx: Tx| async move { trigger::is_wanted(&tx, &claimed.payload).await };
    match origin.database.run_tx("trigger_wanted", ask).await {
        Ok(true) => posts::send(client, origin.config.jobs.generator.as_ref(), claimed, now).await,
        Ok(false) => Err(Failure {
            reason: "the job does not wait for a generator any more".to_owned(),
            is_final: true,
        }),
        Err(error) => {
            tracing::error!(error = %Chain(&error), "a job could not be read");
            Err(Failure {
                reason: "the job could not be read".to_owned(),
                is_final: false,
            })
        }
    }
}
