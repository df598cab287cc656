//! The outbox: effects outside the database, written in the transaction that decides them.
//!
//! apply and checkout insert → `work::outbox` claims, sends, marks.
//!
//! Invariants: a claim is a lease with a token and no lock is held while sending; rows of one ordering key go out
//! in the order in which they were written; every row ends as done or dead. Not here: sending (`gateway`).

use serde_json::Value;
use tokio_postgres::Row;
use tollgate_shared::id::DeliveryId;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{DbError, Instant, Tx};

/// The channel that wakes the workers.
pub(crate) const CHANNEL: &str = "tollgate_work";

/// An effect to be.
#[derive(Debug, Clone)]
pub(crate) struct NewEffect {
    /// Its row's id; the receiver's idempotency key.
    pub(crate) id: Uuid,
    /// The name of the effect.
    pub(crate) operation_key: String,
    /// What kind of effect.
    pub(crate) kind: &'static str,
    /// Effects of one key are made in order.
    pub(crate) ordering_key: Option<String>,
    /// What to send.
    pub(crate) payload: Value,
    /// The delivery that caused it.
    pub(crate) delivery: Option<DeliveryId>,
    /// How often to try.
    pub(crate) attempts_max: i32,
}

/// Writes an effect, once, and wakes the workers when the transaction commits.
pub(crate) async fn insert(tx: &Tx, effect: &NewEffect, now: Timestamp) -> Result<(), DbError> {
    let sql = "insert into tollgate.outbox (id, operation_key, kind, ordering_key, payload, delivery_id, \
               attempts_max, next_attempt_at, created_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $8) \
               on conflict (operation_key) do nothing";
    tx.execute(
        sql,
        &[
            /* id */ &effect.id,
            /* operation_key */ &effect.operation_key,
            /* kind */ &effect.kind,
            /* ordering_key */ &effect.ordering_key,
            /* payload */ &effect.payload,
            /* delivery_id */ &effect.delivery.map(DeliveryId::as_uuid),
            /* attempts_max */ &effect.attempts_max,
            /* now */ &Instant(now),
        ],
    )
    .await?;
    tx.execute("select pg_catalog.pg_notify($1, '')", &[&CHANNEL])
        .await?;
    Ok(())
}

/// A leased effect.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    /// Its row's id.
    pub(crate) id: Uuid,
    /// What kind of effect.
    pub(crate) kind: String,
    /// What to send.
    pub(crate) payload: Value,
    /// The delivery that caused it.
    pub(crate) delivery: Option<DeliveryId>,
    /// Attempts so far, this one included.
    pub(crate) attempts: i32,
    /// When its turn with a provider is, if it was put off to one.
    pub(crate) turn_at: Option<Timestamp>,
}

/// The `last_error` of a row that was put off to its turn; `next_attempt_at` is the turn.
const TURN: &str = "waits for its turn with the provider";

/// The head of each kind is looked up in the index by itself, and the one that is due for longest is taken: one look-up for
/// all kinds would have to sort whatever is due of them.
const CLAIM: &str = "\
-- outbox_claim
update tollgate.outbox set lease_token = $1, lease_expires_at = $2, attempts = attempts + 1
where id = (
    select head.id
    from unnest($4::text[]) as wanted(kind)
    cross join lateral (
        select due.id, due.next_attempt_at, due.created_at
        from tollgate.outbox as due
        where due.status = 'pending' and due.kind = wanted.kind and due.next_attempt_at <= $3
            and due.attempts < due.attempts_max
            and (due.lease_expires_at is null or due.lease_expires_at <= $3)
            and not exists (
                select from tollgate.outbox as earlier
                where earlier.ordering_key = due.ordering_key and earlier.status = 'pending'
                    and (earlier.created_at, earlier.id) < (due.created_at, due.id))
        order by due.next_attempt_at, due.created_at, due.id
        for update skip locked limit 1
    ) as head
    order by head.next_attempt_at, head.created_at, head.id limit 1)
