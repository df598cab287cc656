//! Emptying what is old: the bytes of applied events, the payloads of made effects (EC-4).
//!
//! `work::cleanup` → **these statements**, a bounded batch each → `inbox_events`, `outbox` (V3, indexes in V18).
//!
//! Invariants: a row stays, with its key, its outcome and its times; only its content goes. Were the row deleted, a notice
//! that is repeated after a year would be new, and an effect that is decided again would be made again. What is pending,
//! dead or under dispute keeps its content, because somebody still has to work with it.
//! Not here: the ledger, the event log and the audit trail, which are kept for ever.

use tollgate_shared::time::Timestamp;

use super::{DbError, Instant, Tx};

const EMPTY_INBOX: &str = "\
-- retention_empty_inbox
update tollgate.inbox_events set raw = '', headers = '[]'
where id in (
    select event.id from tollgate.inbox_events as event
    where event.status = 'applied' and event.applied_at < $1 and octet_length(event.raw) > 0
    and not exists (
        select from tollgate.disputes as dispute
        where dispute.inbox_event_id = event.id and dispute.resolved_at is null)
    order by event.applied_at
    limit $2
    for update skip locked
)";

/// Empties events that were applied before an instant; how many.
pub(crate) async fn empty_inbox(tx: &Tx, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    tx.execute(EMPTY_INBOX, &[&Instant(before), &limit]).await
}

const EMPTY_OUTBOX: &str = "\
-- retention_empty_outbox
update tollgate.outbox set payload = '{}'
where id in (
    select effect.id from tollgate.outbox as effect
    where effect.status = 'done' and effect.done_at < $1 and effect.payload <> '{}'
    order by effect.done_at
    limit $2
    for update skip locked
)";

/// Empties effects that were made before an instant; how many.
pub(crate) async fn empty_outbox(tx: &Tx, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    tx.execute(EMPTY_OUTBOX, &[&Instant(before), &limit]).await
}
