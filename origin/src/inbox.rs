//! Step 5, inbox: makes a forwarded event durable, once, however often it is sent, and applies it.
//!
//! `http::events` → **accept** (read again → keep → apply in a savepoint) → 2xx; what did not apply →
//! `work::inbox` → **retry**.
//!
//! Invariants: a row exists for the event's key before the edge gets 2xx; the origin verifies and normalises the
//! raw bytes itself and refuses a key that differs from the edge's (a pair assertion); a repeat is success.
//! If applying fails, what it wrote is undone, the event stays pending with the reason, and the edge still gets
//! 2xx: the event is safe here. Only where the whole transaction is lost does the edge keep it (5xx).
//! Events of one order are applied in order of arrival (ED-5): behind one that is still pending, an event is kept
//! and left to the worker.
//! What the origin asked a provider itself comes in by `accept_observed`, into the same table under the same keys; such a
//! notice from the edge is refused, as an edge that could send it would be believed about what it never verified.
//! Not here: what an event means (`apply`), whether the edge sent it (`http::hop`).

use tollgate_shared::envelope::Envelope;
use tollgate_shared::event::Event;
use tollgate_shared::id::{DeliveryId, InboxEventId, SourceId};
use tollgate_shared::problem::Problem;
use tollgate_shared::provider::{Observation, Refusal, Unverified, is_observed};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use crate::Origin;
use crate::apply::{self, ApplyError, Outcome, Step};
use crate::db::inbox::{self, Claimed, Kept, NewEvent};
use crate::db::{DbError, Retry, Tx};
use crate::domain::backoff::{self, Next};
use crate::entropy;
use crate::http::answer::{internal, unavailable};
use crate::subscriptions::FoundBy;
use crate::telemetry::Chain;

/// `inbox_events_raw_bounded`: what the edge's cap lets through (DESIGN.md, Edge).
const RAW_BYTES_MAX: usize = 64 * 1024;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Its row in the inbox.
    pub(crate) id: InboxEventId,
    /// Whether its key was there before.
    pub(crate) repeated: bool,
    /// Whether it has been applied.
    pub(crate) applied: bool,
}

/// Why an event is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    /// The raw body is larger than any source's.
    #[error("the raw body is longer than {RAW_BYTES_MAX} bytes")]
    TooLong,
    /// The origin does not accept the delivery.
    #[error("the delivery was refused")]
    Refused(#[source] Refusal),
    /// The origin makes another key of the same bytes: edge and origin run different mappings.
    #[error("the edge's event key differs from the origin's")]
    KeyMismatch,
    /// The event could not be kept.
    #[error(transparent)]
    Lost(#[from] ApplyError),
}

impl From<DbError> for AcceptError {
    fn from(error: DbError) -> Self {
        Self::Lost(ApplyError::Db(error))
    }
}

impl Retry for AcceptError {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Lost(error) => error.is_conflict(),
            Self::TooLong | Self::Refused(_) | Self::KeyMismatch => false,
        }
    }
}

impl AcceptError {
    /// The answer to the edge. 4xx parks the event there; anything else makes the edge try again.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::TooLong => Problem::new(413, "body-too-long", "The raw body is too long"),
            // A source or notice that only the edge knows yet: the origin's deployment or settings are behind.
            Self::Refused(
                refusal @ (Refusal::UnknownSource | Refusal::NotConfigured | Refusal::UnknownNotice),
            ) => Problem {
                status: 503,
                ..refusal.problem()
            },
            Self::Refused(
                refusal @ (Refusal::Form(_)
                | Refusal::Malformed(_)
                | Refusal::Field(_)
                | Refusal::SignatureMismatch { .. }
                | Refusal::Stale),
            ) => Problem {
                status: 422,
                ..refusal.problem()
            },
            Self::KeyMismatch => Problem::new(409, "key-mismatch", "The event key differs")
                .detail("Edge and origin read this notice differently: deploy the same version of both."),
            Self::Lost(error) if error.loses_transaction() => unavailable(),
            Self::Lost(_) => internal(),
        }
    }
}

