//! PAYUNi's calls about single charges: asking, capturing, refunding, cancelling.
//!
//! origin's gateway sends **request** → PAYUNi → **reply** → `observed` | the refund's state.
//!
//! A charge that is not captured yet is given back by `/api/trade/cancel`, a captured one by `/api/trade/close` with
//! [`Close::Refund`]; [`Trade::close`] tells which (reference A.10). A period's charge goes under its own TradeNo.
//! Invariant: an answer that says "nobody knows yet" is neither done nor refused ([`CallReply::Undecided`]), so that
//! nobody refunds twice. Not here: what a paid trade means for the ledger (`observed`).

use super::Payuni;
use super::period_calls::queried;
use super::reply::{self, CallReply, ReplyError, outcome};
use super::wire::Fields;
use crate::id::{OrderNumber, ProviderPaymentId};
use crate::money::{Minor, Money};
use crate::provider::checkout_error::amount;
use crate::provider::{CheckoutError, Refusal, ServerRequest};
use crate::time::Timestamp;

/// What `/api/trade/close` can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// `1`: capture so much of an authorisation, within 3 days (PAYUNi does it by itself unless told not to).
    Capture(Money),
    /// `2`: give back so much of a captured charge, within 180 days. Instalments and `UnionPay`: all of it only.
    Refund(Money),
    /// `-1`: take back a capture that was asked for.
    UndoCapture,
    /// `-2`: take back a refund that was asked for.
    UndoRefund,
}

/// A row of `/api/trade/query`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trade {
    /// Our order number.
    pub order: OrderNumber,
    /// PAYUNi's number of the charge.
    pub trade_no: Option<ProviderPaymentId>,
    /// What was ordered.
    pub money: Money,
    /// `TradeStatus`
    pub status: TradeStatus,
    /// `CloseStatus`, of cards.
    pub close: Option<CloseStatus>,
    /// `CloseAmt`
    pub close_amount: Option<Minor>,
    /// `RefundStatus`; only the last refund is shown.
    pub refund: Option<RefundStatus>,
    /// `RefundAmt`
    pub refund_amount: Option<Minor>,
    /// `RemainAmt`: what can still be given back.
    pub remaining_amount: Option<Minor>,
    /// `TradeFee`; real only for a paid trade whose data are complete.
    pub fee: Option<Minor>,
    /// `PaymentDay`
    pub paid_at: Option<Timestamp>,
    /// `DataSource`: `A`. Otherwise PAYUNi is still collecting: ask again after 10 minutes.
    pub complete: bool,
}

/// `TradeStatus` (A.9's table).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TradeStatus {
    /// `0`: a code was issued.
    CodeIssued,
    /// `1`
    Paid,
    /// `2`
    Failed,
    /// `3`
    Canceled,
    /// `4`
    Expired,
    /// `8`
    AwaitingReview,
    /// `9`
    Unpaid,
    /// Any other: for a person.
    Other(String),
}

/// `CloseStatus`: how far the capture is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseStatus {
    /// `1`: asked for; a cancellation is still possible.
    Requested,
    /// `2`: captured.
    Captured,
    /// `3`: taken back.
    Canceled,
    /// `7`: on its way to the bank.
    Processing,
    /// `9`: not asked for.
    NotRequested,
    /// Any other: for a person.
    Other(String),
}

/// `RefundStatus`: how far the last refund is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundStatus {
    /// `1`: asked for; it can be taken back.
    Requested,
    /// `2`: given back.
    Refunded,
    /// `3`: taken back.
    Canceled,
    /// `8`: on its way to the bank.
    Processing,
    /// Any other: for a person.
    Other(String),
}

/// `/api/trade/query` by our order number. `None` for unusable keys.
#[must_use]
pub fn query_request(
    payuni: &Payuni,
    base_url: &str,
    order: &OrderNumber,
    now: Timestamp,
) -> Option<ServerRequest> {
    let number = ("MerTradeNo", order.to_string());
    send(payuni, base_url, ("/api/trade/query", "2.0"), vec![number], now)
}

/// `/api/trade/query` by PAYUNi's number of the charge: how a period's charge is found.
#[must_use]
pub fn query_charge_request(
    payuni: &Payuni,
    base_url: &str,
    trade_no: &ProviderPaymentId,
    now: Timestamp,
) -> Option<ServerRequest> {
    let number = ("TradeNo", trade_no.to_string());
    send(payuni, base_url, ("/api/trade/query", "2.0"), vec![number], now)
}

