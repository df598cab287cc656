//! Whether the origin is away: pure.
//!
//! deliver → **outage** → `release`: when an origin that was away is back, the whole backlog becomes due at once,
//! instead of leaving each row to the delay that it has grown meanwhile.
//!
//! Invariant: one event that the origin always fails on, or that always takes too long, is not an outage. Away is
//! what two different orders met one after the other, with no answer of the origin's own in between; so a poisonous
//! order cannot release a backlog that backs off for good reasons at every success beside it.
//! Not here: what an answer means for its event (`state`).

use crate::origin::Reply;

/// What an answer says about the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It answered itself, be it with a refusal.
    There,
    /// Nobody did, or somebody did in its place.
    Away,
    /// Cannot be told: a bare 4xx or 500 may be anybody's.
    Unclear,
}

/// Reads it from an answer; `None` is no answer within the budget.
pub(super) fn presence(reply: Option<&Reply>) -> Presence {
    let Some(reply) = reply else {
        return Presence::Away;
    };
    match (reply.status, reply.problem_slug().as_str()) {
        (200..=299, _) if reply.takes_event() => Presence::There,
        // 503 is the origin's own word for "my database is away", or a proxy's that has nobody behind it.
        (200..=299 | 502 | 504, _) | (503, "" | "unavailable") => Presence::Away,
        (_, "") => Presence::Unclear,
        _ => Presence::There,
    }
}

/// What is remembered from answer to answer.
#[derive(Debug)]
pub(super) struct Outage {
    away: bool,
    /// The order that met silence last, if nothing was heard since.
    silent: Option<String>,
}

impl Outage {
    /// `away`: what to assume at the start.
    pub(super) const fn new(away: bool) -> Self {
        Self { away, silent: None }
    }

    /// Notes what an order met; `true` when the origin has just come back.
    pub(super) fn note(&mut self, order: &str, presence: Presence) -> bool {
        match presence {
            Presence::Unclear => false,
            Presence::There => {
                self.silent = None;
                std::mem::take(&mut self.away)
            }
            Presence::Away => {
                if self.silent.as_deref().is_some_and(|other| other != order) {
                    self.away = true;
                }
                self.silent = Some(order.to_owned());
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Outage, Presence, presence};
    use crate::origin::Reply;

    fn said(status: u16, body: &str) -> Presence {
        presence(Some(&Reply {
            status,
            content_type: String::new(),
            header: String::new(),
            body: body.to_owned(),
        }))
    }

    #[test]
    fn ed_5_only_silence_and_gateways_look_like_an_outage() {
        let ours = r#"{"outcome":"repeated","eventId":"01997c5e-0000-7000-8000-000000000001"}"#;
        let unavailable = r#"{"type":"urn:tollgate:problem:unavailable"}"#;
        let unconfigured = r#"{"type":"urn:tollgate:problem:source-not-configured"}"#;
        let internal = r#"{"type":"urn:tollgate:problem:internal"}"#;
        assert_eq!(presence(None), Presence::Away);
        for (status, body, expected) in [
            (200, ours, Presence::There),
            (200, "<html>", Presence::Away),
            (502, "", Presence::Away),
            (504, internal, Presence::Away),
            (503, "", Presence::Away),
            (503, unavailable, Presence::Away),
            (503, unconfigured, Presence::There),
            (500, internal, Presence::There),
            (500, "", Presence::Unclear),
            (404, "<html>", Presence::Unclear),
        ] {
            assert_eq!(said(status, body), expected, "{status} {body}");
        }
    }

    /// Each letter an order that met silence, `!` an answer of the origin's own; the answers that release.
    fn releases(story: &str) -> usize {
        let mut outage = Outage::new(false);
        let mut buffer = [0; 4];
        let notes = story.chars().filter(|letter| {
            let presence = if *letter == '!' {
                Presence::There
            } else {
                Presence::Away
            };
            outage.note(letter.encode_utf8(&mut buffer), presence)
        });
        notes.count()
    }

    #[test]
    fn ed_5_one_poisonous_order_never_releases_the_backlog() {
        assert_eq!(releases("aaaa!aa!a!a!a!"), 0);
        assert_eq!(
            releases("a!b!a!b!"),
            0,
            "one after the other, with an answer in between"
        );
        assert_eq!(releases("ab!"), 1);
        assert_eq!(releases("aba!!!a!"), 1, "once an outage");
        assert_eq!(releases("ab!cd!"), 2);
    }

    #[test]
    fn after_a_restart_the_first_answer_releases() {
        let mut outage = Outage::new(true);
        assert!(!outage.note("a", Presence::Unclear));
        assert!(outage.note("a", Presence::There));
        assert!(!outage.note("a", Presence::There));
    }
}
