//! `/api/period/Modify` and `/api/period/exchange`: another amount or schedule, another card (A.8).
//!
//! a sealed call → **`modify`**, **`exchange`** → `contract`; `exchange` answers with the address of a page on which the
//! customer gives a new card (`exchange_page`).
//!
//! Invariants: the day of a change is never charged, and what was charged stays; a cycle does not become a list nor a
//! list a cycle. Raw card numbers are refused: the page form (`APIType=1`) is the only one that Tollgate may use.
//! The field that carries the address is documented nowhere; it is called `URL` here, as in the reply of `/api/period`.
//! Not here: the page. Failure: PMDF02006, PMDF02018, PMDF02013; SANDBOX01 naming the field.

use jiff::civil::Date;
use tollgate_shared::money::Minor;

use super::call::{self, Inner, Terms, success};
use super::checkout::cycle;
use super::contract_status::find;
use super::envelope::Refusal;
use super::rules::{self, number};
use crate::app::App;
use crate::contract::schedule::{Cadence, Schedule, day_at};
use crate::contract::{Contract, State};
use crate::form::Fields;
use crate::trade::{Provider, Trade};

const MODIFY: Terms = Terms {
    versions: &["1.0"],
    table: rules::CONTRACT_MODIFY,
    reply_version: "1.0",
    stamped: false,
};

const EXCHANGE: Terms = Terms {
    versions: &["1.0"],
    table: rules::CONTRACT_EXCHANGE,
    reply_version: "1.0",
    stamped: false,
};

/// `/api/period/Modify`.
pub(crate) fn modify(app: &App, body: &[u8]) -> serde_json::Value {
    call::answer(app, body, MODIFY, |merchant, fields| {
        let today = day_at(app.clock.now()).unwrap_or_default();
        app.world.with(|world| {
            let trade_no = alive(find(world, merchant, fields)?)?;
            let gone = || Refusal::new("PMDF02018", "查無續期訂單 No such contract");
            let (trade, _) = world.trade_mut(Provider::Payuni, &trade_no).ok_or_else(gone)?;
            let contract = trade.contract.as_mut().ok_or_else(gone)?;
            *contract = changed(contract, fields, today)?;
            for name in ["PeriodType", "PeriodDate"] {
                if !fields.text(name).is_empty() {
                    trade.request.insert(name.into(), fields.text(name).into());
                }
            }
            Ok(named(trade, "修改成功", &[]))
        })
    })
}

/// `/api/period/exchange`.
pub(crate) fn exchange(app: &App, body: &[u8], base_url: &str) -> serde_json::Value {
    call::answer(app, body, EXCHANGE, |merchant, fields| {
        let now = app.clock.now();
        app.world.with(|world| {
            let trade_no = alive(find(world, merchant, fields)?)?;
            let page = world.exchanges.open(&mut world.numbers, &trade_no, now);
            let page = page.ok_or_else(|| Refusal::undocumented("too many pages are open"))?;
            let url = format!("{base_url}/payuni/exchange/{page}");
            let trade = find(world, merchant, fields)?;
            Ok(named(trade, "取得連結成功", &[("URL", &url)]))
        })
    })
}

fn alive(trade: &Trade) -> Result<String, Refusal> {
    let state = trade.contract.as_ref().map(|contract| contract.state);
    if state.is_some_and(State::ended) {
        return Err(Refusal::new("PMDF02013", "續期訂單已終止 The contract has ended"));
    }
    Ok(trade.trade_no.clone())
}

fn named(trade: &Trade, message: &str, more: &[(&str, &str)]) -> Inner {
    let number = trade
        .contract
        .as_ref()
        .map_or("", |contract| contract.terms.period_trade_no.as_str());
    let mut fields = vec![
        ("MerID", trade.merchant_id.as_str()),
        ("MerTradeNo", &trade.order_number),
        ("PeriodTradeNo", number),
    ];
    fields.extend(more);
    success(message, &fields)
}

/// The contract as it will be; nothing is changed where one field is refused.
fn changed(contract: &Contract, fields: &Fields, today: Date) -> Result<Contract, Refusal> {
    let mut contract = contract.clone();
    let amount = |name: &str| Minor::from_decimal(fields.text(name));
    contract.terms.amount = amount("PeriodAmt").unwrap_or(contract.terms.amount);
    contract.terms.first_amount = amount("FAmt").unwrap_or(contract.terms.first_amount);
    if let Some(times) = number(fields.text("PeriodTimes")) {
        let times = u32::try_from(times)
            .ok()
            .filter(|times| *times >= contract.next_period());
        contract.terms.times_total =
            times.ok_or_else(|| Refusal::undocumented("PeriodTimes: more than were charged"))?;
    }
    reschedule(&mut contract, fields, today)?;
    Ok(contract)
}

fn reschedule(contract: &mut Contract, fields: &Fields, today: Date) -> Result<(), Refusal> {
    let (period_type, dates) = (fields.text("PeriodType"), fields.text("DateList"));
    let is_list = matches!(contract.terms.cadence, Cadence::Listed(_));
    if (is_list && !period_type.is_empty()) || (!is_list && !dates.is_empty()) {
        return Err(Refusal::undocumented(
            "a cycle does not become a list of days, nor a list a cycle",
        ));
    }
    if !period_type.is_empty() {
        let cycle = cycle(period_type, fields.text("PeriodDate"))?;
        let schedule = Schedule::cyclic(today, contract.next_period(), cycle);
        contract.reschedule(schedule.ok_or_else(|| Refusal::undocumented("PeriodDate: no such day"))?);
    }
    if !dates.is_empty() {
        contract.relist(dates.split(',').filter_map(|day| day.parse().ok()), today);
    }
    Ok(())
}
