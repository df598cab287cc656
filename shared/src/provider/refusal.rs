//! Why a delivery is refused, and what the sender is told.
//!
//! verify and normalise → **refusal** → the edge's problem+json answer (and the origin's).
//!
//! Invariant: the words help a developer who set something up wrong and give nothing to a forger: no expected
//! MAC, no key, no echo of the body. Every variant has its own problem type (one exhaustive match).

use crate::form::FormError;
use crate::problem::Problem;

/// Why a delivery is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No source of that name.
    #[error("no such source")]
    UnknownSource,
    /// The source exists in the code but has no settings here, or unusable ones: fail closed.
    #[error("the source is not configured")]
    NotConfigured,
    /// The source sends no such notice.
    #[error("no such notice")]
    UnknownNotice,
    /// The body is not a form.
    #[error("the body is not a readable form")]
    Form(#[source] FormError),
    /// The body is not what this notice is made of.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A field is missing, or is not of its type.
    #[error("field {0} is missing or unusable")]
    Field(&'static str),
    /// The signature is not ours under any accepted key.
    #[error("signature does not match ({hint})")]
    SignatureMismatch {
        /// What to check, for a developer.
        hint: &'static str,
    },
    /// A signed timestamp outside the tolerance.
    #[error("timestamp outside the tolerance")]
    Stale,
}

impl Refusal {
    /// The answer to the sender.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::UnknownSource => Problem::new(404, "unknown-source", "No such webhook source"),
            Self::NotConfigured => Problem::new(503, "source-not-configured", "The source is not configured")
                .detail("GET /api/webhooks/health names the missing settings."),
            Self::UnknownNotice => Problem::new(404, "unknown-notice", "The source sends no such notice"),
            Self::Form(error) => {
                Problem::new(400, "malformed-body", "The body cannot be read").detail(error.to_string())
            }
            Self::Malformed(reason) => {
                Problem::new(400, "malformed-body", "The body cannot be read").detail(*reason)
            }
            Self::Field(name) => Problem::new(400, "missing-field", "A field is missing or unusable")
                .with("field", *name)
                .detail(format!("Field {name} is missing or not of its type.")),
            Self::SignatureMismatch { hint } => {
                Problem::new(403, "signature-mismatch", "The signature does not match").detail(*hint)
            }
            Self::Stale => Problem::new(
                403,
                "stale-timestamp",
                "The signed timestamp is outside the tolerance",
            )
            .detail("Check the sender's clock; a replayed delivery is refused as well."),
        }
    }
}
