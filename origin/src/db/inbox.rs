//! The inbox: every event that the edge handed over, kept with the bytes that were signed.
//!
//! `inbox::accept` inserts → apply marks → `work` claims what is left → done, or dead with a reason.
//!
//! Invariants: one row an event key, decided by the unique index while two deliveries race; a claim is a lease
//! with a token, and only its holder may finish the row; attempts are counted when they begin, so an event that
//! kills the process is counted too; of an order's pending events only the oldest is worked on (ED-5).
//! Not here: what an event means (`apply`), delays (`domain::backoff`).

use tokio_postgres::Row;
use tokio_postgres::types::Json;
use tollgate_shared::envelope::Envelope;
use tollgate_shared::id::{DeliveryId, InboxEventId, OrderNumber};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::plans::unreadable;
use super::{Database, DbError, Instant, Tx};

/// An event to keep.
#[derive(Debug)]
pub(crate) struct NewEvent<'a> {
    /// Its row's id.
    pub(crate) id: InboxEventId,
    /// What the edge sent.
    pub(crate) envelope: &'a Envelope,
    /// The order it speaks of.
    pub(crate) order: Option<&'a OrderNumber>,
    /// The delivery that brought it first.
    pub(crate) delivery: DeliveryId,
}

/// An event that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its row's id.
    pub(crate) id: InboxEventId,
    /// Whether it has been applied.
    pub(crate) applied: bool,
}

/// What became of an event that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is new, and may be applied.
    Next,
    /// It is new, and an earlier event of its order is still to be applied.
    Waits,
    /// Its key is taken.
    Known,
}

/// Inserts a pending event. Waits for a twin that is being inserted.
pub(crate) async fn insert(tx: &Tx, event: &NewEvent<'_>, now: Timestamp) -> Result<Kept, DbError> {
    let sql = "insert into tollgate.inbox_events (id, source, notice, event_key, order_number, headers, raw, \
               delivery_id, received_at, accepted_at, next_attempt_at) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10) on conflict (event_key) do nothing \
               returning exists (select from tollgate.inbox_events earlier where earlier.status = 'pending' \
                   and earlier.source = $2 and earlier.order_number = $5) as waits";
    let inserted = tx
        .query_opt(
            sql,
            &[
                /* id */ &event.id.as_uuid(),
                /* source */ &event.envelope.source.as_str(),
                /* notice */ &event.envelope.notice,
                /* event_key */ &event.envelope.key,
                /* order_number */ &event.order.map(OrderNumber::as_str),
                /* headers */ &Json(&event.envelope.headers),
                /* raw */ &event.envelope.raw,
                /* delivery_id */ &event.delivery.as_uuid(),
                /* received_at */ &Instant(event.envelope.received_at),
                /* now */ &Instant(now),
            ],
        )
        .await?;
    // The statement does not see its own row, so what it found came before.
    Ok(match inserted.map(|row| row.try_get("waits")).transpose()? {
        None => Kept::Known,
        Some(true) => Kept::Waits,
        Some(false) => Kept::Next,
    })
}

/// The event of a key that is taken.
pub(crate) async fn find(tx: &Tx, key: &str) -> Result<Known, DbError> {
    let row = tx
        .query_one(
            "select id, status from tollgate.inbox_events where event_key = $1",
            &[&key],
        )
        .await?;
    Ok(Known {
        id: InboxEventId::from_uuid(row.try_get("id")?),
        applied: row.try_get::<_, &str>("status")? == "applied",
    })
}

/// Ends an event as applied.
pub(crate) async fn mark_applied(
    tx: &Tx,
    id: InboxEventId,
    outcome: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "update tollgate.inbox_events set status = 'applied', outcome = $2, applied_at = $3, \
               attempts = greatest(attempts, 1), next_attempt_at = null, last_error = null, lease_token = null, \
               lease_expires_at = null where id = $1";
    tx.execute(sql, &[&id.as_uuid(), &outcome, &Instant(now)]).await?;
    Ok(())
}

/// Notes a failed attempt and when to try again. The first attempt, made while accepting, is counted here.
pub(crate) async fn mark_failed(
    tx: &Tx,
    id: InboxEventId,
    error: &str,
    next: Timestamp,
) -> Result<(), DbError> {
    let sql = "update tollgate.inbox_events set last_error = $2, next_attempt_at = $3, \
               attempts = greatest(attempts, 1), lease_token = null, lease_expires_at = null where id = $1";
    tx.execute(sql, &[&id.as_uuid(), &error, &Instant(next)]).await?;
    Ok(())
}

/// Ends an event as dead, with the reason that a person reads.
pub(crate) async fn mark_dead(
    tx: &Tx,
    id: InboxEventId,
    reason: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "update tollgate.inbox_events set status = 'dead', last_error = $2, dead_at = $3, \
               next_attempt_at = null, lease_token = null, lease_expires_at = null where id = $1";
    tx.execute(sql, &[&id.as_uuid(), &reason, &Instant(now)]).await?;
    Ok(())
}

