//! Amounts of money: whole minor units with their currency.
//!
//! Used by every step from normalise to ledger. TWD has no minor unit in use, so one `Minor` is NT$1
//! (ISO 4217 lists two decimals; no Taiwanese provider accepts them, ECPay: "whole TWD").
//!
//! Invariant: no floats, and every sum is checked; an overflow is an error, never a wrap.
//! Not here: balances (`origin::ledger`), limits of a provider (`provider::*::checkout`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A currency that Tollgate can book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Currency {
    /// New Taiwan dollar; its minor unit is the dollar itself.
    #[serde(rename = "TWD")]
    Twd,
}

impl Currency {
    /// The ISO 4217 code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Twd => "TWD",
        }
    }

    /// The currency of an ISO 4217 code, exactly as written in capitals.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        (code == "TWD").then_some(Self::Twd)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

/// An amount in whole minor units; the sign is the direction of a ledger entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Minor(i64);

impl Minor {
    /// Nothing owed, nothing moved.
    pub const ZERO: Self = Self(0);

    /// Wraps a number of minor units.
    #[must_use]
    pub const fn new(amount_minor: i64) -> Self {
        Self(amount_minor)
    }

    /// The number of minor units.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The sum, or `None` where it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The same amount in the other direction, or `None` for `i64::MIN`.
    #[must_use]
    pub const fn checked_neg(self) -> Option<Self> {
        match self.0.checked_neg() {
            Some(negated) => Some(Self(negated)),
            None => None,
        }
    }

    /// Reads a provider's decimal text: digits only, no sign, no leading zero, at most 15 digits.
    ///
    /// `i64::from_str` would also take `+300` and `0300`; two spellings of one amount are two chances to
    /// compare them wrongly.
    #[must_use]
    pub fn from_decimal(text: &str) -> Option<Self> {
        let canonical = text == "0" || !text.starts_with('0');
        let digits = !text.is_empty() && text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit());
        if !(canonical && digits) {
            return None;
        }
        text.parse().ok().map(Self)
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// An amount together with what it is an amount of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// Whole minor units.
    pub amount_minor: Minor,
    /// The currency of `amount_minor`.
    pub currency: Currency,
}

impl Money {
    /// Whole New Taiwan dollars.
    #[must_use]
    pub const fn twd(amount_minor: i64) -> Self {
        Self {
            amount_minor: Minor::new(amount_minor),
            currency: Currency::Twd,
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.currency, self.amount_minor)
    }
}

#[cfg(test)]
mod tests {
    use super::Minor;

    #[test]
    fn decimal_text_has_one_spelling() {
        for (text, expected) in [
            ("0", Some(0)),
            ("300", Some(300)),
            ("999999999999999", Some(999_999_999_999_999)),
            ("1000000000000000", None),
            ("", None),
            ("0300", None),
            ("+300", None),
            ("-300", None),
            ("300.0", None),
            (" 300", None),
            ("３００", None),
        ] {
            assert_eq!(Minor::from_decimal(text).map(Minor::get), expected, "{text:?}");
        }
    }

    #[test]
    fn sums_do_not_wrap() {
        assert_eq!(Minor::new(i64::MAX).checked_add(Minor::new(1)), None);
        assert_eq!(Minor::new(i64::MIN).checked_neg(), None);
    }
}
