//! `/api/period/mdfStatus`: suspending, resuming, ending a contract, and trying a failed period again (A.8).
//!
//! a sealed call → **`answer`** → `contract` → a sealed reply; the result of `reauth` also comes as a period notice.
//!
//! Invariants: without a number PMDF02006, an unknown contract PMDF02018, one that has ended PMDF02013; `PeriodOrderNo`
//! is the plain number of one period here, not `…_N`. A retry that the bank declines is a sealed reply without
//! `TradeNo` (what PAYUNi says there is documented nowhere).
//! Not here: what the moves do (`contract`). Failure: a move that the state does not allow is SANDBOX01.

use tollgate_shared::time::Timestamp;

use super::call::{self, Inner, Terms, owned, success};
use super::envelope::Refusal;
use super::rules;
use crate::app::App;
use crate::config::Merchant;
use crate::contract::{Charge, Contract, State, Unable};
use crate::form::Fields;
use crate::trade::Provider;
use crate::world::World;

const TERMS: Terms = Terms {
    versions: &["1.0"],
    table: rules::CONTRACT_STATUS,
    reply_version: "1.0",
    stamped: false,
};

/// The JSON reply.
pub(crate) fn answer(app: &App, body: &[u8]) -> serde_json::Value {
    call::answer(app, body, TERMS, |merchant, fields| {
        let period =
            rules::number(fields.text("PeriodOrderNo")).and_then(|number| u32::try_from(number).ok());
        let now = app.clock.now();
        app.world.with(|world| {
            let trade_no = number_of(world, merchant, fields)?;
            match (fields.text("ReviseTradeStatus"), period) {
                ("reauth", Some(period)) => retry(app, world, &trade_no, period, now),
                ("reauth", None) => Err(Refusal::undocumented("reauth needs PeriodOrderNo")),
                (change, period) => revise(world, &trade_no, change, period),
            }
        })
    })
}

/// The trade's number of a contract that has begun and not ended.
fn number_of(world: &World, merchant: &Merchant, fields: &Fields) -> Result<String, Refusal> {
    let trade = find(world, merchant, fields)?;
    let state = trade.contract.as_ref().map(|contract| contract.state);
    if state.is_some_and(State::ended) {
        return Err(Refusal::new("PMDF02013", "續期訂單已終止 The contract has ended"));
    }
    Ok(trade.trade_no.clone())
}

/// The trade of the contract that a call names.
pub(super) fn find<'a>(
    world: &'a World,
    merchant: &Merchant,
    fields: &Fields,
) -> Result<&'a crate::trade::Trade, Refusal> {
    let number = fields.text("PeriodTradeNo");
    if number.is_empty() {
        return Err(Refusal::new("PMDF02006", "未有續期單號 No PeriodTradeNo"));
    }
    let order = fields.text("MerTradeNo");
    world
        .contract_no(&merchant.id, number)
        .filter(|trade| order.is_empty() || trade.order_number == order)
        .filter(|trade| {
            trade
                .contract
                .as_ref()
                .is_some_and(|contract| contract.state != State::Agreed)
        })
        .ok_or_else(|| Refusal::new("PMDF02018", "查無續期訂單 No such contract"))
}

fn revise(world: &mut World, trade_no: &str, change: &str, period: Option<u32>) -> Result<Inner, Refusal> {
    let gone = || Refusal::new("PMDF02018", "查無續期訂單 No such contract");
    let (trade, _) = world.trade_mut(Provider::Payuni, trade_no).ok_or_else(gone)?;
    let contract = trade.contract.as_mut().ok_or_else(gone)?;
    let done = match (change, period) {
        ("suspend", None) => contract.suspend(),
        ("restart", None) => contract.resume(),
        ("end", None) => contract.cancel(),
        ("suspend", Some(period)) => contract.suspend_period(period, true),
        ("restart", Some(period)) => contract.suspend_period(period, false),
        _ => return Err(Refusal::undocumented("end is for the whole order")),
    };
    done.map_err(refusal)?;
    Ok(success(
        "修改成功",
        &[
            ("MerID", &trade.merchant_id),
            ("MerTradeNo", &trade.order_number),
            ("PeriodTradeNo", &contract.terms.period_trade_no),
        ],
    ))
}

fn retry(
    app: &App,
    world: &mut World,
    trade_no: &str,
    period: u32,
    now: Timestamp,
) -> Result<Inner, Refusal> {
    let gone = || Refusal::new("PMDF02018", "查無續期訂單 No such contract");
    let (trade, numbers) = world.trade_mut(Provider::Payuni, trade_no).ok_or_else(gone)?;
    let contract = trade.contract.as_mut().ok_or_else(gone)?;
    let charge = contract.retry(period, numbers, now).map_err(refusal)?;
    let reply = retried(&trade.merchant_id, &trade.order_number, contract, &charge);
    if let Some(notice) = app.tell_charge(world, Provider::Payuni, trade_no, &charge, now) {
        world.hold(notice, now.plus(app.config.retry_delay));
    }
    Ok(reply)
}

fn retried(merchant_id: &str, order_number: &str, contract: &Contract, charge: &Charge) -> Inner {
    let (status, message) = if charge.succeeded {
        ("SUCCESS", "授權成功")
    } else {
        (super::notice::FAILED, "授權失敗")
    };
    let mut inner = owned(&[
        ("Status", status),
        ("Message", message),
        ("MerID", merchant_id),
        ("MerTradeNo", order_number),
        ("PeriodTradeNo", &contract.terms.period_trade_no),
    ]);
    if charge.succeeded {
        let period_order_number = format!("{order_number}_{}", charge.number);
        inner.extend(owned(&[
            ("TradeNo", charge.trade_no.as_str()),
            ("PeriodOrderNo", &period_order_number),
        ]));
    }
    inner
}

fn refusal(unable: Unable) -> Refusal {
    match unable {
        Unable::Ended => Refusal::new("PMDF02013", "續期訂單已終止 The contract has ended"),
        Unable::NotBegun => Refusal::new("PMDF02018", "查無續期訂單 No such contract"),
        Unable::NotRunning => Refusal::undocumented("it is suspended already"),
        Unable::NotSuspended => Refusal::undocumented("it is not suspended"),
        Unable::NothingFailed => Refusal::undocumented("the period has not failed, or is paid"),
        Unable::NoSuchPeriod => Refusal::undocumented("the period does not lie ahead"),
    }
}
