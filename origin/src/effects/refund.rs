//! `refund`: paying a charge back at ECPay (`DoAction`) or PAYUNi (`trade/close`, `trade/cancel`).
//!
//! `refunds::request` → outbox row → **this** → `refunds::book` | refused | an operator.
//!
//! Invariants: that it is about to be sent is written before it is sent, under the lease, so one worker sends at a time and
//! what was sent is known. A refund that was sent and has no answer is never sent again unasked: PAYUNi is asked what
//! remains of the charge; ECPay has no such question without a console value (reference §1.7.4), so an operator looks.
//! Not here: whether it may be paid back (`domain::refund`), the entries (`refunds::book`).

use serde_json::Value;
use tollgate_shared::id::ProviderPaymentId;
use tollgate_shared::provider::ecpay::Ecpay;
use tollgate_shared::provider::ecpay::do_action::{self, Action, DoActionReply};
use tollgate_shared::provider::ecpay::period_info;
use tollgate_shared::provider::ecpay::query::{self, Query};
use tollgate_shared::provider::payuni::Payuni;
use tollgate_shared::provider::payuni::reply::CallReply;
use tollgate_shared::provider::payuni::trade_calls::{self, Close, Trade};
use uuid::Uuid;

use super::{Desk, Undone};
use crate::db::Tx;
use crate::db::payments::Payment;
use crate::db::refunds::{self, Refund, RefundStatus};
use crate::domain::refund::{EcpayWay, PayuniWay, Wanted, ecpay_way, payuni_way};
use crate::gateway::limiter::Line;
use crate::gateway::provider::Shop;
use crate::refunds::RefundError;
use crate::refunds::book::{self, Happened};

/// What an operator reads where ECPay did not answer.
const LOOK_ECPAY: &str = "sent to ECPay, and no answer was read: look in its console whether the money went back, then say so here";
/// What an operator reads where ECPay's log does not show the charge.
const LOOK_PERIOD: &str =
    "ECPay's log of the order does not show this charge: pay it back in its console, then say so here";
/// What an operator reads where PAYUNi's answer fits nothing.
const LOOK_PAYUNI: &str =
    "what PAYUNi says of the charge fits neither before nor after: look in its console, then say so here";
/// What an operator reads where every attempt failed.
const GIVEN_UP: &str = "given up after many attempts (tollgate outbox list --dead says why): look in the provider's console whether the money went back, then say so here";
/// How long to wait for a capture before a part can be paid back.
const CAPTURE_WAIT: std::time::Duration = std::time::Duration::from_hours(6);

/// Makes one refund.
pub(super) async fn make(desk: Desk<'_>, payload: &Value) -> Result<(), Undone> {
    let id = super::id(payload, "refundId")?;
    let Some((payment, refund)) = load(desk, id).await? else {
        return Err(Undone::Never("there is no such refund".to_owned()));
    };
    if refund.status.has_ended() || refund.status == RefundStatus::Manual {
        return Ok(());
    }
    let shop = super::shop(desk.origin, &payment.provider, payment.merchant.as_ref())?;
    match shop {
        Shop::Ecpay {
            shop: ecpay,
            base_url,
        } => {
            if refund.status == RefundStatus::Unknown {
                return to_operator(desk, id, LOOK_ECPAY).await;
            }
            let now = desk.origin.clock.now();
            let looks = u32::from(refund.charge.of_period);
            match ecpay_way(refund.charge.charged_at, is_whole(&refund), now) {
                EcpayWay::NotBefore(at) => Err(Undone::NotBefore(at, "ECPay captures until then")),
                EcpayWay::Refund => {
                    let actions = captured(&refund);
                    let calls = u32::try_from(actions.len()).unwrap_or(u32::MAX);
                    let line = desk.line(shop, looks.saturating_add(calls)).await?;
                    at_ecpay(desk, &refund, (line, ecpay, base_url), actions).await
                }
                EcpayWay::GiveUp => {
                    let line = desk.line(shop, looks.saturating_add(2)).await?;
                    at_ecpay(desk, &refund, (line, ecpay, base_url), NOT_CAPTURED).await
                }
            }
        }
        Shop::Payuni {
            shop: payuni,
            base_url,
        } => {
            let line = desk.line(shop, 2).await?;
            at_payuni(desk, &refund, (line, payuni, base_url)).await
        }
    }
}

async fn load(desk: Desk<'_>, id: Uuid) -> Result<Option<(Payment, Refund)>, Undone> {
    let load = |tx: Tx| async move {
        let Some(refund) = refunds::find(&tx, id).await? else {
            return Ok(None);
        };
        let payment = refunds::lock_payment(&tx, refund.payment).await?;
        Ok::<_, crate::db::DbError>(payment.zip(Some(refund)))
    };
    Ok(desk.origin.database.run_tx("refund_load", load).await?)
}

fn is_whole(refund: &Refund) -> bool {
    refund.money == refund.charge.money
}

