//! How long a queue row waits before its next attempt.
//!
//! A failed attempt of `work` → **backoff** → `next_attempt_at` of the row, or dead.
//!
//! Invariant (DESIGN.md, 7): every retry has a cap, a delay and a visible end. The delay doubles up to a cap or is
//! listed, and is spread by jitter, so that rows that failed together do not come back together.

use std::time::Duration;

/// The retry policy of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// How long each wait is.
    pub(crate) delays: Delays,
    /// After this many failed attempts the row is dead.
    pub(crate) attempts_max: i32,
}

/// The waits between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delays {
    /// Twice as long each time.
    Doubling {
        /// After the first failure.
        first: Duration,
        /// No delay is longer, jitter included.
        longest: Duration,
    },
    /// One after the other, as a receiver was promised them; after the last there is none.
    Listed(&'static [Duration]),
}

/// Inbox events: 2 s doubling to 15 min, 40 attempts, so about 7 h in all. A person reads the dead ones and
/// replays them; providers were acknowledged long before.
pub(crate) const INBOX: Policy = Policy {
    delays: Delays::Doubling {
        first: Duration::from_secs(2),
        longest: Duration::from_mins(15),
    },
    attempts_max: 40,
};

/// Deliveries to user-core: 5 s doubling to 2 h, 25 attempts, so about a day and a half.
pub(crate) const OUTBOX: Policy = Policy {
    delays: Delays::Doubling {
        first: Duration::from_secs(5),
        longest: Duration::from_hours(2),
    },
    attempts_max: 25,
};

/// Calls to providers: 30 s doubling to 1 h, 24 attempts, so about 17 h. A person reads the dead ones.
pub(crate) const PROVIDER: Policy = Policy {
    delays: Delays::Doubling {
        first: Duration::from_secs(30),
        longest: Duration::from_hours(1),
    },
    attempts_max: 24,
};

/// Events about subscriptions: the schedule that Standard Webhooks shows, 27 h 35 min 5 s in all.
pub(crate) const SUBSCRIPTION_EVENT: Policy = Policy {
    delays: Delays::Listed(&[
        Duration::from_secs(5),
        Duration::from_mins(5),
        Duration::from_mins(30),
        Duration::from_hours(2),
        Duration::from_hours(5),
        Duration::from_hours(10),
        Duration::from_hours(10),
    ]),
    attempts_max: 8,
};

/// Mail: 30 s doubling to 2 h, 24 attempts, so about a day and a half; a mail about a due payment is stale after that.
pub(crate) const MAIL: Policy = Policy {
    delays: Delays::Doubling {
        first: Duration::from_secs(30),
        longest: Duration::from_hours(2),
    },
    attempts_max: 24,
};

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try again after this time.
    After(Duration),
    /// Give up, visibly.
    Dead,
}

/// Decides after the failure number `attempts` (1 for the first). `jitter` is any number: it takes up to a quarter off
/// a doubling delay, and adds up to a 64th to a listed one, which is thereby never shorter than promised.
pub(crate) fn after_failure(policy: Policy, attempts: i32, jitter: u8) -> Next {
    if attempts >= policy.attempts_max {
        return Next::Dead;
    }
    let failures_before = usize::try_from(attempts.saturating_sub(1)).unwrap_or_default();
    match policy.delays {
        Delays::Doubling { first, longest } => Next::After(doubled(first, longest, failures_before, jitter)),
        Delays::Listed(delays) => match delays.get(failures_before) {
            Some(delay) => Next::After(delay.saturating_add(share(*delay, jitter, 64))),
            None => Next::Dead,
        },
    }
}

fn doubled(first: Duration, longest: Duration, doublings: usize, jitter: u8) -> Duration {
    let factor = 1_u32 << doublings.min(31);
    let full = first.saturating_mul(factor).min(longest);
    full.saturating_sub(share(full, jitter, 4))
}

/// Up to one part of so many, by the jitter.
fn share(delay: Duration, jitter: u8, parts: u32) -> Duration {
    let of_jitter = delay.saturating_mul(u32::from(jitter));
    of_jitter
        .checked_div(parts.saturating_mul(256))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{INBOX, Next, OUTBOX, SUBSCRIPTION_EVENT, after_failure};

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

    #[test]
    fn ec_8_subscription_events_are_tried_again_as_promised_and_never_earlier() {
        let promised_seconds = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];
        for (attempts, seconds) in (1..).zip(promised_seconds) {
            let promised = Duration::from_secs(seconds);
            assert_eq!(
                after_failure(SUBSCRIPTION_EVENT, attempts, 0),
                Next::After(promised)
            );
            for jitter in 0..=u8::MAX {
                let Next::After(delay) = after_failure(SUBSCRIPTION_EVENT, attempts, jitter) else {
                    panic!("dead at {attempts}")
                };
                assert!(
                    delay >= promised && delay <= promised * 65 / 64,
                    "{attempts} {jitter} {delay:?}"
                );
            }
        }
        assert_eq!(after_failure(SUBSCRIPTION_EVENT, 8, 0), Next::Dead);
    }
}
