//! The fields of ECPay's notices, read one by one.
//!
//! verify → **wire** → normalise.
//!
//! Invariant: a name is found ignoring case, because the MAC ignores it too (see `verify`; `Gwsr` and `gwsr` are
//! also both documented, §1.4.3). Strict: ids, codes and amounts. Lenient: dates and counts that only inform, since a
//! refused notice comes four times more and is then lost, whereas a recorded one can be looked at.
//! Not here: what a combination of fields means (`normalise`).

use std::str::FromStr;

use crate::form::Form;
use crate::id::{MerchantId, OrderNumber, ProviderPaymentId};
use crate::money::{Currency, Minor, Money};
use crate::provider::Refusal;
use crate::time::{ECPAY_FORMAT, Timestamp};

/// The fields of one notice or answer.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Form);

impl<'a> Fields<'a> {
    /// The value, ignoring the case of the name.
    pub(super) fn get(self, name: &str) -> Option<&'a str> {
        self.0
            .fields()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The value if it is there and not empty.
    pub(super) fn filled(self, name: &str) -> Option<&'a str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// A text of a type that must be there.
    pub(super) fn required<T: FromStr>(self, name: &'static str) -> Result<T, Refusal> {
        self.get(name)
            .and_then(|value| value.parse().ok())
            .ok_or(Refusal::Field(name))
    }

    /// A text of a type that may be absent or empty, but not of another type.
    pub(super) fn optional<T: FromStr>(self, name: &'static str) -> Result<Option<T>, Refusal> {
        self.filled(name)
            .map(|value| value.parse().map_err(|_| Refusal::Field(name)))
            .transpose()
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

    /// A result code: ECPay's longest has ten digits.
    pub(super) fn code(self, name: &'static str) -> Result<&'a str, Refusal> {
        let code = self.get(name).ok_or(Refusal::Field(name))?;
        let digits = (1..=10).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit());
        if digits {
            Ok(code)
        } else {
            Err(Refusal::Field(name))
        }
    }

    /// A count that informs; unreadable is absent.
    pub(super) fn count(self, name: &str) -> Option<u32> {
        self.get(name)?.parse().ok()
    }

    /// A Taiwan wall clock that informs; unreadable is absent.
    pub(super) fn time(self, name: &str) -> Option<Timestamp> {
        Timestamp::from_taipei(ECPAY_FORMAT, self.get(name)?)
    }

    /// `SimulatePaid`: only a plain 0 (or absence) is a real payment.
    pub(super) fn simulated(self) -> Result<bool, Refusal> {
        match self.get("SimulatePaid") {
            None | Some("" | "0") => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(Refusal::Field("SimulatePaid")),
        }
    }
}

/// What every notice begins with.
pub(super) struct Head<'a> {
    pub(super) merchant: MerchantId,
    pub(super) order: OrderNumber,
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    pub(super) simulated: bool,
}

impl<'a> Head<'a> {
    pub(super) fn read(fields: Fields<'a>) -> Result<Self, Refusal> {
        Ok(Self {
            merchant: fields.required("MerchantID")?,
            order: fields.required("MerchantTradeNo")?,
            code: fields.code("RtnCode")?,
            message: fields.get("RtnMsg").unwrap_or_default(),
            simulated: fields.simulated()?,
        })
    }
}

/// The identity of one charge of a periodic order: Gwsr, else ProcessDate (DESIGN.md, "Event identity").
///
/// Gwsr is ECPay's number of the authorisation; failed charges come without it, or with 0 (§1.5).
pub(super) struct PeriodCharge {
    /// Gwsr, or the digits of ProcessDate; never empty.
    pub(super) number: String,
    /// Gwsr as the provider's number, where there is one.
    pub(super) gwsr: Option<ProviderPaymentId>,
    pub(super) processed_at: Option<Timestamp>,
}

impl PeriodCharge {
    pub(super) fn read(fields: Fields<'_>) -> Result<Self, Refusal> {
        // Both are in every payment's notice and in no period's (§1.4.3), so a signed payment notice that somebody
        // posts to the period's path stops here: with NeedExtraPaidInfo it has a gwsr, an amount and a process_date.
        if fields.get("TradeNo").is_some() && fields.get("TradeAmt").is_some() {
            return Err(Refusal::Malformed(
                "TradeNo and TradeAmt are of a payment's notice, not of a period's: is this ReturnURL's notice?",
            ));
        }
        // Documented as ProcessDate; the same fact is spelt process_date elsewhere, and no raw notice was seen.
        let process_date = fields
            .filled("ProcessDate")
            .or_else(|| fields.filled("process_date"));
        let gwsr = fields.filled("Gwsr").filter(|gwsr| *gwsr != "0");
        let gwsr: Option<ProviderPaymentId> = match gwsr {
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            Some(_) => return Err(Refusal::Field("Gwsr")),
            None => None,
        };
        let digits = date_digits(process_date.unwrap_or_default());
        let number = gwsr.as_ref().map_or(digits, |gwsr| gwsr.as_str().to_owned());
        if number.is_empty() {
            return Err(Refusal::Field("ProcessDate"));
        }
        Ok(Self {
            number,
            gwsr,
            processed_at: process_date.and_then(|text| Timestamp::from_taipei(ECPAY_FORMAT, text)),
        })
    }
}

/// The digits of a wall clock, at most `yyyyMMddHHmmss`: a number for what has no other.
pub(super) fn date_digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).take(14).collect()
}

/// The code that a customer pays with, and the method it is for (§1.4.4).
pub(super) fn code_parts(fields: Fields<'_>) -> Vec<String> {
    let filled = |names: &[&str]| -> Vec<String> {
        names
            .iter()
            .filter_map(|name| fields.filled(name))
            .map(str::to_owned)
            .collect()
    };
    let groups: [&[&str]; 3] = [
        &["BankCode", "vAccount"],
        &["Barcode1", "Barcode2", "Barcode3"],
        &["PaymentNo"],
    ];
    groups
        .into_iter()
        .map(filled)
        .find(|parts| !parts.is_empty())
        .unwrap_or_default()
}

/// `ExpireDate`: a time for store codes, a day for transfers (until its end).
pub(super) fn expires_at(fields: Fields<'_>) -> Option<Timestamp> {
    let text = fields.filled("ExpireDate")?;
    let whole_day = || Timestamp::from_taipei(ECPAY_FORMAT, &format!("{text} 23:59:59"));
    Timestamp::from_taipei(ECPAY_FORMAT, text).or_else(whole_day)
}