/// What to send to ECPay, and what its refusal of it means.
type Actions = &'static [(Action, OnRefusal)];

/// What a refusal of an action means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnRefusal {
    /// The next one is tried: what this one is for may have been done before, or may not be needed.
    GoOn,
    /// The refund is refused.
    End,
}

/// It may have been taken out by an attempt that got no further; what counts is the next action.
const NOT_CAPTURED: Actions = &[
    (Action::CancelCapture, OnRefusal::GoOn),
    (Action::Abandon, OnRefusal::End),
];
/// An earlier attempt took the charge out of the capture and got no further: it was not captured, and cannot be refunded.
const TAKEN_OUT_BEFORE: Actions = &[
    (Action::Refund, OnRefusal::GoOn),
    (Action::Abandon, OnRefusal::End),
];
const CAPTURED: Actions = &[(Action::Refund, OnRefusal::End)];

/// The actions for a charge whose capture has passed. Giving up a charge that was captured is refused (§1.7.3), so it
/// harms nothing where the first attempt never reached ECPay.
fn captured(refund: &Refund) -> Actions {
    let began = ecpay_way(refund.charge.charged_at, is_whole(refund), refund.created_at);
    match began {
        EcpayWay::GiveUp => TAKEN_OUT_BEFORE,
        EcpayWay::Refund | EcpayWay::NotBefore(_) => CAPTURED,
    }
}

/// A refund whose every attempt failed is for an operator, who finds it in the list; left as it is, nobody would see it
/// and no other refund of its charge could be begun.
pub(crate) async fn give_up(tx: &Tx, payload: &Value) -> Result<(), crate::db::DbError> {
    if let Ok(id) = super::id(payload, "refundId") {
        refunds::set_open(tx, id, RefundStatus::Manual, Some(GIVEN_UP)).await?;
    }
    Ok(())
}

