//! `QueryCreditCardPeriodInfo`: every charge of a periodic order, as ECPay's unsigned JSON tells them.
//!
//! origin's gateway sends [`query::request`](super::query::request) → ECPay → **answer** → `observed` | reconciliation.
//!
//! Invariant: nothing in here is believed by itself. The answer has no MAC (reference §1.7.1), only TLS vouches for it,
//! so it must not move money alone; `observed` pairs it with the signed QueryTradeInfo.
//! Every member may be text, a number, null or missing (§1.5), and is read leniently: an unreadable one is absent.
//! Failure: only what is no such JSON at all is refused.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire::date_digits;
use crate::id::{MerchantId, OrderNumber, ProviderPaymentId};
use crate::money::Minor;
use crate::provider::Refusal;
use crate::time::{ECPAY_FORMAT, Timestamp};

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
    /// `RtnMsg`; for a person.
    pub message: String,
    /// What was charged.
    pub amount: Option<Minor>,
    /// ECPay's number of the authorisation.
    pub gwsr: Option<ProviderPaymentId>,
    /// ECPay's number of the charge, by which it is refunded: 20 digits, more than a `u64` holds.
    pub trade_no: Option<ProviderPaymentId>,
    /// `process_date` as it came.
    pub process_date: String,
    /// The digits of `process_date`, the attempt's identity where it has no Gwsr.
    pub process_digits: String,
    /// When.
    pub processed_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "MerchantID", default)]
    merchant: Value,
    #[serde(rename = "MerchantTradeNo", default)]
    order: Value,
    #[serde(rename = "ExecStatus", default)]
    exec_status: Value,
    #[serde(rename = "TotalSuccessTimes", default)]
    total_success_times: Value,
    #[serde(rename = "ExecLog", default)]
    exec_log: Option<Vec<AttemptWire>>,
}

/// One entry of `ExecLog`. Also what `verify::observed` keeps of one, hence both ways.
#[derive(Serialize, Deserialize)]
pub(super) struct AttemptWire {
    #[serde(rename = "RtnCode", default)]
    code: Value,
    #[serde(rename = "RtnMsg", default)]
    message: Value,
    #[serde(default)]
    amount: Value,
    #[serde(default)]
    gwsr: Value,
    #[serde(rename = "TradeNo", default)]
    trade_no: Value,
    #[serde(default)]
    process_date: Value,
}

/// Reads the answer of [`Query::PeriodInfo`](super::query::Query::PeriodInfo).
pub fn read(body: &[u8]) -> Result<PeriodInfo, Refusal> {
    let wire = wire(body)?;
    let status = match scalar(&wire.exec_status).as_str() {
        "0" => Some(ExecStatus::Stopped),
        "1" => Some(ExecStatus::Running),
        "2" => Some(ExecStatus::Completed),
        _ => None,
    };
    Ok(PeriodInfo {
        status,
        total_success_times: scalar(&wire.total_success_times).parse().ok(),
        attempts: wire
            .exec_log
            .unwrap_or_default()
            .iter()
            .map(AttemptWire::read)
            .collect(),
    })
}

/// The log as it came, and whose it is.
pub(super) struct Log {
    pub(super) merchant: Option<MerchantId>,
    pub(super) order: Option<OrderNumber>,
    pub(super) entries: Vec<AttemptWire>,
}

/// The entries of `ExecLog` as they came.
pub(super) fn log(body: &[u8]) -> Result<Log, Refusal> {
    let wire = wire(body)?;
    Ok(Log {
        merchant: scalar(&wire.merchant).parse().ok(),
        order: scalar(&wire.order).parse().ok(),
        entries: wire.exec_log.unwrap_or_default(),
    })
}

fn wire(body: &[u8]) -> Result<Wire, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::Malformed("not QueryCreditCardPeriodInfo's JSON"))
}

impl AttemptWire {
    pub(super) fn read(&self) -> PeriodAttempt {
        let number = |value: &Value| -> Option<ProviderPaymentId> {
            Some(scalar(value))
                .filter(|text| text != "0" && text.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|text| text.parse().ok())
        };
        let (code, gwsr) = (scalar(&self.code), number(&self.gwsr));
        let process_date = scalar(&self.process_date);
        PeriodAttempt {
            paid: code == "1" && gwsr.is_some(),
            code,
            message: scalar(&self.message),
            amount: Minor::from_decimal(&scalar(&self.amount)),
            gwsr,
            trade_no: number(&self.trade_no),
            process_digits: date_digits(&process_date),
            processed_at: Timestamp::from_taipei(ECPAY_FORMAT, &process_date),
            process_date,
        }
    }

    /// The same entry with texts only: whatever else stood in it is nothing to anybody.
    pub(super) fn flat(&self) -> Self {
        let flat = |value: &Value| Value::String(scalar(value));
        Self {
            code: flat(&self.code),
            message: flat(&self.message),
            amount: flat(&self.amount),
            gwsr: flat(&self.gwsr),
            trade_no: flat(&self.trade_no),
            process_date: flat(&self.process_date),
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    }
}
