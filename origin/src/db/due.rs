//! When each queue next has something to do: how far a test may move the clock at once.
//!
//! `test_clock` → **[`due`]** → the earliest instant of each queue.
//!
//! Invariants: only what a worker of this program could take counts, so a row that waits behind another of its order, or
//! of a kind that a newer program wrote, is not due; a row that somebody holds is, because it is not finished.
//! Not here: taking anything.

use std::collections::BTreeMap;

use tollgate_shared::time::Timestamp;

use super::{Database, DbError, Instant};

/// The names of the queues, in the order of the columns.
pub(crate) const QUEUES: [&str; 6] = ["inbox", "outbox", "payments", "subscriptions", "tokens", "jobs"];

const DUE: &str = "\
-- due
select
    (select min(event.next_attempt_at) from tollgate.inbox_events as event where event.status = 'pending'
        and not exists (select from tollgate.inbox_events as earlier where earlier.status = 'pending'
            and earlier.source = event.source and earlier.order_number = event.order_number
            and (earlier.accepted_at, earlier.id) < (event.accepted_at, event.id))) as inbox,
    (select min(effect.next_attempt_at) from tollgate.outbox as effect where effect.status = 'pending'
        and effect.kind = any($1) and effect.attempts < effect.attempts_max
        and not exists (select from tollgate.outbox as earlier where earlier.status = 'pending'
            and earlier.ordering_key = effect.ordering_key
            and (earlier.created_at, earlier.id) < (effect.created_at, effect.id))) as outbox,
    (select min(payment.pending_until) from tollgate.payments as payment where payment.status = 'pending') as payments,
    (select min(subscription.next_due_at) from tollgate.saas_subscriptions as subscription) as subscriptions,
    (select min(company.next_due_at) from tollgate.company_subscriptions as company) as tokens,
    (select min(job.next_run_at) from tollgate.scheduled_jobs as job where job.name = any($2)) as jobs";

/// The earliest instant of each queue that has one, for effects of these kinds and jobs of these names.
pub(crate) async fn due(
    database: &Database,
    kinds: &[&str],
    jobs: &[&str],
) -> Result<BTreeMap<&'static str, Timestamp>, DbError> {
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(DUE).await?;
    let row = connection.query_one(&statement, &[&kinds, &jobs]).await?;
    let mut due = BTreeMap::new();
    for queue in QUEUES {
        if let Some(Instant(at)) = row.try_get::<_, Option<Instant>>(queue)? {
            due.insert(queue, at);
        }
    }
    Ok(due)
}