async fn at_ecpay(
    desk: Desk<'_>,
    refund: &Refund,
    (mut line, ecpay, base_url): (Line<'_>, &Ecpay, &str),
    actions: Actions,
) -> Result<(), Undone> {
    let Some(trade_no) = trade_no(desk, refund, (&mut line, ecpay, base_url)).await? else {
        return to_operator(desk, refund.id, LOOK_PERIOD).await;
    };
    note_sending(desk, refund.id).await?;
    let mut refusals = Vec::new();
    for (action, on_refusal) in actions {
        let numbers = (&refund.order, &trade_no);
        let request = do_action::request(ecpay, base_url, numbers, *action, refund.money)
            .map_err(|error| Undone::Never(error.to_string()))?;
        let answer = match line.post(&request).await {
            // Nothing was done, by this action or, as E moves no money, by the one before.
            Err(error) if error.was_not_received() => {
                return not_sent(desk, refund.id, error.into()).await;
            }
            Err(error) => return Err(error.into()),
            Ok(answer) => answer,
        };
        match do_action::reply(ecpay, &refund.order, &answer) {
            // Paid back: there is nothing to give up.
            Ok(DoActionReply::Done) if *action == Action::Refund => return booked(desk, refund).await,
            Ok(DoActionReply::Done) => {}
            Ok(DoActionReply::Refused { code, message }) => {
                refusals.push(format!("ECPay {code}: {message}"));
                if *on_refusal == OnRefusal::End {
                    return refused(desk, refund.id, &refusals.join("; ")).await;
                }
            }
            Err(refusal) => return Err(Undone::Again(refusal.to_string())),
        }
    }
    booked(desk, refund).await
}

/// The number by which ECPay pays a charge back. A period's notice does not tell it, only that of the authorisation (Gwsr);
/// the order's log has both.
async fn trade_no(
    desk: Desk<'_>,
    refund: &Refund,
    (line, ecpay, base_url): (&mut Line<'_>, &Ecpay, &str),
) -> Result<Option<ProviderPaymentId>, Undone> {
    let number = &refund.charge.number;
    if !refund.charge.of_period {
        return Ok(Some(number.clone()));
    }
    let now = desk.origin.clock.now();
    let request = query::request(ecpay, base_url, Query::PeriodInfo, &refund.order, now);
    let answer = line.post(&request).await?;
    let log = period_info::read(&answer).map_err(|error| Undone::Again(error.to_string()))?;
    let found = log
        .attempts
        .into_iter()
        .find(|attempt| attempt.paid && attempt.gwsr.as_ref() == Some(number));
    Ok(found.and_then(|attempt| attempt.trade_no))
}

async fn at_payuni(
    desk: Desk<'_>,
    refund: &Refund,
    (mut line, payuni, base_url): (Line<'_>, &Payuni, &str),
) -> Result<(), Undone> {
    let now = desk.origin.clock.now();
    let number = &refund.charge.number;
    let query = super::keys(trade_calls::query_charge_request(payuni, base_url, number, now))?;
    let trade = told(payuni, &line.post(&query).await?, refund)?;
    let sent = refund.status == RefundStatus::Unknown;
    let wanted = Wanted {
        charged_minor: refund.charge.money.amount_minor,
        before_minor: refund.charge.refunded_minor,
        amount_minor: refund.money.amount_minor,
        sent,
    };
    let request = match payuni_way(&trade, wanted) {
        PayuniWay::Done => return booked(desk, refund).await,
        PayuniWay::Unclear => return to_operator(desk, refund.id, LOOK_PAYUNI).await,
        PayuniWay::Later => {
            return Err(Undone::NotBefore(
                now.plus(CAPTURE_WAIT),
                "the charge is not captured yet",
            ));
        }
        PayuniWay::Refund => {
            trade_calls::close_request(payuni, base_url, number, Close::Refund(refund.money), now)
                .map_err(|error| Undone::Never(error.to_string()))?
        }
        PayuniWay::Cancel => super::keys(trade_calls::cancel_request(payuni, base_url, number, now))?,
    };
    note_sending(desk, refund.id).await?;
    let answer = match line.post(&request).await {
        Err(error) if error.was_not_received() => return not_sent(desk, refund.id, error.into()).await,
        Err(error) => return Err(error.into()),
        Ok(answer) => answer,
    };
    match trade_calls::close_reply(payuni, &answer) {
        Ok(CallReply::Done) => booked(desk, refund).await,
        Ok(CallReply::Undecided { code }) => Err(Undone::Again(format!("PAYUNi has not decided: {code}"))),
        // It may be refused because the first one, of which no answer was read, was done.
        Ok(CallReply::Refused { .. }) if sent => to_operator(desk, refund.id, LOOK_PAYUNI).await,
        Ok(CallReply::Refused { code, message }) => {
            refused(desk, refund.id, &format!("PAYUNi {code}: {message}")).await
        }
        Err(error) => Err(Undone::Again(error.to_string())),
    }
}

fn told(payuni: &Payuni, answer: &[u8], refund: &Refund) -> Result<Trade, Undone> {
    let trades = trade_calls::trades(payuni, answer).map_err(|error| Undone::Again(error.to_string()))?;
    let is_it = |trade: &Trade| trade.trade_no.as_ref() == Some(&refund.charge.number);
    trades
        .into_iter()
        .find(is_it)
        .ok_or_else(|| Undone::Again("PAYUNi does not tell of the charge".to_owned()))
}

/// Writes down that it is about to be sent, if the row is still ours to send.
async fn note_sending(desk: Desk<'_>, id: Uuid) -> Result<(), Undone> {
    let note = |tx: Tx| async move {
        let ours = desk.holds(&tx).await?;
        let open = ours && refunds::set_open(&tx, id, RefundStatus::Unknown, None).await?;
        Ok::<_, crate::db::DbError>(open)
    };
    if desk.origin.database.run_tx("refund_sending", note).await? {
        Ok(())
    } else {
        Err(Undone::Again("another worker has the refund".to_owned()))
    }
}

/// The provider did not get it, so it may be sent as if for the first time.
async fn not_sent(desk: Desk<'_>, id: Uuid, undone: Undone) -> Result<(), Undone> {
    let note = |tx: Tx| async move { refunds::set_open(&tx, id, RefundStatus::Requested, None).await };
    desk.origin.database.run_tx("refund_not_sent", note).await?;
    Err(undone)
}

async fn refused(desk: Desk<'_>, id: Uuid, reason: &str) -> Result<(), Undone> {
    let now = desk.origin.clock.now();
    let end = |tx: Tx| async move {
        let ended = (RefundStatus::Refused, Some(reason));
        refunds::end(&tx, id, ended, now).await
    };
    desk.origin.database.run_tx("refund_refused", end).await?;
    tracing::warn!(refund.id = %id, error = reason, "refund {id} was refused");
    Ok(())
}

async fn to_operator(desk: Desk<'_>, id: Uuid, todo: &str) -> Result<(), Undone> {
    let note = |tx: Tx| async move { refunds::set_open(&tx, id, RefundStatus::Manual, Some(todo)).await };
    desk.origin.database.run_tx("refund_manual", note).await?;
    tracing::warn!(refund.id = %id, "refund {id} is for an operator");
    Ok(())
}

async fn booked(desk: Desk<'_>, refund: &Refund) -> Result<(), Undone> {
    let now = desk.origin.clock.now();
    let happened = &Happened {
        at: now,
        now,
        delivery: None,
        to_user_core: desk.origin.config.user_core.is_some(),
    };
    let book = |tx: Tx| async move {
        let payment = refunds::lock_payment(&tx, refund.payment)
            .await?
            .ok_or(RefundError::Unknown)?;
        book::done(&tx, &payment, refund, happened).await?;
        Ok::<_, RefundError>(())
    };
    let booked = desk.origin.database.run_tx("refund_booked", book).await;
    booked.map_err(|error| Undone::Again(crate::telemetry::Chain(&error).to_string()))
}
