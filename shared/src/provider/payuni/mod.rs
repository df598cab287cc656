//! PAYUNi (統一金流): one-time payments, periodic orders, notices and server replies.
//!
//! origin's checkout → `checkout` → the customer's browser → PAYUNi → **`verify` → `normalise`** → event.
//!
//! `cipher` is the envelope, `wire` the fields of the two notices, `reply` the envelope of the server calls, which have
//! a file for each family: `period_calls`, `trade_calls`, `credit`. `observe` lists what their replies tell.
//! Invariant: nothing outside `verify` makes a `Verified`, and meaning is read from the sealed inner fields
//! only; the outer ones are unsigned. Facts are from PAYUNi's documentation pages (#/7/…) and official SDKs, by
//! way of the reference, whose sections (A.1 …) are named where they are used.
//! Not here: sending requests (origin's gateway).

pub mod checkout;
pub mod cipher;
pub mod credit;
mod normalise;
pub mod observe;
pub mod period_calls;
pub mod reply;
pub mod trade_calls;
mod verify;
mod wire;

pub use verify::Verified;

use crate::event::Event;
use crate::id::{MerchantId, SourceId};
use crate::provider::{Acknowledgement, Provider, Refusal, Unverified};
use crate::secret::{Rotating, Secret};

/// The two secrets of a merchant.
#[derive(Debug, Clone)]
pub struct PayuniKeys {
    /// 32 ASCII bytes: the AES-256 key.
    pub hash_key: Secret,
    /// 16 ASCII bytes: the GCM nonce.
    pub hash_iv: Secret,
}

/// A merchant at PAYUNi.
#[derive(Debug, Clone)]
pub struct Payuni {
    source: SourceId,
    merchant: MerchantId,
    keys: Rotating<PayuniKeys>,
}

impl Payuni {
    /// A merchant with its keys; `source` is the name that stands in the webhook's path.
    #[must_use]
    pub fn new(source: SourceId, merchant: MerchantId, keys: Rotating<PayuniKeys>) -> Self {
        Self {
            source,
            merchant,
            keys,
        }
    }

    /// PAYUNi's MerID.
    #[must_use]
    pub const fn merchant(&self) -> &MerchantId {
        &self.merchant
    }

    /// Reads what `observe` composed: the origin's own notices.
    pub(super) fn read_observed(&self, unverified: &Unverified<'_>) -> Result<Event, Refusal> {
        verify::observed::read(self, unverified.notice, unverified.body)
    }

    /// The outer fields around sealed inner ones, with the current keys; `None` for unusable keys.
    fn envelope(&self, version: &str, inner: &[(String, String)]) -> Option<Vec<(String, String)>> {
        let (key, iv) = (
            self.keys.current.hash_key.expose(),
            self.keys.current.hash_iv.expose(),
        );
        let plaintext =
            crate::form::encode(inner.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let encrypt_info = cipher::seal(&plaintext, key, iv)?;
        let hash_info = cipher::hash_info(&encrypt_info, key, iv);
        let outer = [
            ("MerID", self.merchant.as_str().to_owned()),
            ("Version", version.to_owned()),
            ("EncryptInfo", encrypt_info),
            ("HashInfo", hash_info),
        ];
        Some(
            outer
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }
}

impl Provider for Payuni {
    type Verified = Verified;

    fn verify(&self, unverified: &Unverified<'_>) -> Result<Verified, Refusal> {
        verify::verify(&self.keys, unverified)
    }

    fn normalise(&self, verified: Verified) -> Result<Event, Refusal> {
        normalise::normalise(&self.source, &verified)
    }

    /// PAYUNi documents no answer; `OK` is what most live integrations send (A.7).
    fn acknowledgement(&self) -> Acknowledgement {
        Acknowledgement {
            body: "OK",
            content_type: "text/plain",
        }
    }

    /// `return` is what the customer's browser carries (ReturnURL): sealed like the others, and read like them.
    fn notices(&self) -> &'static [&'static str] {
        &["payment", "period", "return"]
    }
}
