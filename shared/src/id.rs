//! Typed identifiers: one type a noun, so that a swap is a compile error.
//!
//! Two families. UUID ids are ours (UUIDv7, made by origin and edge from a random source and a clock that
//! they own); text ids come from elsewhere and are checked against what the owner of the format allows.
//!
//! Invariant: an id that exists has the shape its type promises, so it can be put into a key, a header or a
//! log line without escaping. Not here: making ids (that needs randomness and time).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An identifier that does not have the shape of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {rule}")]
pub struct InvalidId {
    /// The kind of identifier, as a client may read it.
    pub kind: &'static str,
    /// What a valid one looks like.
    pub rule: &'static str,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Gives a UUID its meaning.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The bare UUID, for a database parameter.
            #[must_use]
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| InvalidId { kind: $kind, rule: "a UUID" })
            }
        }
    };
}

uuid_id!(
    /// One attempt of a user to pay for a plan (`payments.id`).
    PaymentId, "payment id"
);
uuid_id!(
    /// One delivery of a provider's notice, followed from edge to ledger entry in every log line.
    DeliveryId, "delivery id"
);
uuid_id!(
    /// One row of the origin's inbox.
    InboxEventId, "inbox event id"
);

/// Makes a type of text that is checked when it is made: from a `String`, a `&str` or JSON, with an upper bound in bytes, a
/// rule a byte, and the rule in words for [`InvalidId`]. The caller's crate needs `serde`.
#[macro_export]
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, 1..=$max:literal, $allowed:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::id::InvalidId;

            fn try_from(text: String) -> Result<Self, $crate::id::InvalidId> {
                let allowed: fn(u8) -> bool = $allowed;
                if (1..=$max).contains(&text.len()) && text.bytes().all(allowed) {
                    Ok(Self(text))
                } else {
                    Err($crate::id::InvalidId { kind: $kind, rule: $rule })
                }
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::id::InvalidId;

            fn from_str(text: &str) -> Result<Self, $crate::id::InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A person, as the session's `sub` names them (Supabase: a UUID; others: their own text).
    UserId, "user id", 1..=128,
    |byte| byte.is_ascii_alphanumeric() || b"._:@|-".contains(&byte),
    "1 to 128 of A-Z a-z 0-9 . _ : @ | -"
);
text_id!(
    /// A shop's number at a provider (ECPay `MerchantID`, PAYUNi `MerID`).
    MerchantId, "merchant id", 1..=20,
    |byte| byte.is_ascii_alphanumeric(),
    "1 to 20 letters or digits"
);
text_id!(
    /// Our number for an order (ECPay `MerchantTradeNo` at most 20, PAYUNi `MerTradeNo` at most 25).
    OrderNumber, "order number", 1..=30,
    |byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-',
    "1 to 30 letters, digits, _ or -"
);
text_id!(
    /// What is bought (`plans.id`).
    PlanId, "plan id", 1..=64,
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-',
    "1 to 64 of a-z 0-9 -"
);
text_id!(
    /// The provider's number for one charge. Text, because ECPay's period charges have 20 digits, more
    /// than a `u64` holds (reference: recorded ExecLog, NODEAIO).
    ProviderPaymentId, "provider payment id", 1..=64,
    |byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-',
    "1 to 64 letters, digits, _ or -"
);
text_id!(
    /// The name of a configured source of events, as it stands in the webhook's path (`ecpay`, `crm`).
    SourceId, "source", 1..=32,
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-',
    "1 to 32 of a-z 0-9 -"
);

#[cfg(test)]
mod tests {
    use super::{MerchantId, OrderNumber, PaymentId, SourceId, UserId};

    #[test]
    fn ids_refuse_what_their_format_does_not_allow() {
        assert!("T01ABC".parse::<OrderNumber>().is_ok());
        for bad in ["", "a b", "a&b", "訂單", "0123456789012345678901234567890"] {
            assert!(bad.parse::<OrderNumber>().is_err(), "{bad:?}");
        }
        assert!("3002607".parse::<MerchantId>().is_ok());
        assert!("3002607\n".parse::<MerchantId>().is_err());
        assert!("auth0|17".parse::<UserId>().is_ok());
        assert!("a/b".parse::<UserId>().is_err());
        assert!("ECPay".parse::<SourceId>().is_err());
        assert!("not-a-uuid".parse::<PaymentId>().is_err());
    }

    #[test]
    fn serde_checks_as_parsing_does() {
        assert!(serde_json::from_str::<MerchantId>("\"30 02607\"").is_err());
        let merchant: MerchantId = serde_json::from_str("\"3002607\"").unwrap();
        assert_eq!(serde_json::to_string(&merchant).unwrap(), "\"3002607\"");
    }
}
