//! What travels from edge to origin for one provider notice.
//!
//! forward → **envelope** → inbox. The body is JSON, versioned; golden files in `shared/tests/golden` keep
//! every version ever sent, because edge and origin deploy at different moments.
//!
//! Invariant: `raw` is byte for byte what the provider sent, and `key` is what the edge made of it; the origin
//! makes its own and refuses a difference (a pair assertion). Not here: the signature of the hop (`handoff`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::id::SourceId;
use crate::time::Timestamp;

/// The version that this code sends.
pub const VERSION: u32 = 1;

/// A provider notice on its way to the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Which configured source it came in by.
    pub source: SourceId,
    /// Which of the source's notices: the last part of the webhook's path.
    pub notice: String,
    /// The event key that the edge computed.
    pub key: String,
    /// When the edge received it; signature tolerances count from here, however late the origin reads it.
    pub received_at: Timestamp,
    /// The request headers that the source signs over, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as received.
    pub raw: Vec<u8>,
}

/// Why an envelope cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not the JSON of an envelope.
    #[error("not an envelope")]
    Malformed(#[source] serde_json::Error),
    /// A version that this code does not know: deploy the origin before the edge.
    #[error("envelope version {0} is not known here")]
    UnknownVersion(u32),
    /// The body is not base64.
    #[error("the raw body is not base64")]
    NotBase64,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    version: u32,
    source: SourceId,
    notice: String,
    key: String,
    received_at_ms: Timestamp,
    #[serde(default)]
    headers: Vec<(String, String)>,
    raw_base64: String,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl Envelope {
    /// The envelope as JSON of the current version.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let wire = Wire {
            version: VERSION,
            source: self.source.clone(),
            notice: self.notice.clone(),
            key: self.key.clone(),
            received_at_ms: self.received_at,
            headers: self.headers.clone(),
            raw_base64: STANDARD.encode(&self.raw),
        };
        // Strings and numbers only: this cannot fail to serialise.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// Reads an envelope of any version ever sent.
    pub fn from_json(json: &[u8]) -> Result<Self, EnvelopeError> {
        let version: VersionOnly = serde_json::from_slice(json).map_err(EnvelopeError::Malformed)?;
        if version.version != VERSION {
            return Err(EnvelopeError::UnknownVersion(version.version));
        }
        let wire: Wire = serde_json::from_slice(json).map_err(EnvelopeError::Malformed)?;
        Ok(Self {
            source: wire.source,
            notice: wire.notice,
            key: wire.key,
            received_at: wire.received_at_ms,
            headers: wire.headers,
            raw: STANDARD
                .decode(wire.raw_base64)
                .map_err(|_| EnvelopeError::NotBase64)?,
        })
    }
}
