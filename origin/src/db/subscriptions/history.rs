//! The visible history of a subscription: each step once, when it was taken (EC-8).
//!
//! `subscriptions::refold` → **these statements** → `subscription_history`.
//!
//! Invariant: append-only; a step is one row, by its key, whoever decides it how often, and the first one who writes it
//! is told so: only then is it told to the customer. Not here: who is told what (`subscriptions::tell`).

use serde_json::Value;
use tollgate_shared::time::Timestamp;

use crate::db::{DbError, Instant, Tx};
use crate::subscriptions::SubscriptionId;

/// A step.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Names it within the subscription.
    pub(crate) key: String,
    /// `first_failure`, `downgraded`, …
    pub(crate) kind: String,
    /// What belongs to the kind.
    pub(crate) details: Value,
    /// When it was taken.
    pub(crate) occurred_at: Timestamp,
}

/// Writes a step; `false` where it stood there.
pub(crate) async fn insert(
    tx: &Tx,
    id: SubscriptionId,
    line: &Line,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "insert into tollgate.subscription_history (subscription_id, step_key, kind, details, occurred_at, \
               recorded_at) values ($1, $2, $3, $4, $5, $6) on conflict (subscription_id, step_key) do nothing";
    let written = tx
        .execute(
            sql,
            &[
                /* subscription_id */ &id.as_uuid(),
                /* step_key */ &line.key,
                /* kind */ &line.kind,
                /* details */ &line.details,
                /* occurred_at */ &Instant(line.occurred_at),
                /* recorded_at */ &Instant(now),
            ],
        )
        .await?;
    Ok(written == 1)
}

/// Every step, in order.
pub(crate) async fn list(tx: &Tx, id: SubscriptionId) -> Result<Vec<Line>, DbError> {
    let sql = "select step_key, kind, details, occurred_at from tollgate.subscription_history \
               where subscription_id = $1 order by occurred_at, recorded_at, step_key";
    let rows = tx.query(sql, &[&id.as_uuid()]).await?;
    let lines = rows.iter().map(|row| {
        Ok(Line {
            key: row.try_get("step_key")?,
            kind: row.try_get("kind")?,
            details: row.try_get("details")?,
            occurred_at: row.try_get::<_, Instant>("occurred_at")?.0,
        })
    });
    lines.collect()
}

/// The keys of the steps that stand there.
pub(crate) async fn keys(tx: &Tx, id: SubscriptionId) -> Result<Vec<String>, DbError> {
    let sql = "select step_key from tollgate.subscription_history where subscription_id = $1";
    let rows = tx.query(sql, &[&id.as_uuid()]).await?;
    rows.iter().map(|row| Ok(row.try_get("step_key")?)).collect()
}
