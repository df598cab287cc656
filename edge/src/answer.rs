//! What a caller is told.
//!
//! Every handler → **answer** → the runtime. Success for a provider is its own exact bytes; a refusal is an
//! RFC 9457 problem document.
//!
//! Invariant (DESIGN.md, 8): the text of an answer comes from `shared` or from here, written for the client;
//! nothing internal has a way into it. The outcome is one word for the log and never leaves the edge otherwise.
//! Not here: which refusal a fault is (each step says so).

use std::borrow::Cow;

use tollgate_shared::problem::{CONTENT_TYPE, Problem};
use tollgate_shared::provider::Acknowledgement;
use wasm_bindgen::JsValue;

use crate::port;

/// An answer before the runtime has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// Header lines, `name: value`, joined by line feeds.
    pub(crate) lines: String,
    /// Sent as it is: a provider compares it byte for byte.
    pub(crate) body: Cow<'static, str>,
    /// One word for the log.
    pub(crate) outcome: Cow<'static, str>,
}

impl Answer {
    /// A provider's success answer, byte for byte.
    pub(crate) fn acknowledged(acknowledgement: Acknowledgement, outcome: &'static str) -> Self {
        Self {
            status: 200,
            lines: format!("content-type: {}", acknowledgement.content_type),
            body: Cow::Borrowed(acknowledgement.body),
            outcome: Cow::Borrowed(outcome),
        }
    }

    /// A JSON document.
    pub(crate) fn json(status: u16, body: String, outcome: &'static str) -> Self {
        Self {
            status,
            lines: "content-type: application/json\ncache-control: no-store".to_owned(),
            body: Cow::Owned(body),
            outcome: Cow::Borrowed(outcome),
        }
    }

    /// A refusal.
    pub(crate) fn problem(problem: &Problem) -> Self {
        let slug = problem.type_urn.rsplit(':').next().unwrap_or_default();
        Self {
            status: problem.status,
            lines: format!("content-type: {CONTENT_TYPE}\ncache-control: no-store"),
            body: Cow::Owned(problem.to_json()),
            outcome: Cow::Owned(slug.to_owned()),
        }
    }

    /// Sends a browser on. The location is ours: a setting, and an id that was read.
    pub(crate) fn see_other(location: &str, outcome: Cow<'static, str>) -> Self {
        Self {
            status: 303,
            lines: format!("location: {location}\ncache-control: no-store"),
            body: Cow::Borrowed(""),
            outcome,
        }
    }

    /// No content.
    pub(crate) const fn empty(outcome: &'static str) -> Self {
        Self {
            status: 204,
            lines: String::new(),
            body: Cow::Borrowed(""),
            outcome: Cow::Borrowed(outcome),
        }
    }

    /// The answer as the runtime wants it. What cannot be one (it never was seen) is `undefined`: a 500.
    pub(crate) fn into_response(self) -> JsValue {
        port::answer(self.status, &self.lines, &self.body).map_or(JsValue::UNDEFINED, JsValue::from)
    }

    /// Adds a header. `value` is ours, or an entry of a list that the configuration gave: never a caller's.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        for part in [if self.lines.is_empty() { "" } else { "\n" }, name, ": ", value] {
            self.lines.push_str(part);
        }
        self
    }
}

/// A method that the path does not have.
pub(crate) fn wrong_method(allowed: &str) -> Answer {
    let problem = Problem::new(405, "method-not-allowed", "The path does not have this method")
        .detail(format!("Allowed: {allowed}."));
    Answer::problem(&problem).header("allow", allowed)
}

/// A path that does not exist.
pub(crate) fn not_found() -> Answer {
    Answer::problem(&Problem::new(404, "not-found", "There is nothing here"))
}

/// A body over the cap, or one that says so.
pub(crate) fn too_large(max: u32) -> Answer {
    let problem = Problem::new(413, "body-too-large", "The body is too large")
        .detail(format!("At most {max} bytes."))
        .with("maxBytes", max);
    Answer::problem(&problem)
}

/// A caller that came too often.
pub(crate) fn limited(retry_after_seconds: u64) -> Answer {
    let problem = Problem::new(429, "too-many-requests", "Too many requests")
        .detail(format!("Try again in {retry_after_seconds} s."));
    Answer::problem(&problem).header("retry-after", &retry_after_seconds.to_string())
}

/// Something on our side is not there; the caller should come again.
pub(crate) fn unavailable(slug: &str, title: &'static str) -> Answer {
    Answer::problem(&Problem::new(503, slug, title)).header("retry-after", "5")
}

/// A setting is missing: fail closed, and say where the reason stands.
pub(crate) fn not_configured(slug: &str, title: &'static str) -> Answer {
    let problem =
        Problem::new(503, slug, title).detail("GET /api/webhooks/health names the missing settings.");
    Answer::problem(&problem)
}

#[cfg(test)]
mod tests {
    use super::{Answer, limited, not_configured, not_found, too_large, wrong_method};
    use tollgate_shared::provider::{Acknowledgement, Refusal};

    fn shown(answer: &Answer) -> String {
        format!(
            "{}\n{}\n\n{}\n({})\n",
            answer.status, answer.lines, answer.body, answer.outcome
        )
    }

    /// Golden: these bytes are what providers and clients match on.
    #[test]
    fn answers_are_what_they_always_were() {
        let refusal = Refusal::SignatureMismatch {
            hint: "is HashKey the stage key?",
        }
        .problem();
        let acknowledgement = Acknowledgement {
            body: "1|OK",
            content_type: "text/plain",
        };
        let all = [
            Answer::acknowledged(acknowledgement, "accepted"),
            Answer::problem(&refusal),
            wrong_method("POST, OPTIONS"),
            not_found(),
            too_large(65_536),
            limited(6),
            not_configured("session-not-configured", "Sessions are not configured"),
            Answer::empty("preflight").header("vary", "Origin"),
            Answer::see_other("https://app.example/paid?paymentId=7", "accepted".into()),
        ];
        let shown: String = all.iter().map(shown).collect::<Vec<_>>().join("----\n");
        assert_eq!(shown, include_str!("../tests/golden/answers.txt"));
    }
}
