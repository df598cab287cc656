//! ECPay's notices, field by field.
//!
//! a move of `trade` → **`draft`** → `delivery` → **`sealed`** per delivery.
//!
//! Invariants: unset fields are sent empty and are part of the MAC (§1.4.2); the first delivery says `交易成功`, every
//! later one `paid` (§1.4.2), so body and MAC of a re-send differ; a code-issued notice never has `RtnCode` 1 (§1.4.4).
//! Spelling and case of every name are those of the recorded traffic.
//! Not here: when and where to send. A move without an address for it has no notice.

use std::time::Duration;

use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use super::{mac, wall_clock};
use crate::config::Merchant;
use crate::contract::{Charge, Contract};
use crate::form;
use crate::notice::{Draft, Kind, Seal, Sealed};
use crate::trade::{Method, Outcome, Trade};

/// A payment failed (§1.8; recorded with the text "Pay Fail.").
pub(crate) const FAILED: (&str, &str) = ("10100058", "Pay Fail.");

/// First delivery of a success.
pub(crate) const SUCCEEDED: (&str, &str) = ("1", "交易成功");

/// What a re-delivery of a success says.
const RESENT: &str = "paid";

/// The authorisation code of every success, that of ECPay's own samples.
pub(crate) const AUTH_CODE: &str = "777777";

type Fields = Vec<(String, String)>;

/// The notice that a move causes, where the merchant gave an address for it.
pub(crate) fn draft(merchant: &Merchant, trade: &Trade, outcome: &Outcome, now: Timestamp) -> Option<Draft> {
    let (kind, url, fields) = match outcome {
        Outcome::Paid => (Kind::Payment, "ReturnURL", payment(trade, SUCCEEDED, false, now)),
        Outcome::Failed => (Kind::Payment, "ReturnURL", payment(trade, FAILED, false, now)),
        Outcome::Simulated => (Kind::Payment, "ReturnURL", payment(trade, SUCCEEDED, true, now)),
        Outcome::CodeIssued => (Kind::Code, "PaymentInfoURL", code(trade)),
        Outcome::Charged(charge) => (
            Kind::Period,
            "PeriodReturnURL",
            period(trade, trade.contract.as_ref()?, charge),
        ),
        Outcome::Closed => return None,
    };
    let url = trade.field(url).to_owned();
    let simulated = matches!(outcome, Outcome::Simulated);
    (!url.is_empty()).then(|| Draft {
        kind,
        url,
        simulated,
        fields,
        seal: Seal::Ecpay(merchant.clone()),
    })
}

/// The bytes of one delivery.
pub(crate) fn sealed(merchant: &Merchant, fields: &[(String, String)], attempt: u32) -> Sealed {
    let mut fields = fields.to_vec();
    if attempt > 1 {
        for (_, message) in fields
            .iter_mut()
            .filter(|(name, value)| name == "RtnMsg" && value == SUCCEEDED.1)
        {
            RESENT.clone_into(message);
        }
    }
    let mac = mac(merchant, &fields);
    fields.push(("CheckMacValue".into(), mac));
    Sealed {
        content_type: "application/x-www-form-urlencoded",
        headers: Vec::new(),
        body: form::encode(&fields),
    }
}

/// The result as the customer's browser carries it to `OrderResultURL`: the same fields, another text (§1.4.2).
pub(crate) fn browser_result(merchant: &Merchant, trade: &Trade, now: Timestamp) -> Fields {
    let paid = trade.status == crate::trade::Status::Paid;
    let mut fields = payment(
        trade,
        if paid { ("1", "Succeeded") } else { FAILED },
        false,
        trade.settled_at.unwrap_or(now),
    );
    let mac = mac(merchant, &fields);
    fields.push(("CheckMacValue".into(), mac));
    fields
}

/// `ReturnURL` (§1.4.2).
fn payment(trade: &Trade, (code, message): (&str, &str), simulated: bool, now: Timestamp) -> Fields {
    let mut fields = list(&[
        ("MerchantID", &trade.merchant_id),
        ("MerchantTradeNo", &trade.order_number),
        ("StoreID", trade.field("StoreID")),
        ("RtnCode", code),
        ("RtnMsg", message),
        ("TradeNo", &trade.trade_no),
        ("TradeAmt", &trade.amount.to_string()),
        ("PaymentDate", &wall_clock(now)),
        ("PaymentType", payment_type(trade)),
        ("PaymentTypeChargeFee", &fee(trade)),
        ("TradeDate", &wall_clock(trade.created_at)),
        ("PlatformID", trade.field("PlatformID")),
        ("SimulatePaid", if simulated { "1" } else { "0" }),
    ]);
    fields.extend(custom_fields(trade));
    if trade.field("NeedExtraPaidInfo") == "Y" {
        fields.extend(extra(trade, code == "1", now));
    }
    fields
}

