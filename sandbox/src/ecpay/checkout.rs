//! Opening a trade at the fake ECPay.
//!
//! `request::check` → **`open`** → the cashier page.
//!
//! Invariant: whether an order number is free is looked up and settled under one lock; used once is used for ever
//! (10300028), also when the first trade failed.
//! Not here: checks that need no state (`request`).
//! Failure: [`Refusal`]; a full sandbox says so in words of its own.

use tollgate_shared::time::Timestamp;

use super::request::{Checked, Refusal, check};
use crate::app::App;
use crate::contract::{Contract, Terms};
use crate::trade::{Provider, Status, Trade};

/// Checks a form and opens its trade.
pub(crate) fn open(app: &App, body: &[u8]) -> Result<Trade, Refusal> {
    let checked = check(&app.config, body)?;
    let now = app.clock.now();
    let contract = contract(app, &checked, now)?;
    app.world.with(|world| {
        let order_number = checked.fields.get("MerchantTradeNo").cloned().unwrap_or_default();
        if world
            .order_of(Provider::Ecpay, &checked.merchant.id, &order_number)
            .is_some()
        {
            return Err(Refusal::new(10_300_028, "MerchantTradeNo has been used"));
        }
        let trade_no = world.numbers.trade_no(Provider::Ecpay, now);
        let trade = Trade {
            provider: Provider::Ecpay,
            contract,
            merchant_id: checked.merchant.id,
            order_number,
            trade_no,
            gwsr: String::new(),
            amount: checked.amount,
            description: checked.fields.get("ItemName").cloned().unwrap_or_default(),
            request: checked.fields,
            methods: checked.methods,
            method: None,
            status: Status::Open,
            created_at: now,
            settled_at: None,
            settlements: std::collections::BTreeMap::new(),
            credit_hash: None,
            decline_code: None,
            unknown_until: None,
        };
        world
            .open(trade.clone())
            .map_err(|full| Refusal::new(0, full.to_string()))?;
        Ok(trade)
    })
}

fn contract(app: &App, checked: &Checked, now: Timestamp) -> Result<Option<Contract>, Refusal> {
    let Some(periodic) = checked.periodic.clone() else {
        return Ok(None);
    };
    let terms = Terms {
        provider: Provider::Ecpay,
        times_total: periodic.times_total,
        amount: checked.amount,
        first_amount: checked.amount,
        cadence: periodic.cadence,
        charge_minute_of_day: app.config.ecpay_charge_minute_of_day,
        period_trade_no: String::new(),
    };
    let contract = Contract::agreed(terms, now);
    contract
        .map(Some)
        .ok_or_else(|| Refusal::new(0, "The sandbox's clock is beyond its calendar"))
}
