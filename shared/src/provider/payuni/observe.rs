//! What a reply of PAYUNi tells: one observation a fact, for the origin's inbox.
//!
//! origin's poller → **[`trades`] | [`periods`]**, origin's outbox → **[`charge`]**, an operator → **[`by_hand`]** → the origin's inbox. The bodies are those
//! of `verify::observed`.
//!
//! A reply is sealed as a whole, and one of 900 periods is longer than the inbox takes. So each fact gets a reply of its own: the
//! head and the one row, sealed again under the same keys (they are symmetric; a reply with one row is kept as it came).
//! Invariants: what is listed has been read as the inbox will read it, so nothing is fed that would be refused; rows keep
//! their order. Not here: asking (origin's gateway); a charge that nobody answered: ask [`trades`] for its order number.

use std::collections::BTreeMap;

use super::credit::StoredCharge;
use super::period_calls::{period, queried};
use super::reply::{CallReply, Reply, ReplyError, SUCCESS, outcome};
use super::verify::observed::{read, tells_of_trade};
use super::wire::{FORMAT, Fields, is_repeat};
use super::{Payuni, reply};
use crate::id::ProviderPaymentId;
use crate::provider::{
    CHARGE_BY_HAND, CHARGE_REPLY, OBSERVED_PAYMENT, OBSERVED_PERIOD, Observation, Refusal,
};
use crate::time::Timestamp;

/// `PaymentType` of a card, and `TradeStatus` of money that came (reference A.9).
const CARD: &str = "1";
const PAID: &str = "1";
/// In place of PAYUNi's code, where an operator found that the card was not charged.
const FAILED_BY_HAND: &str = "BY_HAND";

/// What became of a charge of a stored card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChargeReply {
    /// Charged, refused or undecided: the event says which.
    Told(Box<Observation>),
    /// The bank has not decided, and nothing names our order: ask [`trades`].
    Undecided,
    /// The order number was used, or the same call is being worked on: the charge was sent before. [`trades`] tells how it went.
    Duplicate,
    /// PAYUNi refused the call without a word on our order (a faulty request, an unknown CreditHash). This call charged
    /// nothing; of an earlier one under the same number it says nothing (`credit`: ask first, then send again).
    /// Where it is a refusal of the card, [`refused_charge`] makes it one.
    Refused {
        /// `Status`
        code: String,
        /// `Message`, for a person.
        message: String,
    },
}

/// Every payment of which a `/api/trade/query` reply says how it went. Unpaid, undecided and half-collected ones are left out.
pub fn trades(payuni: &Payuni, json: &[u8]) -> Result<Vec<Observation>, ReplyError> {
    let reply = queried(payuni, json)?;
    let tells = |row: &&BTreeMap<String, String>| tells_of_trade(Fields::Row(row));
    let rows = reply.results.iter().filter(tells);
    rows.map(|row| observation(payuni, OBSERVED_PAYMENT, row_body(payuni, json, &reply, row)))
        .collect()
}

/// Every charged and every refused period of a `/api/period/query` reply.
pub fn periods(payuni: &Payuni, json: &[u8]) -> Result<Vec<Observation>, ReplyError> {
    let reply = queried(payuni, json)?;
    let mut told = Vec::new();
    for row in &reply.results {
        let period = period(Fields::Row(row)).map_err(ReplyError::Fields)?;
        if period.charge.is_some() || period.failed {
            let body = row_body(payuni, json, &reply, row);
            told.push(observation(payuni, OBSERVED_PERIOD, body)?);
        }
    }
    Ok(told)
}