returning id, kind, payload, delivery_id, attempts,
    case when last_error = $5 then next_attempt_at end as turn_at";

/// Leases one effect of these kinds that is due and has no pending one of its ordering key before it.
pub(crate) async fn claim(
    tx: &Tx,
    kinds: &[&str],
    token: Uuid,
    lease_expires_at: Timestamp,
    now: Timestamp,
) -> Result<Option<Claimed>, DbError> {
    let row = tx
        .query_opt(
            CLAIM,
            &[&token, &Instant(lease_expires_at), &Instant(now), &kinds, &TURN],
        )
        .await?;
    row.as_ref().map(read_claimed).transpose()
}

fn read_claimed(row: &Row) -> Result<Claimed, DbError> {
    Ok(Claimed {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        payload: row.try_get("payload")?,
        delivery: row
            .try_get::<_, Option<Uuid>>("delivery_id")?
            .map(DeliveryId::from_uuid),
        attempts: row.try_get("attempts")?,
        turn_at: row.try_get::<_, Option<Instant>>("turn_at")?.map(|at| at.0),
    })
}

/// Locks a leased row until the transaction ends; `false` where the lease has passed to somebody else.
pub(crate) async fn hold(tx: &Tx, id: Uuid, token: Uuid) -> Result<bool, DbError> {
    let sql =
        "select id from tollgate.outbox where id = $1 and lease_token = $2 and status = 'pending' for update";
    Ok(tx.query_opt(sql, &[&id, &token]).await?.is_some())
}

/// Ends an effect as done, if the lease is still ours.
pub(crate) async fn mark_done(tx: &Tx, id: Uuid, token: Uuid, now: Timestamp) -> Result<bool, DbError> {
    let sql = "update tollgate.outbox set status = 'done', done_at = $3, next_attempt_at = null, last_error = null, \
               lease_token = null, lease_expires_at = null where id = $1 and lease_token = $2 and status = 'pending'";
    Ok(tx.execute(sql, &[&id, &token, &Instant(now)]).await? == 1)
}

/// Notes a failed attempt and when to try again, if the lease is still ours.
pub(crate) async fn mark_failed(
    tx: &Tx,
    id: Uuid,
    token: Uuid,
    error: &str,
    next: Timestamp,
) -> Result<bool, DbError> {
    let sql = "update tollgate.outbox set last_error = $3, next_attempt_at = $4, lease_token = null, \
               lease_expires_at = null where id = $1 and lease_token = $2 and status = 'pending'";
    Ok(tx.execute(sql, &[&id, &token, &error, &Instant(next)]).await? == 1)
}

/// Puts an effect off to its turn with a provider, if the lease is still ours. It was not tried.
pub(crate) async fn put_off_to_turn(
    tx: &Tx,
    id: Uuid,
    token: Uuid,
    turn_at: Timestamp,
) -> Result<bool, DbError> {
    put_off(tx, id, token, TURN, turn_at).await
}

/// Puts an effect off, if the lease is still ours. It was not tried, so the attempt is not counted.
pub(crate) async fn put_off(
    tx: &Tx,
    id: Uuid,
    token: Uuid,
    reason: &str,
    next: Timestamp,
) -> Result<bool, DbError> {
    let sql = "update tollgate.outbox set attempts = attempts - 1, last_error = $3, next_attempt_at = $4, \
               lease_token = null, lease_expires_at = null where id = $1 and lease_token = $2 and status = 'pending'";
    Ok(tx.execute(sql, &[&id, &token, &reason, &Instant(next)]).await? == 1)
}

/// Ends an effect as dead, with the reason that a person reads, if the lease is still ours.
pub(crate) async fn mark_dead(
    tx: &Tx,
    id: Uuid,
    token: Uuid,
    reason: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "update tollgate.outbox set status = 'dead', last_error = $3, dead_at = $4, next_attempt_at = null, \
               lease_token = null, lease_expires_at = null where id = $1 and lease_token = $2 and status = 'pending'";
    Ok(tx.execute(sql, &[&id, &token, &reason, &Instant(now)]).await? == 1)
}

