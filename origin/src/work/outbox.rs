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
mod triggers;

pub(crate) use self::lane::Lane;

use serde_json::Value;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::Round;
use crate::Origin;
use crate::announce::USER_CORE;
use crate::db::outbox::{self, Claimed};
use crate::db::{DbError, Tx};
use crate::domain::backoff::{self, Next, Policy};
use crate::effects::{self, Desk, Undone};
use crate::entropy;
use crate::gateway::user_core::Client;
use crate::jobs::generate::GENERATOR;
use crate::jobs::trigger;
use crate::notices::event::SUBSCRIPTION_EVENT;
use crate::notices::mail::MAIL;
use crate::subscriptions::CHARGE;

/// Why an attempt did not succeed, as the row keeps it for a person; no secret and no personal data.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    reason: String,
    /// No later attempt can succeed.
    is_final: bool,
}

impl From<Failure> for Undone {
    fn from(failure: Failure) -> Self {
        if failure.is_final {
            Self::Never(failure.reason)
        } else {
            Self::Again(failure.reason)
        }
    }
}

/// Makes one effect of a lane that is due.
pub(crate) async fn round(origin: &Origin, client: &Client, lane: Lane) -> Result<Round, DbError> {
    let now = origin.clock.now();
    let token = Uuid::from_bytes(entropy::random()?);
    let claim = |tx: Tx| async move {
        for buried in outbox::bury_abandoned(&tx, now).await? {
            ended_dead(&tx, &buried.kind, &buried.payload, now).await?;
        }
        outbox::claim(&tx, lane.kinds(), token, now.plus(lane.lease()), now).await
    };
    let Some(claimed) = origin.database.run_tx("outbox_claim", claim).await? else {
        return Ok(Round::Idle);
    };
    let made = if effects::KINDS.contains(&claimed.kind.as_str()) {
        let desk = Desk {
            origin,
            client,
            lease: (claimed.id, token),
            attempts: claimed.attempts,
            turn_at: claimed.turn_at,
        };
        // Boxed: the largest future of the loop, which stands in that of every caller.
        Box::pin(effects::make(desk, &claimed)).await
    } else {
        make(origin, client, &claimed).await.map_err(Undone::from)
    };
    note(origin, &claimed, token, made).await?;
    Ok(Round::Worked)
}

/// The handler of each kind.
async fn make(origin: &Origin, client: &Client, claimed: &Claimed) -> Result<(), Failure> {
    let (config, now) = (&origin.config, origin.clock.now());
    match claimed.kind.as_str() {
        USER_CORE => posts::send(client, config.user_core.as_ref(), claimed, now).await,
        GENERATOR => triggers::send(origin, client, claimed, now).await,
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
        _ if effects::KINDS.contains(&kind) => backoff::PROVIDER,
        _ => backoff::OUTBOX,
    }
}

async fn note(
    origin: &Origin,
    claimed: &Claimed,
    token: Uuid,
    made: Result<(), Undone>,
) -> Result<(), DbError> {
    let (id, now) = (claimed.id, origin.clock.now());
    log(claimed, &made);
    let [jitter] = entropy::random()?;
    let policy = policy(&claimed.kind);
    let made = &made;
    let mark = |tx: Tx| async move {
        match made {
            Ok(()) => outbox::mark_done(&tx, id, token, now).await,
            Err(Undone::Turn(at)) => outbox::put_off_to_turn(&tx, id, token, *at).await,
            Err(Undone::NotBefore(at, reason)) => outbox::put_off(&tx, id, token, reason, *at).await,
            Err(Undone::Never(reason)) => bury(&tx, claimed, token, reason, now).await,
            Err(Undone::Again(reason)) => match backoff::after_failure(policy, claimed.attempts, jitter) {
                Next::After(delay) => outbox::mark_failed(&tx, id, token, reason, now.plus(delay)).await,
                Next::Dead => bury(&tx, claimed, token, reason, now).await,
            },
        }
    };
    if !origin.database.run_tx("outbox_mark", mark).await? {
        tracing::warn!(effect.id = %id, "the lease of effect {id} had passed on; it may be made twice");
    }
    Ok(())
}

async fn bury(
    tx: &Tx,
    claimed: &Claimed,
    token: Uuid,
    reason: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    let is_dead = outbox::mark_dead(tx, claimed.id, token, reason, now).await?;
    if is_dead {
        ended_dead(tx, &claimed.kind, &claimed.payload, now).await?;
    }
    Ok(is_dead)
}

/// What the end of an effect that was never made means for what waits for it.
async fn ended_dead(tx: &Tx, kind: &str, payload: &Value, now: Timestamp) -> Result<(), DbError> {
    match kind {
        GENERATOR => trigger::give_up(tx, payload, now).await,
        effects::REFUND => effects::refund::give_up(tx, payload).await,
        CHARGE => effects::subscription_charge::give_up(tx, payload, now).await,
        // Nothing waits: the row itself is what a person looks at.
        _ => Ok(()),
    }
}

fn log(claimed: &Claimed, made: &Result<(), Undone>) {
    let (id, kind) = (claimed.id, claimed.kind.as_str());
    let delivery = claimed.delivery.map(|delivery| delivery.to_string());
    match made {
        Ok(()) => tracing::info!(
            effect.id = %id, effect.kind = kind, delivery.id = delivery, "effect {id} ({kind}) made"
        ),
        Err(Undone::Turn(at) | Undone::NotBefore(at, _)) => tracing::debug!(
            effect.id = %id, effect.kind = kind, delivery.id = delivery, "effect {id} ({kind}) waits until {at}"
        ),
        Err(Undone::Again(reason) | Undone::Never(reason)) => tracing::warn!(
            effect.id = %id,
            effect.kind = kind,
            delivery.id = delivery,
            attempt = claimed.attempts,
            error = reason,
            "effect {id} ({kind}) was not made"
        ),
    }
}
