//! Why a card was refused, in a word that the customer can do something about.
//!
//! normalise → a [`Decline`] → **reason** → a failure's notice and the history (`origin`), in the customer's language.
//!
//! Invariants: a code that nobody explains is [`DeclineReason::Refused`], which claims nothing; the bank's code says more
//! than the provider's and goes first. Codes are those of `decline_hardness`, whose sources are named there; what is hard
//! there and neither expired nor short of money is a card that cannot be used.
//! Not here: wording, whether another try is worth it (`decline_hardness`).

use super::{Hardness, decline_hardness};
use crate::event::Decline;

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclineReason {
    /// The card's date has passed.
    CardExpired,
    /// The balance or the limit is too low.
    InsufficientFunds,
    /// The bank does not take this card any more, or not for this.
    CardUnusable,
    /// It was refused, and no more is known.
    Refused,
}

impl DeclineReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [
        Self::CardExpired,
        Self::InsufficientFunds,
        Self::CardUnusable,
        Self::Refused,
    ];

    /// As tables and events write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::CardExpired => "card_expired",
            Self::InsufficientFunds => "insufficient_funds",
            Self::CardUnusable => "card_unusable",
            Self::Refused => "refused",
        }
    }

    /// The reason of a label.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.label() == label)
    }
}

/// Asks the bank's code where the decline has one, else the provider's.
#[must_use]
pub fn decline_reason(decline: &Decline) -> DeclineReason {
    let is_hard = decline_hardness(decline) == Hardness::Hard;
    match (decline.bank_code.as_deref(), decline.code.as_str()) {
        // ISO 8583 field 39: 54 expired; 51 not enough; 61 over a limit of money.
        (Some("54"), _) | (None, "10100251") => DeclineReason::CardExpired,
        (Some("51" | "61"), _) | (None, "10100252") => DeclineReason::InsufficientFunds,
        _ if is_hard => DeclineReason::CardUnusable,
        _ => DeclineReason::Refused,
    }
}
