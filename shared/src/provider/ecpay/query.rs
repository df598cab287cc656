//! ECPay's server calls: the signed requests and the reading of their answers.
//!
//! origin's gateway sends **request** → ECPay → **answer** → reconciliation.
//!
//! `QueryTradeInfo`, `QueryPaymentInfo` and `CreditCardPeriodAction` answer `k=v&k=v` that is *not* percent-encoded, with
//! a MAC (§1.6, §1.7); `QueryCreditCardPeriodInfo` answers JSON without one, so only TLS vouches for it and it
//! must not move money alone. Invariant: a MAC answer that is returned was verified. Every request carries a
//! TimeStamp valid for three minutes. Polling too fast gives HTTP 403 for half an hour: the caller's matter.

use serde::Deserialize;
use serde_json::Value;

use super::verify::{check_framing, matches_any};
use super::wire::{Fields, code_parts, expires_at};
use super::{Ecpay, mac};
use crate::event::IssuedCode;
use crate::form::Form;
use crate::id::{MerchantId, OrderNumber, ProviderPaymentId};
use crate::money::{Minor, Money};
use crate::provider::{Refusal, ServerRequest};
use crate::time::{ECPAY_FORMAT, Timestamp};

/// What can be asked about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// `QueryTradeInfo/V5`: the state of a payment, and the count of a periodic order.
    TradeInfo,
    /// `QueryPaymentInfo`: the code that was issued.
    PaymentInfo,
    /// `QueryCreditCardPeriodInfo`: each charge of a periodic order.
    PeriodInfo,
}

impl Query {
    const fn path(self) -> &'static str {
        match self {
            Self::TradeInfo => "/Cashier/QueryTradeInfo/V5",
            Self::PaymentInfo => "/Cashier/QueryPaymentInfo",
            Self::PeriodInfo => "/Cashier/QueryCreditCardPeriodInfo",
        }
    }
}

/// What can be done to a periodic order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeriodAction {
    /// Tries the latest failed charge again; the result comes to PeriodReturnURL.
    ReAuth,
    /// Stops the charges that are left, for ever. Refunds nothing.
    Cancel,
}

/// A signed query. `base_url` as for the checkout form.
#[must_use]
pub fn request(
    ecpay: &Ecpay,
    base_url: &str,
    query: Query,
    order: &OrderNumber,
    now: Timestamp,
) -> ServerRequest {
    signed(ecpay, base_url, query.path(), order, None, now)
}

/// A signed `CreditCardPeriodAction`.
#[must_use]
pub fn period_action_request(
    ecpay: &Ecpay,
    base_url: &str,
    action: PeriodAction,
    order: &OrderNumber,
    now: Timestamp,
) -> ServerRequest {
    let action = match action {
        PeriodAction::ReAuth => "ReAuth",
        PeriodAction::Cancel => "Cancel",
    };
    signed(
        ecpay,
        base_url,
        "/Cashier/CreditCardPeriodAction",
        order,
        Some(action),
        now,
    )
}

fn signed(
    ecpay: &Ecpay,
    base_url: &str,
    path: &str,
    order: &OrderNumber,
    action: Option<&str>,
    now: Timestamp,
) -> ServerRequest {
    let mut fields = vec![
        ("MerchantID".to_owned(), ecpay.merchant.to_string()),
        ("MerchantTradeNo".to_owned(), order.to_string()),
        ("TimeStamp".to_owned(), now.unix_seconds().to_string()),
    ];
    if let Some(action) = action {
        fields.push(("Action".to_owned(), action.to_owned()));
    }
    ServerRequest {
        url: format!("{}{path}", base_url.trim_end_matches('/')),
        fields: ecpay.sign(fields),
    }
}

/// `TradeStatus` of a payment (§1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TradeStatus {
    /// `0`
    Unpaid,
    /// `1`
    Paid,
    /// `10200095`: the customer chose no method or gave up.
    NotCompleted,
    /// `10200047`: no such order.
    NotFound,
    /// Any other code: not paid, for a person to look at.
    Other(String),
}

/// The answer of `QueryTradeInfo/V5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradeInfo {
    /// The shop.
    pub merchant: MerchantId,
    /// The order; `None` where ECPay did not understand the number.
    pub order: Option<OrderNumber>,
    /// ECPay's number of the trade.
    pub trade_no: Option<ProviderPaymentId>,
    /// What was ordered.
    pub money: Money,
    /// The state.
    pub status: TradeStatus,
    /// `Credit_CreditCard` and its like; empty while none was chosen.
    pub payment_type: String,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// Successful charges of a periodic order so far.
    pub total_success_times: Option<u32>,
    /// Their sum.
    pub total_success_amount: Option<Minor>,
}

/// Reads and verifies the answer of [`Query::TradeInfo`].
pub fn trade_info(ecpay: &Ecpay, body: &[u8]) -> Result<TradeInfo, Refusal> {
    let form = answer(ecpay, body)?;
    let fields = Fields(&form);
    let status = match fields.code("TradeStatus")? {
        "0" => TradeStatus::Unpaid,
        "1" => TradeStatus::Paid,
        "10200095" => TradeStatus::NotCompleted,
        "10200047" => TradeStatus::NotFound,
        other => TradeStatus::Other(other.to_owned()),
    };
    Ok(TradeInfo {
        merchant: fields.required("MerchantID")?,
        order: fields
            .filled("MerchantTradeNo")
            .and_then(|number| number.parse().ok()),
        trade_no: fields.optional("TradeNo")?,
        money: fields.money("TradeAmt")?,
        status,
        payment_type: fields.get("PaymentType").unwrap_or_default().to_owned(),
        paid_at: fields.time("PaymentDate"),
        total_success_times: fields.count("TotalSuccessTimes"),
        total_success_amount: fields.get("TotalSuccessAmount").and_then(Minor::from_decimal),
    })
}

