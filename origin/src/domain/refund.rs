//! Whether a charge can be paid back, and by which calls.
//!
//! `refunds` loads the charge and what was paid back of it → **refund** → a row and an effect, or one refusal.
//! `effects::refund` → **`ecpay_way`, `payuni_way`** → calls.
//!
//! Invariants: never more than the charge; one refund of a charge at a time, because the providers tell of the last one
//! only, and what was sent without an answer must be found again. The refusals' order is part of the contract.
//! Not here: the calls (`effects::refund`), the entries (`refunds::book`).

use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::{Offset, TimeZone};
use tollgate_shared::money::Minor;
use tollgate_shared::provider::payuni::trade_calls::{CloseStatus, RefundStatus, Trade, TradeStatus};
use tollgate_shared::time::Timestamp;

/// What is known of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChargeFacts {
    /// What was charged.
    pub(crate) amount_minor: Minor,
    /// What was paid back.
    pub(crate) refunded_minor: Minor,
    /// Whether a refund of it has not ended.
    pub(crate) under_way: bool,
}

/// Why a refund is not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefundRefusal {
    /// No such payment, or no such charge of it.
    #[error("there is no such charge")]
    UnknownCharge,
    /// The payment has several charges and none was named.
    #[error("the payment has several charges; name one by providerPaymentId")]
    ChargeNotNamed,
    /// The key was used for another refund.
    #[error("the idempotency key was used for another refund")]
    KeyReused,
    /// All of it was paid back.
    #[error("the charge was paid back in full")]
    NothingLeft,
    /// A refund of it has not ended.
    #[error("a refund of this charge has not ended")]
    UnderWay,
    /// Zero or less.
    #[error("the amount must be above zero")]
    NotPositive,
    /// More than is left.
    #[error("only {left_minor} is left of the charge")]
    MoreThanLeft {
        /// What is left.
        left_minor: Minor,
    },
}

/// What is to be paid back: the asked amount, else what is left.
pub(crate) fn decide(charge: ChargeFacts, asked: Option<Minor>) -> Result<Minor, RefundRefusal> {
    // Paid back is never more than charged (a check of the table).
    let left = Minor::new(
        charge
            .amount_minor
            .get()
            .saturating_sub(charge.refunded_minor.get()),
    );
    if left <= Minor::ZERO {
        return Err(RefundRefusal::NothingLeft);
    }
    if charge.under_way {
        return Err(RefundRefusal::UnderWay);
    }
    match asked {
        None => Ok(left),
        Some(amount) if amount <= Minor::ZERO => Err(RefundRefusal::NotPositive),
        Some(amount) if amount > left => Err(RefundRefusal::MoreThanLeft { left_minor: left }),
        Some(amount) => Ok(amount),
    }
}

/// Whether the provider has a refund call for the method that was paid with; else an operator pays it back.
/// ECPay: cards only (reference, lessons 10). PAYUNi: cards; wallets have calls of their own, which are not made here.
/// A period's notice names no method: contracts are charged by card at both.
pub(crate) fn has_refund_call(provider: &str, method: Option<&str>, of_period: bool) -> bool {
    let is_card = method.map_or(of_period, |method| {
        method == "Credit" || method.starts_with("Credit_")
    });
    matches!(provider, "ecpay" | "payuni") && is_card
}

/// How ECPay pays back now (reference §1.7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EcpayWay {
    /// `R`: the charge is captured, or a part of it is paid back.
    Refund,
    /// `E`, then `N`: it is not captured yet and is given up as a whole.
    GiveUp,
    /// The daily capture is running: not before this instant.
    NotBefore(Timestamp),
}

/// ECPay captures daily at 20:15 in Taipei and wants no calls until 20:30.
const CAPTURE_BEGINS: Time = Time::constant(20, 15, 0, 0);
const CAPTURE_TAKES: Duration = Duration::from_mins(15);

/// The way for a charge of `charged_at`, all of it or a part.
pub(crate) fn ecpay_way(charged_at: Timestamp, whole: bool, now: Timestamp) -> EcpayWay {
    let Some(last) = last_capture(now) else {
        return EcpayWay::Refund;
    };
    let ends = last.plus(CAPTURE_TAKES);
    if now < ends {
        EcpayWay::NotBefore(ends)
    } else if whole && charged_at >= last {
        EcpayWay::GiveUp
    } else {
        EcpayWay::Refund
    }
}

/// The newest capture that has begun. `None` beyond the calendar.
fn last_capture(now: Timestamp) -> Option<Timestamp> {
    let taipei = TimeZone::fixed(Offset::constant(8));
    let local = jiff::Timestamp::from_millisecond(now.unix_ms())
        .ok()?
        .to_zoned(taipei.clone());
    let day = if local.time() < CAPTURE_BEGINS {
        local.date().yesterday().ok()?
    } else {
        local.date()
    };
    let begins = day.to_datetime(CAPTURE_BEGINS).to_zoned(taipei).ok()?;
    Some(Timestamp::from_unix_ms(begins.timestamp().as_millisecond()))
}

