//! A notice of a provider: what it says, and how each delivery of it is sealed.
//!
//! `ecpay`, `payuni`, `mock` draft it → **notice** → `delivery` sends it, again and again until it is acknowledged.
//!
//! Invariants: a delivery is sealed when it is sent, so a re-send really differs where the provider's differs (ECPay:
//! `RtnMsg` `paid`, and with it the MAC); what counts as acknowledged is decided on exact bytes, here and nowhere else.
//! Not here: when to send (`delivery`), which fields there are (the provider modules).
//! Failure: sealing cannot fail on text; a PAYUNi key of a wrong length was refused at start.

use tollgate_shared::time::Timestamp;

use crate::config::Merchant;
use crate::trade::Provider;
use crate::{ecpay, mock, payuni};

/// Which of a provider's notices it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Payment,
    Code,
    Period,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Code => "code",
            Self::Period => "period",
        }
    }
}

/// How a draft becomes bytes.
#[derive(Debug, Clone)]
pub(crate) enum Seal {
    Ecpay(Merchant),
    Payuni(Merchant),
    Mock { secret: tollgate_shared::secret::Secret },
}

impl Seal {
    pub(crate) const fn provider(&self) -> Provider {
        match self {
            Self::Ecpay(_) => Provider::Ecpay,
            Self::Payuni(_) => Provider::Payuni,
            Self::Mock { .. } => Provider::Mock,
        }
    }
}

/// What is to be said, and where.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) simulated: bool,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) seal: Seal,
}

/// One delivery as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Draft {
    /// Puts other values in place before sealing: how a test gets a genuine MAC over a wrong amount.
    pub(crate) fn replace(&mut self, replacements: &[(String, String)]) {
        for (name, value) in replacements {
            match self.fields.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => old.clone_from(value),
                None => self.fields.push((name.clone(), value.clone())),
            }
        }
    }

    /// The bytes of delivery number `attempt`, counted from 1. `id` names the notice, not the delivery.
    pub(crate) fn sealed(&self, id: &str, attempt: u32, now: Timestamp) -> Sealed {
        match &self.seal {
            Seal::Ecpay(merchant) => ecpay::notice::sealed(merchant, &self.fields, attempt),
            Seal::Payuni(merchant) => payuni::notice::sealed(merchant, &self.fields),
            Seal::Mock { secret } => mock::sealed(secret, &self.fields, id, now),
        }
    }
}

/// Whether an answer acknowledges a notice of this provider.
///
/// ECPay wants HTTP 200 and the four bytes `1|OK` (reference §1.4.5). PAYUNi documents nothing; the strictest reply
/// seen in the field, `OK`, is asked for. Standard Webhooks takes any 2xx.
pub(crate) fn acknowledges(provider: Provider, status: u16, body: &[u8]) -> bool {
    match provider {
        Provider::Ecpay => status == 200 && body == b"1|OK",
        Provider::Payuni => status == 200 && body == b"OK",
        Provider::Mock => (200..300).contains(&status),
    }
}

#[cfg(test)]
mod tests {
    use super::acknowledges;
    use crate::trade::Provider;

    #[test]
    fn only_the_exact_answer_acknowledges() {
        for (provider, status, body, expected) in [
            (Provider::Ecpay, 200, "1|OK", true),
            (Provider::Ecpay, 200, "1|OK\n", false),
            (Provider::Ecpay, 200, "\"1|OK\"", false),
            (Provider::Ecpay, 200, "1|ok", false),
            (Provider::Ecpay, 200, " 1|OK", false),
            (Provider::Ecpay, 200, "\u{feff}1|OK", false),
            (Provider::Ecpay, 200, "", false),
            (Provider::Ecpay, 201, "1|OK", false),
            (Provider::Ecpay, 302, "1|OK", false),
            (Provider::Ecpay, 500, "1|OK", false),
            (Provider::Ecpay, 200, "0|no", false),
            (Provider::Payuni, 200, "OK", true),
            (Provider::Payuni, 200, "OK\n", false),
            (Provider::Payuni, 200, "1|OK", false),
            (Provider::Payuni, 204, "OK", false),
            (Provider::Mock, 200, "", true),
            (Provider::Mock, 204, "", true),
            (Provider::Mock, 302, "", false),
            (Provider::Mock, 500, "", false),
        ] {
            assert_eq!(
                acknowledges(provider, status, body.as_bytes()),
                expected,
                "{provider:?} {status} {body:?}"
            );
        }
    }
}
