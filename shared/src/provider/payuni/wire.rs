//! The inner fields of PAYUNi's notices, read one by one.
//!
//! verify → **wire** → normalise.
//!
//! Invariant: strict where money or identity hangs on a field, lenient where it only informs. Names are exact: GCM
//! protects them, unlike ECPay's MAC. Not here: what a combination of fields means (`normalise`).

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::event::StoredCredential;
use crate::form::Form;
use crate::id::{OrderNumber, ProviderPaymentId};
use crate::money::{Currency, Minor, Money};
use crate::provider::Refusal;
use crate::secret::Secret;
use crate::time::Timestamp;

pub(super) const FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// The sealed fields of one notice, or of one row of a reply: the same names, the same rules.
#[derive(Clone, Copy)]
pub(super) enum Fields<'a> {
    Notice(&'a Form),
    Row(&'a BTreeMap<String, String>),
}

impl<'a> Fields<'a> {
    fn get(self, name: &str) -> Option<&'a str> {
        match self {
            Self::Notice(form) => form.get(name),
            Self::Row(row) => row.get(name).map(String::as_str),
        }
    }

    /// The value if it is there and not empty.
    pub(super) fn filled(self, name: &str) -> Option<&'a str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// A text that informs.
    pub(super) fn text(self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    /// A text of a type that must be there.
    pub(super) fn required<T: FromStr>(self, name: &'static str) -> Result<T, Refusal> {
        self.get(name)
            .and_then(|value| value.parse().ok())
            .ok_or(Refusal::Field(name))
    }

    /// Whole TWD: digits only.
    pub(super) fn money(self, name: &'static str) -> Result<Money, Refusal> {
        let amount_minor = self
            .get(name)
            .and_then(Minor::from_decimal)
            .ok_or(Refusal::Field(name))?;
        Ok(Money {
            amount_minor,
            currency: Currency::Twd,
        })
    }

    /// A count that informs; unreadable is absent.
    pub(super) fn count(self, name: &str) -> Option<u32> {
        self.get(name)?.parse().ok()
    }

    /// PAYUNi's number of the charge; `-` and empty stand for none (A.8).
    pub(super) fn trade_no(self) -> Option<ProviderPaymentId> {
        self.number("TradeNo").filter(|number| number.as_str() != "-")
    }

    /// One of PAYUNi's numbers that informs; unreadable is absent.
    pub(super) fn number(self, name: &str) -> Option<ProviderPaymentId> {
        self.filled(name)?.parse().ok()
    }

    /// `ResCode`, the bank's answer. It informs; what is no code is absent.
    pub(super) fn bank_code(self) -> Option<String> {
        let code = self.filled("ResCode")?;
        let shape = code.len() <= 8 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        shape.then(|| code.to_owned())
    }

    /// `CreditHash`, `CreditLife` and `Card4No` of a payment by which a card was agreed on (A.9, A.11).
    pub(super) fn credential(self) -> Option<StoredCredential> {
        let digits = |name| {
            self.filled(name)
                .filter(|text| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit()))
                .map(str::to_owned)
        };
        Some(StoredCredential {
            hash: Secret::new(self.filled("CreditHash")?.to_owned()),
            expires: digits("CreditLife"),
            card_last4: digits("Card4No"),
        })
    }

    /// The order. After a change of card MerTradeNo is `original_random`, and the original has a field of its own
    /// (A.8); splitting at `_` would mistake an order number that holds one.
    pub(super) fn order(self) -> Result<OrderNumber, Refusal> {
        match self.filled("OriginalMerTradeNo") {
            Some(original) => original.parse().map_err(|_| Refusal::Field("OriginalMerTradeNo")),
            None => self.required("MerTradeNo"),
        }
    }

    /// `Status`: `SUCCESS`, `UNKNOWN`, `UNAPPROVED` (also seen as `Unapproved`), or an error code.
    pub(super) fn status(self) -> Result<Status<'a>, Refusal> {
        let text = self.get("Status").ok_or(Refusal::Field("Status"))?;
        let shape = (1..=32).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        match text {
            "SUCCESS" => Ok(Status::Success),
            held if is_undecided(held) => Ok(Status::Held(held)),
            code if shape => Ok(Status::Code(code)),
            _ => Err(Refusal::Field("Status")),
        }
    }

    /// `AuthDay` and `AuthTime` (Taiwan), else `PayTime`, else `PaymentDay` (a query's).
    pub(super) fn happened_at(self) -> Option<Timestamp> {
        let authorised = self
            .filled("AuthDay")
            .zip(self.filled("AuthTime"))
            .and_then(|(day, time)| Timestamp::from_taipei("%Y%m%d%H%M%S", &format!("{day}{time}")));
        authorised
            .or_else(|| self.time("PayTime"))
            .or_else(|| self.time("PaymentDay"))
    }

    /// A Taiwan wall clock that informs; unreadable is absent.
    pub(super) fn time(self, name: &str) -> Option<Timestamp> {
        Timestamp::from_taipei(FORMAT, self.filled(name)?)
    }

    /// `ExpireDate` of a code: a time, or a day until its end.
    pub(super) fn expires_at(self) -> Option<Timestamp> {
        let text = self.filled("ExpireDate")?;
        Timestamp::from_taipei(FORMAT, text)
            .or_else(|| Timestamp::from_taipei(FORMAT, &format!("{text} 23:59:59")))
    }

    /// `PaymentType` in words (A.9's table).
    pub(super) fn method(self) -> Option<String> {
        let code = self.filled("PaymentType")?;
        let name = match code {
            "1" => "Credit",
            "2" => "ATM",
            "3" => "CVS",
            "6" => "iCash",
            "7" => "AFTEE",
            "9" => "LINEPay",
            "11" => "JKOPay",
            other => return Some(format!("PaymentType_{other}")),
        };
        Some(name.to_owned())
    }
}

/// Whether a `Status` says that nobody knows yet: the bank has not answered or reviews, the same call came before, or PAYUNi
/// failed by itself (系統異常: `UPP00000`, `CREDIT00000`, one in every family of codes).
pub(super) fn is_undecided(status: &str) -> bool {
    let is_fault = status
        .strip_suffix("00000")
        .is_some_and(|family| !family.is_empty() && family.bytes().all(|byte| byte.is_ascii_uppercase()));
    is_fault
        || is_repeat(status)
        || status.eq_ignore_ascii_case("UNKNOWN")
        || status.eq_ignore_ascii_case("UNAPPROVED")
}

/// Whether a `Status` says that the order number was used (已存在相同商店訂單編號) or that the same data are being worked on
/// (`API00009`). That refuses the second call and says nothing of the first, which may have charged the card.
///
/// The pages answer `UPP01007` (A.12). For `/api/credit` no document at hand names a code: shops' plugins meet
/// `CREDIT04001`; `CREDIT01007` would be numbered like the pages' and costs a query if it means something else.
pub(super) fn is_repeat(status: &str) -> bool {
    matches!(status, "UPP01007" | "CREDIT04001" | "CREDIT01007" | "API00009")
}

/// The inner `Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status<'a> {
    /// Done as asked; for money it needs a TradeStatus of 1 as well (reference A.9).
    Success,
    /// Nobody knows yet ([`is_undecided`]).
    Held(&'a str),
    /// An error code; never a success, whatever it is called (no list of them is published).
    Code(&'a str),
}

impl<'a> Status<'a> {
    pub(super) const fn as_str(self) -> &'a str {
        match self {
            Self::Success => "SUCCESS",
            Self::Held(text) | Self::Code(text) => text,
        }
    }
}