/// Takes what a provider answered to a question of ours, as if it had told us by itself (OP-5).
pub(crate) async fn accept_observed(
    origin: &Origin,
    source: &SourceId,
    observation: &Observation,
    now: Timestamp,
) -> Result<Accepted, AcceptError> {
    if observation.body.len() > RAW_BYTES_MAX {
        return Err(AcceptError::TooLong);
    }
    let (envelope, event) = observed(origin, source, observation, now)?;
    let delivery = entropy::uuid_v7(now).map_err(DbError::from)?;
    keep(origin, (&envelope, &event), DeliveryId::from_uuid(delivery), now).await
}

/// The same in a transaction that is open: for what an operator found, together with what it was found of.
pub(crate) async fn accept_observed_in(
    origin: &Origin,
    tx: &Tx,
    source: &SourceId,
    observation: &Observation,
    now: Timestamp,
) -> Result<Accepted, AcceptError> {
    let (envelope, event) = observed(origin, source, observation, now)?;
    let new = NewEvent {
        id: InboxEventId::from_uuid(entropy::uuid_v7(now).map_err(DbError::from)?),
        envelope: &envelope,
        order: event.order.as_ref(),
        delivery: DeliveryId::from_uuid(entropy::uuid_v7(now).map_err(DbError::from)?),
    };
    keep_and_apply(origin, tx.clone(), &new, &event, now).await
}

fn observed(
    origin: &Origin,
    source: &SourceId,
    observation: &Observation,
    now: Timestamp,
) -> Result<(Envelope, Event), AcceptError> {
    let envelope = Envelope {
        source: source.clone(),
        notice: observation.notice.to_owned(),
        key: observation.event.key.to_string(),
        received_at: now,
        headers: Vec::new(),
        raw: observation.body.clone(),
    };
    let event = read_kept(origin, &envelope).map_err(AcceptError::Refused)?;
    Ok((envelope, event))
}

/// Takes an event from the edge.
pub(crate) async fn accept(
    origin: &Origin,
    envelope: &Envelope,
    delivery: DeliveryId,
    now: Timestamp,
) -> Result<Accepted, AcceptError> {
    if envelope.raw.len() > RAW_BYTES_MAX {
        return Err(AcceptError::TooLong);
    }
    let event = read(origin, envelope).map_err(AcceptError::Refused)?;
    if event.key.as_str() != envelope.key {
        return Err(AcceptError::KeyMismatch);
    }
    keep(origin, (envelope, &event), delivery, now).await
}

async fn keep(
    origin: &Origin,
    (envelope, event): (&Envelope, &Event),
    delivery: DeliveryId,
    now: Timestamp,
) -> Result<Accepted, AcceptError> {
    let id = InboxEventId::from_uuid(entropy::uuid_v7(now).map_err(DbError::from)?);
    let new = NewEvent {
        id,
        envelope,
        order: event.order.as_ref(),
        delivery,
    };
    let keep = |tx| keep_and_apply(origin, tx, &new, event, now);
    origin.database.run_tx("inbox_accept", keep).await
}

async fn keep_and_apply(
    origin: &Origin,
    tx: Tx,
    new: &NewEvent<'_>,
    event: &Event,
    now: Timestamp,
) -> Result<Accepted, AcceptError> {
    let applied = match inbox::insert(&tx, new, now).await? {
        Kept::Known => {
            let known = inbox::find(&tx, &new.envelope.key).await?;
            return Ok(Accepted {
                id: known.id,
                repeated: true,
                applied: known.applied,
            });
        }
        Kept::Waits => false,
        Kept::Next => {
            let step = step(origin, &tx, event, new.envelope, (new.id, new.delivery), now);
            apply_or_note(step, 1).await?
        }
    };
    Ok(Accepted {
        id: new.id,
        repeated: false,
        applied,
    })
}

/// Works on an event that `work` has leased.
pub(crate) async fn retry(
    origin: &Origin,
    claimed: &Claimed,
    token: Uuid,
    now: Timestamp,
) -> Result<(), AcceptError> {
    let read = read_kept(origin, &claimed.envelope);
    let apply_again = |tx| apply_again(origin, tx, claimed, &read, (token, now));
    origin.database.run_tx("inbox_retry", apply_again).await
}

