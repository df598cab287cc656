//! `/api/trade/query`: what PAYUNi says about a trade when a server asks.
//!
//! a sealed form → **`answer`** → JSON with a sealed inner form, `Result[0][…]` inside (A.3, A.10).
//!
//! Invariant: a reply is sealed under the merchant's key; only a request that cannot be attributed to a merchant is
//! answered with the bare Status and Message.
//! Not here: the notice fields (`notice`). Failure: JSON with the refusal's code as Status, HTTP 200 as PAYUNi does.

use tollgate_shared::time::Timestamp;

use super::call::{self, Inner, Terms, success};
use super::charge_calls::{self, CAPTURE_MINUTE_OF_DAY};
use super::envelope::Refusal;
use super::{notice, rules};
use crate::app::App;
use crate::config::Merchant;
use crate::form::Fields;
use crate::settlement::Standing;
use crate::trade::{Provider, Status, Trade};
use crate::world::World;

const TERMS: Terms = Terms {
    versions: &["1.0", "2.0"],
    table: rules::QUERY,
    reply_version: "2.0",
    stamped: true,
};

/// The JSON reply to a query.
pub(crate) fn answer(app: &App, body: &[u8]) -> serde_json::Value {
    call::answer(app, body, TERMS, |merchant, fields| {
        let now = app.clock.now();
        app.world.with(|world| {
            let mut trade = find(world, merchant, fields)?;
            let mut inner = success("查詢成功", &[]);
            inner.extend(
                result(&mut trade, now)
                    .into_iter()
                    .map(|(name, value)| (format!("Result[0][{name}]"), value)),
            );
            Ok(inner)
        })
    })
}

/// A trade, or one charge of a contract in the shape of a trade of its own.
fn find(world: &World, merchant: &Merchant, fields: &Fields) -> Result<Trade, Refusal> {
    let found = match (fields.text("MerTradeNo"), fields.text("TradeNo")) {
        ("", "") => return Err(Refusal::undocumented("MerTradeNo or TradeNo is needed")),
        ("", number) => world
            .trade_no_of_charge(Provider::Payuni, &merchant.id, number)
            .or_else(|| Some(number.to_owned()))
            .and_then(|trade_no| world.trade(Provider::Payuni, &trade_no))
            .map(|trade| as_charge(trade, number)),
        (order, _) => world
            .order_of(Provider::Payuni, &merchant.id, order)
            .map(as_authorised),
    };
    found
        .filter(|trade| trade.merchant_id == merchant.id)
        .ok_or_else(|| Refusal::new("QUERY03001", "查無符合訂單資料 No such trade"))
}

/// A periodic order's own trade is what was authorised at the cashier: the first period, or the NT$1 that bound the card.
fn as_authorised(trade: &Trade) -> Trade {
    let mut trade = trade.clone();
    if let Some(contract) = &trade.contract {
        trade.amount = if contract.first_charge_now {
            contract.terms.first_amount
        } else {
            notice::BINDING_AMOUNT
        };
    }
    trade
}

fn as_charge(trade: &Trade, number: &str) -> Trade {
    let mut trade = as_authorised(trade);
    let charges = trade.contract.as_ref().map(|contract| contract.charges.iter());
    let charge = charges.and_then(|mut charges| charges.find(|charge| charge.trade_no == number).cloned());
    if let Some(charge) = charge {
        trade.order_number = format!("{}_{}", trade.order_number, charge.number);
        trade.amount = charge.amount;
        trade.settled_at = Some(charge.at);
        number.clone_into(&mut trade.trade_no);
        if !charge.succeeded {
            trade.status = Status::Failed;
        }
    }
    trade
}

/// 0 code issued or not known yet, 1 paid, 2 failed, 3 given up, 9 unpaid (A.9).
fn result(trade: &mut Trade, now: Timestamp) -> Inner {
    let number = trade.trade_no.clone();
    let settlement = trade.settlement_mut(&number, CAPTURE_MINUTE_OF_DAY).cloned();
    let given_up = settlement
        .as_ref()
        .is_some_and(|settlement| settlement.standing(now) == Standing::GivenUp);
    let unknown = trade.unknown_until.is_some_and(|until| now < until);
    let trade_status = match trade.status {
        _ if unknown => "0",
        Status::CodeIssued => "0",
        Status::Paid if given_up => "3",
        Status::Paid => "1",
        Status::Failed => "2",
        Status::Open | Status::Closed => "9",
    };
    let mut fields = notice::payment(trade, trade_status, trade.settled_at.unwrap_or(now));
    fields.retain(|(name, _)| name != "Status" && name != "Message");
    let day = |at: Timestamp| at.to_taipei("%Y-%m-%d %H:%M:%S").unwrap_or_default();
    let paid_at = trade
        .settled_at
        .filter(|_| trade.status == Status::Paid && !unknown)
        .map(day)
        .unwrap_or_default();
    fields.push(("PaymentDay".into(), paid_at));
    fields.push(("CreateDay".into(), day(trade.created_at)));
    fields.push(("DataSource".into(), "A".into()));
    fields.push(("TradeFee".into(), "0".into()));
    if let Some(settlement) = settlement.filter(|_| !unknown) {
        fields.extend(charge_calls::told(&settlement, now));
    }
    fields
}
