//! Being asked too often: ECPay then answers 403 and is silent for half an hour (§1.6).
//!
//! a server call → **[`Limiter::admits`]** → the answer, or 403.
//!
//! Invariants: counted per merchant, on the sandbox's clock, so a test waits by moving it; calls that are refused do
//! not lengthen the silence. The real threshold is not published; the default is generous.
//! Not here: settlement files, which have a rule of their own (`ecpay::settlement_file`). Nothing here fails.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tollgate_shared::time::Timestamp;

/// How often is too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimit {
    /// Calls in a window.
    pub calls_max: u32,
    /// How far back calls are counted.
    pub window: Duration,
    /// How long everything is refused afterwards.
    pub silence: Duration,
}

impl Default for CallLimit {
    fn default() -> Self {
        Self {
            calls_max: 60,
            window: Duration::from_mins(1),
            silence: Duration::from_mins(30),
        }
    }
}

/// What is remembered of calls.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    /// A rule put in place of the configured one.
    pub(crate) rule: Option<CallLimit>,
    /// A test refuses every merchant until then.
    pub(crate) refused_until: Option<Timestamp>,
    calls: BTreeMap<String, VecDeque<Timestamp>>,
    silent_until: BTreeMap<String, Timestamp>,
}

impl Limiter {
    /// Counts a call; whether it is answered.
    pub(crate) fn admits(&mut self, configured: CallLimit, merchant: &str, now: Timestamp) -> bool {
        let limit = self.rule.unwrap_or(configured);
        let silent = self.silent_until.get(merchant).is_some_and(|until| now < *until);
        if silent || self.refused_until.is_some_and(|until| now < until) {
            return false;
        }
        let calls = self.calls.entry(merchant.to_owned()).or_default();
        while calls.front().is_some_and(|first| first.plus(limit.window) <= now) {
            calls.pop_front();
        }
        if u32::try_from(calls.len()).is_ok_and(|count| count < limit.calls_max) {
            calls.push_back(now);
            return true;
        }
        calls.clear();
        self.silent_until
            .insert(merchant.to_owned(), now.plus(limit.silence));
        false
    }

    /// Ends every silence.
    pub(crate) fn forget(&mut self) {
        self.refused_until = None;
        self.silent_until.clear();
        self.calls.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tollgate_shared::time::Timestamp;

    use super::{CallLimit, Limiter};

    #[test]
    fn too_many_calls_bring_silence_and_time_ends_it() {
        let rule = CallLimit {
            calls_max: 2,
            ..CallLimit::default()
        };
        let mut limiter = Limiter::default();
        let start = Timestamp::from_unix_seconds(1_800_000_000);
        let mut ask =
            |seconds, merchant| limiter.admits(rule, merchant, start.plus(Duration::from_secs(seconds)));
        assert_eq!([ask(0, "a"), ask(1, "a"), ask(2, "a")], [true, true, false]);
        assert!(ask(2, "b"), "each merchant for itself");
        assert!(!ask(1801, "a"), "half an hour from the refusal");
        assert_eq!([ask(1802, "a"), ask(1861, "a"), ask(1862, "a")], [true; 3]);
    }
}
