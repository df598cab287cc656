//! Generic event sources that sign their body with an HMAC: Standard Webhooks and Stripe.
//!
//! receive → **verify** (`standard`, `stripe`) **→ normalise** → event with the payload as it came.
//!
//! Invariants: the signed bytes are the received ones; the timestamp in them is the header's own text, never a
//! number written again (`01760000000` and `1760000000` are one number and two messages). Age counts from when
//! the edge received the delivery, in both directions, so that an event that waited at the edge for an
//! hour still verifies at the origin. Any of several secrets may match. Not here: what the payload means.

mod standard;
mod stripe;

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::crypto;
use crate::event::{Event, EventKey, Fact};
use crate::id::SourceId;
use crate::provider::{Acknowledgement, Provider, Refusal, Unverified};
use crate::secret::Secret;
use crate::time::Timestamp;

/// How far a signed timestamp may be from the receipt unless configured otherwise.
pub const TOLERANCE_DEFAULT: Duration = Duration::from_mins(5);

/// How a source signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature` (standardwebhooks.com).
    Standard,
    /// `stripe-signature: t=…,v1=…`.
    Stripe,
}

impl Scheme {
    /// The scheme of its name in `WEBHOOK_SOURCES`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "standard" => Some(Self::Standard),
            "stripe" => Some(Self::Stripe),
            _ => None,
        }
    }
}

/// A secret that cannot be a key of its scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnusableSecret(&'static str);

/// A configured source.
#[derive(Clone)]
pub struct HmacSource {
    source: SourceId,
    scheme: Scheme,
    keys: Vec<Key>,
    tolerance: Duration,
}

/// The bytes that go into the HMAC.
#[derive(Clone)]
pub(crate) struct Key(Vec<u8>);

/// A delivery whose signature was checked. Made by [`HmacSource::verify`] only.
#[derive(Debug)]
pub struct Verified {
    id: String,
    signed_at: Timestamp,
    head: Head,
    payload: String,
}

impl Verified {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn payload(&self) -> &str {
        &self.payload
    }

    pub(crate) const fn signed_at(&self) -> Timestamp {
        self.signed_at
    }
}

/// What is read of a payload. Anything else in it is only checked to be JSON.
#[derive(Debug, Deserialize)]
struct Head {
    id: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    livemode: Option<bool>,
}

impl HmacSource {
    /// A source with its secrets, the one in use first. Refuses an empty list and unusable secrets.
    pub fn new(
        source: SourceId,
        scheme: Scheme,
        secrets: &[Secret],
        tolerance: Duration,
    ) -> Result<Self, UnusableSecret> {
        if secrets.is_empty() {
            return Err(UnusableSecret("holds no secret"));
        }
        let keys = secrets
            .iter()
            .map(|secret| match scheme {
                Scheme::Standard => standard::key(secret.expose()),
                Scheme::Stripe => stripe::key(secret.expose()),
            })
            .collect::<Result<Vec<Key>, UnusableSecret>>()?;
        Ok(Self {
            source,
            scheme,
            keys,
            tolerance,
        })
    }

    fn any_key_matches(&self, signed: &[&[u8]], matches: impl Fn(&[u8; 32]) -> bool) -> bool {
        let message = signed.concat();
        // Every key is tried, whatever the one before gave.
        self.keys.iter().fold(false, |found, key| {
            matches(&crypto::hmac_sha256(&key.0, &message)) | found
        })
    }

    fn check_age(&self, timestamp: &str, received_at: Timestamp) -> Result<Timestamp, Refusal> {
        let digits =
            (1..=15).contains(&timestamp.len()) && timestamp.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = if digits { timestamp.parse().ok() } else { None };
        let signed_at =
            Timestamp::from_unix_seconds(seconds.ok_or(Refusal::Malformed("the timestamp is not a number"))?);
        // The receipt is cut to its second, as the sender's clock is: 300 s and a fraction are 300 s.
        let received_second = Timestamp::from_unix_seconds(received_at.unix_seconds());
        if signed_at.distance(received_second) > self.tolerance {
            Err(Refusal::Stale)
        } else {
            Ok(signed_at)
        }
    }
}

impl Provider for HmacSource {
    type Verified = Verified;

    fn verify(&self, unverified: &Unverified<'_>) -> Result<Verified, Refusal> {
        if !self.notices().contains(&unverified.notice) {
            return Err(Refusal::UnknownNotice);
        }
        match self.scheme {
            Scheme::Standard => standard::verify(self, unverified),
            Scheme::Stripe => stripe::verify(self, unverified),
        }
    }

    fn normalise(&self, verified: Verified) -> Result<Event, Refusal> {
        Ok(Event {
            key: EventKey::new(&self.source, &[&verified.id]),
            source: self.source.clone(),
            merchant: None,
            order: None,
            test: verified.head.livemode == Some(false),
            occurred_at: Some(verified.signed_at),
            fact: Fact::Foreign {
                event_type: verified.head.event_type.unwrap_or_else(|| "unknown".to_owned()),
                payload: verified.payload,
            },
        })
    }

    /// Both schemes look at the status only.
    fn acknowledgement(&self) -> Acknowledgement {
        Acknowledgement {
            body: "OK",
            content_type: "text/plain",
        }
    }

    fn notices(&self) -> &'static [&'static str] {
        &["event"]
    }
}

/// An event id that can stand in a key: no `:` (it joins the parts) and no `.` (it joins the signed text).
fn event_id(id: &str, field: &'static str) -> Result<String, Refusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=128).contains(&id.len()) && id.bytes().all(allowed) {
        Ok(id.to_owned())
    } else {
        Err(Refusal::Field(field))
    }
}

fn read_payload(body: &[u8]) -> Result<(Head, String), Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal::Malformed("the body is not UTF-8"))?;
    let _: IgnoredAny = serde_json::from_str(text).map_err(|_| Refusal::Malformed("the body is not JSON"))?;
    let head = serde_json::from_str(text).map_err(|_| {
        Refusal::Malformed("the body is not an object with a text id and type, each at most once")
    })?;
    Ok((head, text.to_owned()))
}