/// The extra fields of `NeedExtraPaidInfo=Y`, exactly as recorded from the provider (§1.4.2).
pub(crate) fn extra(trade: &Trade, paid: bool, now: Timestamp) -> Fields {
    let card = trade.method == Some(Method::Credit);
    let of_card = |value: &'static str| if card { value } else { "" };
    let done_at = if card { wall_clock(now) } else { String::new() };
    let amount = if card {
        trade.amount.to_string()
    } else {
        String::new()
    };
    let gwsr = if card { trade.gwsr.as_str() } else { "" };
    let mut fields = list(&[
        ("AlipayID", ""),
        ("AlipayTradeNo", ""),
        ("amount", &amount),
        ("ATMAccBank", ""),
        ("ATMAccNo", ""),
        ("auth_code", if paid { of_card(AUTH_CODE) } else { "" }),
        ("card4no", of_card("2222")),
        ("card6no", of_card("431195")),
        ("eci", of_card("0")),
        ("gwsr", gwsr),
        (
            "PayFrom",
            if trade.method == Some(Method::Cvs) {
                "ibon"
            } else {
                ""
            },
        ),
        ("PaymentNo", ""),
        ("process_date", &done_at),
    ]);
    let stages = [
        "red_dan",
        "red_de_amt",
        "red_ok_amt",
        "red_yet",
        "staed",
        "stage",
        "stast",
    ];
    fields.extend(stages.map(|name| (name.to_owned(), of_card("0").to_owned())));
    let rest = ["TenpayTradeNo", "WebATMAccBank", "WebATMAccNo", "WebATMBankName"];
    fields.extend(rest.map(|name| (name.to_owned(), String::new())));
    fields.extend(contract(trade));
    fields
}

/// The contract's fields; present and empty for an order without one.
fn contract(trade: &Trade) -> Fields {
    let of_contract = |text: fn(&Contract) -> String| trade.contract.as_ref().map(text).unwrap_or_default();
    list(&[
        ("PeriodType", trade.field("PeriodType")),
        ("Frequency", trade.field("Frequency")),
        ("ExecTimes", trade.field("ExecTimes")),
        (
            "PeriodAmount",
            &of_contract(|contract| contract.terms.amount.to_string()),
        ),
        (
            "TotalSuccessTimes",
            &of_contract(|contract| contract.succeeded().count().to_string()),
        ),
        (
            "TotalSuccessAmount",
            &of_contract(|contract| sum_succeeded(contract).to_string()),
        ),
    ])
}

/// What all successful charges add up to.
pub(crate) fn sum_succeeded(contract: &Contract) -> Minor {
    contract
        .succeeded()
        .try_fold(Minor::ZERO, |sum, charge| sum.checked_add(charge.amount))
        .unwrap_or(Minor::ZERO)
}

/// `PaymentInfoURL` (§1.4.4).
fn code(trade: &Trade) -> Fields {
    let method = trade.method.unwrap_or(Method::Atm);
    let (rtn_code, message) = if method == Method::Atm {
        ("2", "Get VirtualAccount Succeeded")
    } else {
        ("10100073", "Get CVS Code Succeeded.")
    };
    let mut fields = list(&[
        ("MerchantID", &trade.merchant_id),
        ("MerchantTradeNo", &trade.order_number),
        ("StoreID", trade.field("StoreID")),
        ("RtnCode", rtn_code),
        ("RtnMsg", message),
        ("TradeNo", &trade.trade_no),
        ("TradeAmt", &trade.amount.to_string()),
        ("PaymentType", payment_type(trade)),
        ("TradeDate", &wall_clock(trade.created_at)),
    ]);
    fields.extend(custom_fields(trade));
    fields.extend(
        instructions(trade)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value)),
    );
    fields
}

