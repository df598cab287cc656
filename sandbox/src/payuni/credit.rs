//! `/api/credit` by a stored card, and `/api/credit_bind/cancel` (A.11).
//!
//! a sealed call with a `CreditHash` → **`charge`** → a trade of its own, paid or declined by the card's bank → a sealed
//! reply of version 1.2 to a request of 1.3.
//!
//! Invariants: an order number is good once in ten minutes (CREDIT04001), looked up and taken under one lock, so a repeat
//! whose first answer was lost is refused and never charged twice; an UNKNOWN answer becomes a result a quarter of an
//! hour later, for queries and, where there is a `NotifyURL`, by a notice (A.9).
//! Not here: binding a card (`App::act`), raw cards, which are refused (CREDIT02011).
//! Failure: CREDIT02025 for a card that is unknown or was removed; CANCEL03001 where nothing is bound.

use std::time::Duration;

use serde_json::Value;
use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use super::call::{self, Inner, Terms, owned, success};
use super::checkout::check_free;
use super::envelope::Refusal;
use super::{notice, rules};
use crate::app::App;
use crate::config::Merchant;
use crate::contract::schedule::day_at;
use crate::form::Fields;
use crate::tokens::Manner;
use crate::trade::{Action, Method, Outcome, Provider, Status, Trade};
use crate::world::World;

/// From an UNKNOWN answer to the result.
const UNKNOWN_FOR: Duration = Duration::from_mins(15);

const CHARGE: Terms = Terms {
    versions: &["1.3"],
    table: rules::CREDIT,
    reply_version: "1.2",
    stamped: true,
};

const REMOVE: Terms = Terms {
    versions: &["1.0"],
    table: rules::BIND_CANCEL,
    reply_version: "1.0",
    stamped: true,
};

/// The JSON reply; `None` where the charge was made and the answer is lost.
pub(crate) fn charge(app: &App, body: &[u8]) -> Option<Value> {
    let mut manner = Manner::Told;
    let reply = call::answer(app, body, CHARGE, |merchant, fields| {
        let now = app.clock.now();
        app.world.with(|world| {
            let (made, trade) = make(app, world, merchant, fields, now)?;
            manner = made;
            Ok(told(&trade, made, now))
        })
    });
    (manner != Manner::Lost).then_some(reply)
}

fn make(
    app: &App,
    world: &mut World,
    merchant: &Merchant,
    fields: &Fields,
    now: Timestamp,
) -> Result<(Manner, Trade), Refusal> {
    let hash = fields.text("CreditHash");
    if hash.is_empty() {
        return Err(Refusal::new("CREDIT02011", "未有信用卡號 No card number"));
    }
    // This call's own code for it, as shops' plugins meet it.
    let repeated = |_| Refusal::new("CREDIT04001", "已存在相同商店訂單編號 MerTradeNo has been used");
    check_free(world, merchant, fields.text("MerTradeNo"), now).map_err(repeated)?;
    let trade_no = world.numbers.trade_no(Provider::Payuni, now);
    let unknown = || Refusal::new("CREDIT02025", "查無此Token資料 No such token");
    let token = world.tokens.usable(&merchant.id, hash).ok_or_else(unknown)?;
    let today = day_at(now).unwrap_or_default();
    let approved = token.bank.approves(today, today);
    let code = token.bank.code.clone().filter(|_| !approved);
    let manner = token.next_manner();
    token.charged.push(trade_no.clone());
    let mut trade = trade(merchant, fields, trade_no, now)?;
    trade.decline_code = code;
    trade.unknown_until = (manner == Manner::Unknown).then(|| now.plus(UNKNOWN_FOR));
    let action = if approved { Action::Pay } else { Action::Fail };
    let outcome = trade
        .act(action, None, &mut world.numbers, now)
        .map_err(|refused| Refusal::undocumented(refused.to_string()))?;
    world
        .open(trade.clone())
        .map_err(|full| Refusal::undocumented(full.to_string()))?;
    tell_later(app, world, &trade, &outcome, now);
    Ok((manner, trade))
}

/// `NotifyURL` is used after UNKNOWN only (A.11).
fn tell_later(app: &App, world: &mut World, trade: &Trade, outcome: &Outcome, now: Timestamp) {
    if let Some(until) = trade.unknown_until
        && let Some(notice) = app.record_notice(world, trade, outcome, now)
    {
        world.hold(notice, until);
    }
}

fn trade(merchant: &Merchant, fields: &Fields, trade_no: String, now: Timestamp) -> Result<Trade, Refusal> {
    let amount = Minor::from_decimal(fields.text("TradeAmt"));
    let amount = amount.ok_or_else(|| Refusal::undocumented("TradeAmt: whole TWD"))?;
    Ok(Trade {
        provider: Provider::Payuni,
        merchant_id: merchant.id.clone(),
        order_number: fields.text("MerTradeNo").to_owned(),
        trade_no,
        gwsr: String::new(),
        amount,
        description: fields.text("ProdDesc").to_owned(),
        request: fields.clone().into_map(),
        methods: vec![Method::Credit],
        method: None,
        status: Status::Open,
        created_at: now,
        settled_at: None,
        settlements: std::collections::BTreeMap::new(),
        contract: None,
        credit_hash: None,
        decline_code: None,
        unknown_until: None,
    })
}

fn told(trade: &Trade, manner: Manner, now: Timestamp) -> Inner {
    if manner == Manner::Unknown {
        return owned(&[
            ("Status", "UNKNOWN"),
            ("Message", "銀行端未回應，請稍後查詢"),
            ("MerID", &trade.merchant_id),
            ("MerTradeNo", &trade.order_number),
            ("TradeNo", &trade.trade_no),
            ("TradeAmt", &trade.amount.to_string()),
            ("TradeStatus", "0"),
            ("PaymentType", "1"),
            ("Gateway", "1"),
        ]);
    }
    let trade_status = if trade.status == Status::Paid { "1" } else { "2" };
    let mut inner = notice::payment(trade, trade_status, now);
    for (_, gateway) in inner.iter_mut().filter(|(name, _)| name == "Gateway") {
        "1".clone_into(gateway);
    }
    inner
}

/// `/api/credit_bind/cancel`: by `CreditHash` for `UseTokenType` 1, by the merchant's own reference for 2.
pub(crate) fn remove(app: &App, body: &[u8]) -> Value {
    call::answer(app, body, REMOVE, |merchant, fields| {
        let by_hash = fields.text("UseTokenType") == "1";
        let value = fields.text("BindVal");
        let removed = app
            .world
            .with(|world| world.tokens.remove(&merchant.id, by_hash, value));
        if removed == 0 {
            return Err(Refusal::new("CANCEL03001", "查無綁定資料 Nothing is bound"));
        }
        Ok(success("取消綁定成功", &[("MerID", merchant.id.as_str())]))
    })
}
