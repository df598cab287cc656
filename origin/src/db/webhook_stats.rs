//! How each kind of webhook does (EC-7).
//!
//! `http::health` → **[`by_kind`]** → a line for each source and notice.
//!
//! Invariant: counts of the window, by the index on `accepted_at`; no ids. What is still tried counts as neither success nor
//! failure until its first attempt failed. Not here: what the edge keeps (`edge::health`).

use tollgate_shared::time::Timestamp;

use super::{Database, DbError, Instant};

/// One kind of webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Who sends it.
    pub(crate) source: String,
    /// What it tells of.
    pub(crate) notice: String,
    /// How many came.
    pub(crate) total: i64,
    /// How many of them were applied.
    pub(crate) success: i64,
    /// How many failed at least once and are not applied.
    pub(crate) failed: i64,
}

const BY_KIND: &str = "\
-- webhook_stats_by_kind
select source, notice, count(*) as total,
    count(*) filter (where status = 'applied') as success,
    count(*) filter (where status <> 'applied' and attempts > 0) as failed
from tollgate.inbox_events
where accepted_at >= $1
group by source, notice
order by source, notice";

/// Counts what came since `since`.
pub(crate) async fn by_kind(database: &Database, since: Timestamp) -> Result<Vec<Kind>, DbError> {
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(BY_KIND).await?;
    let rows = connection.query(&statement, &[&Instant(since)]).await?;
    rows.iter()
        .map(|row| {
            Ok(Kind {
                source: row.try_get("source")?,
                notice: row.try_get("notice")?,
                total: row.try_get("total")?,
                success: row.try_get("success")?,
                failed: row.try_get("failed")?,
            })
        })
        .collect()
}