/// A leased event.
#[derive(Debug)]
pub(crate) struct Claimed {
    /// Its row's id.
    pub(crate) id: InboxEventId,
    /// What the edge sent.
    pub(crate) envelope: Envelope,
    /// The delivery that brought it first.
    pub(crate) delivery: DeliveryId,
    /// Attempts so far, this one included.
    pub(crate) attempts: i32,
}

/// Leases one event that is due and the oldest of its order; rows that another worker holds are passed over.
pub(crate) async fn claim(
    tx: &Tx,
    token: Uuid,
    lease_expires_at: Timestamp,
    now: Timestamp,
) -> Result<Option<Claimed>, DbError> {
    let sql = "update tollgate.inbox_events set lease_token = $1, lease_expires_at = $2, attempts = attempts + 1 \
               where id = (select event.id from tollgate.inbox_events event \
                           where event.status = 'pending' and event.next_attempt_at <= $3 \
                           and (event.lease_expires_at is null or event.lease_expires_at <= $3) \
                           and not exists (select from tollgate.inbox_events earlier where earlier.status = 'pending' \
                               and earlier.source = event.source and earlier.order_number = event.order_number \
                               and (earlier.accepted_at, earlier.id) < (event.accepted_at, event.id)) \
                           order by event.next_attempt_at, event.accepted_at for update skip locked limit 1) \
               returning id, source, notice, event_key, headers, raw, received_at, delivery_id, attempts";
    let row = tx
        .query_opt(sql, &[&token, &Instant(lease_expires_at), &Instant(now)])
        .await?;
    row.as_ref().map(read_claimed).transpose()
}

fn read_claimed(row: &Row) -> Result<Claimed, DbError> {
    let source: String = row.try_get("source")?;
    Ok(Claimed {
        id: InboxEventId::from_uuid(row.try_get("id")?),
        envelope: Envelope {
            source: source.try_into().map_err(|_| unreadable("inbox_events.source"))?,
            notice: row.try_get("notice")?,
            key: row.try_get("event_key")?,
            received_at: row.try_get::<_, Instant>("received_at")?.0,
            headers: row.try_get::<_, Json<Vec<(String, String)>>>("headers")?.0,
            raw: row.try_get("raw")?,
        },
        delivery: DeliveryId::from_uuid(row.try_get("delivery_id")?),
        attempts: row.try_get("attempts")?,
    })
}

/// Locks a leased row for finishing it; `false` where the lease has passed to somebody else.
pub(crate) async fn hold(tx: &Tx, id: InboxEventId, token: Uuid) -> Result<bool, DbError> {
    let sql = "select id from tollgate.inbox_events where id = $1 and lease_token = $2 and status = 'pending' for update";
    Ok(tx.query_opt(sql, &[&id.as_uuid(), &token]).await?.is_some())
}

/// What health shows of the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Events accepted in the window.
    pub(crate) total: i64,
    /// Those of them that were applied.
    pub(crate) applied: i64,
    /// Those of them that failed at least once and are not applied.
    pub(crate) failed: i64,
    /// Events that wait, of whatever age.
    pub(crate) pending: i64,
    /// Events that were given up, of whatever age.
    pub(crate) dead: i64,
    /// Disputes that wait for a person.
    pub(crate) disputes_open: i64,
    /// Outbound calls and events that were given up.
    pub(crate) outbox_dead: i64,
    /// Mails that were given up.
    pub(crate) mail_dead: i64,
}

/// Counts events since `since`.
pub(crate) async fn figures(database: &Database, since: Timestamp) -> Result<Figures, DbError> {
    let sql = "select (select count(*) from tollgate.inbox_events where accepted_at >= $1) as total, \
               (select count(*) from tollgate.inbox_events where accepted_at >= $1 and status = 'applied') as applied, \
               (select count(*) from tollgate.inbox_events where accepted_at >= $1 and status <> 'applied' \
                   and attempts > 0) as failed, \
               (select count(*) from tollgate.inbox_events where status = 'pending') as pending, \
               (select count(*) from tollgate.inbox_events where status = 'dead') as dead, \
               (select count(*) from tollgate.disputes where resolved_at is null) as disputes_open, \
               (select count(*) from tollgate.outbox where status = 'dead' and kind <> 'mail') as outbox_dead, \
               (select count(*) from tollgate.outbox where status = 'dead' and kind = 'mail') as mail_dead";
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(sql).await?;
    let row = connection.query_one(&statement, &[&Instant(since)]).await?;
    Ok(Figures {
        total: row.try_get("total")?,
        applied: row.try_get("applied")?,
        failed: row.try_get("failed")?,
        pending: row.try_get("pending")?,
        dead: row.try_get("dead")?,
        disputes_open: row.try_get("disputes_open")?,
        outbox_dead: row.try_get("outbox_dead")?,
        mail_dead: row.try_get("mail_dead")?,
    })
}