/// What PAYUNi's answer about a charge means for a refund of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PayuniWay {
    /// It happened.
    Done,
    /// `/api/trade/close`: it is captured.
    Refund,
    /// `/api/trade/cancel`: it is not, and is given up as a whole.
    Cancel,
    /// It is being captured, or it is not and a part cannot be paid back yet.
    Later,
    /// The answer fits neither before nor after: a person looks.
    Unclear,
}

/// A refund that is to be made or was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What was charged.
    pub(crate) charged_minor: Minor,
    /// What earlier refunds paid back.
    pub(crate) before_minor: Minor,
    /// What this one pays back.
    pub(crate) amount_minor: Minor,
    /// Whether it was sent, and no answer read.
    pub(crate) sent: bool,
}

/// The way, by what PAYUNi says of the charge now.
pub(crate) fn payuni_way(trade: &Trade, wanted: Wanted) -> PayuniWay {
    let whole = wanted.amount_minor == wanted.charged_minor;
    if trade.status == TradeStatus::Canceled && whole {
        return PayuniWay::Done;
    }
    if trade.status != TradeStatus::Paid {
        return PayuniWay::Unclear;
    }
    if wanted.sent {
        match happened(trade, wanted) {
            Some(true) => return PayuniWay::Done,
            Some(false) => {}
            None => return PayuniWay::Unclear,
        }
    }
    match &trade.close {
        Some(CloseStatus::Captured) => PayuniWay::Refund,
        Some(CloseStatus::NotRequested | CloseStatus::Canceled) | None if whole => PayuniWay::Cancel,
        Some(
            CloseStatus::Requested
            | CloseStatus::Processing
            | CloseStatus::NotRequested
            | CloseStatus::Canceled,
        )
        | None => PayuniWay::Later,
        Some(CloseStatus::Other(_)) => PayuniWay::Unclear,
    }
}