/// What the customer takes along to pay: an account, a code, or three barcodes.
pub(crate) fn instructions(trade: &Trade) -> Vec<(&'static str, String)> {
    let method = trade.method.unwrap_or(Method::Atm);
    let tail = trade.trade_no.get(4..).unwrap_or_default();
    let expires_at = trade.created_at.plus(validity(trade, method));
    match method {
        Method::Atm => vec![
            ("BankCode", "812".into()),
            ("vAccount", format!("9103{tail}")),
            ("ExpireDate", expires_at.to_taipei("%Y/%m/%d").unwrap_or_default()),
        ],
        Method::Barcode => vec![
            (
                "Barcode1",
                format!("{}6EA", expires_at.to_taipei("%y%m%d").unwrap_or_default()),
            ),
            ("Barcode2", format!("3453{tail}")),
            ("Barcode3", format!("{:06}{:09}", 42_677, trade.amount.get())),
            ("ExpireDate", wall_clock(expires_at)),
        ],
        Method::Cvs
        | Method::Credit
        | Method::WebAtm
        | Method::ApplePay
        | Method::Twqr
        | Method::Bnpl
        | Method::WeiXin
        | Method::DigitalPayment => {
            vec![
                ("PaymentNo", format!("LLL{}", tail.get(1..).unwrap_or_default())),
                ("ExpireDate", wall_clock(expires_at)),
            ]
        }
    }
}

/// ATM: days, default 3. CVS: minutes, default 10080. BARCODE: days, default 7 (§1.3.1).
fn validity(trade: &Trade, method: Method) -> Duration {
    let number = |name: &str, default: u64| trade.field(name).parse().unwrap_or(default);
    let minutes = match method {
        Method::Atm => number("ExpireDate", 3).saturating_mul(1440),
        Method::Barcode => number("StoreExpireDate", 7).saturating_mul(1440),
        Method::Cvs
        | Method::Credit
        | Method::WebAtm
        | Method::ApplePay
        | Method::Twqr
        | Method::Bnpl
        | Method::WeiXin
        | Method::DigitalPayment => number("StoreExpireDate", 10_080),
    };
    Duration::from_secs(minutes.saturating_mul(60))
}

/// `PeriodReturnURL` (§1.4.3): other names than `ReturnURL`, no `TradeNo`.
fn period(trade: &Trade, contract: &Contract, charge: &Charge) -> Fields {
    let (code, message) = if charge.succeeded { SUCCEEDED } else { FAILED };
    let mut fields = list(&[
        ("MerchantID", &trade.merchant_id),
        ("MerchantTradeNo", &trade.order_number),
        ("StoreID", trade.field("StoreID")),
        ("RtnCode", charge.code.as_deref().unwrap_or(code)),
        ("RtnMsg", message),
        ("PeriodType", trade.field("PeriodType")),
        ("Frequency", trade.field("Frequency")),
        ("ExecTimes", trade.field("ExecTimes")),
        ("Amount", &charge.amount.to_string()),
        (contract.telling.gwsr_name(charge.number), &charge.gwsr),
        ("ProcessDate", &wall_clock(charge.at)),
        ("AuthCode", if charge.succeeded { AUTH_CODE } else { "" }),
        ("FirstAuthAmount", &contract.terms.first_amount.to_string()),
        ("TotalSuccessTimes", &contract.succeeded().count().to_string()),
    ]);
    fields.extend(custom_fields(trade));
    fields
}

fn custom_fields(trade: &Trade) -> impl Iterator<Item = (String, String)> {
    let names = ["CustomField1", "CustomField2", "CustomField3", "CustomField4"];
    names
        .into_iter()
        .map(|name| (name.to_owned(), trade.field(name).to_owned()))
}

/// The method as notices name it. The ones ending in a house other than those recorded are inferred; the part before
/// the underscore is what counts (§1.4.2).
pub(crate) fn payment_type(trade: &Trade) -> &'static str {
    match trade.method {
        None => "",
        Some(Method::Credit) => "Credit_CreditCard",
        Some(Method::WebAtm) => "WebATM_TAISHIN",
        Some(Method::Atm) => "ATM_TAISHIN",
        Some(Method::Cvs) => "CVS_CVS",
        Some(Method::Barcode) => "BARCODE_BARCODE",
        Some(Method::ApplePay) => "ApplePay_ApplePay",
        Some(Method::Twqr) => "TWQR_OPAY",
        Some(Method::Bnpl) => "BNPL_URICH",
        Some(Method::WeiXin) => "WeiXin_WeiXin",
        Some(Method::DigitalPayment) => "DigitalPayment_Jkopay",
    }
}

/// Two percent, in whole dollars, at least one.
pub(crate) fn fee(trade: &Trade) -> String {
    trade
        .amount
        .get()
        .checked_div(50)
        .unwrap_or_default()
        .max(1)
        .to_string()
}

fn list(fields: &[(&str, &str)]) -> Fields {
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
