//! The states of an event in its inbox, and what moves it: pure.
//!
//! ```text
//!            notice                  delivered
//!   (none) ─────────▶ pending ───────────────────▶ delivered ──35 days──▶ (none)
//!                     ▲  │  ▲ kept: try again later
//!      notice         │  │  └──┐
//!      (try again)    │  └─────┘
//!                     │      refused for good
//!                     └────── parked ◀──── pending
//!                        a day passed
//! ```
//!
//! Invariant (ED-5): an event leaves `pending` only when the origin said in its own words that it has it, or named
//! a problem of ours that repeating cannot mend. Every other answer keeps it, whoever gave it: a proxy's 4xx, a page
//! with status 200, a deployment of only one side, none at all. Not here: storage, time, the network.

use crate::origin::Reply;

/// Problems of the origin that lie in the bytes: the same bytes will meet them again. Not among them, although they
/// are 4xx: `key-mismatch`, `signature-mismatch`, `stale-timestamp` (a deployment or a setting mends them) and
/// `unsupported-media-type` (only something between edge and origin can cause it).
const FOR_GOOD: [&str; 4] = [
    "malformed-body",
    "missing-field",
    "body-too-long",
    "body-too-large",
];

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Durable here, not yet at the origin.
    Pending,
    /// The origin has it; only the key is left, so that repeats are recognised.
    Delivered,
    /// The origin refused it for good; kept with the reason for a person.
    Parked,
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The origin has it.
    Delivered,
    /// The origin will never take it as it is.
    Parked(String),
    /// Try again later.
    Kept,
}

/// What happens to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Occurrence {
    /// The provider sent the notice (again), or a parked event has waited for its day.
    Notice,
    /// An attempt ended.
    Attempt(Verdict),
}

impl State {
    /// As stored: the statements of the store write these numbers, and its partial index depends on the 0.
    pub(crate) const fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Pending),
            1 => Some(Self::Delivered),
            2 => Some(Self::Parked),
            _ => None,
        }
    }
}

/// The state after an occurrence; `None` for no change.
pub(crate) fn next(state: Option<State>, occurrence: &Occurrence) -> Option<State> {
    match (state, occurrence) {
        (None | Some(State::Parked), Occurrence::Notice) => Some(State::Pending),
        (Some(State::Pending), Occurrence::Attempt(Verdict::Delivered)) => Some(State::Delivered),
        (Some(State::Pending), Occurrence::Attempt(Verdict::Parked(_))) => Some(State::Parked),
        // A repeat of what is pending or delivered goes no further; an attempt that ends late, when another
        // has settled the row meanwhile, changes nothing.
        (Some(State::Pending | State::Delivered), Occurrence::Notice)
        | (Some(State::Pending), Occurrence::Attempt(Verdict::Kept))
        | (None | Some(State::Delivered | State::Parked), Occurrence::Attempt(_)) => None,
    }
}

/// What the origin's answer means; `None` is no answer.
pub(crate) fn verdict(reply: Option<&Reply>) -> Verdict {
    let Some(reply) = reply else {
        return Verdict::Kept;
    };
    if reply.takes_event() {
        return Verdict::Delivered;
    }
    let problem = reply.problem_slug();
    let for_good = matches!(reply.status, 400 | 413 | 422) && FOR_GOOD.contains(&problem.as_str());
    if for_good {
        Verdict::Parked(format!("{} {problem}", reply.status))
    } else {
        Verdict::Kept
    }
}

#[cfg(test)]
mod tests {
    use super::{FOR_GOOD, Occurrence, State, Verdict, next, verdict};
    use crate::origin::Reply;

    const STATES: &str = "
        state      occurrence   next
        none       notice       pending
        none       delivered    -
        none       parked       -
        none       kept         -
        pending    notice       -
        pending    delivered    delivered
        pending    parked       parked
        pending    kept         -
        delivered  notice       -
        delivered  delivered    -
        delivered  parked       -
        delivered  kept         -
        parked     notice       pending
        parked     delivered    -
        parked     parked       -
        parked     kept         -
    ";

    fn state(word: &str) -> Option<State> {
        match word {
            "pending" => Some(State::Pending),
            "delivered" => Some(State::Delivered),
            "parked" => Some(State::Parked),
            _ => None,
        }
    }

    fn occurrence(word: &str) -> Occurrence {
        match word {
            "notice" => Occurrence::Notice,
            "delivered" => Occurrence::Attempt(Verdict::Delivered),
            "parked" => Occurrence::Attempt(Verdict::Parked("422 x".to_owned())),
            _ => Occurrence::Attempt(Verdict::Kept),
        }
    }

    #[test]
    fn ed_5_every_state_meets_every_occurrence() {
        let rows: Vec<Vec<&str>> = STATES
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let rows: Vec<_> = rows.iter().filter(|row| row.len() == 3).skip(1).collect();
        assert_eq!(rows.len(), 16);
        for row in rows {
            assert_eq!(next(state(row[0]), &occurrence(row[1])), state(row[2]), "{row:?}");
        }
    }

    fn of(status: u16, body: String) -> Verdict {
        verdict(Some(&Reply {
            status,
            content_type: String::new(),
            header: String::new(),
            body,
        }))
    }

    #[test]
    fn ed_5_only_what_repeating_cannot_mend_is_parked() {
        let problem = |slug: &str| format!(r#"{{"type":"urn:tollgate:problem:{slug}"}}"#);
        for status in 100..600 {
            for slug in FOR_GOOD {
                let expected = match status {
                    400 | 413 | 422 => Verdict::Parked(format!("{status} {slug}")),
                    _ => Verdict::Kept,
                };
                assert_eq!(of(status, problem(slug)), expected, "{status}");
            }
            for mendable in [
                "key-mismatch",
                "signature-mismatch",
                "stale-timestamp",
                "unsupported-media-type",
                "unknown-source",
                "handoff-refused",
                "unavailable",
            ] {
                assert_eq!(
                    of(status, problem(mendable)),
                    Verdict::Kept,
                    "{status} {mendable}"
                );
            }
        }
        assert_eq!(verdict(None), Verdict::Kept);
    }

    #[test]
    fn ed_5_what_others_answer_in_the_origins_place_keeps_the_event() {
        let page = "<!doctype html><title>We are back soon</title>";
        for status in 100..600 {
            for body in [
                "",
                page,
                "{}",
                r#"{"type":"about:blank","title":"malformed-body"}"#,
            ] {
                assert_eq!(of(status, body.to_owned()), Verdict::Kept, "{status} {body}");
            }
        }
        let ours =
            r#"{"outcome":"accepted","applied":false,"eventId":"01997c5e-0000-7000-8000-000000000001"}"#;
        assert_eq!(of(200, ours.to_owned()), Verdict::Delivered);
    }

    #[test]
    fn states_are_stored_as_the_statements_write_them() {
        let states = [0, 1, 2, 3, -1].map(State::from_code);
        assert_eq!(
            states,
            [
                Some(State::Pending),
                Some(State::Delivered),
                Some(State::Parked),
                None,
                None
            ]
        );
    }
}
