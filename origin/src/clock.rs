//! The one place of the origin that asks what time it is.
//!
//! `main` makes one clock; `http` and `work` read it once a request or a round and hand the instant down.
//!
//! Invariant (DESIGN.md, 5): everything else takes `now` as an argument, stored functions included, so one
//! moved clock moves the hand-off window, leases, back-off and expiry together.
//! Not here: wall clocks of Taiwan (`domain::expiry`), tolerances of signatures (`shared`).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tollgate_shared::time::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// A clock that a test moves.
pub trait Movable: Clock {
    /// Moves forward to an instant; one that has passed changes nothing.
    fn move_to(&self, at: Timestamp);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everything else asks"
    )]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_unix_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The machine's clock, moved forward by whoever tests the whole stack (`TEST_CLOCK=on`).
#[derive(Debug, Clone, Default)]
pub struct ShiftedClock(Arc<AtomicI64>);

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let ahead_ms = u64::try_from(self.0.load(Ordering::SeqCst)).unwrap_or_default();
        SystemClock.now().plus(Duration::from_millis(ahead_ms))
    }
}

impl Movable for ShiftedClock {
    fn move_to(&self, at: Timestamp) {
        let ahead_ms = at.unix_ms().saturating_sub(SystemClock.now().unix_ms());
        self.0.fetch_max(ahead_ms, Ordering::SeqCst);
    }
}

/// A clock that moves only when told to; its clones share one time.
#[derive(Debug, Clone)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    /// Stands still at `start`.
    #[must_use]
    pub fn at(start: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(start.unix_ms())))
    }

    /// Moves forward; saturates.
    pub fn advance(&self, duration: Duration) {
        let later = self.now().plus(duration);
        self.0.store(later.unix_ms(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::SeqCst))
    }
}

impl Movable for TestClock {
    fn move_to(&self, at: Timestamp) {
        self.0.fetch_max(at.unix_ms(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tollgate_shared::time::Timestamp;

    use super::{Clock as _, Movable as _, ShiftedClock, SystemClock, TestClock};

    #[test]
    fn invariant_5_a_shifted_clock_only_goes_forward() {
        let clock = ShiftedClock::default();
        let tomorrow = SystemClock.now().plus(Duration::from_hours(24));
        clock.clone().move_to(tomorrow);
        assert!(clock.now() >= tomorrow);
        clock.move_to(Timestamp::from_unix_ms(0));
        assert!(clock.now() >= tomorrow);
        clock.move_to(Timestamp::from_unix_ms(i64::MAX));
        assert!(clock.now().distance(Timestamp::from_unix_ms(i64::MAX)) < Duration::from_mins(1));
    }

    #[test]
    fn clones_of_a_test_clock_share_one_time() {
        let clock = TestClock::at(Timestamp::from_unix_seconds(100));
        clock.clone().advance(Duration::from_secs(5));
        assert_eq!(clock.now(), Timestamp::from_unix_seconds(105));
    }
}
