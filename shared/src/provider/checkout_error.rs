//! Why an order cannot be put to a provider, and the checks that find it.
//!
//! origin's checkout → a provider's `checkout` → **these checks** → a form or the reason.
//!
//! Invariant: every variant names the provider's field and the limit that it breaks, so that a mistake in a
//! plan's configuration is found without the provider's manual. The limits themselves are constants of each
//! provider's `checkout`. Not here: business refusals (`origin::domain`).

use crate::money::{Currency, Money};

/// Why an order cannot be put to the provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckoutError {
    /// The order number has another form than the provider takes.
    #[error("{field} must be {rule}")]
    OrderNumber {
        /// The provider's field.
        field: &'static str,
        /// What it takes.
        rule: &'static str,
    },
    /// The amount is outside the provider's range.
    #[error("{field} must be between {minimum} and {maximum}")]
    AmountOutOfRange {
        /// The provider's field.
        field: &'static str,
        /// In whole minor units.
        minimum: i64,
        /// In whole minor units.
        maximum: i64,
    },
    /// The provider takes New Taiwan dollars only.
    #[error("{field} must be in TWD")]
    CurrencyUnsupported {
        /// The provider's field.
        field: &'static str,
    },
    /// A text is empty that must not be.
    #[error("{field} must not be empty")]
    Empty {
        /// The provider's field.
        field: &'static str,
    },
    /// A text is longer than the provider takes (and would be cut, which breaks the MAC).
    #[error("{field} must have at most {limit} characters, has {found}")]
    TooLong {
        /// The provider's field.
        field: &'static str,
        /// In characters.
        limit: usize,
        /// In characters.
        found: usize,
    },
    /// A character that the provider refuses, or that its MAC cannot frame.
    #[error("{field} must not contain {character:?}")]
    CharacterForbidden {
        /// The provider's field.
        field: &'static str,
        /// The first such character.
        character: char,
    },
    /// Not an absolute http(s) URL in visible ASCII.
    #[error("{field} must be an absolute http or https URL in ASCII")]
    NotAUrl {
        /// The provider's field.
        field: &'static str,
    },
    /// Two URLs with different roles are the same.
    #[error("{field} must differ from {other}")]
    SameUrl {
        /// The provider's field.
        field: &'static str,
        /// The field with the same URL.
        other: &'static str,
    },
    /// A number outside the provider's range.
    #[error("{field} must be between {minimum} and {maximum}, is {found}")]
    OutOfRange {
        /// The provider's field.
        field: &'static str,
        /// The smallest allowed value.
        minimum: u32,
        /// The largest allowed value.
        maximum: u32,
        /// What was asked for.
        found: u32,
    },
    /// Two fields that the provider does not take together.
    #[error("{field} cannot be used with {other}")]
    Conflict {
        /// The provider's field.
        field: &'static str,
        /// The field or value that excludes it.
        other: &'static str,
    },
    /// A date is not a real date of the form `YYYY-MM-DD`.
    #[error("{field} must be a date like 2026-12-31")]
    NotADate {
        /// The provider's field.
        field: &'static str,
    },
    /// The clock gave an instant that has no Taiwan date.
    #[error("{field} cannot be written as a Taiwan date")]
    Unrepresentable {
        /// The provider's field.
        field: &'static str,
    },
    /// The merchant's keys cannot seal the order.
    #[error("the merchant's keys are unusable")]
    Keys,
}

pub(super) fn amount(
    field: &'static str,
    money: Money,
    minimum: i64,
    maximum: i64,
) -> Result<String, CheckoutError> {
    if money.currency != Currency::Twd {
        return Err(CheckoutError::CurrencyUnsupported { field });
    }
    if !(minimum..=maximum).contains(&money.amount_minor.get()) {
        return Err(CheckoutError::AmountOutOfRange {
            field,
            minimum,
            maximum,
        });
    }
    Ok(money.amount_minor.to_string())
}

pub(super) fn number(
    field: &'static str,
    found: u32,
    minimum: u32,
    maximum: u32,
) -> Result<String, CheckoutError> {
    if (minimum..=maximum).contains(&found) {
        Ok(found.to_string())
    } else {
        Err(CheckoutError::OutOfRange {
            field,
            minimum,
            maximum,
            found,
        })
    }
}

pub(super) fn length(field: &'static str, text: &str, limit: usize) -> Result<(), CheckoutError> {
    let found = text.chars().count();
    if found > limit {
        Err(CheckoutError::TooLong { field, limit, found })
    } else {
        Ok(())
    }
}

/// A text that must be there, of at most `limit` characters, without control characters or any of `banned`.
pub(super) fn text(
    field: &'static str,
    text: &str,
    limit: usize,
    banned: &str,
) -> Result<String, CheckoutError> {
    if text.is_empty() {
        return Err(CheckoutError::Empty { field });
    }
    length(field, text, limit)?;
    match text
        .chars()
        .find(|character| character.is_control() || banned.contains(*character))
    {
        Some(character) => Err(CheckoutError::CharacterForbidden { field, character }),
        None => Ok(text.to_owned()),
    }
}

/// An absolute URL. Ports are not checked: ECPay reaches 80 and 443 only, the sandbox any.
pub(super) fn url(field: &'static str, url: &str, limit: usize) -> Result<String, CheckoutError> {
    length(field, url, limit)?;
    let after_scheme = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let has_host = after_scheme.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    if has_host && url.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(url.to_owned())
    } else {
        Err(CheckoutError::NotAUrl { field })
    }
}
