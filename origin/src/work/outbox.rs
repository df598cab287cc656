//! Sending what was decided: outbox rows to their receivers.
//!
//! outbox row that is due → **round** (lease, commit → `gateway` → mark) → done, pending again, or dead.
//!
//! Invariants (DESIGN.md, 6): the lease is committed before the call and the result is written after it, so no
//! transaction waits for a network. Delivery is at least once: a crash between call and mark sends again, under the
//! same id. Not here: signing.

use uuid::Uuid;

use super::{LEASE, Round};
use crate::Origin;
use crate::announce::USER_CORE;
use crate::db::outbox::{self, Claimed};
use crate::db::{DbError, Tx};
use crate::domain::backoff::{self, Next};
use crate::entropy;
use crate::gateway::user_core::{Client, SendError};
use crate::jobs::generate::GENERATOR;
use crate::notices::event::SUBSCRIPTION_EVENT;
use crate::telemetry::Chain;

/// Sends one effect that is due.
pub(crate) async fn round(origin: &Origin, client: &Client) -> Result<Round, DbError> {
    let now = origin.clock.now();
    let token = Uuid::from_bytes(entropy::random()?);
    let claim = |tx: Tx| async move {
        outbox::bury_abandoned(&tx, now).await?;
        outbox::claim(&tx, token, now.plus(LEASE), now).await
    };
    let Some(claimed) = origin.database.run_tx("outbox_claim", claim).await? else {
        return Ok(Round::Idle);
    };
    let result = send(origin, client, &claimed).await;
    let jitter = entropy::random::<1>()?;
    note(origin, &claimed, token, (result, jitter)).await?;
    Ok(Round::Worked)
}

async fn send(origin: &Origin, client: &Client, claimed: &Claimed) -> Result<(), SendError> {
    let receiver = match claimed.kind.as_str() {
        USER_CORE => origin.config.user_core.as_ref(),
        GENERATOR => origin.config.jobs.generator.as_ref(),
        SUBSCRIPTION_EVENT => origin.config.notices.subscription_events.as_ref(),
        _ => None,
    };
    let receiver = receiver.ok_or(SendError::NotConfigured)?;
    // JSON of strings, numbers and nulls always serialises.
    let body = serde_json::to_vec(&claimed.payload).unwrap_or_default();
    client.send(receiver, claimed.id, body, origin.clock.now()).await
}

async fn note(
    origin: &Origin,
    claimed: &Claimed,
    token: Uuid,
    (result, [jitter]): (Result<(), SendError>, [u8; 1]),
) -> Result<(), DbError> {
    let now = origin.clock.now();
    let id = claimed.id;
    log(claimed, &result);
    let error = result.as_ref().err();
    let next = match error {
        Some(SendError::Gone) => Next::Dead,
        Some(SendError::NotConfigured | SendError::Status(_) | SendError::NoAnswer(_)) | None => {
            backoff::after_failure(backoff::OUTBOX, claimed.attempts, jitter)
        }
    };
    let reason = error.map(ToString::to_string);
    let reason = reason.as_deref();
    let mark = |tx: Tx| async move {
        match (reason, next) {
            (None, _) => outbox::mark_done(&tx, id, token, now).await,
            (Some(reason), Next::After(delay)) => {
                outbox::mark_failed(&tx, id, token, reason, now.plus(delay)).await
            }
            (Some(reason), Next::Dead) => outbox::mark_dead(&tx, id, token, reason, now).await,
        }
    };
    if !origin.database.run_tx("outbox_mark", mark).await? {
        tracing::warn!(event.id = %id, "the lease of outbound event {id} had passed on; it may be sent twice");
    }
    Ok(())
}

fn log(claimed: &Claimed, result: &Result<(), SendError>) {
    let id = claimed.id;
    let delivery = claimed.delivery.map(|delivery| delivery.to_string());
    match result {
        Ok(()) => tracing::info!(event.id = %id, delivery.id = delivery, "outbound event {id} delivered"),
        Err(error) => tracing::warn!(
            event.id = %id,
            delivery.id = delivery,
            attempt = claimed.attempts,
            error = %Chain(error),
            "outbound event {id} was not taken"
        ),
    }
}
