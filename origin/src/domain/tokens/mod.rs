//! What the token system speaks about: companies, articles, keys and amounts, each of a shape that was checked.
//!
//! http, cli, work → **these types** → `db::tokens` → `migrations/functions`, which check the same shapes again.
//!
//! Invariant: a value that exists can be put into an operation key, a header or a log line without escaping, and no
//! company id holds a colon, so that `token:<company>:<key>` reads one way only (V6 says the same to the table).
//! Not here: who may spend what, which the stored functions decide under the company's lock. Failure: [`InvalidId`].

use tollgate_shared::id::InvalidId;
use tollgate_shared::text_id;

text_id!(
    /// Whose tokens (`company_subscriptions.company_id`).
    CompanyId, "company id", 1..=64,
    |byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte),
    "1 to 64 of A-Z a-z 0-9 . _ -"
);
text_id!(
    /// What tokens are spent on.
    ArticleId, "article id", 1..=128,
    |byte| byte.is_ascii_graphic(),
    "1 to 128 visible ASCII characters"
);
text_id!(
    /// The caller's idempotency key; unique over all companies, kept as long as the record.
    TokenKey, "idempotency key", 1..=160,
    |byte| byte.is_ascii_graphic(),
    "1 to 160 visible ASCII characters"
);

/// A number of tokens to move, from one to ten to the fifteenth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenAmount(i64);

impl TokenAmount {
    /// As the stored functions accept it: fifteen digits cannot overflow a sum of 5,000.
    pub const MAX: i64 = 1_000_000_000_000_000;

    /// Checks the range.
    pub fn new(tokens: i64) -> Result<Self, InvalidId> {
        let rule = "a whole number from 1 to 1000000000000000";
        let amount = Some(tokens).filter(|tokens| (1..=Self::MAX).contains(tokens));
        amount.map(Self).ok_or(InvalidId {
            kind: "amount of tokens",
            rule,
        })
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// What kind of bucket tokens are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BucketKind {
    /// A period's quota; expires with it, unless the plan carries some over.
    Monthly,
    /// Given, with a priority and an expiry.
    Promotional,
    /// Bought; never expires, and is spent last.
    Purchased,
}

impl BucketKind {
    /// As the tables write it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Monthly => "monthly",
            Self::Promotional => "promotional",
            Self::Purchased => "purchased",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ArticleId, CompanyId, TokenAmount, TokenKey};

    #[test]
    fn shapes_are_those_of_the_tables() {
        let long = |length: usize| "a".repeat(length);
        for (text, company, article, key) in [
            ("acme-1.2_3", true, true, true),
            ("", false, false, false),
            ("a:b", false, true, true),
            ("a b", false, false, false),
            ("a\u{7f}", false, false, false),
            ("\u{6587}", false, false, false),
            (long(64).as_str(), true, true, true),
            (long(65).as_str(), false, true, true),
            (long(128).as_str(), false, true, true),
            (long(129).as_str(), false, false, true),
            (long(160).as_str(), false, false, true),
            (long(161).as_str(), false, false, false),
        ] {
            let seen = (
                text.parse::<CompanyId>().is_ok(),
                text.parse::<ArticleId>().is_ok(),
                text.parse::<TokenKey>().is_ok(),
            );
            assert_eq!(seen, (company, article, key), "{text:?}");
        }
    }

    #[test]
    fn amounts_are_positive_and_bounded() {
        for (tokens, fits) in [
            (1, true),
            (0, false),
            (-1, false),
            (TokenAmount::MAX, true),
            (i64::MAX, false),
        ] {
            assert_eq!(TokenAmount::new(tokens).is_ok(), fits, "{tokens}");
        }
    }
}
