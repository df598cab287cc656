//! The sandbox's one clock: the machine's, moved ahead on request.
//!
//! Every trade, notice and re-send takes its time from here; `POST /control/v1/clock` moves it.
//!
//! Invariant: it only moves ahead of the machine's clock, never back, so no stamp of a provider runs backwards.
//! Not here: waiting (the scheduler in `delivery` sleeps, and is woken when the clock is moved).
//! A machine clock before 1970 reads as 1970.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

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

    /// Moves the clock ahead to an instant; one that has passed changes nothing.
    pub(crate) fn advance_to(&self, at: Timestamp) {
        let ahead_ms = at.unix_ms().saturating_sub(machine_now().unix_ms());
        self.ahead_ms.fetch_max(ahead_ms, Ordering::SeqCst);
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

    use tollgate_shared::time::Timestamp;

    use super::Clock;

    #[test]
    fn the_clock_only_moves_ahead_and_never_overflows() {
        let clock = Clock::default();
        let noon = clock.now().plus(Duration::from_hours(2));
        clock.advance_to(noon);
        assert!(clock.now() >= noon);
        clock.advance_to(Timestamp::from_unix_ms(0));
        assert!(clock.now() >= noon);
        clock.advance_to(Timestamp::from_unix_ms(i64::MAX));
        assert!(clock.now().distance(Timestamp::from_unix_ms(i64::MAX)) < Duration::from_mins(1));
    }
}
