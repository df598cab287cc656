//! PAYUNi's notices, field by field.
//!
//! a move of `trade` → **`draft`** → `delivery` → **`sealed`** per delivery.
//!
//! Invariants: the period notice says `MerchantId` where everything else says `MerID` (A.6); a code issued is
//! `SUCCESS` with `TradeStatus` 0, paid is 1, failed is 2 (A.9); without `NotifyURL` there is no notice at all.
//! The text of a failed period's Status is documented nowhere; `FAILCODE01` is a stand-in that nothing should match.
//! Not here: when to send.

use std::time::Duration;

use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use super::envelope::seal;
use crate::config::Merchant;
use crate::contract::schedule::day_at;
use crate::contract::{Cause, Charge, Contract};
use crate::form;
use crate::notice::{Draft, Kind, Seal, Sealed};
use crate::tokens::LIFE;
use crate::trade::{Method, Outcome, Status, Trade};

type Fields = Vec<(String, String)>;

const SUCCESS: &str = "SUCCESS";
pub(crate) const FAILED: &str = "FAILCODE01";

/// The NT$1 by which a card is bound when the first charge lies ahead (A.5).
pub(super) const BINDING_AMOUNT: Minor = Minor::new(1);

/// The notice that a move causes.
pub(crate) fn draft(merchant: &Merchant, trade: &Trade, outcome: &Outcome, now: Timestamp) -> Option<Draft> {
    let url = trade.field("NotifyURL").to_owned();
    let (kind, fields) = match (outcome, &trade.contract) {
        (Outcome::Charged(charge), Some(contract)) => (Kind::Period, period(trade, contract, charge)),
        (Outcome::Failed, Some(contract)) if contract.first_charge_now => (
            Kind::Period,
            period(trade, contract, &declined(trade, contract, now)),
        ),
        (Outcome::Paid, None) => (Kind::Payment, payment(trade, "1", now)),
        (Outcome::Failed, None) => (Kind::Payment, payment(trade, "2", now)),
        (Outcome::CodeIssued, None) => (Kind::Code, payment(trade, "0", now)),
        // Binding a card is told to the browser only (A.5); the other moves are nobody's business.
        (Outcome::Paid | Outcome::Failed | Outcome::CodeIssued, Some(_))
        | (Outcome::Charged(_), None)
        | (Outcome::Simulated | Outcome::Closed, _) => return None,
    };
    (!url.is_empty()).then(|| Draft {
        kind,
        url,
        simulated: false,
        fields,
        seal: Seal::Payuni(merchant.clone()),
    })
}

/// The bytes of one delivery. A re-trigger of PAYUNi's console sends the same message again.
pub(crate) fn sealed(merchant: &Merchant, fields: &[(String, String)]) -> Sealed {
    let value = |name: &str| {
        fields
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value.as_str())
    };
    // Only the payment's message says TradeStatus; its notices are of version 2.0, those of periods 1.0 (A.4, A.6).
    let version = if value("TradeStatus").is_empty() {
        "1.0"
    } else {
        "2.0"
    };
    let outer = seal(merchant, value("Status"), version, fields);
    Sealed {
        content_type: "application/x-www-form-urlencoded",
        headers: Vec::new(),
        body: form::encode(&outer),
    }
}

/// The result as the customer's browser carries it to `ReturnURL`.
pub(crate) fn browser_result(merchant: &Merchant, trade: &Trade, now: Timestamp) -> Fields {
    let at = trade.settled_at.unwrap_or(now);
    let paid = trade.status == Status::Paid;
    match &trade.contract {
        Some(contract) => seal(
            merchant,
            status(paid),
            "1.0",
            &page_result(trade, contract, paid, at),
        ),
        None => seal(
            merchant,
            status(paid),
            "2.0",
            &payment(trade, if paid { "1" } else { "2" }, at),
        ),
    }
}

const fn status(succeeded: bool) -> &'static str {
    if succeeded { SUCCESS } else { FAILED }
}

