//! `CreditCardPeriodAction`: stopping a periodic order, and trying its latest failed charge again.
//!
//! origin's gateway sends **request** → ECPay → **reply** → the subscription's state.
//!
//! Invariant: a reply that is returned was verified (form text with a MAC, reference §1.7.2; three recorded ones pass) and names
//! no other order: a MAC holds for ever, so another order's "stopped" would leave this one charging.
//! What a refusal means for a subscription is the caller's to decide; "stopped already" has a variant of its own,
//! because for a cancellation it is what was wanted. Cancel cannot be undone and refunds nothing. The result of ReAuth
//! comes later, to PeriodReturnURL; only the latest failed charge of a running order can be tried again (§1.5).

use super::Ecpay;
use super::query::{answer, check_speaks_of, signed};
use super::wire::Fields;
use crate::id::OrderNumber;
use crate::provider::{Refusal, ServerRequest};
use crate::time::Timestamp;

/// What can be done to a periodic order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeriodAction {
    /// Tries the latest failed charge again; the result comes to PeriodReturnURL.
    ReAuth,
    /// Stops the charges that are left, for ever. Refunds nothing.
    Cancel,
}

impl PeriodAction {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ReAuth => "ReAuth",
            Self::Cancel => "Cancel",
        }
    }
}

/// What became of a [`PeriodAction`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeriodActionReply {
    /// `1`: done; for ReAuth, queued.
    Done,
    /// `100006` and `90100149`: disabled already. For Cancel this is what was wanted.
    AlreadyStopped,
    /// `90100150`: no such periodic order.
    NotFound,
    /// Anything else, with ECPay's words.
    Refused {
        /// `RtnCode`
        code: String,
        /// `RtnMsg`
        message: String,
    },
}

/// A signed `CreditCardPeriodAction`. `base_url` as for the checkout form.
#[must_use]
pub fn request(
    ecpay: &Ecpay,
    base_url: &str,
    action: PeriodAction,
    order: &OrderNumber,
    now: Timestamp,
) -> ServerRequest {
    let path = "/Cashier/CreditCardPeriodAction";
    let fields = [
        ("MerchantTradeNo", order.to_string()),
        ("TimeStamp", now.unix_seconds().to_string()),
        ("Action", action.as_str().to_owned()),
    ];
    signed(ecpay, base_url, path, &fields)
}

/// Reads and verifies the answer of `CreditCardPeriodAction` about `order`.
pub fn reply(ecpay: &Ecpay, order: &OrderNumber, body: &[u8]) -> Result<PeriodActionReply, Refusal> {
    let form = answer(ecpay, body)?;
    let fields = Fields(&form);
    check_speaks_of(ecpay, order, fields)?;
    Ok(match fields.code("RtnCode")? {
        "1" => PeriodActionReply::Done,
        "100006" | "90100149" => PeriodActionReply::AlreadyStopped,
        "90100150" => PeriodActionReply::NotFound,
        code => PeriodActionReply::Refused {
            code: code.to_owned(),
            message: fields.get("RtnMsg").unwrap_or_default().to_owned(),
        },
    })
}
