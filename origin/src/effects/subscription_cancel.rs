//! `subscription_cancel`: ending a contract at ECPay (`Cancel`) or PAYUNi (`end`), for ever.
//!
//! `subscriptions::tell` (a wish, a replacement, money after the end) → outbox row → **this**.
//!
//! Invariant: what is over is what was wanted, so a repeat, a contract that ended by itself and one that never began are
//! successes; the last is logged, and each is a line of the subscription's history, once. A refusal is tried again and ends dead, for a person: the contract would charge again.
//! Not here: whether it may end (`subscriptions::cancel`), paying anything back.

use serde_json::{Value, json};
use tollgate_shared::provider::ecpay::period_action::{self, PeriodAction, PeriodActionReply};
use tollgate_shared::provider::payuni::period_calls::{self, PeriodChange, PeriodChangeReply};

use super::contract::load;
use super::{Desk, Undone};
use crate::db::Tx;
use crate::db::subscriptions::history::{self, Line};
use crate::gateway::provider::Shop;
use crate::subscriptions::SubscriptionId;

/// Ends one contract.
pub(super) async fn make(desk: Desk<'_>, payload: &Value) -> Result<(), Undone> {
    let contract = load(desk, payload).await?;
    let (id, order) = (contract.subscription.id, &contract.subscription.order);
    let now = desk.origin.clock.now();
    let is_known = match contract.shop {
        Shop::Ecpay { shop, base_url } => {
            let mut line = desk.line(contract.shop, 1).await?;
            let request = period_action::request(shop, base_url, PeriodAction::Cancel, order, now);
            let answer = line.post(&request).await?;
            match period_action::reply(shop, order, &answer).map_err(super::unreadable)? {
                PeriodActionReply::Done | PeriodActionReply::AlreadyStopped => true,
                PeriodActionReply::NotFound => false,
                PeriodActionReply::Refused { code, message } => {
                    return Err(Undone::Again(format!("ECPay {code}: {message}")));
                }
            }
        }
        Shop::Payuni { shop, base_url } => {
            let number = contract.number()?;
            let mut line = desk.line(contract.shop, 1).await?;
            let request = super::keys(period_calls::change_request(
                shop,
                base_url,
                &number,
                PeriodChange::End,
            ))?;
            let answer = line.post(&request).await?;
            match period_calls::change_reply(shop, &answer).map_err(super::unreadable)? {
                PeriodChangeReply::Done { .. } | PeriodChangeReply::AlreadyEnded => true,
                PeriodChangeReply::NotFound => false,
                PeriodChangeReply::Undecided => {
                    return Err(Undone::Again("PAYUNi has not decided".to_owned()));
                }
                PeriodChangeReply::Refused { code, message } => {
                    return Err(Undone::Again(format!("PAYUNi {code}: {message}")));
                }
            }
        }
    };
    if !is_known {
        tracing::warn!(subscription.id = %id, "the provider knows no contract of subscription {id}; there is nothing to end");
    }
    confirm(desk, id, is_known).await
}

/// The history tells that the end which was asked for is done: from now on the provider charges nothing.
async fn confirm(desk: Desk<'_>, id: SubscriptionId, is_known: bool) -> Result<(), Undone> {
    let now = desk.origin.clock.now();
    let (effect, _) = desk.lease;
    let line = &Line {
        key: format!("cancel_confirmed:{effect}"),
        kind: "cancel_confirmed".to_owned(),
        details: json!({ "contractFound": is_known }),
        occurred_at: now,
    };
    let write = |tx: Tx| async move { history::insert(&tx, id, line, now).await };
    desk.origin.database.run_tx("cancel_confirmed", write).await?;
    Ok(())
}