/// Reads the reply of `/api/credit` to `charge`. One that names another charge is an error, and nothing is known then.
pub fn charge(payuni: &Payuni, charge: &StoredCharge, json: &[u8]) -> Result<ChargeReply, ReplyError> {
    let (call, reply) = outcome(payuni, json)?;
    if is_repeat(&reply.status) {
        return Ok(ChargeReply::Duplicate);
    }
    let named = Fields::Row(&reply.fields).filled("MerTradeNo");
    if named.is_some_and(|named| named != charge.number.as_str()) {
        let other = Refusal::Malformed("the reply speaks of another charge");
        return Err(ReplyError::Fields(other));
    }
    match call {
        CallReply::Refused { code, message } if named.is_none() => Ok(ChargeReply::Refused { code, message }),
        CallReply::Undecided { .. } if named.is_none() => Ok(ChargeReply::Undecided),
        CallReply::Done | CallReply::Undecided { .. } | CallReply::Refused { .. } => {
            observation(payuni, CHARGE_REPLY, Some(json.to_vec()))
                .map(|told| ChargeReply::Told(Box::new(told)))
        }
    }
}

/// The refusal of a charge that PAYUNi answered without naming it, as an observation of that charge.
pub fn refused_charge(
    payuni: &Payuni,
    charge: &StoredCharge,
    code: &str,
    message: &str,
) -> Result<Observation, ReplyError> {
    let fields = [
        ("Status", code),
        ("Message", message),
        ("MerID", payuni.merchant.as_str()),
        ("MerTradeNo", charge.number.as_str()),
        ("TradeAmt", &charge.money.amount_minor.to_string()),
    ];
    if code == SUCCESS {
        return Err(ReplyError::Fields(Refusal::Field("Status")));
    }
    let inner: Vec<(String, String)> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    observation(payuni, CHARGE_REPLY, reply::seal(payuni, &inner))
}

/// What an operator found of a charge in PAYUNi's console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByHand<'a> {
    /// The card was charged with the whole amount, under this TradeNo, at this instant.
    Paid(&'a ProviderPaymentId, Timestamp),
    /// It was not charged, or what it was charged was paid back there.
    Failed,
}

/// What an operator found, as an observation of the charge: sealed as a reply is, so that the inbox reads it like one.
pub fn by_hand(payuni: &Payuni, charge: &StoredCharge, found: ByHand<'_>) -> Result<Observation, ReplyError> {
    let mut inner = vec![
        ("MerID", payuni.merchant.to_string()),
        ("MerTradeNo", charge.number.to_string()),
        ("TradeAmt", charge.money.amount_minor.to_string()),
        ("PaymentType", CARD.to_owned()),
    ];
    match found {
        ByHand::Paid(number, at) => inner.extend([
            ("Status", SUCCESS.to_owned()),
            ("TradeStatus", PAID.to_owned()),
            ("TradeNo", number.to_string()),
            ("PayTime", at.to_taipei(FORMAT).unwrap_or_default()),
        ]),
        ByHand::Failed => inner.extend([
            ("Status", FAILED_BY_HAND.to_owned()),
            ("Message", "an operator: the card was not charged".to_owned()),
        ]),
    }
    let inner: Vec<(String, String)> = inner
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    observation(payuni, CHARGE_BY_HAND, reply::seal(payuni, &inner))
}

/// The reply as it came where it has no other row; else one with this row only.
fn row_body(payuni: &Payuni, json: &[u8], reply: &Reply, row: &BTreeMap<String, String>) -> Option<Vec<u8>> {
    if reply.results.len() == 1 {
        return Some(json.to_vec());
    }
    let head = reply
        .fields
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()));
    let row = row
        .iter()
        .map(|(name, value)| (format!("Result[0][{name}]"), value.clone()));
    reply::seal(payuni, &head.chain(row).collect::<Vec<_>>())
}

fn observation(
    payuni: &Payuni,
    notice: &'static str,
    body: Option<Vec<u8>>,
) -> Result<Observation, ReplyError> {
    let body = body.ok_or(ReplyError::Fields(Refusal::NotConfigured))?;
    let event = read(payuni, notice, &body).map_err(ReplyError::Fields)?;
    Ok(Observation { notice, body, event })
}
