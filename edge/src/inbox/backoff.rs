//! How long to wait before the next attempt: pure.
//!
//! deliver → **backoff** → the row's `next_at` → alarm.
//!
//! Invariant: the delay doubles from 1 s to 5 min and stays there for as long as it takes (an acknowledged event
//! has no last attempt, ED-5); half of it is jitter, so that the backlog of an outage does not return as one wave.
//! The jitter comes from the event's key and the attempt, not from a random source: same row, same delay.

/// The first delay.
const FIRST_MS: u64 = 1_000;
/// The longest delay: how stale the backlog may be after the origin has come back.
const LONGEST_MS: u64 = 300_000;

/// The delay after the given number of failed attempts (1 or more), in milliseconds.
pub(crate) fn delay_ms(key: &str, attempts: u32) -> i64 {
    let doublings = attempts.saturating_sub(1).min(16);
    let whole = FIRST_MS.saturating_mul(1 << doublings).min(LONGEST_MS);
    let half = whole / 2;
    let jitter = scatter(key, attempts)
        .checked_rem(half.max(1))
        .unwrap_or_default();
    i64::try_from(half.saturating_add(jitter)).unwrap_or(i64::MAX)
}

fn scatter(key: &str, attempts: u32) -> u64 {
    let seed = u64::from(attempts).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    key.bytes().fold(seed, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }) >> 16
}

#[cfg(test)]
mod tests {
    use super::delay_ms;
    use proptest::prelude::{any, proptest};

    proptest! {
        #[test]
        fn ed_5_a_delay_is_half_fixed_half_jitter_and_capped(key in ".{0,40}", attempts in any::<u32>()) {
            let whole = if attempts >= 10 { 300_000 } else { 1_000 << attempts.saturating_sub(1) };
            let delay = delay_ms(&key, attempts);
            assert!((whole / 2..=whole).contains(&delay), "{delay} after {attempts}");
        }
    }

    #[test]
    fn neighbours_do_not_come_back_together() {
        let mut delays: Vec<i64> = (0..100)
            .map(|number| delay_ms(&format!("ecpay:T{number}"), 9))
            .collect();
        delays.sort_unstable();
        delays.dedup();
        assert!(delays.len() > 95);
    }
}
