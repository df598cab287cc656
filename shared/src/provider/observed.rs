//! What polling finds, as notices that only the origin makes.
//!
//! origin's poller asks a provider → `ecpay::observe` | `payuni::observe` list what the answer **tells** → the origin's own
//! inbox keeps the body → [`Sources::read_observed`](super::Sources::read_observed) reads it like any notice.
//!
//! Invariants: an observation is the same event as the notice that told the same fact, under the same key, so that it does
//! not matter which comes first, or how often. Its body is verified again whenever it is read, as a notice's is.
//! No provider sends these notices: they stand in no `Provider::notices()`, and `Sources::read`, which the edge calls,
//! refuses them. Not here: when to ask (origin), what a body is made of (each provider's `verify::observed`).

use crate::event::Event;

/// A one-off payment, or the first charge of a periodic order.
pub const OBSERVED_PAYMENT: &str = "observed-payment";
/// A charge of a periodic order; at ECPay, the second and later.
pub const OBSERVED_PERIOD: &str = "observed-period";
/// PAYUNi's reply to a charge of a stored card.
pub const CHARGE_REPLY: &str = "charge-reply";
/// What an operator found in the provider's console of a charge of a stored card that no reply settled.
pub const CHARGE_BY_HAND: &str = "charge-by-hand";

/// Whether a notice is one that only the origin makes.
#[must_use]
pub fn is_observed(notice: &str) -> bool {
    matches!(
        notice,
        OBSERVED_PAYMENT | OBSERVED_PERIOD | CHARGE_REPLY | CHARGE_BY_HAND
    )
}

/// One fact that a polled answer tells, ready for the origin's inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Under which notice the inbox keeps it.
    pub notice: &'static str,
    /// What the inbox keeps: enough to verify and read it again.
    pub body: Vec<u8>,
    /// What it says, by the same reading that the inbox will make.
    pub event: Event,
}
