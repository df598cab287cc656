//! `/api/trade/query`: what PAYUNi says about a trade when a server asks.
//!
//! a sealed form → **`answer`** → JSON with a sealed inner form, `Result[0][…]` inside (A.3, A.10).
//!
//! Invariant: a reply is sealed under the merchant's key; only a request that cannot be attributed to a merchant is
//! answered with the bare Status and Message.
//! Not here: the notice fields (`notice`). Failure: JSON with the refusal's code as Status, HTTP 200 as PAYUNi does.

use serde_json::{Map, Value, json};
use tollgate_shared::time::Timestamp;

use super::checkout::check_stamp;
use super::envelope::{self, Refusal, seal};
use super::{notice, rules};
use crate::app::App;
use crate::trade::{Provider, Status, Trade};

/// The JSON reply to a query.
pub(crate) fn answer(app: &App, body: &[u8]) -> Value {
    match reply(app, body) {
        Ok(outer) => outer
            .into_iter()
            .map(|(name, value)| (name, Value::String(value)))
            .collect::<Map<_, _>>()
            .into(),
        Err(refusal) => json!({ "Status": refusal.code, "Message": refusal.text }),
    }
}

fn reply(app: &App, body: &[u8]) -> Result<Vec<(String, String)>, Refusal> {
    let (merchant, fields) = envelope::open(&app.config, body, &["1.0", "2.0"])?;
    rules::check(rules::QUERY, &fields, false)?;
    let now = app.clock.now();
    check_stamp(&fields, now)?;
    let found = app.world.with(
        |world| match (fields.text("MerTradeNo"), fields.text("TradeNo")) {
            ("", "") => Err(Refusal::undocumented("MerTradeNo or TradeNo is needed")),
            ("", trade_no) => Ok(world.trade(Provider::Payuni, trade_no).cloned()),
            (order, _) => Ok(world.order_of(Provider::Payuni, &merchant.id, order).cloned()),
        },
    )?;
    let trade = found.filter(|trade| trade.merchant_id == merchant.id);
    let trade = trade.ok_or_else(|| Refusal::undocumented("查無資料 No such trade"))?;
    let mut inner: Vec<(String, String)> = vec![
        ("Status".into(), "SUCCESS".into()),
        ("Message".into(), "查詢成功".into()),
    ];
    inner.extend(
        result(&trade, now)
            .into_iter()
            .map(|(name, value)| (format!("Result[0][{name}]"), value)),
    );
    Ok(seal(&merchant, "SUCCESS", "2.0", &inner))
}

/// 0 code issued, 1 paid, 2 failed, 9 unpaid (A.9).
fn result(trade: &Trade, now: Timestamp) -> Vec<(String, String)> {
    let trade_status = match trade.status {
        Status::CodeIssued => "0",
        Status::Paid => "1",
        Status::Failed => "2",
        Status::Open | Status::Closed => "9",
    };
    let mut fields = notice::payment(trade, trade_status, trade.settled_at.unwrap_or(now));
    fields.retain(|(name, _)| name != "Status" && name != "Message");
    let day = |at: Timestamp| at.to_taipei("%Y-%m-%d %H:%M:%S").unwrap_or_default();
    let paid_at = trade
        .settled_at
        .filter(|_| trade.status == Status::Paid)
        .map(day)
        .unwrap_or_default();
    fields.push(("PaymentDay".into(), paid_at));
    fields.push(("CreateDay".into(), day(trade.created_at)));
    fields.push(("DataSource".into(), "A".into()));
    fields.push(("TradeFee".into(), "0".into()));
    fields
}
