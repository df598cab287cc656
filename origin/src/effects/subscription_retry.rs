//! `subscription_retry`: asking the provider to try a refused charge again (EC-2): ECPay `ReAuth`, PAYUNi `reauth`.
//!
//! `subscriptions::tell` (the schedule, a new card, a person) → outbox row → **this** → the inbox, where PAYUNi answers at
//! once; ECPay's result comes as a notice or is found by polling.
//!
//! Invariants: nothing here charges beside the provider. An earlier attempt of the same row may have been heard, so before
//! the request is repeated the provider is asked whether it was. A contract that stopped is a fact, and so is an attempt that
//! the bank refused, of which PAYUNi's schedule then shows the time; any other refusal ends the row dead with the
//! provider's words, and the schedule goes on to its next slot.
//! Not here: when to try (`domain::subscription::dunning`).

use std::time::Duration;

use serde_json::Value;
use tollgate_shared::provider::ecpay::Ecpay;
use tollgate_shared::provider::ecpay::period_action::{self, PeriodAction, PeriodActionReply};
use tollgate_shared::provider::payuni::Payuni;
use tollgate_shared::provider::payuni::period_calls::{self, PeriodChange, PeriodChangeReply};

use super::contract::{Contract, is_answered, is_end_ours, known, load, note_end};
use super::subscription_poll::look;
use super::{Desk, Undone, unreadable};
use crate::db::Tx;
use crate::domain::subscription::EndReason;
use crate::gateway::limiter::Line;
use crate::gateway::provider::Shop;
use crate::polls::CONTRACT_CALLS;
use crate::subscriptions::{RefusedRetry, note_refused_retry};

/// How far the provider's clock may be behind ours.
const CLOCKS_APART: Duration = Duration::from_mins(1);

/// Asks for one attempt.
pub(super) async fn make(desk: Desk<'_>, payload: &Value) -> Result<(), Undone> {
    let contract = load(desk, payload).await?;
    // A cancellation goes past a retry that waits: then nothing is to be charged any more.
    if contract.is_over() || is_end_ours(&known(desk, contract.subscription.id).await?) {
        return Ok(());
    }
    let period = payload.get("period").and_then(Value::as_u64);
    let period = period.and_then(|period| u32::try_from(period).ok());
    let period = period.ok_or_else(|| Undone::Never("the payload has no period".to_owned()))?;
    let is_repeat = desk.attempts > 1;
    // The attempt, a look after it, and one before it where it may have been heard already.
    let looks = if is_repeat { 2 } else { 1 };
    let calls = CONTRACT_CALLS.saturating_mul(looks).saturating_add(1);
    let mut line = desk.line(contract.shop, calls).await?;
    if is_repeat {
        look(desk, &mut line, &contract).await?;
        if is_answered(&known(desk, contract.subscription.id).await?) {
            return Ok(());
        }
    }
    match contract.shop {
        Shop::Ecpay { shop, base_url } => at_ecpay(desk, &mut line, &contract, (shop, base_url)).await,
        Shop::Payuni { shop, base_url } => {
            at_payuni(desk, &mut line, &contract, (shop, base_url, period)).await
        }
    }
}

async fn at_ecpay(
    desk: Desk<'_>,
    line: &mut Line<'_>,
    contract: &Contract<'_>,
    (ecpay, base_url): (&Ecpay, &str),
) -> Result<(), Undone> {
    let (order, now) = (&contract.subscription.order, desk.origin.clock.now());
    let request = period_action::request(ecpay, base_url, PeriodAction::ReAuth, order, now);
    let answer = line.post(&request).await?;
    match period_action::reply(ecpay, order, &answer).map_err(unreadable)? {
        PeriodActionReply::Done => Ok(()),
        // Why it stopped stands in its log.
        PeriodActionReply::AlreadyStopped => look(desk, line, contract).await.map(drop),
        PeriodActionReply::NotFound => {
            note_end(desk, contract.subscription.id, EndReason::ProviderStopped, now).await
        }
        PeriodActionReply::Refused { code, message } => {
            Err(Undone::Never(format!("ECPay {code}: {message}")))
        }
    }
}

async fn at_payuni(
    desk: Desk<'_>,
    line: &mut Line<'_>,
    contract: &Contract<'_>,
    (payuni, base_url, period): (&Payuni, &str, u32),
) -> Result<(), Undone> {
    let (number, change) = (contract.number()?, PeriodChange::Reauth { period });
    let request = super::keys(period_calls::change_request(payuni, base_url, &number, change))?;
    let asked_at = desk.origin.clock.now();
    // A bank is asked, which takes longer than a question.
    let answer = line.charge(&request).await?;
    match period_calls::change_reply(payuni, &answer).map_err(unreadable)? {
        PeriodChangeReply::Done { .. } => look(desk, line, contract).await.map(drop),
        // Its notice comes, or polling finds it.
        PeriodChangeReply::Undecided => Ok(()),
        PeriodChangeReply::AlreadyEnded | PeriodChangeReply::NotFound => {
            let now = desk.origin.clock.now();
            note_end(desk, contract.subscription.id, EndReason::ProviderStopped, now).await
        }
        PeriodChangeReply::Refused { code, message } => {
            let told = look(desk, line, contract).await?;
            if is_answered(&known(desk, contract.subscription.id).await?) {
                return Ok(());
            }
            let tried_at = told.refused.get(&period).copied();
            match tried_at.filter(|at| at.plus(CLOCKS_APART) >= asked_at) {
                Some(tried_at) => {
                    let refused = RefusedRetry {
                        key: format!("retry:{}", desk.lease.0),
                        period,
                        code,
                        message,
                        tried_at,
                    };
                    note(desk, contract, &refused).await
                }
                None => Err(Undone::Never(format!("PAYUNi {code}: {message}"))),
            }
        }
    }
}

/// The bank refused: an answer to what we asked for.
async fn note(desk: Desk<'_>, contract: &Contract<'_>, refused: &RefusedRetry) -> Result<(), Undone> {
    let (id, now) = (contract.subscription.id, desk.origin.clock.now());
    let context = desk.origin.subscriptions();
    let note = |tx: Tx| async move { note_refused_retry(&tx, context, id, refused, now).await };
    Ok(desk.origin.database.run_tx("retry_refused", note).await?)
}
