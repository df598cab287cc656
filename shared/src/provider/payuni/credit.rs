//! Charging a card that the customer agreed on before: `/api/credit` by CreditHash, and giving the agreement up.
//!
//! origin's outbox → **charge request** → PAYUNi → `observed` reads the reply → the origin's inbox.
//!
//! The agreement is made on PAYUNi's page (`checkout::agreement_form`); its notice carries the CreditHash, a
//! [`StoredCredential`]. Card data never come near us. Needs a contract of its own and a bound address (reference A.11).
//! Invariant: the CreditHash leaves only inside a sealed request, whose `Debug` therefore shows nothing of it.
//! A charge is not idempotent at PAYUNi. It refuses the same `MerTradeNo` for 10 minutes only, and a bank may decide after 15:
//! so a charge that was sent and has no answer is asked for (`trade_calls::query_request`) and not sent again until PAYUNi
//! does not know it after that time (`trade_calls::is_unknown_trade`), and then under the same number.
//! Not here: when to charge (`origin::domain`).

use super::Payuni;
use super::checkout::{AMOUNT_MAX, CardAgreement, UPP_DESC_LENGTH_MAX, URL_LENGTH_MAX, order_number};
use super::reply::{self, CallReply, ReplyError, outcome};
use crate::event::StoredCredential;
use crate::id::OrderNumber;
use crate::money::Money;
use crate::provider::checkout_error::{amount, text, url};
use crate::provider::{CheckoutError, ServerRequest};
use crate::time::Timestamp;

/// A charge of a stored card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCharge {
    /// `MerTradeNo`: 1 to 25 of `A-Za-z0-9_-`; one for each charge.
    pub number: OrderNumber,
    /// `TradeAmt`
    pub money: Money,
    /// `ProdDesc`: 1 to 550 characters.
    pub description: String,
    /// `NotifyURL`: used only after `UNKNOWN`, or when a person triggers it.
    pub notify_url: Option<String>,
}

/// What became of giving up an agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnbindReply {
    /// The card can no longer be charged.
    Done,
    /// `CANCEL03001`: nothing was bound. What was wanted.
    NothingBound,
    /// Anything else, with PAYUNi's words.
    Refused {
        /// `Status`
        code: String,
        /// `Message`, for a person.
        message: String,
    },
}

/// `/api/credit` 1.3.
pub fn charge_request(
    payuni: &Payuni,
    base_url: &str,
    credential: &StoredCredential,
    charge: &StoredCharge,
    now: Timestamp,
) -> Result<ServerRequest, CheckoutError> {
    let number = order_number(&charge.number, |byte| byte == b'_')?;
    let description = text("ProdDesc", &charge.description, UPP_DESC_LENGTH_MAX, "<>")?;
    let mut inner = vec![
        ("MerID", payuni.merchant.to_string()),
        ("MerTradeNo", number.to_owned()),
        ("TradeAmt", amount("TradeAmt", charge.money, 1, AMOUNT_MAX)?),
        ("Timestamp", now.unix_seconds().to_string()),
        ("ProdDesc", description),
        ("CreditHash", credential.hash.expose().to_owned()),
    ];
    if let Some(notify_url) = &charge.notify_url {
        inner.push(("NotifyURL", url("NotifyURL", notify_url, URL_LENGTH_MAX)?));
    }
    reply::request(payuni, base_url, "/api/credit", "1.3", &inner).ok_or(CheckoutError::Keys)
}

/// `/api/credit_bind/cancel` for an agreed card (`UseTokenType=1`): it can no longer be charged. `None` for unusable keys.
#[must_use]
pub fn unbind_request(
    payuni: &Payuni,
    base_url: &str,
    credential: &StoredCredential,
    agreement: CardAgreement,
    now: Timestamp,
) -> Option<ServerRequest> {
    let inner = [
        ("MerID", payuni.merchant.to_string()),
        ("UseTokenType", "1".to_owned()),
        ("BindVal", credential.hash.expose().to_owned()),
        ("CreditTokenType", agreement.code().to_owned()),
        ("Timestamp", now.unix_seconds().to_string()),
    ];
    reply::request(payuni, base_url, "/api/credit_bind/cancel", "1.0", &inner)
}

/// Reads the answer of `/api/credit_bind/cancel`.
pub fn unbind_reply(payuni: &Payuni, json: &[u8]) -> Result<UnbindReply, ReplyError> {
    let (call, reply) = outcome(payuni, json)?;
    Ok(match call {
        CallReply::Done => UnbindReply::Done,
        CallReply::Refused { code, .. } if code == "CANCEL03001" => UnbindReply::NothingBound,
        CallReply::Undecided { code } | CallReply::Refused { code, .. } => UnbindReply::Refused {
            code,
            message: reply.message,
        },
    })
}
