//! What a user wants of notices: where to, in which language, which not.
//!
//! The service API puts **[`Preferences`]** → `db::notices` → `enqueue` (whether there is a mail), `work::outbox` (where to).
//!
//! Invariant (DESIGN.md, 8): an address is personal data. [`EmailAddress`] shows nothing in `Debug` and has no `Display`,
//! so it reaches a log only through `expose`; it can be mailed to as it is, without escaping.
//! Not here: whether mail arrives there.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use tollgate_shared::id::InvalidId;

use super::{Locale, NoticeKind};

/// RFC 5321 §4.5.3.1.3: a path of 256, its angle brackets included.
const EMAIL_LENGTH_MAX: usize = 254;

/// Of a user; one who told nothing has none of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preferences {
    /// Where to send mail.
    pub(crate) email: Option<EmailAddress>,
    /// The language.
    pub(crate) locale: Locale,
    /// The kinds that are not mailed.
    pub(crate) muted: BTreeSet<NoticeKind>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            email: None,
            locale: Locale::USUAL,
            muted: BTreeSet::new(),
        }
    }
}

/// An address that mail can be sent to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EmailAddress(lettre::Address);

impl EmailAddress {
    /// The address itself. Give it to the database, the mail server and its owner's backend, to nothing else.
    pub(crate) fn expose(&self) -> &str {
        self.0.as_ref()
    }

    /// The same, as the mail library takes it.
    pub(crate) fn into_inner(self) -> lettre::Address {
        self.0
    }
}

impl FromStr for EmailAddress {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let rule = "an e-mail address of at most 254 ASCII characters (a domain in its xn-- form)";
        let usable = |address: &lettre::Address| {
            let bytes = text.as_bytes();
            bytes.len() <= EMAIL_LENGTH_MAX
                && bytes.iter().all(u8::is_ascii_graphic)
                && !address.domain().starts_with('[')
        };
        let address = text.parse::<lettre::Address>().ok().filter(usable);
        let invalid = InvalidId {
            kind: "e-mail address",
            rule,
        };
        address.map(Self).ok_or(invalid)
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("EmailAddress(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::EmailAddress;

    #[test]
    fn an_address_is_plain_and_mailable() {
        for (text, taken) in [
            ("lin@example.tw", true),
            ("lin+tollgate@mail.example.tw", true),
            ("lin@xn--fiq228c.tw", true),
            ("", false),
            ("lin", false),
            ("@example.tw", false),
            ("lin@", false),
            ("lin@example.tw\r\nBcc: all@example.tw", false),
            ("lin @example.tw", false),
            ("Lin <lin@example.tw>", false),
            ("lin@example.tw,wu@example.tw", false),
            ("林@example.tw", false),
            ("lin@中文.tw", false),
            ("lin@[127.0.0.1]", false),
        ] {
            assert_eq!(text.parse::<EmailAddress>().is_ok(), taken, "{text:?}");
        }
        let long = format!("lin@{}.tw", "a.".repeat(130));
        assert!(long.parse::<EmailAddress>().is_err());
    }

    #[test]
    fn invariant_8_debug_shows_no_address() {
        let address: EmailAddress = "lin@example.tw".parse().unwrap();
        assert_eq!(format!("{address:?}"), "EmailAddress(…)");
    }
}
