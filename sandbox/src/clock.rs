//! The sandbox's one clock: the machine's, moved ahead on request.
//!
//! Every trade, notice and re-send takes its time from here; `POST /control/v1/clock` moves it.
//!
//! Invariant: it only moves ahead of the machine's clock, never back, so no stamp of a provider runs backwards.
//! Not here: waiting (the scheduler in `delivery` sleeps, and is woken when the clock is moved).
//! A machine clock before 1970 reads as 1970.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use tollgate_shared::time::Timestamp;

/// A clock that tests can move.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    ahead_ms: AtomicI64,
}

impl Clock {
    /// The sandbox's time.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(
            machine_now()
                .unix_ms()
                .saturating_add(self.ahead_ms.load(Ordering::SeqCst)),
        )
    }

    /// Moves the clock ahead; saturates.
    pub(crate) fn advance(&self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.ahead_ms.update(Ordering::SeqCst, Ordering::SeqCst, |ahead| {
            ahead.saturating_add(by_ms)
        });
    }
}

/// The machine's own time, for what other processes will check against theirs (session tokens).
#[expect(clippy::disallowed_methods, reason = "this is the sandbox's one clock file")]
pub(crate) fn machine_now() -> Timestamp {
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Clock;

    #[test]
    fn advancing_adds_up_and_never_overflows() {
        let clock = Clock::default();
        let before = clock.now();
        clock.advance(Duration::from_hours(1));
        clock.advance(Duration::from_hours(1));
        assert!(clock.now().distance(before) >= Duration::from_hours(2));
        clock.advance(Duration::MAX);
        assert_eq!(clock.now().unix_ms(), i64::MAX);
    }
}