/// `/api/upp`'s notice (A.9).
pub(crate) fn payment(trade: &Trade, trade_status: &str, now: Timestamp) -> Fields {
    let succeeded = trade_status != "2";
    let message = match trade_status {
        "0" => "取號成功",
        "1" => "授權成功",
        _ => "授權失敗",
    };
    let mut fields = list(&[
        ("Status", status(succeeded)),
        ("Message", message),
        ("MerID", &trade.merchant_id),
        ("MerTradeNo", &trade.order_number),
        ("TradeNo", &trade.trade_no),
        ("TradeAmt", &trade.amount.to_string()),
        ("TradeStatus", trade_status),
        ("PaymentType", payment_type(trade)),
        ("Gateway", "2"),
    ]);
    if trade.method.is_some_and(Method::issues_code) {
        fields.extend(
            instructions(trade)
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        );
        if trade_status == "1" {
            fields.push((
                "PayTime".into(),
                now.to_taipei("%Y-%m-%d %H:%M:%S").unwrap_or_default(),
            ));
        }
    } else {
        fields.extend(card(trade, succeeded, now));
    }
    fields
}

fn card(trade: &Trade, succeeded: bool, now: Timestamp) -> Fields {
    let declined = trade.decline_code.as_deref().unwrap_or("51");
    let mut fields = list(&[
        ("CardBank", "812"),
        ("Card6No", "414763"),
        ("Card4No", "0001"),
        ("CardInst", "1"),
        ("FirstAmt", "0"),
        ("EachAmt", "0"),
        ("ResCode", if succeeded { "00" } else { declined }),
        ("ResCodeMsg", if succeeded { "授權成功" } else { "餘額不足" }),
        ("AuthCode", if succeeded { "000000" } else { "" }),
        ("AuthBank", "812"),
        ("AuthBankName", "台新銀行"),
        ("AuthType", "1"),
        ("AuthDay", &now.to_taipei("%Y%m%d").unwrap_or_default()),
        ("AuthTime", &now.to_taipei("%H%M%S").unwrap_or_default()),
    ]);
    if let Some(hash) = trade.credit_hash.as_deref().filter(|_| succeeded) {
        fields.extend(list(&[("CreditHash", hash), ("CreditLife", LIFE)]));
    }
    fields
}

/// `PaymentType` (A.9).
pub(crate) fn payment_type(trade: &Trade) -> &'static str {
    match trade.method {
        Some(Method::Atm | Method::WebAtm) => "2",
        Some(Method::Cvs | Method::Barcode) => "3",
        Some(
            Method::Credit
            | Method::ApplePay
            | Method::Twqr
            | Method::Bnpl
            | Method::WeiXin
            | Method::DigitalPayment,
        )
        | None => "1",
    }
}

/// What the customer takes along to pay.
pub(crate) fn instructions(trade: &Trade) -> Vec<(&'static str, String)> {
    let expires_at = trade.created_at.plus(Duration::from_hours(72));
    let date = match trade.field("ExpireDate") {
        "" => expires_at.to_taipei("%Y-%m-%d").unwrap_or_default(),
        chosen => chosen.to_owned(),
    };
    let tail = trade.trade_no.get(5..).unwrap_or_default();
    vec![
        ("BankType", "812".to_owned()),
        ("PayNo", format!("99{tail}")),
        ("ExpireDate", format!("{date} 23:59:59")),
    ]
}

/// A first charge that the bank declined at the cashier; it is not part of the contract, which does not exist yet.
fn declined(trade: &Trade, contract: &Contract, now: Timestamp) -> Charge {
    Charge {
        number: 1,
        due_on: day_at(now).unwrap_or_default(),
        cause: Cause::Scheduled,
        trade_no: trade.trade_no.clone(),
        gwsr: String::new(),
        amount: contract.terms.first_amount,
        succeeded: false,
        code: None,
        at: now,
    }
}

