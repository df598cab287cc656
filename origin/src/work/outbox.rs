//! Making what was decided: outbox rows, each by the handler of its kind.
//!
//! outbox row that is due → **round** (lease, commit → handler → mark) → done, pending again, or dead.
//!
//! Invariants (DESIGN.md, 6): the lease is committed before the call and the result is written after it, so no
//! transaction waits for a network. Delivery is at least once: a crash between call and mark sends again, under the
//! same id. Each [`Lane`] has a loop of its own, so that a mail server that hangs holds up no money.
//! Not here: how a kind is sent (a file each), how long to wait (`domain::backoff`).

pub(crate) mod lane;
mod mail;
mod posts;

pub(crate) use self::lane::Lane;

use uuid::Uuid;

use super::{LEASE, Round};
use crate::Origin;
use crate::announce::USER_CORE;
use crate::db::outbox::{self, Claimed};
use crate::db::{DbError, Tx};
use crate::domain::backoff::{self, Next, Policy};
use crate::entropy;
use crate::gateway::user_core::Client;
use crate::jobs::generate::GENERATOR;
use crate::notices::event::SUBSCRIPTION_EVENT;
use crate::notices::mail::MAIL;

/// Why an attempt did not succeed, as the row keeps it for a person; no secret and no personal data.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    reason: String,
    /// No later attempt can succeed.
    is_final: bool,
}

/// Makes one effect of a lane that is due.
pub(crate) async fn round(origin: &Origin, client: &Client, lane: Lane) -> Result<Round, DbError> {
    let now = origin.clock.now();
    let token = Uuid::from_bytes(entropy::random()?);
    let claim = |tx: Tx| async move {
        outbox::bury_abandoned(&tx, now).await?;
        outbox::claim(&tx, lane.kinds(), token, now.plus(LEASE), now).await
    };
    let Some(claimed) = origin.database.run_tx("outbox_claim", claim).await? else {
        return Ok(Round::Idle);
    };
    let result = make(origin, client, &claimed).await;
    let jitter = entropy::random::<1>()?;
    note(origin, &claimed, token, (result, jitter)).await?;
    Ok(Round::Worked)
}

/// The handler of each kind.
async fn make(origin: &Origin, client: &Client, claimed: &Claimed) -> Result<(), Failure> {
    let (config, now) = (&origin.config, origin.clock.now());
    match claimed.kind.as_str() {
        USER_CORE => posts::send(client, config.user_core.as_ref(), claimed, now).await,
        GENERATOR => posts::send(client, config.jobs.generator.as_ref(), claimed, now).await,
        SUBSCRIPTION_EVENT => {
            posts::send(client, config.notices.subscription_events.as_ref(), claimed, now).await
        }
        MAIL => mail::send(origin, claimed, now).await,
        // No lane has it.
        _ => posts::send(client, None, claimed, now).await,
    }
}

/// How patiently each kind is tried.
fn policy(kind: &str) -> Policy {
    match kind {
        SUBSCRIPTION_EVENT => backoff::SUBSCRIPTION_EVENT,
        MAIL => backoff::MAIL,
        _ => backoff::OUTBOX,
    }
}

async fn note(
    origin: &Origin,
    claimed: &Claimed,
    token: Uuid,
    (result, [jitter]): (Result<(), Failure>, [u8; 1]),
) -> Result<(), DbError> {
    let now = origin.clock.now();
    let id = claimed.id;
    log(claimed, &result);
    let failure = result.as_ref().err();
    let next = match failure {
        Some(Failure { is_final: true, .. }) => Next::Dead,
        Some(_) | None => backoff::after_failure(policy(&claimed.kind), claimed.attempts, jitter),
    };
    let mark = |tx: Tx| async move {
        match (failure, next) {
            (None, _) => outbox::mark_done(&tx, id, token, now).await,
            (Some(failure), Next::After(delay)) => {
                outbox::mark_failed(&tx, id, token, &failure.reason, now.plus(delay)).await
            }
            (Some(failure), Next::Dead) => outbox::mark_dead(&tx, id, token, &failure.reason, now).await,
        }
    };
    if !origin.database.run_tx("outbox_mark", mark).await? {
        tracing::warn!(effect.id = %id, "the lease of effect {id} had passed on; it may be made twice");
    }
    Ok(())
}

fn log(claimed: &Claimed, result: &Result<(), Failure>) {
    let (id, kind) = (claimed.id, claimed.kind.as_str());
    let delivery = claimed.delivery.map(|delivery| delivery.to_string());
    match result {
        Ok(()) => tracing::info!(
            effect.id = %id, effect.kind = kind, delivery.id = delivery, "effect {id} ({kind}) made"
        ),
        Err(failure) => tracing::warn!(
            effect.id = %id,
            effect.kind = kind,
            delivery.id = delivery,
            attempt = claimed.attempts,
            error = failure.reason,
            "effect {id} ({kind}) was not made"
        ),
    }
}