/// Whether a refund that was sent happened: what remains of the charge says so, else its last refund. `None`: unclear.
fn happened(trade: &Trade, wanted: Wanted) -> Option<bool> {
    let before = wanted
        .charged_minor
        .get()
        .checked_sub(wanted.before_minor.get())?;
    let after = before.checked_sub(wanted.amount_minor.get())?;
    if let Some(remaining) = trade.remaining_amount {
        return match remaining.get() {
            remaining if remaining == after => Some(true),
            remaining if remaining == before => Some(false),
            _ => None,
        };
    }
    match (&trade.refund, wanted.before_minor) {
        (None | Some(RefundStatus::Canceled), Minor::ZERO) if trade.complete => Some(false),
        (Some(RefundStatus::Requested | RefundStatus::Processing | RefundStatus::Refunded), Minor::ZERO) => {
            (trade.refund_amount == Some(wanted.amount_minor)).then_some(true)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::money::{Minor, Money};
    use tollgate_shared::provider::payuni::trade_calls::{CloseStatus, RefundStatus, Trade, TradeStatus};
    use tollgate_shared::time::{ECPAY_FORMAT, Timestamp};

    use super::{
        ChargeFacts, EcpayWay, PayuniWay, RefundRefusal, Wanted, decide, ecpay_way, has_refund_call,
        payuni_way,
    };

    /// charged | paid back | under way | asked | decision
    const TABLE: &str = "
        300 |   0 | -   | all | 300
        300 |   0 | -   | 300 | 300
        300 |   0 | -   | 1   | 1
        300 | 100 | -   | all | 200
        300 | 100 | -   | 200 | 200
        300 | 100 | -   | 201 | only 200 is left of the charge
        300 |   0 | -   | 0   | the amount must be above zero
        300 |   0 | -   | -5  | the amount must be above zero
        300 |   0 | yes | 1   | a refund of this charge has not ended
        300 | 300 | yes | 0   | the charge was paid back in full
        300 | 300 | -   | all | the charge was paid back in full
    ";

    #[test]
    fn pm_8_a_charge_is_paid_back_once_and_never_more() {
        for row in TABLE.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let number = |text: &str| Minor::new(text.parse().unwrap());
            let charge = ChargeFacts {
                amount_minor: number(cells[0]),
                refunded_minor: number(cells[1]),
                under_way: cells[2] == "yes",
            };
            let asked = (cells[3] != "all").then(|| number(cells[3]));
            let told = decide(charge, asked).map_or_else(
                |refusal: RefundRefusal| refusal.to_string(),
                |minor| minor.to_string(),
            );
            assert_eq!(told, cells[4], "{row}");
        }
    }

    #[test]
    fn pm_8_what_has_no_refund_call_is_for_an_operator() {
        for (provider, method, has) in [
            ("ecpay", Some("Credit_CreditCard"), true),
            ("ecpay", Some("ATM_TAISHIN"), false),
            ("ecpay", Some("CVS_CVS"), false),
            ("ecpay", None, false),
            ("payuni", Some("Credit"), true),
            ("payuni", Some("ATM"), false),
            ("payuni", Some("LINEPay"), false),
            ("mock", Some("Credit"), false),
        ] {
            assert_eq!(
                has_refund_call(provider, method, false),
                has,
                "{provider} {method:?}"
            );
        }
        assert!(has_refund_call("ecpay", None, true));
        assert!(!has_refund_call("mock", None, true));
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::from_taipei(ECPAY_FORMAT, text).unwrap()
    }

    #[test]
    fn pm_8_ecpay_gives_up_what_is_not_captured_and_refunds_what_is() {
        for (charged, now, whole, way) in [
            (
                "2026/11/21 10:00:00",
                "2026/11/21 20:14:59",
                true,
                EcpayWay::GiveUp,
            ),
            (
                "2026/11/21 10:00:00",
                "2026/11/21 20:14:59",
                false,
                EcpayWay::Refund,
            ),
            (
                "2026/11/21 10:00:00",
                "2026/11/21 20:15:00",
                true,
                EcpayWay::NotBefore(at("2026/11/21 20:30:00")),
            ),
            (
                "2026/10/01 10:00:00",
                "2026/11/21 20:29:59",
                false,
                EcpayWay::NotBefore(at("2026/11/21 20:30:00")),
            ),
            (
                "2026/11/21 10:00:00",
                "2026/11/21 20:30:00",
                true,
                EcpayWay::Refund,
            ),
            (
                "2026/11/21 20:20:00",
                "2026/11/21 23:00:00",
                true,
                EcpayWay::GiveUp,
            ),
            (
                "2026/11/21 20:20:00",
                "2026/11/22 20:14:59",
                true,
                EcpayWay::GiveUp,
            ),
            (
                "2026/11/21 20:20:00",
                "2026/11/22 20:30:00",
                true,
                EcpayWay::Refund,
            ),
        ] {
            assert_eq!(
                ecpay_way(at(charged), whole, at(now)),
                way,
                "{charged} {now} {whole}"
            );
        }
    }

    fn trade(close: Option<CloseStatus>, remaining: Option<i64>) -> Trade {
        Trade {
            order: "ORDER1".parse().unwrap(),
            trade_no: None,
            money: Money::twd(300),
            status: TradeStatus::Paid,
            close,
            close_amount: None,
            refund: None,
            refund_amount: None,
            remaining_amount: remaining.map(Minor::new),
            fee: None,
            paid_at: None,
            complete: true,
        }
    }

    fn wanted(amount: i64, before: i64, sent: bool) -> Wanted {
        Wanted {
            charged_minor: Minor::new(300),
            before_minor: Minor::new(before),
            amount_minor: Minor::new(amount),
            sent,
        }
    }

    #[test]
    fn pm_8_payuni_is_asked_before_anything_is_sent_again() {
        let captured = || Some(CloseStatus::Captured);
        for (trade, wanted, way) in [
            (
                trade(captured(), Some(300)),
                wanted(300, 0, false),
                PayuniWay::Refund,
            ),
            (
                trade(captured(), Some(300)),
                wanted(100, 0, true),
                PayuniWay::Refund,
            ),
            (
                trade(captured(), Some(200)),
                wanted(100, 0, true),
                PayuniWay::Done,
            ),
            (
                trade(captured(), Some(100)),
                wanted(100, 100, true),
                PayuniWay::Done,
            ),
            (
                trade(captured(), Some(200)),
                wanted(100, 100, true),
                PayuniWay::Refund,
            ),
            (
                trade(captured(), Some(150)),
                wanted(100, 0, true),
                PayuniWay::Unclear,
            ),
            (trade(captured(), None), wanted(100, 0, true), PayuniWay::Refund),
            (
                trade(captured(), None),
                wanted(100, 100, true),
                PayuniWay::Unclear,
            ),
            (trade(None, None), wanted(300, 0, false), PayuniWay::Cancel),
            (trade(None, None), wanted(100, 0, false), PayuniWay::Later),
            (
                trade(Some(CloseStatus::Processing), None),
                wanted(300, 0, false),
                PayuniWay::Later,
            ),
        ] {
            assert_eq!(payuni_way(&trade, wanted), way, "{trade:?} {wanted:?}");
        }
    }

    #[test]
    fn pm_8_payuni_tells_of_the_last_refund_or_of_a_charge_given_up() {
        let told = |refund, amount: i64| Trade {
            refund: Some(refund),
            refund_amount: Some(Minor::new(amount)),
            ..trade(Some(CloseStatus::Captured), None)
        };
        let way = |trade: &Trade, amount| payuni_way(trade, wanted(amount, 0, true));
        assert_eq!(way(&told(RefundStatus::Processing, 100), 100), PayuniWay::Done);
        assert_eq!(way(&told(RefundStatus::Refunded, 200), 100), PayuniWay::Unclear);
        let given_up = Trade {
            status: TradeStatus::Canceled,
            ..trade(None, None)
        };
        assert_eq!(way(&given_up, 300), PayuniWay::Done);
        assert_eq!(way(&given_up, 100), PayuniWay::Unclear);
    }
}
