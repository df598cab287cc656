//! `CreditDetail/DoAction`: capturing, refunding and abandoning a card's charge.
//!
//! origin's gateway sends **request** → ECPay → **reply** → the refund's state.
//!
//! Which action fits which state is the caller's to know (reference §1.7.3): a charge that is still to be captured is
//! given back in full by [`Action::CancelCapture`] and then [`Action::Abandon`], a captured one by [`Action::Refund`],
//! in part or in full. A charge of a periodic order goes under its own TradeNo. Not to be called between 20:15 and 20:30,
//! and not there on the stage system, so no real reply was ever recorded.
//! Invariant: a MAC is checked where the reply has one. It may have none, and then only TLS vouches for it: nothing but
//! our own request's outcome may be read from it. A reply in another shop's or order's name is refused.

use super::query::{check_speaks_of, checked, signed};
use super::wire::Fields;
use super::{Ecpay, mac};
use crate::form::Form;
use crate::id::{OrderNumber, ProviderPaymentId};
use crate::money::Money;
use crate::provider::checkout_error::amount;
use crate::provider::{CheckoutError, Refusal, ServerRequest};

/// `Action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `C`: capture an authorised charge now.
    Capture,
    /// `R`: give back a captured charge, or a part of it.
    Refund,
    /// `E`: take a charge out of tonight's capture.
    CancelCapture,
    /// `N`: give up the authorisation; the customer is never charged.
    Abandon,
}

impl Action {
    const fn code(self) -> &'static str {
        match self {
            Self::Capture => "C",
            Self::Refund => "R",
            Self::CancelCapture => "E",
            Self::Abandon => "N",
        }
    }
}

/// What became of an [`Action`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DoActionReply {
    /// RtnCode `1`.
    Done,
    /// Anything else, with ECPay's words.
    Refused {
        /// `RtnCode`
        code: String,
        /// `RtnMsg`
        message: String,
    },
}

/// A signed `DoAction`. `trade_no` is ECPay's number of the charge, `money` what is to be moved, not the order's total.
pub fn request(
    ecpay: &Ecpay,
    base_url: &str,
    (order, trade_no): (&OrderNumber, &ProviderPaymentId),
    action: Action,
    money: Money,
) -> Result<ServerRequest, CheckoutError> {
    let fields = [
        ("MerchantTradeNo", order.to_string()),
        ("TradeNo", trade_no.to_string()),
        ("Action", action.code().to_owned()),
        ("TotalAmount", amount("TotalAmount", money, 1, i64::MAX)?),
    ];
    Ok(signed(ecpay, base_url, "/CreditDetail/DoAction", &fields))
}

/// Reads the answer about `order`: form text (as the official PHP SDK reads it), or `1|OK` (as ECPay's API skill describes it).
pub fn reply(ecpay: &Ecpay, order: &OrderNumber, body: &[u8]) -> Result<DoActionReply, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal::Malformed("the answer is not UTF-8"))?;
    match text.trim().split_once('|') {
        Some((code, message)) if !code.contains('=') => outcome(code, message),
        _ => form_reply(ecpay, order, body),
    }
}

fn form_reply(ecpay: &Ecpay, order: &OrderNumber, body: &[u8]) -> Result<DoActionReply, Refusal> {
    let raw = Form::parse_raw(body).map_err(Refusal::Form)?;
    let form = match raw.get(mac::FIELD) {
        // Whether the text is percent-encoded is nowhere said; the MAC tells.
        Some(_) => checked(ecpay, raw).or_else(|refusal| {
            Form::parse(body)
                .map_err(Refusal::Form)
                .and_then(|decoded| checked(ecpay, decoded))
                .map_err(|_| refusal)
        })?,
        None => raw,
    };
    let fields = Fields(&form);
    check_speaks_of(ecpay, order, fields)?;
    outcome(fields.code("RtnCode")?, fields.get("RtnMsg").unwrap_or_default())
}

fn outcome(code: &str, message: &str) -> Result<DoActionReply, Refusal> {
    let digits = (1..=10).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit());
    match code {
        "1" => Ok(DoActionReply::Done),
        _ if digits => Ok(DoActionReply::Refused {
            code: code.to_owned(),
            message: message.to_owned(),
        }),
        _ => Err(Refusal::Field("RtnCode")),
    }
}
