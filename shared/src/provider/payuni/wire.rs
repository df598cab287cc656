//! The inner fields of PAYUNi's notices, read one by one.
//!
//! verify → **wire** → normalise.
//!
//! Invariant: strict where money or identity hangs on a field, lenient where it only informs. Names are exact: GCM
//! protects them, unlike ECPay's MAC. Not here: what a combination of fields means (`normalise`).

use std::str::FromStr;

use crate::form::Form;
use crate::id::{OrderNumber, ProviderPaymentId};
use crate::money::{Currency, Minor, Money};
use crate::provider::Refusal;
use crate::time::Timestamp;

/// The sealed fields of one notice.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Form);

impl<'a> Fields<'a> {
    /// The value if it is there and not empty.
    pub(super) fn filled(self, name: &str) -> Option<&'a str> {
        self.0.get(name).filter(|value| !value.is_empty())
    }

    /// A text that informs.
    pub(super) fn text(self, name: &str) -> String {
        self.0.get(name).unwrap_or_default().to_owned()
    }

    /// A text of a type that must be there.
    pub(super) fn required<T: FromStr>(self, name: &'static str) -> Result<T, Refusal> {
        self.0
            .get(name)
            .and_then(|value| value.parse().ok())
            .ok_or(Refusal::Field(name))
    }

    /// Whole TWD: digits only.
    pub(super) fn money(self, name: &'static str) -> Result<Money, Refusal> {
        let amount_minor = self
            .0
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
        self.0.get(name)?.parse().ok()
    }

    /// PAYUNi's number of the charge; `-` and empty stand for none (A.8).
    pub(super) fn trade_no(self) -> Option<ProviderPaymentId> {
        self.filled("TradeNo")
            .filter(|text| *text != "-")
            .and_then(|text| text.parse().ok())
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
        let text = self.0.get("Status").ok_or(Refusal::Field("Status"))?;
        let shape = (1..=32).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        match text {
            "SUCCESS" => Ok(Status::Success),
            held if held.eq_ignore_ascii_case("UNKNOWN") || held.eq_ignore_ascii_case("UNAPPROVED") => {
                Ok(Status::Held(held))
            }
            code if shape => Ok(Status::Code(code)),
            _ => Err(Refusal::Field("Status")),
        }
    }

    /// `AuthDay` and `AuthTime` (Taiwan), else `PayTime`.
    pub(super) fn happened_at(self) -> Option<Timestamp> {
        let authorised = self
            .filled("AuthDay")
            .zip(self.filled("AuthTime"))
            .and_then(|(day, time)| Timestamp::from_taipei("%Y%m%d%H%M%S", &format!("{day}{time}")));
        authorised.or_else(|| Timestamp::from_taipei("%Y-%m-%d %H:%M:%S", self.filled("PayTime")?))
    }

    /// `ExpireDate` of a code: a time, or a day until its end.
    pub(super) fn expires_at(self) -> Option<Timestamp> {
        let text = self.filled("ExpireDate")?;
        let format = "%Y-%m-%d %H:%M:%S";
        Timestamp::from_taipei(format, text)
            .or_else(|| Timestamp::from_taipei(format, &format!("{text} 23:59:59")))
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

/// The inner `Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status<'a> {
    /// Done as asked; for money it needs a TradeStatus of 1 as well (reference A.9).
    Success,
    /// No answer of the bank yet, or under review.
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
