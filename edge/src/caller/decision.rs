//! What an idempotency key asks for: pure.
//!
//! `caller` → **decision** → replay, refuse, or start.
//!
//! Invariant: a key stands for one set of fields for 24 h; the first that differs is named. The answer of a call
//! that failed on our side, or that says "later", is not pinned: the same key may try again.
//! Not here: whether two calls with one key run at once (`caller` knows what is running).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollgate_shared::time::Timestamp;

use crate::origin::Reply;

/// How long a key is kept.
pub(crate) const KEPT: Duration = Duration::from_hours(24);

/// The origin knows of no generator: nothing was recorded, and coming again soon does not help.
const NOT_CONFIGURED: &str = "generator-not-configured";

/// The fields that a key stands for, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Fingerprint(pub(crate) BTreeMap<String, String>);

impl Fingerprint {
    /// The first field, by name, that differs.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let names = self.0.keys().chain(other.0.keys());
        names
            .filter(|name| self.0.get(*name) != other.0.get(*name))
            .min()
            .cloned()
    }
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// What it stood for.
    pub(crate) fingerprint: Fingerprint,
    /// Its answer; `None` if the call never ended here.
    pub(crate) reply: Option<Reply>,
    /// When it was first used.
    pub(crate) at: Timestamp,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Ask the origin.
    Start,
    /// Give the stored answer.
    Replay(Reply),
    /// The same key is being worked on: 409.
    InFlight,
    /// The key stood for something else: 422, naming the field.
    Mismatch(String),
}

/// Decides. `running`: whether a call with this key is under way now.
pub(crate) fn decide(known: Option<&Known>, asked: &Fingerprint, running: bool, now: Timestamp) -> Decision {
    let Some(known) = known.filter(|known| running || known.at.plus(KEPT) > now) else {
        return if running {
            Decision::InFlight
        } else {
            Decision::Start
        };
    };
    if let Some(field) = known.fingerprint.difference(asked) {
        return Decision::Mismatch(field);
    }
    match &known.reply {
        _ if running => Decision::InFlight,
        Some(reply) => Decision::Replay(reply.clone()),
        // The object restarted in the middle of the call. The origin has the same key and knows what became of it.
        None => Decision::Start,
    }
}

/// Whether an answer of the origin is the client's to see. Anything else is a fault of ours between the two.
/// A 5xx is believed only where the origin names, in its own words, what does not go away by waiting.
pub(crate) fn passes(reply: &Reply) -> bool {
    match reply.status {
        200..=299 | 400 | 402 | 404 | 409 | 415 | 422 => true,
        501 => reply.problem_slug() == NOT_CONFIGURED,
        _ => false,
    }
}

/// Whether an answer belongs to the key for good. One that says when to come again does not, nor does a balance that is
/// short (the page buys tokens and sends the same call again), nor what a setting of ours will change.
pub(crate) fn pins(reply: &Reply) -> bool {
    passes(reply) && !matches!(reply.status, 402 | 501) && reply.header.is_empty()
}

#[cfg(test)]
mod tests {
    use super::{Decision, Fingerprint, Known, decide, passes, pins};
    use crate::origin::Reply;
    use tollgate_shared::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);

    fn fingerprint(fields: &str) -> Fingerprint {
        Fingerprint(
            fields
                .split(' ')
                .filter_map(|pair| pair.split_once('='))
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
        )
    }

    fn reply(status: u16, header: &str) -> Reply {
        Reply {
            status,
            content_type: "application/json".to_owned(),
            header: header.to_owned(),
            body: "{}".to_owned(),
        }
    }

    fn known(fields: &str, done: bool, age_hours: i64) -> Known {
        Known {
            fingerprint: fingerprint(fields),
            reply: done.then(|| reply(201, "")),
            at: Timestamp::from_unix_seconds(
                NOW.unix_seconds().saturating_sub(age_hours.saturating_mul(3600)),
            ),
        }
    }

    #[test]
    fn ed_3_a_key_is_started_replayed_or_refused() {
        let asked = fingerprint("planId=pro method=Credit");
        let same = "planId=pro method=Credit";
        let cases = [
            (None, false, Decision::Start),
            (None, true, Decision::InFlight),
            (
                Some(known(same, true, 0)),
                false,
                Decision::Replay(reply(201, "")),
            ),
            (
                Some(known(same, true, 23)),
                false,
                Decision::Replay(reply(201, "")),
            ),
            (Some(known(same, true, 24)), false, Decision::Start),
            (Some(known(same, false, 0)), true, Decision::InFlight),
            (Some(known(same, false, 0)), false, Decision::Start),
            (
                Some(known("planId=max method=Credit", true, 0)),
                false,
                Decision::Mismatch("planId".to_owned()),
            ),
            (
                Some(known("planId=max method=Credit", false, 0)),
                true,
                Decision::Mismatch("planId".to_owned()),
            ),
            (
                Some(known("planId=pro", true, 0)),
                false,
                Decision::Mismatch("method".to_owned()),
            ),
            (
                Some(known("planId=pro method=Credit provider=ecpay", true, 0)),
                false,
                Decision::Mismatch("provider".to_owned()),
            ),
            (Some(known("planId=max", true, 25)), false, Decision::Start),
        ];
        for (known, running, expected) in cases {
            assert_eq!(
                decide(known.as_ref(), &asked, running, NOW),
                expected,
                "{known:?} {running}"
            );
        }
    }

    #[test]
    fn ed_3_a_failure_of_ours_is_not_pinned() {
        for status in [201, 200, 400, 404, 409, 422] {
            assert!(pins(&reply(status, "")), "{status}");
            assert!(!pins(&reply(status, "5")), "{status} with Retry-After");
        }
        for status in [301, 401, 402, 403, 408, 429, 500, 501, 502, 503, 504] {
            assert!(!pins(&reply(status, "")), "{status}");
        }
    }

    #[test]
    fn tb_7_a_missing_generator_is_told_and_not_pinned() {
        let of = |status: u16, body: &str| Reply {
            body: body.to_owned(),
            ..reply(status, "")
        };
        let missing = r#"{"type":"urn:tollgate:problem:generator-not-configured","status":501}"#;
        for (status, body, shown) in [
            (501, missing, true),
            (
                501,
                r#"{"type":"urn:tollgate:problem:unavailable","status":501}"#,
                false,
            ),
            (501, "<h1>Unsupported method</h1>", false),
            (501, "{}", false),
            (500, missing, false),
            (502, missing, false),
            (503, missing, false),
        ] {
            assert_eq!(passes(&of(status, body)), shown, "{status} {body}");
            assert!(!pins(&of(status, body)), "{status} {body}");
        }
    }
}
