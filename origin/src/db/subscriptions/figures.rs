//! Figures over all subscriptions, for the people who run the business (PU-6).
//!
//! `http::service::figures` → **[`figures`]** → counts, what ended, what a month brings.
//!
//! Invariants: counts and sums only, nobody's id. A month's revenue is counted in whole minor units, rounded down once at
//! the end: a year is twelve months, a week is 7 and a month 365/12 days. What is about to end, or is on FREE, brings
//! nothing. It reads the whole table: an answer for people, not for a page that polls.

use tollgate_shared::time::Timestamp;

use crate::db::{DbError, Instant, Tx};

/// The figures at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    /// Paid for, with the limits of their plan.
    pub(crate) active: i64,
    /// A charge was refused and grace runs.
    pub(crate) past_due: i64,
    /// Running with the limits of FREE (EC-3).
    pub(crate) downgraded: i64,
    /// Resting.
    pub(crate) paused: i64,
    /// Without a first charge.
    pub(crate) pending: i64,
    /// Had begun before the window and were not over when it began.
    pub(crate) begun_before: i64,
    /// Of those, how many are over.
    pub(crate) lost: i64,
    /// Charges of ours that wait for a person.
    pub(crate) held_charges: i64,
    /// What a month brings, in TWD.
    pub(crate) monthly_minor: i64,
}

const FIGURES: &str = "\
-- subscription_figures
select
    count(*) filter (where status = 'active' and downgraded_at is null) as active,
    count(*) filter (where status = 'past_due') as past_due,
    count(*) filter (where status = 'active' and downgraded_at is not null) as downgraded,
    count(*) filter (where status = 'paused') as paused,
    count(*) filter (where status = 'pending') as pending,
    count(*) filter (where anchor_on is not null and created_at < $1 and (ended_at is null or ended_at >= $1))
        as begun_before,
    count(*) filter (where anchor_on is not null and created_at < $1 and ended_at >= $1) as lost,
    coalesce(floor(sum(
        case period_type
            when 'day' then amount * 365.0 / 12
            when 'week' then amount * 365.0 / 84
            when 'month' then amount::numeric
            when 'year' then amount / 12.0
        end / period_frequency
    ) filter (where status in ('active', 'past_due') and downgraded_at is null and cancel_at is null)), 0)::bigint
        as monthly_minor
from tollgate.saas_subscriptions
where currency = 'TWD'";

/// Counts everything; what was lost, since `since`.
pub(crate) async fn figures(tx: &Tx, since: Timestamp) -> Result<Figures, DbError> {
    let row = tx.query_one(FIGURES, &[&Instant(since)]).await?;
    Ok(Figures {
        active: row.try_get("active")?,
        past_due: row.try_get("past_due")?,
        downgraded: row.try_get("downgraded")?,
        paused: row.try_get("paused")?,
        pending: row.try_get("pending")?,
        begun_before: row.try_get("begun_before")?,
        lost: row.try_get("lost")?,
        held_charges: i64::try_from(super::held::all(tx).await?.len()).unwrap_or(i64::MAX),
        monthly_minor: row.try_get("monthly_minor")?,
    })
}
