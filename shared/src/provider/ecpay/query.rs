//! ECPay's queries about an order: the signed requests and the reading of their answers.
//!
//! origin's gateway sends **request** → ECPay → **answer** → `observed` | reconciliation.
//!
//! `QueryTradeInfo` and `QueryPaymentInfo` answer `k=v&k=v` that is *not* percent-encoded, with a MAC (§1.6, §1.7);
//! `QueryCreditCardPeriodInfo` answers JSON without one and is read in `period_info`.
//! Invariant: a MAC answer that is returned was verified. Every request carries a TimeStamp valid for three minutes.
//! Polling too fast gives HTTP 403 for half an hour: the caller's matter.

use super::verify::{check_framing, matches_any};
use super::wire::{Fields, code_parts, expires_at};
use super::{Ecpay, mac};
use crate::event::IssuedCode;
use crate::form::Form;
use crate::id::{MerchantId, OrderNumber, ProviderPaymentId};
use crate::money::{Minor, Money};
use crate::provider::{Refusal, ServerRequest};
use crate::time::Timestamp;

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

/// A signed query. `base_url` as for the checkout form.
#[must_use]
pub fn request(
    ecpay: &Ecpay,
    base_url: &str,
    query: Query,
    order: &OrderNumber,
    now: Timestamp,
) -> ServerRequest {
    let fields = [
        ("MerchantTradeNo", order.to_string()),
        ("TimeStamp", now.unix_seconds().to_string()),
    ];
    signed(ecpay, base_url, query.path(), &fields)
}

/// Any signed request: our MerchantID first, then `fields`, then the MAC.
pub(super) fn signed(ecpay: &Ecpay, base_url: &str, path: &str, fields: &[(&str, String)]) -> ServerRequest {
    let mut all = vec![("MerchantID".to_owned(), ecpay.merchant.to_string())];
    all.extend(
        fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    ServerRequest {
        url: format!("{}{path}", base_url.trim_end_matches('/')),
        fields: ecpay.sign(all),
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
    /// ECPay's number of the authorisation; of a periodic order, the first charge's.
    pub gwsr: Option<ProviderPaymentId>,
    /// Successful charges of a periodic order so far.
    pub total_success_times: Option<u32>,
    /// Their sum.
    pub total_success_amount: Option<Minor>,
}

/// Reads and verifies the answer of [`Query::TradeInfo`].
pub fn trade_info(ecpay: &Ecpay, body: &[u8]) -> Result<TradeInfo, Refusal> {
    trade_info_of(&answer(ecpay, body)?)
}

/// What the verified fields of that answer say.
pub(super) fn trade_info_of(form: &Form) -> Result<TradeInfo, Refusal> {
    let fields = Fields(form);
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
        gwsr: fields
            .filled("gwsr")
            .filter(|gwsr| *gwsr != "0")
            .and_then(|gwsr| gwsr.parse().ok()),
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

/// Refuses an answer that names another shop or order than the one that was asked about; a refused call may name none.
pub(super) fn check_speaks_of(ecpay: &Ecpay, order: &OrderNumber, fields: Fields<'_>) -> Result<(), Refusal> {
    for (name, ours) in [
        ("MerchantID", ecpay.merchant.as_str()),
        ("MerchantTradeNo", order.as_str()),
    ] {
        if fields.filled(name).is_some_and(|told| told != ours) {
            return Err(Refusal::Malformed("the answer speaks of another shop or order"));
        }
    }
    Ok(())
}

/// The verified fields of an answer of the form `k=v&k=v`.
pub(super) fn answer(ecpay: &Ecpay, body: &[u8]) -> Result<Form, Refusal> {
    checked(ecpay, Form::parse_raw(body).map_err(Refusal::Form)?)
}

/// The same fields, if their MAC is ours.
pub(super) fn checked(ecpay: &Ecpay, form: Form) -> Result<Form, Refusal> {
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
