//! When a call is tried again (TB-6).
//!
//! `client` → **`with_retries`** (try → pause → try) → the answer, the refusal, or the end of patience.
//!
//! Invariants: three tries at most; between them 1 s · 2^n, at most 10 s; every failure in passing is logged with its
//! attempt and the delay that follows. A refusal (`InsufficientBalance`, `DeductionInProgress`, any other 4xx) is final:
//! the same call would be answered the same. Waiting is an argument, so that tests do not wait.

use std::time::Duration;

use serde_json::Value;

use super::ClientError;

/// Tries in all.
pub(crate) const TRIES_MAX: u32 = 3;
const DELAY_FIRST: Duration = Duration::from_secs(1);
const DELAY_LONGEST: Duration = Duration::from_secs(10);

/// What one try met.
#[derive(Debug)]
pub(crate) enum Tried {
    /// The answer.
    Done(Value),
    /// A refusal.
    Refused(ClientError),
    /// Something that may be over the next time.
    InPassing(String),
}

/// The delay after failure number `failures` (1 for the first).
pub(crate) fn delay(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    DELAY_FIRST.saturating_mul(doubled).min(DELAY_LONGEST)
}

/// Tries until there is an answer, a refusal, or no try left.
pub(crate) async fn with_retries<F, S>(
    attempt: impl Fn(u32) -> F,
    pause: impl Fn(Duration) -> S,
) -> Result<Value, ClientError>
where
    F: Future<Output = Tried>,
    S: Future<Output = ()>,
{
    let mut tries = 1;
    loop {
        let reason = match attempt(tries).await {
            Tried::Done(answer) => return Ok(answer),
            Tried::Refused(error) => return Err(error),
            Tried::InPassing(reason) => reason,
        };
        if tries >= TRIES_MAX {
            return Err(ClientError::GaveUp { tries, reason });
        }
        let delay = delay(tries);
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            attempt = tries,
            delay_ms,
            reason,
            "try {tries} of {TRIES_MAX} failed in passing"
        );
        pause(delay).await;
        tries = tries.saturating_add(1);
    }
}