/// `/api/trade/close`.
pub fn close_request(
    payuni: &Payuni,
    base_url: &str,
    trade_no: &ProviderPaymentId,
    close: Close,
    now: Timestamp,
) -> Result<ServerRequest, CheckoutError> {
    let (close_type, money) = match close {
        Close::Capture(money) => ("1", Some(money)),
        Close::Refund(money) => ("2", Some(money)),
        Close::UndoCapture => ("-1", None),
        Close::UndoRefund => ("-2", None),
    };
    let mut inner = vec![
        ("TradeNo", trade_no.to_string()),
        ("CloseType", close_type.to_owned()),
    ];
    if let Some(money) = money {
        inner.push(("TradeAmt", amount("TradeAmt", money, 1, i64::MAX)?));
    }
    send(payuni, base_url, ("/api/trade/close", "1.0"), inner, now).ok_or(CheckoutError::Keys)
}

/// `/api/trade/cancel`: gives up an authorisation that is not captured. `None` for unusable keys.
#[must_use]
pub fn cancel_request(
    payuni: &Payuni,
    base_url: &str,
    trade_no: &ProviderPaymentId,
    now: Timestamp,
) -> Option<ServerRequest> {
    let number = ("TradeNo", trade_no.to_string());
    send(payuni, base_url, ("/api/trade/cancel", "1.0"), vec![number], now)
}

fn send(
    payuni: &Payuni,
    base_url: &str,
    (path, version): (&str, &str),
    fields: Vec<(&str, String)>,
    now: Timestamp,
) -> Option<ServerRequest> {
    let mut inner = vec![("MerID", payuni.merchant.to_string())];
    inner.extend(fields);
    inner.push(("Timestamp", now.unix_seconds().to_string()));
    reply::request(payuni, base_url, path, version, &inner)
}

/// Reads the answer of `/api/trade/query`.
pub fn trades(payuni: &Payuni, json: &[u8]) -> Result<Vec<Trade>, ReplyError> {
    let reply = queried(payuni, json)?;
    reply
        .results
        .iter()
        .map(|row| trade(Fields::Row(row)).map_err(ReplyError::Fields))
        .collect()
}

/// Whether a query was refused because PAYUNi knows no such trade (`QUERY03001`, 查無符合訂單資料): nothing was charged under
/// the number yet. Every other refusal says nothing of the trade.
#[must_use]
pub fn is_unknown_trade(error: &ReplyError) -> bool {
    matches!(error, ReplyError::Refused { status, .. } if status == "QUERY03001")
}

/// Reads the answer of `/api/trade/close`.
pub fn close_reply(payuni: &Payuni, json: &[u8]) -> Result<CallReply, ReplyError> {
    outcome(payuni, json).map(|(call, _)| call)
}

/// Reads the answer of `/api/trade/cancel`.
pub fn cancel_reply(payuni: &Payuni, json: &[u8]) -> Result<CallReply, ReplyError> {
    outcome(payuni, json).map(|(call, _)| call)
}

fn trade(row: Fields<'_>) -> Result<Trade, Refusal> {
    let amount = |name| row.filled(name).and_then(Minor::from_decimal);
    let status = row.filled("TradeStatus").ok_or(Refusal::Field("TradeStatus"))?;
    Ok(Trade {
        order: row.order()?,
        trade_no: row.trade_no(),
        money: row.money("TradeAmt")?,
        status: trade_status(status),
        close: row.filled("CloseStatus").map(close_status),
        close_amount: amount("CloseAmt"),
        refund: row.filled("RefundStatus").map(refund_status),
        refund_amount: amount("RefundAmt"),
        remaining_amount: amount("RemainAmt"),
        fee: amount("TradeFee"),
        paid_at: row.time("PaymentDay"),
        complete: is_complete(row),
    })
}

/// Whether PAYUNi has all data of the trade. A reply without the field makes no reservation.
pub(super) fn is_complete(row: Fields<'_>) -> bool {
    row.filled("DataSource").is_none_or(|source| source == "A")
}

fn trade_status(code: &str) -> TradeStatus {
    match code {
        "0" => TradeStatus::CodeIssued,
        "1" => TradeStatus::Paid,
        "2" => TradeStatus::Failed,
        "3" => TradeStatus::Canceled,
        "4" => TradeStatus::Expired,
        "8" => TradeStatus::AwaitingReview,
        "9" => TradeStatus::Unpaid,
        other => TradeStatus::Other(other.to_owned()),
    }
}

fn close_status(code: &str) -> CloseStatus {
    match code {
        "1" => CloseStatus::Requested,
        "2" => CloseStatus::Captured,
        "3" => CloseStatus::Canceled,
        "7" => CloseStatus::Processing,
        "9" => CloseStatus::NotRequested,
        other => CloseStatus::Other(other.to_owned()),
    }
}

fn refund_status(code: &str) -> RefundStatus {
    match code {
        "1" => RefundStatus::Requested,
        "2" => RefundStatus::Refunded,
        "3" => RefundStatus::Canceled,
        "8" => RefundStatus::Processing,
        other => RefundStatus::Other(other.to_owned()),
    }
}
