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
//! ```
//!
//! Invariant (ED-5): an event leaves `pending` only when the origin answered 2xx, or refused in a way that
//! repeating cannot mend; everything else, and no answer at all, keeps it. Not here: storage, time, the network.

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
    /// The provider sent the notice (again).
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

/// What the origin's answer means; `None` is no answer. `problem` is the problem type's last word, if any.
pub(crate) fn verdict(status: Option<u16>, problem: &str) -> Verdict {
    match status {
        Some(200..=299) => Verdict::Delivered,
        Some(status @ (400 | 409 | 413 | 415 | 422)) => Verdict::Parked(format!("{status} {problem}")),
        // 401 and 403: the hop's key is wrong; 404: an older origin; 408, 429, 5xx: later. All can be mended
        // without touching the event.
        Some(_) | None => Verdict::Kept,
    }
}

#[cfg(test)]
mod tests {
    use super::{Occurrence, State, Verdict, next, verdict};

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

    #[test]
    fn ed_5_only_what_repeating_cannot_mend_is_parked() {
        for status in 100..600 {
            let expected = match status {
                200..=299 => Verdict::Delivered,
                400 | 409 | 413 | 415 | 422 => Verdict::Parked(format!("{status} key-mismatch")),
                _ => Verdict::Kept,
            };
            assert_eq!(verdict(Some(status), "key-mismatch"), expected, "{status}");
        }
        assert_eq!(verdict(None, ""), Verdict::Kept);
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
