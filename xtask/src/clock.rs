//! The one place of this crate that reads a clock: deadlines for real processes, elapsed seconds, stamps of the hop.
//!
//! Everything that waits for a program asks here → **a bounded poll** → an error naming what did not happen.
//!
//! Invariant: no wait is endless. No business time comes from here: the programs have their own clock.
//! Failure: `poll_until` returns an error with the name of the condition and the limit.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

/// How long to rest between two looks at a condition of another process.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How often a part that should stay up is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// A moment from which elapsed time is measured.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "elapsed time of tools and processes is what this file is for"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The machine's time, which stamps signatures of the hop.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "a signature's age is measured by the machine's clock at both ends"
)]
pub fn unix_seconds() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.unwrap_or_default().as_secs()
}

/// Asks `condition` until it answers `Some`, at most for `limit`.
///
/// The condition may fail early (a program that died will never become ready): its error ends the wait.
pub async fn poll_until<T, F, Fut>(what: &str, limit: Duration, mut condition: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let watch = Stopwatch::start();
    loop {
        if let Some(value) = condition().await? {
            return Ok(value);
        }
        if watch.elapsed() > limit {
            bail!("{what} did not happen within {} s", limit.as_secs());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Looks at something again and again until it fails, and returns that failure.
pub async fn watch(mut look: impl FnMut() -> Result<()>) -> anyhow::Error {
    loop {
        if let Err(error) = look() {
            return error;
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_never_holds_is_an_error_with_its_name() {
        let outcome: Result<()> =
            poll_until("the moon turning green", Duration::ZERO, || async { Ok(None) }).await;
        assert!(
            outcome
                .unwrap_err()
                .to_string()
                .contains("the moon turning green")
        );
    }

    #[tokio::test]
    async fn an_error_of_the_condition_ends_the_wait() {
        let outcome: Result<()> =
            poll_until("a start", Duration::from_mins(1), || async { bail!("it died") }).await;
        assert_eq!(outcome.unwrap_err().to_string(), "it died");
    }
}