async fn apply_again(
    origin: &Origin,
    tx: Tx,
    claimed: &Claimed,
    read: &Result<Event, Refusal>,
    (token, now): (Uuid, Timestamp),
) -> Result<(), AcceptError> {
    if !inbox::hold(&tx, claimed.id, token).await? {
        // The lease ran out and another worker has the event: its outcome is the one that counts.
        return Ok(());
    }
    match read {
        Ok(event) => {
            let step = step(
                origin,
                &tx,
                event,
                &claimed.envelope,
                (claimed.id, claimed.delivery),
                now,
            );
            apply_or_note(step, claimed.attempts).await?;
        }
        Err(refusal) => {
            let reason = Chain(refusal).to_string();
            note_failure(&tx, claimed.id, &reason, claimed.attempts, now).await?;
        }
    }
    Ok(())
}

/// Verify and normalise, with the same code as the edge.
fn read(origin: &Origin, envelope: &Envelope) -> Result<Event, Refusal> {
    origin
        .config
        .sources
        .read(&envelope.source, &unverified(envelope))
}

/// The same for a row of the inbox, where the origin's own observations are too.
fn read_kept(origin: &Origin, envelope: &Envelope) -> Result<Event, Refusal> {
    if !is_observed(&envelope.notice) {
        return read(origin, envelope);
    }
    origin
        .config
        .sources
        .read_observed(&envelope.source, &unverified(envelope))
}

fn unverified(envelope: &Envelope) -> Unverified<'_> {
    Unverified {
        notice: &envelope.notice,
        headers: &envelope.headers,
        body: &envelope.raw,
        received_at: envelope.received_at,
    }
}

fn step<'a>(
    origin: &'a Origin,
    tx: &'a Tx,
    event: &'a Event,
    envelope: &Envelope,
    (inbox_event, delivery): (InboxEventId, DeliveryId),
    now: Timestamp,
) -> Step<'a> {
    Step {
        tx,
        event,
        inbox_event,
        delivery,
        // Signatures are checked against the edge's own time (`read`); what happens here has ours.
        received_at: origin.edge_time(envelope.received_at),
        now,
        to_user_core: origin.config.user_core.is_some(),
        found_by: FoundBy::from_notice(&envelope.notice),
        subscriptions: origin.subscriptions(),
    }
}

/// Applies in a savepoint; a failure is undone and noted, unless it took the transaction with it.
async fn apply_or_note(step: Step<'_>, attempts: i32) -> Result<bool, ApplyError> {
    // On the heap: every way in here would carry the largest handler on its stack.
    match step.tx.savepoint(Box::pin(apply::apply(step))).await {
        Ok(outcome) => {
            inbox::mark_applied(step.tx, step.inbox_event, outcome.label(), step.now).await?;
            log_applied(step, outcome);
            Ok(true)
        }
        Err(error) if error.loses_transaction() => Err(error),
        Err(error) => {
            tracing::error!(
                delivery.id = %step.delivery,
                event.id = %step.inbox_event,
                error = %Chain(&error),
                "event {} was not applied", step.inbox_event
            );
            note_failure(
                step.tx,
                step.inbox_event,
                &Chain(&error).to_string(),
                attempts,
                step.now,
            )
            .await?;
            Ok(false)
        }
    }
}

fn log_applied(step: Step<'_>, outcome: Outcome) {
    tracing::info!(
        delivery.id = %step.delivery,
        event.id = %step.inbox_event,
        event.key = %step.event.key,
        outcome = outcome.label(),
        "event {} applied: {}", step.inbox_event, outcome.label()
    );
}

async fn note_failure(
    tx: &Tx,
    id: InboxEventId,
    error: &str,
    attempts: i32,
    now: Timestamp,
) -> Result<(), ApplyError> {
    let [jitter] = entropy::random().map_err(DbError::from)?;
    match backoff::after_failure(backoff::INBOX, attempts, jitter) {
        Next::After(delay) => inbox::mark_failed(tx, id, error, now.plus(delay)).await?,
        Next::Dead => {
            let reason = format!("gave up after {attempts} attempts: {error}");
            inbox::mark_dead(tx, id, &reason, now).await?;
        }
    }
    Ok(())
}