/// Reads and verifies the answer of [`Query::PaymentInfo`]: the code, or `None` with ECPay's RtnCode.
pub fn payment_info(ecpay: &Ecpay, body: &[u8]) -> Result<Result<IssuedCode, String>, Refusal> {
    let form = answer(ecpay, body)?;
    let fields = Fields(&form);
    let code = fields.code("RtnCode")?;
    if !matches!(code, "2" | "10100073") {
        return Ok(Err(code.to_owned()));
    }
    Ok(Ok(IssuedCode {
        money: fields.money("TradeAmt")?,
        provider_payment_id: fields.required("TradeNo")?,
        method: fields.get("PaymentType").unwrap_or_default().to_owned(),
        code_parts: code_parts(fields),
        expires_at: expires_at(fields),
    }))
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

/// Reads and verifies the answer of `CreditCardPeriodAction`.
pub fn period_action_reply(ecpay: &Ecpay, body: &[u8]) -> Result<PeriodActionReply, Refusal> {
    let form = answer(ecpay, body)?;
    let fields = Fields(&form);
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

fn answer(ecpay: &Ecpay, body: &[u8]) -> Result<Form, Refusal> {
    let form = Form::parse_raw(body).map_err(Refusal::Form)?;
    check_framing(&form)?;
    let given = form.get(mac::FIELD).ok_or(Refusal::Field(mac::FIELD))?;
    if matches_any(&ecpay.keys, &form, given) {
        Ok(form)
    } else {
        Err(Refusal::SignatureMismatch {
            hint: "the answer's CheckMacValue does not match: are these the stage keys?",
        })
    }
}

/// `ExecStatus` of a periodic order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecStatus {
    /// `0`: cancelled, or stopped after failures.
    Stopped,
    /// `1`
    Running,
    /// `2`: all charges were made.
    Completed,
}

/// The answer of `QueryCreditCardPeriodInfo`. **Not signed.**
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodInfo {
    /// The state; `None` if there is no such order.
    pub status: Option<ExecStatus>,
    /// Successful charges so far, the first included.
    pub total_success_times: Option<u32>,
    /// Every attempt, the first charge first.
    pub attempts: Vec<PeriodAttempt>,
}

/// One attempt of `ExecLog`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodAttempt {
    /// Whether money was charged: RtnCode 1 *and* a Gwsr (a "success" without one occurs and is none, §1.5).
    pub paid: bool,
    /// `RtnCode` as text; may be empty.
    pub code: String,
    /// What was charged.
    pub amount: Option<Minor>,
    /// ECPay's number of the authorisation.
    pub gwsr: Option<ProviderPaymentId>,
    /// ECPay's number of the charge: 20 digits, more than a `u64` holds.
    pub trade_no: Option<ProviderPaymentId>,
    /// When.
    pub processed_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct PeriodInfoWire {
    #[serde(rename = "ExecStatus", default)]
    exec_status: Value,
    #[serde(rename = "TotalSuccessTimes", default)]
    total_success_times: Value,
    #[serde(rename = "ExecLog", default)]
    exec_log: Option<Vec<PeriodAttemptWire>>,
}

/// Every member may be text, number, null or missing (§1.5).
#[derive(Deserialize)]
struct PeriodAttemptWire {
    #[serde(rename = "RtnCode", default)]
    code: Value,
    #[serde(default)]
    amount: Value,
    #[serde(default)]
    gwsr: Value,
    #[serde(rename = "TradeNo", default)]
    trade_no: Value,
    #[serde(default)]
    process_date: Value,
}

/// Reads the answer of [`Query::PeriodInfo`].
pub fn period_info(body: &[u8]) -> Result<PeriodInfo, Refusal> {
    let wire: PeriodInfoWire = serde_json::from_slice(body)
        .map_err(|_| Refusal::Malformed("not QueryCreditCardPeriodInfo's JSON"))?;
    let status = match scalar(&wire.exec_status).as_str() {
        "0" => Some(ExecStatus::Stopped),
        "1" => Some(ExecStatus::Running),
        "2" => Some(ExecStatus::Completed),
        _ => None,
    };
    Ok(PeriodInfo {
        status,
        total_success_times: scalar(&wire.total_success_times).parse().ok(),
        attempts: wire.exec_log.unwrap_or_default().iter().map(attempt).collect(),
    })
}

fn attempt(wire: &PeriodAttemptWire) -> PeriodAttempt {
    let number = |value: &Value| -> Option<ProviderPaymentId> {
        Some(scalar(value))
            .filter(|text| text != "0")
            .and_then(|text| text.parse().ok())
    };
    let (code, gwsr) = (scalar(&wire.code), number(&wire.gwsr));
    PeriodAttempt {
        paid: code == "1" && gwsr.is_some(),
        code,
        amount: Minor::from_decimal(&scalar(&wire.amount)),
        gwsr,
        trade_no: number(&wire.trade_no),
        processed_at: Timestamp::from_taipei(ECPAY_FORMAT, &scalar(&wire.process_date)),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    }
}
