//! How long a queue row waits before its next attempt.
//!
//! A failed attempt of `work` → **backoff** → `next_attempt_at` of the row, or dead.
//!
//! Invariant (DESIGN.md, 7): every retry has a cap, a delay and a visible end. The delay doubles up to a cap and
//! is spread by jitter, so that rows that failed together do not come back together.

use std::time::Duration;

/// The retry policy of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Delay after the first failure.
    pub(crate) first: Duration,
    /// No delay is longer, jitter included.
    pub(crate) longest: Duration,
    /// After this many failed attempts the row is dead.
    pub(crate) attempts_max: i32,
}

/// Inbox events: 2 s doubling to 15 min, 40 attempts, so about 7 h in all. A person reads the dead ones and
/// replays them; providers were acknowledged long before.
pub(crate) const INBOX: Policy = Policy {
    first: Duration::from_secs(2),
    longest: Duration::from_mins(15),
    attempts_max: 40,
};

/// Deliveries to user-core: 5 s doubling to 2 h, 25 attempts, so about a day and a half.
pub(crate) const OUTBOX: Policy = Policy {
    first: Duration::from_secs(5),
    longest: Duration::from_hours(2),
    attempts_max: 25,
};

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try again after this time.
    After(Duration),
    /// Give up, visibly.
    Dead,
}

/// Decides after the failure number `attempts` (1 for the first). `jitter` is any number: its low bits take up to
/// a quarter off the delay.
pub(crate) fn after_failure(policy: Policy, attempts: i32, jitter: u8) -> Next {
    if attempts >= policy.attempts_max {
        return Next::Dead;
    }
    let doublings = u32::try_from(attempts.saturating_sub(1))
        .unwrap_or_default()
        .min(31);
    let full = policy
        .first
        .saturating_mul(1_u32 << doublings)
        .min(policy.longest);
    let off = full
        .saturating_mul(u32::from(jitter))
        .checked_div(256 * 4)
        .unwrap_or_default();
    Next::After(full.saturating_sub(off))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{INBOX, Next, OUTBOX, after_failure};

    #[test]
    fn invariant_7_delays_double_up_to_the_cap_and_then_end() {
        for (attempts, expected) in [
            (1, Next::After(Duration::from_secs(2))),
            (2, Next::After(Duration::from_secs(4))),
            (9, Next::After(Duration::from_secs(512))),
            (10, Next::After(Duration::from_mins(15))),
            (39, Next::After(Duration::from_mins(15))),
            (40, Next::Dead),
            (i32::MAX, Next::Dead),
        ] {
            assert_eq!(after_failure(INBOX, attempts, 0), expected, "{attempts}");
        }
    }

    #[test]
    fn jitter_takes_at_most_a_quarter_and_never_adds() {
        for attempts in 1..OUTBOX.attempts_max {
            let Next::After(full) = after_failure(OUTBOX, attempts, 0) else {
                panic!("dead at {attempts}")
            };
            for jitter in 0..=u8::MAX {
                let Next::After(delay) = after_failure(OUTBOX, attempts, jitter) else {
                    panic!()
                };
                assert!(
                    delay <= full && delay >= full * 3 / 4,
                    "{attempts} {jitter} {delay:?}"
                );
            }
        }
    }
}
