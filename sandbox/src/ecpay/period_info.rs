//! `QueryCreditCardPeriodInfo`: every charge of a contract, as unsigned JSON (§1.7.1).
//!
//! a signed form → **`answer`** → JSON without a MAC; the odd forms of `ExecLog` are those seen in production (§1.5).
//!
//! Invariants: charge 1 stands first, under the trade's own 16-digit number, later ones have 20 digits; a failed charge
//! that was paid by a retry stays in the log; the totals count successes only. The first of three failures is shown in
//! full, the second with `"0"` and empty texts in place of numbers and no message, the third twice, once without number.
//! Not here: the totals under a MAC (`query`). Failure: the shape of an unknown order, with the code.

use serde_json::{Value, json};

use super::call::{self, Unread};
use super::notice::{AUTH_CODE, FAILED, SUCCEEDED, sum_succeeded};
use super::wall_clock;
use crate::app::App;
use crate::contract::{Charge, Contract, State};
use crate::trade::{Provider, Status, Trade};

const ALLOWED: [&str; 2] = ["MerchantTradeNo", "TimeStamp"];

/// The JSON answer.
pub(crate) fn answer(app: &App, body: &[u8]) -> Value {
    let call = match call::read(app, body, &ALLOWED) {
        Ok(call) => call,
        Err(Unread::NotGenuine) => return missing(10_200_073),
        Err(Unread::Invalid(_)) => return missing(10_200_083),
    };
    let order_number = call.fields.text("MerchantTradeNo");
    let found = app.world.with(|world| {
        let trade = world.order_of(Provider::Ecpay, &call.merchant.id, order_number)?;
        let contract = trade.contract.as_ref()?;
        // A contract whose first charge failed does not exist (§1.3.2).
        (trade.status == Status::Paid).then(|| view(trade, contract))
    });
    found.unwrap_or_else(|| missing(10_200_047))
}

/// As recorded for an unknown order, and for one that is not periodic.
fn missing(code: u32) -> Value {
    json!({
        "ExecStatus": null, "MerchantID": "0", "MerchantTradeNo": null, "TradeNo": null, "RtnCode": code,
        "PeriodType": null, "Frequency": 0, "ExecTimes": 0, "PeriodAmount": 0, "amount": 0, "gwsr": 0,
        "process_date": null, "auth_code": null, "card4no": null, "card6no": null,
        "TotalSuccessTimes": 0, "TotalSuccessAmount": 0, "ExecLog": null,
    })
}

fn view(trade: &Trade, contract: &Contract) -> Value {
    let number = |name: &str| trade.field(name).parse::<i64>().unwrap_or_default();
    let first = contract.charges.first();
    json!({
        "ExecStatus": exec_status(contract.state),
        "MerchantID": trade.merchant_id,
        "MerchantTradeNo": trade.order_number,
        "TradeNo": trade.trade_no,
        "RtnCode": 1,
        "PeriodType": trade.field("PeriodType"),
        "Frequency": number("Frequency"),
        "ExecTimes": number("ExecTimes"),
        "PeriodAmount": contract.terms.amount.get(),
        "amount": contract.terms.first_amount.get(),
        "gwsr": as_number(&trade.gwsr),
        "process_date": first.map(|charge| wall_clock(charge.at)),
        "auth_code": AUTH_CODE,
        "card4no": "2222",
        "card6no": "431195",
        "TotalSuccessTimes": contract.succeeded().count(),
        "TotalSuccessAmount": sum_succeeded(contract).get(),
        "ExecLog": log(contract),
    })
}

/// 0 ended, 1 running, 2 completed. Suspending is a matter of ECPay's console and is not played.
const fn exec_status(state: State) -> &'static str {
    match state {
        State::Agreed | State::Running | State::Suspended => "1",
        State::Canceled | State::Stopped => "0",
        State::Completed => "2",
    }
}

fn log(contract: &Contract) -> Vec<Value> {
    let mut failures = 0_usize;
    let mut entries = Vec::new();
    for charge in &contract.charges {
        if charge.succeeded || !contract.telling.odd_log {
            entries.push(entry(charge));
        } else {
            entries.extend(odd_entries(charge, failures));
            failures = failures.saturating_add(1);
        }
    }
    if contract.telling.ghost_in_log {
        entries.extend(contract.charges.last().map(ghost));
    }
    entries
}

fn entry(charge: &Charge) -> Value {
    let (code, message) = if charge.succeeded { SUCCEEDED } else { FAILED };
    json!({
        "RtnCode": as_number(charge.code.as_deref().unwrap_or(code)),
        "RtnMsg": message,
        "amount": charge.amount.get(),
        "gwsr": as_number(&charge.gwsr),
        "process_date": wall_clock(charge.at),
        "auth_code": if charge.succeeded { AUTH_CODE } else { "" },
        "TradeNo": charge.trade_no,
    })
}

fn odd_entries(charge: &Charge, failures_before: usize) -> Vec<Value> {
    let bare = |code: &str, gwsr: &str| {
        json!({
            "RtnCode": code,
            "amount": "",
            "gwsr": gwsr,
            "process_date": wall_clock(charge.at),
            "auth_code": "",
            "TradeNo": charge.trade_no,
        })
    };
    match failures_before.rem_euclid(3) {
        0 => vec![entry(charge)],
        1 => vec![bare("0", "0")],
        _ => vec![bare("", ""), entry(charge)],
    }
}

fn ghost(last: &Charge) -> Value {
    json!({
        "RtnCode": 1, "RtnMsg": SUCCEEDED.1, "amount": last.amount.get(), "gwsr": "",
        "process_date": wall_clock(last.at), "auth_code": "", "TradeNo": "",
    })
}

fn as_number(text: &str) -> Value {
    text.parse::<i64>()
        .map_or_else(|_| json!(text), |number| json!(number))
}
