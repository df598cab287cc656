//! `/api/trade/close` and `/api/trade/cancel`: capture, refund and giving up of a card charge (A.10).
//!
//! a sealed call with a `TradeNo`, a period's own included → **`close`**, **`cancel`** → `settlement`.
//!
//! Invariants: refunds take a captured charge, within 180 days, never more than is left; cancelling takes one that is
//! not captured yet. Capture is automatic, at midnight here (PAYUNi says within three days).
//! Not here: the money's states. Failure: the codes are not documented; SANDBOX01 with the reason.

use std::time::Duration;

use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use super::call::{self, Inner, Terms, success};
use super::envelope::Refusal;
use super::rules;
use crate::app::App;
use crate::config::Merchant;
use crate::form::Fields;
use crate::settlement::{Settlement, Standing, Unfit};
use crate::trade::Provider;

/// When a charge is captured by itself, in minutes after midnight in Taiwan.
pub(crate) const CAPTURE_MINUTE_OF_DAY: u32 = 0;

const REFUNDABLE: Duration = Duration::from_hours(180 * 24);

const CLOSE: Terms = Terms {
    versions: &["1.0"],
    table: rules::TRADE_CLOSE,
    reply_version: "1.0",
    stamped: true,
};

const CANCEL: Terms = Terms {
    versions: &["1.0"],
    table: rules::TRADE_CANCEL,
    reply_version: "1.0",
    stamped: true,
};

/// `/api/trade/close`.
pub(crate) fn close(app: &App, body: &[u8]) -> serde_json::Value {
    call::answer(app, body, CLOSE, |merchant, fields| {
        let now = app.clock.now();
        with_charge(app, merchant, fields, |settlement, charged_at| {
            let amount = Minor::from_decimal(fields.text("TradeAmt"));
            let needed = amount.ok_or(Unfit::Amount);
            match fields.text("CloseType") {
                "1" => needed.and_then(|amount| settlement.capture(amount, now)),
                "2" => needed.and_then(|amount| refund(settlement, amount, charged_at, now)),
                "-1" => settlement.undo_capture(now),
                _ => settlement.undo_refund(now),
            }
        })?;
        let echoed = [
            ("MerID", merchant.id.as_str()),
            ("TradeNo", fields.text("TradeNo")),
            ("CloseType", fields.text("CloseType")),
        ];
        Ok(success("處理成功", &echoed))
    })
}

fn refund(
    settlement: &mut Settlement,
    amount: Minor,
    charged_at: Timestamp,
    now: Timestamp,
) -> Result<(), Unfit> {
    if settlement.standing(now) != Standing::Captured || charged_at.distance(now) > REFUNDABLE {
        return Err(Unfit::Standing);
    }
    settlement.refund(amount, now)
}

/// `/api/trade/cancel`.
pub(crate) fn cancel(app: &App, body: &[u8]) -> serde_json::Value {
    call::answer(app, body, CANCEL, |merchant, fields| {
        let now = app.clock.now();
        with_charge(app, merchant, fields, |settlement, _| {
            if settlement.standing(now) == Standing::ToBeCaptured {
                settlement.undo_capture(now)?;
            }
            settlement.give_up(now)
        })?;
        let echoed = [
            ("MerID", merchant.id.as_str()),
            ("TradeNo", fields.text("TradeNo")),
        ];
        Ok(success("取消授權成功", &echoed))
    })
}

fn with_charge(
    app: &App,
    merchant: &Merchant,
    fields: &Fields,
    work: impl FnOnce(&mut Settlement, Timestamp) -> Result<(), Unfit>,
) -> Result<(), Refusal> {
    let number = fields.text("TradeNo");
    app.world.with(|world| {
        let trade_no = world.trade_no_of_charge(Provider::Payuni, &merchant.id, number);
        let charge = trade_no.and_then(|trade_no| {
            let (trade, _) = world.trade_mut(Provider::Payuni, &trade_no)?;
            let (_, charged_at) = trade.charged(number)?;
            let settlement = trade.settlement_mut(number, CAPTURE_MINUTE_OF_DAY)?;
            Some(work(settlement, charged_at))
        });
        charge
            .ok_or_else(|| Refusal::undocumented("查無資料 No such charge"))?
            .map_err(|unfit| Refusal::undocumented(unfit.to_string()))
    })
}

/// What `/api/trade/query` says about the money of a charge.
pub(crate) fn told(settlement: &Settlement, now: Timestamp) -> Inner {
    let close = match settlement.standing(now) {
        Standing::ToBeCaptured => "1",
        Standing::Captured => "2",
        Standing::GivenUp => "3",
        Standing::Authorised => "9",
    };
    let last = settlement.refunds.last();
    let refund = if last.is_some() { "2" } else { "" };
    let day = last.and_then(|refund| refund.at.to_taipei("%Y-%m-%d %H:%M:%S"));
    call::owned(&[
        ("CloseStatus", close),
        ("CloseAmt", &settlement.amount.to_string()),
        ("RefundType", refund),
        ("RefundStatus", refund),
        ("RefundAmt", &settlement.refunded().to_string()),
        ("RefundDay", &day.unwrap_or_default()),
        ("RemainAmt", &settlement.left().to_string()),
    ])
}