/// The per-period notice (A.6).
fn period(trade: &Trade, contract: &Contract, charge: &Charge) -> Fields {
    let number = charge.number.to_string();
    list(&[
        ("Status", status(charge.succeeded)),
        (
            "Message",
            if charge.succeeded {
                "授權成功"
            } else {
                "授權失敗"
            },
        ),
        ("MerchantId", &trade.merchant_id),
        ("AuthTime", &charge.at.to_taipei("%H%M%S").unwrap_or_default()),
        ("AuthDay", &charge.at.to_taipei("%Y%m%d").unwrap_or_default()),
        ("ProdDesc", &trade.description),
        ("MerTradeNo", &trade.order_number),
        ("PeriodTradeNo", &contract.terms.period_trade_no),
        ("TradeNo", &charge.trade_no),
        ("PeriodOrderNo", &format!("{}_{number}", trade.order_number)),
        ("AuthAmt", &charge.amount.to_string()),
        ("TotalTimes", &contract.terms.times_total.to_string()),
        ("ThisPeriod", &number),
        ("ResCode", res_code(charge)),
        (
            "ResCodeMsg",
            if charge.succeeded {
                "授權成功"
            } else {
                "餘額不足"
            },
        ),
        ("AuthCode", if charge.succeeded { "000000" } else { "" }),
        ("AuthBank", "812"),
        ("AuthBankName", "台新銀行"),
        ("NextAuthDate", &next_date(contract, charge)),
    ])
}

/// The bank's code: `00` approved, `51` insufficient funds unless another decline was asked for (A.12).
fn res_code(charge: &Charge) -> &str {
    match &charge.code {
        None if charge.succeeded => "00",
        None => "51",
        Some(code) => code,
    }
}

/// Empty on the last period (A.6).
fn next_date(contract: &Contract, charge: &Charge) -> String {
    let next = charge.number.saturating_add(1);
    if next > contract.terms.times_total {
        return String::new();
    }
    let day = contract.due_at(next).and_then(day_at);
    day.map(|day| day.to_string()).unwrap_or_default()
}

/// The result of `/api/period/Page` for the browser (A.5).
fn page_result(trade: &Trade, contract: &Contract, paid: bool, at: Timestamp) -> Fields {
    let first = contract.terms.first_amount.to_string();
    let authorised = if contract.first_charge_now {
        first.clone()
    } else {
        BINDING_AMOUNT.to_string()
    };
    list(&[
        ("Status", status(paid)),
        ("Message", if paid { "授權成功" } else { "授權失敗" }),
        ("MerID", &trade.merchant_id),
        ("AuthTime", &at.to_taipei("%H%M%S").unwrap_or_default()),
        ("AuthDay", &at.to_taipei("%Y%m%d").unwrap_or_default()),
        ("PeriodAmt", &contract.terms.amount.to_string()),
        ("ProdDesc", &trade.description),
        ("PayerName", trade.field("PayerName")),
        ("PayerPhone", trade.field("PayerPhone")),
        ("PayerEmail", trade.field("PayerEmail")),
        ("MerTradeNo", &trade.order_number),
        ("PeriodTradeNo", &contract.terms.period_trade_no),
        ("TradeNo", &trade.trade_no),
        ("FAmt", &first),
        ("AuthAmt", &authorised),
        ("DateList", trade.field("Date")),
        ("ResCode", if paid { "00" } else { "51" }),
        ("ResCodeMsg", if paid { "授權成功" } else { "餘額不足" }),
        ("AuthCode", if paid { "000000" } else { "" }),
        ("AuthBank", "812"),
        ("AuthBankName", "台新銀行"),
        ("CardBank", "812"),
        ("AuthType", "1"),
        ("Card6No", "414763"),
        ("Card4No", "0001"),
        ("CardExpired", "1230"),
    ])
}

fn list(fields: &[(&str, &str)]) -> Fields {
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
