//! `/api/period/query`: the whole schedule of a contract, period by period (A.8, #/7/320).
//!
//! a sealed call → **`answer`** → `Result[i][…]`, one row a period in order of their numbers.
//!
//! Invariants: a period that is not authorised has `TradeNo` `-` and neither `SubPeriodNo` nor `AuthCode`, whether it
//! lies ahead or failed; only the Chinese `StatusDesc` tells the two apart. Days ahead are shown at midnight.
//! `AlreadyTimes` counts paid periods. The words for anything but 授權完成 and 排程中 are the sandbox's guess.
//! Not here: the schedule (`contract`). Failure: PMDF02006 without a number, PMDF02018 unknown.

use tollgate_shared::time::Timestamp;

use super::call::{self, Inner, Terms, success};
use super::contract_status::find;
use super::rules;
use crate::app::App;
use crate::contract::schedule::day_at;
use crate::contract::{Charge, Contract};
use crate::trade::Trade;

const TERMS: Terms = Terms {
    versions: &["1.0"],
    table: rules::CONTRACT_QUERY,
    reply_version: "1.0",
    stamped: false,
};

/// The JSON reply.
pub(crate) fn answer(app: &App, body: &[u8]) -> serde_json::Value {
    call::answer(app, body, TERMS, |merchant, fields| {
        app.world.with(|world| {
            let trade = find(world, merchant, fields)?;
            Ok(trade
                .contract
                .as_ref()
                .map(|contract| schedule(trade, contract))
                .unwrap_or_default())
        })
    })
}

fn schedule(trade: &Trade, contract: &Contract) -> Inner {
    let period_type = match trade.field("PeriodType") {
        "" => "self",
        known => known,
    };
    let mut inner = success(
        "查詢明細資料成功",
        &[
            ("MerID", &trade.merchant_id),
            ("MerTradeNo", &trade.order_number),
            ("PeriodTradeNo", &contract.terms.period_trade_no),
            ("PeriodType", period_type),
            ("PeriodDate", trade.field("PeriodDate")),
            ("TotalTimes", &contract.terms.times_total.to_string()),
            ("AlreadyTimes", &contract.succeeded().count().to_string()),
        ],
    );
    for (index, period) in (1..=contract.terms.times_total).enumerate() {
        let row = row(trade, contract, period);
        inner.extend(
            row.into_iter()
                .map(|(name, value)| (format!("Result[{index}][{name}]"), value)),
        );
    }
    inner
}

fn row(trade: &Trade, contract: &Contract, period: u32) -> [(&'static str, String); 8] {
    let last = contract.charges.iter().rfind(|charge| charge.number == period);
    let paid = last.filter(|charge| charge.succeeded);
    let amount = if period == 1 {
        contract.terms.first_amount
    } else {
        contract.terms.amount
    };
    let amount = last.map_or(amount, |charge| charge.amount);
    let updated_at = last.map(|charge| charge.at).or(trade.settled_at);
    [
        ("Period", period.to_string()),
        (
            "ExpAuthDT",
            last.map_or_else(|| midnight(contract, period), |charge| clock(charge.at)),
        ),
        (
            "TradeNo",
            paid.map_or_else(|| "-".into(), |charge| charge.trade_no.clone()),
        ),
        (
            "SubPeriodNo",
            paid.map(|_| format!("{}_{period}", trade.order_number))
                .unwrap_or_default(),
        ),
        ("Amt", amount.to_string()),
        ("AuthCode", paid.map(|_| "000000".to_owned()).unwrap_or_default()),
        ("StatusDesc", status(contract, period, last).to_owned()),
        ("UpdateTime", updated_at.map(clock).unwrap_or_default()),
    ]
}

fn status(contract: &Contract, period: u32, last: Option<&Charge>) -> &'static str {
    match last {
        Some(charge) if charge.succeeded => "授權完成",
        Some(_) => "授權失敗",
        None if contract.state.ended() => "終止",
        None if period < contract.next_period() || contract.is_suspended(period) => "暫停",
        None => "排程中",
    }
}

fn midnight(contract: &Contract, period: u32) -> String {
    let day = contract.due_at(period).and_then(day_at);
    day.map(|day| format!("{day} 00:00:00")).unwrap_or_default()
}

fn clock(at: Timestamp) -> String {
    at.to_taipei("%Y-%m-%d %H:%M:%S").unwrap_or_default()
}
