//! Whether a user may buy a plan now (PM-3, PM-8 "buying twice").
//!
//! checkout loads what the user holds → **coverage** → a payment, or 409 with the day from which to renew.
//!
//! Invariant: a paid-for plan can be bought again only when it is about to end, and never beside a subscription
//! that renews itself. Not here: two checkouts that are both paid (money that moved counts; `expiry` extends).

use std::time::Duration;

use tollgate_shared::time::Timestamp;

/// A plan that does not renew itself can be bought again this long before it ends.
const RENEWAL_WINDOW: Duration = Duration::from_hours(7 * 24);

/// What a user has paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holding {
    /// `users.subscription_type`.
    pub(crate) subscription_type: Option<String>,
    /// `users.subscription_expires_at`.
    pub(crate) expires_at: Option<Timestamp>,
    /// `users.auto_renew`.
    pub(crate) auto_renew: bool,
}

/// Why a plan is not sold again yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Covered {
    /// Paid for without an end.
    Forever,
    /// Paid for until a day.
    Until {
        /// From when it can be bought again.
        renew_after: Timestamp,
        /// Until when it is paid.
        expires_at: Timestamp,
        /// Whether it needs no buying, because the provider charges again.
        renews_itself: bool,
    },
}

/// The reason to refuse a plan that gives `subscription_type`, or `None` to sell it.
pub(crate) fn covered(holding: &Holding, subscription_type: &str, now: Timestamp) -> Option<Covered> {
    if holding.subscription_type.as_deref() != Some(subscription_type) {
        return None;
    }
    let Some(expires_at) = holding.expires_at else {
        return Some(Covered::Forever);
    };
    let window = if holding.auto_renew {
        Duration::ZERO
    } else {
        RENEWAL_WINDOW
    };
    let renew_after = minus(expires_at, window);
    (now < renew_after).then_some(Covered::Until {
        renew_after,
        expires_at,
        renews_itself: holding.auto_renew,
    })
}

/// From when something that does not renew itself and ends at `expires_at` can be bought again.
pub(crate) fn renew_after(expires_at: Timestamp) -> Timestamp {
    minus(expires_at, RENEWAL_WINDOW)
}

fn minus(instant: Timestamp, duration: Duration) -> Timestamp {
    let back_ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_unix_ms(instant.unix_ms().saturating_sub(back_ms))
}

#[cfg(test)]
mod tests {
    use tollgate_shared::time::Timestamp;

    use super::{Covered, Holding, covered};

    const DAY: i64 = 86_400;

    /// type held | days until it ends | renews itself | plan's type | days until it may be bought
    const TABLE: &str = "
        -     | -  | -   | pro   | now | nothing held
        basic | 20 | -   | pro   | now | another type: an upgrade
        pro   | 20 | -   | pro   | 13  | covered: renew in the last 7 days
        pro   | 8  | -   | pro   | 1   |
        pro   | 7  | -   | pro   | now | the last 7 days
        pro   | 1  | -   | pro   | now |
        pro   | 0  | -   | pro   | now | ended this instant
        pro   | -3 | -   | pro   | now | ended
        pro   | 20 | yes | pro   | 20  | renews itself: only once it has ended
        pro   | 1  | yes | pro   | 1   |
        pro   | 0  | yes | pro   | now |
        pro   | -  | -   | pro   | never | held for ever
    ";

    #[test]
    fn pm_3_a_covered_plan_is_not_sold_twice() {
        let now = Timestamp::from_unix_seconds(1_760_000_000);
        let in_days = |days: i64| Timestamp::from_unix_seconds(1_760_000_000 + days * DAY);
        for row in TABLE.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let holding = Holding {
                subscription_type: (cells[0] != "-").then(|| cells[0].to_owned()),
                expires_at: cells[1].parse().ok().map(in_days),
                auto_renew: cells[2] == "yes",
            };
            let expected = match (cells[4], covered(&holding, cells[3], now)) {
                ("now", verdict) => verdict.is_none(),
                ("never", verdict) => verdict == Some(Covered::Forever),
                (days, Some(Covered::Until { renew_after, .. })) => {
                    renew_after == in_days(days.parse().unwrap())
                }
                (_, _) => false,
            };
            assert!(expected, "{row}");
        }
    }
}
