//! Error answers: RFC 9457 problem documents with stable `type` URNs.
//!
//! Used by edge and origin for every 4xx and 5xx that a developer reads; a provider's own refusal bytes are
//! made elsewhere (`provider::Acknowledgement`).
//!
//! Invariant (DESIGN.md, 8): a `Problem` is built from words written for the client. There is no way to make
//! one from a `Debug` text or an error chain. Not here: which error becomes which problem (each boundary has
//! one exhaustive match of its own).

use serde::Serialize;
use serde_json::{Map, Value};

/// The media type of a problem document (RFC 9457 §3).
pub const CONTENT_TYPE: &str = "application/problem+json";

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `urn:tollgate:problem:<slug>`: stable, safe to match on.
    #[serde(rename = "type")]
    pub type_urn: String,
    /// The same words for every occurrence of the type.
    pub title: &'static str,
    /// The HTTP status, repeated from the response.
    pub status: u16,
    /// What a developer can do about this occurrence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Members that belong to the type (`upgradeUrl`, `field`, …).
    #[serde(flatten)]
    pub extensions: Map<String, Value>,
}

impl Problem {
    /// A problem of the type `slug`.
    #[must_use]
    pub fn new(status: u16, slug: &str, title: &'static str) -> Self {
        Self {
            type_urn: format!("urn:tollgate:problem:{slug}"),
            title,
            status,
            detail: String::new(),
            extensions: Map::new(),
        }
    }

    /// Says what to do about this occurrence.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Adds a member of the type.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.to_owned(), value.into());
        self
    }

    /// The document as JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A struct of strings, a number and a map of JSON values always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Problem;

    #[test]
    fn document_is_flat_and_ordered() {
        let problem = Problem::new(409, "plan-covered", "The plan is already paid for")
            .detail("Renew after 2026-12-01.")
            .with("renewAfter", "2026-12-01T00:00:00Z");
        assert_eq!(
            problem.to_json(),
            r#"{"type":"urn:tollgate:problem:plan-covered","title":"The plan is already paid for","status":409,"detail":"Renew after 2026-12-01.","renewAfter":"2026-12-01T00:00:00Z"}"#
        );
    }
}
