//! The token bucket of one user: pure, exact, one integer.
//!
//! `caller` → **bucket** → 429 or the origin. Ten checkouts at once, then one every six seconds.
//!
//! Kept as the instant at which the bucket will be full again (the "generic cell rate algorithm"), so there is no
//! fraction and nothing to refill. Invariant: in any window of w seconds at most 10 + w/6 calls pass.
//! Not here: where the instant is stored (`caller::store`).

use std::time::Duration;

use tollgate_shared::time::Timestamp;

/// How many calls may come at once.
const BURST: u32 = 10;
/// One more call after each of these.
const REFILL: Duration = Duration::from_secs(6);

/// Takes a token: the new instant of fullness, or the whole seconds until there is a token.
pub(crate) fn take(full_at: Timestamp, now: Timestamp) -> Result<Timestamp, u64> {
    let taken = full_at.max(now).plus(REFILL);
    let capacity = REFILL.saturating_mul(BURST);
    let over_ms = taken.unix_ms().saturating_sub(now.plus(capacity).unix_ms());
    match u64::try_from(over_ms) {
        Ok(over_ms) if over_ms > 0 => Err(over_ms.div_ceil(1000)),
        _ => Ok(taken),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::take;
    use proptest::prelude::{prop, proptest};
    use tollgate_shared::time::Timestamp;

    const START: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

    fn at(ms: u64) -> Timestamp {
        START.plus(Duration::from_millis(ms))
    }

    #[test]
    fn ed_2_ten_at_once_then_one_every_six_seconds() {
        let mut full_at = Timestamp::from_unix_ms(0);
        for _ in 0..10 {
            full_at = take(full_at, at(0)).unwrap();
        }
        assert_eq!(take(full_at, at(0)), Err(6));
        assert_eq!(take(full_at, at(5_001)), Err(1));
        full_at = take(full_at, at(6_000)).unwrap();
        assert_eq!(take(full_at, at(6_000)), Err(6));
        assert!(take(full_at, at(60_000)).is_ok());
    }

    proptest! {
        #[test]
        fn ed_2_no_window_passes_more_than_it_may(gaps in prop::collection::vec(0_u64..4_000, 1..200)) {
            let (mut now, mut full_at, mut passed) = (START, Timestamp::from_unix_ms(0), Vec::new());
            for gap in gaps {
                now = now.plus(Duration::from_millis(gap));
                if let Ok(taken) = take(full_at, now) {
                    full_at = taken;
                    passed.push(now);
                }
                let allowed = START.distance(now).as_secs().div_euclid(6).saturating_add(10);
                assert!(u64::try_from(passed.len()).unwrap() <= allowed);
            }
        }
    }
}
