//! `CreditCardPeriodAction`: the merchant ends a contract, or asks for another attempt (§1.7.2).
//!
//! a signed form → **`answer`** → signed form text. `Cancel` is for ever and refunds nothing; `ReAuth` queues an attempt
//! of the latest failed charge, whose result comes to `PeriodReturnURL` a little later (`play`).
//!
//! Invariants: a contract that is disabled, by whomever, says 100006 again and again; an unknown order says 90100150.
//! What a `ReAuth` says that has nothing to try again is not known: code 0, in words of the sandbox's own.
//! Not here: the attempt (`contract`). Failure: 10200083 with empty ids, as recorded; 10200073 for a wrong MAC.

use super::call::{self, Call, Unread, owned, raw, signed};
use crate::app::App;
use crate::contract::{Contract, Unable};
use crate::trade::{Provider, Status};

const ALLOWED: [&str; 3] = ["MerchantTradeNo", "Action", "TimeStamp"];

type Said = (&'static str, &'static str);

const CANCELED: Said = ("1", "停用成功");
const QUEUED: Said = ("1", "授權排程成功");
const DISABLED: Said = ("100006", "該訂單狀態為停用中");
const NO_SUCH_ORDER: Said = ("90100150", "查無訂單");
const NOTHING_FAILED: Said = ("0", "沙盒：最近一次授權並未失敗 The latest charge did not fail");

/// The raw answer.
pub(crate) fn answer(app: &App, body: &[u8]) -> String {
    match call::read(app, body, &ALLOWED) {
        Ok(call) => act(app, &call),
        Err(Unread::NotGenuine) => raw(&owned(&[
            ("RtnCode", "10200073"),
            ("RtnMsg", "CheckMacValue Error"),
        ])),
        Err(Unread::Invalid(call)) => invalid(&call),
    }
}

fn invalid(call: &Call) -> String {
    let fields = [
        ("MerchantID", ""),
        ("MerchantTradeNo", ""),
        ("RtnCode", "10200083"),
        ("RtnMsg", ""),
    ];
    signed(&call.merchant, owned(&fields))
}

fn act(app: &App, call: &Call) -> String {
    let order_number = call.fields.text("MerchantTradeNo");
    let retry_at = app.clock.now().plus(app.config.retry_delay);
    let work: &dyn Fn(&mut Contract) -> Said = match call.fields.text("Action") {
        "Cancel" => &|contract| contract.cancel().map_or(DISABLED, |()| CANCELED),
        "ReAuth" => &|contract| retried(contract.queue_retry_of_latest(retry_at)),
        _ => return invalid(call),
    };
    let said = app.world.with(|world| {
        let trade = world.order_of(Provider::Ecpay, &call.merchant.id, order_number)?;
        let trade_no = trade.trade_no.clone();
        let (trade, _) = world.trade_mut(Provider::Ecpay, &trade_no)?;
        let begun = trade.status == Status::Paid;
        trade.contract.as_mut().filter(|_| begun).map(work)
    });
    let (code, message) = said.unwrap_or(NO_SUCH_ORDER);
    let fields = [
        ("MerchantID", call.merchant.id.as_str()),
        ("MerchantTradeNo", order_number),
        ("RtnCode", code),
        ("RtnMsg", message),
    ];
    signed(&call.merchant, owned(&fields))
}

const fn retried(queued: Result<(), Unable>) -> Said {
    match queued {
        Ok(()) => QUEUED,
        Err(Unable::NothingFailed | Unable::NoSuchPeriod) => NOTHING_FAILED,
        Err(Unable::NotBegun | Unable::Ended | Unable::NotRunning | Unable::NotSuspended) => DISABLED,
    }
}
