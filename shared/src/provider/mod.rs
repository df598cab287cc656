//! The providers: one folder each, one way through all of them.
//!
//! receive → **verify → normalise** → forward | inbox. Edge and origin both call [`Sources::read`] on the same
//! bytes with the same configuration, so there is one truth about what a notice means.
//!
//! Invariants (DESIGN.md, 3): only `provider::<name>::verify` can construct that provider's `Verified`,
//! `normalise` takes nothing else, and [`Provider`] has no default methods, so that a new provider cannot
//! forget to verify and still compile. A source that is not configured, or configured by halves, refuses.
//! What the origin finds by asking becomes the same events by [`Sources::read_observed`], which the edge never calls.
//! Not here: transport, storage, what an event does.

mod checkout_error;
mod decline_hardness;
mod decline_reason;
pub mod ecpay;
pub mod hmac_source;
pub mod mock;
mod observed;
pub mod payuni;
mod refusal;
mod settings;
mod sources;

pub use checkout_error::CheckoutError;
pub use decline_hardness::{Hardness, decline_hardness};
pub use decline_reason::{DeclineReason, decline_reason};
pub use observed::{
    CHARGE_BY_HAND, CHARGE_REPLY, OBSERVED_PAYMENT, OBSERVED_PERIOD, Observation, is_observed,
};
pub use refusal::Refusal;
pub use sources::{SourceState, Sources};

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::time::Timestamp;

/// A delivery as it came in. Nothing in it may be believed.
#[derive(Debug, Clone, Copy)]
pub struct Unverified<'a> {
    /// Which notice of the source: the last part of the webhook's path (`payment`, `code`, `period`, `event`).
    pub notice: &'a str,
    /// The headers that a source may sign over ([`SIGNED_HEADERS`]), names in lower case.
    pub headers: &'a [(String, String)],
    /// The body, byte for byte.
    pub body: &'a [u8],
    /// When the edge received it. Tolerances of timestamps count from here.
    pub received_at: Timestamp,
}

impl Unverified<'_> {
    /// The value of a header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The only request headers that any source's signature covers; the edge reads and forwards no others.
pub const SIGNED_HEADERS: [&str; 4] = [
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "stripe-signature",
];

/// What every provider does with a delivery. No default methods, on purpose.
///
/// `invariant_3`, the way through:
/// ```
/// use tollgate_shared::event::Event;
/// use tollgate_shared::form::Form;
/// use tollgate_shared::id::MerchantId;
/// use tollgate_shared::provider::payuni::{Payuni, Verified};
/// use tollgate_shared::provider::{Provider, Refusal, Unverified};
/// fn read(payuni: &Payuni, delivery: &Unverified<'_>) -> Result<Event, Refusal> {
///     let verified: Verified = payuni.verify(delivery)?;
///     payuni.normalise(verified)
/// }
/// // The names that the examples below need exist; what they try is what fails.
/// fn takes(_: MerchantId, _: Form) {}
/// ```
/// `invariant_3`, nothing but a `Verified` is normalised:
/// ```compile_fail,E0308
/// use tollgate_shared::event::Event;
/// use tollgate_shared::provider::payuni::Payuni;
/// use tollgate_shared::provider::{Provider, Refusal, Unverified};
/// fn read(payuni: &Payuni, delivery: Unverified<'_>) -> Result<Event, Refusal> {
///     payuni.normalise(delivery)
/// }
/// ```
/// `invariant_3`, a `Verified` is made by `verify` only:
/// ```compile_fail,E0451
/// use tollgate_shared::form::Form;
/// use tollgate_shared::id::MerchantId;
/// use tollgate_shared::provider::payuni::Verified;
/// fn forge(merchant: MerchantId, inner: Form) -> Verified {
///     Verified { merchant, inner }
/// }
/// ```
pub trait Provider {
    /// A delivery whose signature was checked. Constructed in the provider's `verify` module only.
    type Verified;

    /// Checks the signature over the received bytes, in constant time, with the current and the previous key.
    fn verify(&self, unverified: &Unverified<'_>) -> Result<Self::Verified, Refusal>;

    /// Says what a verified delivery means.
    fn normalise(&self, verified: Self::Verified) -> Result<Event, Refusal>;

    /// The exact answer by which this provider knows that its notice arrived.
    fn acknowledgement(&self) -> Acknowledgement;

    /// The notices that this provider sends, as they stand in the webhook's path.
    fn notices(&self) -> &'static [&'static str];
}

/// The exact bytes of a provider's success answer, with HTTP 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The body, byte for byte.
    pub body: &'static str,
    /// Its media type.
    pub content_type: &'static str,
}

/// A form that the customer's browser posts to the provider's cashier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutForm {
    /// Where to post it.
    pub action: String,
    /// Always `POST`.
    pub method: String,
    /// The fields in the order in which they are to be sent, signature included.
    pub fields: Vec<(String, String)>,
}

/// A form that the origin posts to a provider's server, signature included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRequest {
    /// Where to post it.
    pub url: String,
    /// The fields in the order in which they are to be sent.
    pub fields: Vec<(String, String)>,
}
