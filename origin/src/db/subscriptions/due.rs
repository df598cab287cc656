//! Which subscriptions are to be looked at because of the time.
//!
//! `subscriptions::sweep` → **`claim`** → `saas_subscriptions_due`.
//!
//! Invariant: locked rows are left to whoever holds them, so several sweeps share the work; a row that is not due costs
//! nothing (a test looks at the plan). Not here: what is done with them.

use tollgate_shared::time::Timestamp;

use super::{Subscription, read, select};
use crate::db::{DbError, Instant, Tx};
use crate::subscriptions::SubscriptionId;

/// The rows to lock, in the order of the index. The limit is inside, so that the join reads these rows only.
pub(crate) const CLAIM: &str = "select id from tollgate.saas_subscriptions \
     where next_due_at is not null and next_due_at <= $1 order by next_due_at, id limit $2 for no key update skip locked";

/// Locks up to `limit` that are due.
pub(crate) async fn claim(tx: &Tx, limit: i64, now: Timestamp) -> Result<Vec<Subscription>, DbError> {
    let rows = tx.query(CLAIM, &[&Instant(now), &limit]).await?;
    let ids: Vec<uuid::Uuid> = rows
        .iter()
        .map(|row| row.try_get("id"))
        .collect::<Result<_, _>>()?;
    let sql = format!("{} where subscription.id = any($1)", select());
    tx.query(&sql, &[&ids]).await?.iter().map(read).collect()
}

/// Puts off a row that cannot be worked on, so that it does not hold up the others.
pub(crate) async fn put_off(tx: &Tx, id: SubscriptionId, until: Timestamp) -> Result<(), DbError> {
    let sql = "update tollgate.saas_subscriptions set next_due_at = $2 where id = $1";
    tx.execute(sql, &[&id.as_uuid(), &Instant(until)]).await?;
    Ok(())
}

/// When the next charge is due, as the row was recomputed last; `None` where none is.
pub(crate) async fn next_charge_at(tx: &Tx, id: SubscriptionId) -> Result<Option<Timestamp>, DbError> {
    let sql = "select next_charge_at from tollgate.saas_subscriptions where id = $1";
    let row = tx.query_opt(sql, &[&id.as_uuid()]).await?;
    let at: Option<Option<Instant>> = row.map(|row| row.try_get("next_charge_at")).transpose()?;
    Ok(at.flatten().map(|at| at.0))
}