const BURY_ABANDONED: &str = "\
-- outbox_bury_abandoned
update tollgate.outbox set status = 'dead', dead_at = $1, next_attempt_at = null,
    last_error = coalesce(last_error, 'the worker vanished during the last attempt'),
    lease_token = null, lease_expires_at = null
where status = 'pending' and attempts >= attempts_max and (lease_expires_at is null or lease_expires_at <= $1)
returning kind, payload";

/// An effect that was ended as dead.
#[derive(Debug, Clone)]
pub(crate) struct Buried {
    /// What kind of effect.
    pub(crate) kind: String,
    /// What was to be sent.
    pub(crate) payload: Value,
}

/// Ends what a vanished worker left at its last attempt: the lease is over and there is no attempt more.
pub(crate) async fn bury_abandoned(tx: &Tx, now: Timestamp) -> Result<Vec<Buried>, DbError> {
    let rows = tx.query(BURY_ABANDONED, &[&Instant(now)]).await?;
    rows.iter().map(read_buried).collect()
}

fn read_buried(row: &Row) -> Result<Buried, DbError> {
    Ok(Buried {
        kind: row.try_get("kind")?,
        payload: row.try_get("payload")?,
    })
}

/// A row as a person sees it in a list.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// Its row's id.
    pub(crate) id: Uuid,
    /// What kind of effect.
    pub(crate) kind: String,
    /// The name of the effect.
    pub(crate) operation_key: String,
    /// `pending` or `dead`.
    pub(crate) status: String,
    /// Attempts so far.
    pub(crate) attempts: i32,
    /// And how many there can be.
    pub(crate) attempts_max: i32,
    /// Why the last one failed.
    pub(crate) last_error: Option<String>,
    /// When it is tried again.
    pub(crate) next_attempt_at: Option<Timestamp>,
    /// When it was decided.
    pub(crate) created_at: Timestamp,
    /// When it was given up.
    pub(crate) dead_at: Option<Timestamp>,
}

/// What is not done, oldest first.
pub(crate) async fn list(tx: &Tx, only_dead: bool) -> Result<Vec<Listed>, DbError> {
    let sql = "select id, kind, operation_key, status, attempts, attempts_max, last_error, next_attempt_at, \
               created_at, dead_at from tollgate.outbox \
               where status = 'dead' or (status = 'pending' and not $1) order by created_at, id";
    tx.query(sql, &[&only_dead])
        .await?
        .iter()
        .map(read_listed)
        .collect()
}

fn read_listed(row: &Row) -> Result<Listed, DbError> {
    let instant = |column: &str| row.try_get::<_, Option<Instant>>(column);
    Ok(Listed {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        operation_key: row.try_get("operation_key")?,
        status: row.try_get("status")?,
        attempts: row.try_get("attempts")?,
        attempts_max: row.try_get("attempts_max")?,
        last_error: row.try_get("last_error")?,
        next_attempt_at: instant("next_attempt_at")?.map(|at| at.0),
        created_at: row.try_get::<_, Instant>("created_at")?.0,
        dead_at: instant("dead_at")?.map(|at| at.0),
    })
}

/// Makes a dead effect pending again, due now, with all its attempts; false where no dead one has the id.
pub(crate) async fn revive(tx: &Tx, id: Uuid, now: Timestamp) -> Result<bool, DbError> {
    let sql = "update tollgate.outbox set status = 'pending', attempts = 0, next_attempt_at = $2, dead_at = null \
               where id = $1 and status = 'dead'";
    let revived = tx.execute(sql, &[&id, &Instant(now)]).await? == 1;
    tx.execute("select pg_catalog.pg_notify($1, '')", &[&CHANNEL])
        .await?;
    Ok(revived)
}

#[cfg(test)]
mod tests;
