//! When a payment without news is asked about (OP-5).
//!
//! `work::payment_polls` → **`slot`** → the effect's operation key, so a slot is asked once, by whichever instance.
//!
//! Why these: a card's notice is there in seconds, so after a quarter of an hour it is lost; ATM and CVS orders are paid within
//! days, and a BARCODE's notice comes two days late (lessons 3); after [`GIVEN_UP`] the provider's codes have run out.
//! Invariant: a function of two instants; slots only grow. Not here: what asking finds.

use std::time::Duration;

use tollgate_shared::time::Timestamp;

/// After these, counted from the order; then daily.
const FIRST: [Duration; 4] = [
    Duration::from_mins(15),
    Duration::from_hours(1),
    Duration::from_hours(6),
    Duration::from_hours(24),
];
/// No code is valid for longer but for ECPay's longest ATM orders, which are for `reconcile payments`.
pub(crate) const GIVEN_UP: Duration = Duration::from_hours(24 * 10);

/// The newest slot that has begun, 0 for the first; `None` before it and when the payment is given up.
pub(crate) fn slot(ordered_at: Timestamp, now: Timestamp) -> Option<u64> {
    if now <= ordered_at {
        return None;
    }
    let age = now.distance(ordered_at);
    if age > GIVEN_UP {
        return None;
    }
    let days = age.as_secs().div_euclid(24 * 60 * 60);
    let begun = u64::try_from(FIRST.iter().filter(|after| **after <= age).count()).unwrap_or_default();
    // The day counts from the second on; the first is in the list.
    begun
        .checked_sub(1)
        .map(|slot| slot.saturating_add(days.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tollgate_shared::time::Timestamp;

    use super::slot;

    #[test]
    fn op_5_a_payment_is_asked_about_seldom_and_not_for_ever() {
        let ordered = Timestamp::from_unix_seconds(1_000_000);
        let mins = Duration::from_mins;
        for (age, expected) in [
            (mins(0), None),
            (mins(14), None),
            (mins(15), Some(0)),
            (mins(59), Some(0)),
            (mins(60), Some(1)),
            (mins(6 * 60), Some(2)),
            (mins(24 * 60 - 1), Some(2)),
            (mins(24 * 60), Some(3)),
            (mins(48 * 60 - 1), Some(3)),
            (mins(48 * 60), Some(4)),
            (mins(240 * 60), Some(12)),
            (mins(240 * 60 + 1), None),
        ] {
            assert_eq!(slot(ordered, ordered.plus(age)), expected, "{age:?}");
        }
    }
}
