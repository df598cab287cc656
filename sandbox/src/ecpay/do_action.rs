//! `CreditDetail/DoAction`: capture, refund, take out of the capture, give up (§1.7.3).
//!
//! a signed form → **`answer`** → form text without a MAC, as ECPay's own SDK reads it (whether there is one is not
//! confirmed).
//!
//! Invariants: C an authorised charge; R a part of one that waits for the capture, any part of a captured one; E one that
//! waits for the capture; N an authorised one. So all of one that waits goes back by E, then N. Each charge of a
//! contract is meant by its own `TradeNo`. Nothing is done from 20:15 to 20:30, while ECPay captures.
//! Not here: the money's states (`settlement`). Failure: the codes of refusals are not documented; they say 0 with a
//! text of the sandbox's own, an unknown charge 10200047, a wrong MAC 10200073.

use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use super::call::{self, Call, Unread, owned, raw};
use crate::app::App;
use crate::settlement::{Settlement, Unfit};
use crate::trade::Provider;

/// ECPay's daily capture, in minutes after midnight in Taiwan (§1.7.3).
pub(crate) const CAPTURE_MINUTE_OF_DAY: u32 = 20 * 60 + 15;

const ALLOWED: [&str; 4] = ["MerchantTradeNo", "TradeNo", "Action", "TotalAmount"];

/// The raw answer.
pub(crate) fn answer(app: &App, body: &[u8]) -> String {
    let call = match call::read(app, body, &ALLOWED) {
        Ok(call) => call,
        Err(Unread::NotGenuine) => {
            return raw(&owned(&[
                ("RtnCode", "10200073"),
                ("RtnMsg", "CheckMacValue Error"),
            ]));
        }
        Err(Unread::Invalid(call)) => return said(&call, "10100050", "Parameter Error"),
    };
    match act(app, &call) {
        None => said(&call, "10200047", "查無交易"),
        Some(Ok(())) => said(&call, "1", "成功"),
        Some(Err(refusal)) => said(&call, "0", &refusal),
    }
}

fn said(call: &Call, code: &str, message: &str) -> String {
    raw(&owned(&[
        ("MerchantID", call.merchant.id.as_str()),
        ("MerchantTradeNo", call.fields.text("MerchantTradeNo")),
        ("TradeNo", call.fields.text("TradeNo")),
        ("RtnCode", code),
        ("RtnMsg", message),
    ]))
}

/// `None` where there is no such charge.
fn act(app: &App, call: &Call) -> Option<Result<(), String>> {
    let now = app.clock.now();
    app.world.with(|world| {
        let order_number = call.fields.text("MerchantTradeNo");
        let trade = world.order_of(Provider::Ecpay, &call.merchant.id, order_number)?;
        let trade_no = trade.trade_no.clone();
        let (trade, _) = world.trade_mut(Provider::Ecpay, &trade_no)?;
        let settlement = trade.settlement_mut(call.fields.text("TradeNo"), CAPTURE_MINUTE_OF_DAY)?;
        Some(settle(settlement, call, now))
    })
}

fn settle(settlement: &mut Settlement, call: &Call, now: Timestamp) -> Result<(), String> {
    if is_capturing(now) {
        return Err("沙盒：20:15 至 20:30 關帳中 No calls while the daily capture runs".into());
    }
    let amount = Minor::from_decimal(call.fields.text("TotalAmount"));
    let amount = amount.ok_or_else(|| "TotalAmount: whole TWD".to_owned())?;
    let whole = |settlement: &Settlement| settlement.check_whole(amount);
    let done = match call.fields.text("Action") {
        "C" => settlement.capture(amount, now),
        "R" => settlement.refund(amount, now),
        "E" => whole(settlement).and_then(|()| settlement.undo_capture(now)),
        "N" => whole(settlement).and_then(|()| settlement.give_up(now)),
        _ => return Err("Action: C, R, E or N".into()),
    };
    done.map_err(|unfit: Unfit| format!("沙盒：{unfit}"))
}

fn is_capturing(now: Timestamp) -> bool {
    let clock = now.to_taipei("%H%M").unwrap_or_default();
    ("2015".."2030").contains(&clock.as_str())
}
