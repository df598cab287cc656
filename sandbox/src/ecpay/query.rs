//! QueryTradeInfo/V5: what ECPay says about a trade when a server asks.
//!
//! a signed form → **`answer`** → `k=v&k=v`, values raw, keys sorted without regard to case, signed (§1.6).
//!
//! Invariants: a `TimeStamp` is good for three minutes either way; an unknown order is answered with HTTP 200, the base
//! fields without `CustomField1-4`, and a valid MAC, as recorded; values are not percent-encoded.
//! Not here: the checks of a call (`call`), being asked too often (`limiter`). Failure: `TradeStatus` carries the code; without a known
//! merchant there is no key to sign the answer with.

use tollgate_shared::time::Timestamp;

use super::call::{self, Unread, owned, signed};
use super::notice::{extra, fee, payment_type};
use super::wall_clock;
use crate::app::App;
use crate::config::Merchant;
use crate::trade::{Provider, Status, Trade};

const ALLOWED: [&str; 2] = ["MerchantTradeNo", "TimeStamp"];

/// The raw answer.
pub(crate) fn answer(app: &App, body: &[u8]) -> String {
    let call = match call::read(app, body, &ALLOWED) {
        Ok(call) => call,
        Err(Unread::NotGenuine) => return "TradeStatus=10200073".into(),
        // 10200083 is recorded for a period action that fails its checks (§1.7.2); that a stale query says the same
        // is inferred.
        Err(Unread::Invalid(call)) => {
            let order_number = call.fields.text("MerchantTradeNo");
            return signed(&call.merchant, missing(&call.merchant, order_number, "10200083"));
        }
    };
    let (merchant, now) = (&call.merchant, app.clock.now());
    let order_number = call.fields.text("MerchantTradeNo");
    if order_number.is_empty() || !order_number.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return signed(merchant, missing(merchant, "", "10200052"));
    }
    let trade = app.world.with(|world| {
        world
            .order_of(Provider::Ecpay, &merchant.id, order_number)
            .cloned()
    });
    match trade {
        Some(trade) => signed(merchant, found(&trade, now)),
        None => signed(merchant, missing(merchant, order_number, "10200047")),
    }
}

fn missing(merchant: &Merchant, order_number: &str, trade_status: &str) -> Vec<(String, String)> {
    owned(&[
        ("HandlingCharge", "0"),
        ("ItemName", ""),
        ("MerchantID", &merchant.id),
        ("MerchantTradeNo", order_number),
        ("PaymentDate", ""),
        ("PaymentType", ""),
        ("PaymentTypeChargeFee", "0"),
        ("TradeAmt", "0"),
        ("TradeDate", ""),
        ("TradeNo", ""),
        ("TradeStatus", trade_status),
    ])
}

fn found(trade: &Trade, now: Timestamp) -> Vec<(String, String)> {
    let paid = trade.status == Status::Paid;
    let paid_at = trade.settled_at.filter(|_| paid);
    let mut fields = owned(&[
        ("CustomField1", trade.field("CustomField1")),
        ("CustomField2", trade.field("CustomField2")),
        ("CustomField3", trade.field("CustomField3")),
        ("CustomField4", trade.field("CustomField4")),
        ("HandlingCharge", &fee(trade)),
        ("ItemName", &trade.description),
        ("MerchantID", &trade.merchant_id),
        ("MerchantTradeNo", &trade.order_number),
        ("PaymentDate", &paid_at.map(wall_clock).unwrap_or_default()),
        ("PaymentType", payment_type(trade)),
        ("PaymentTypeChargeFee", &fee(trade)),
        ("StoreID", trade.field("StoreID")),
        ("TradeAmt", &trade.amount.to_string()),
        ("TradeDate", &wall_clock(trade.created_at)),
        ("TradeNo", &trade.trade_no),
        ("TradeStatus", trade_status(trade.status)),
    ]);
    if trade.field("NeedExtraPaidInfo") == "Y" {
        fields.extend(extra(trade, paid, paid_at.unwrap_or(now)));
    }
    fields
}

/// 0 unpaid, 1 paid, 10200095 given up or declined (§1.6).
const fn trade_status(status: Status) -> &'static str {
    match status {
        Status::Open | Status::CodeIssued => "0",
        Status::Paid => "1",
        Status::Failed | Status::Closed => "10200095",
    }
}
