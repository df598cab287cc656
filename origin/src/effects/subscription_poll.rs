//! `subscription_poll`: asking a provider what became of a contract whose news did not come (OP-5).
//!
//! `subscriptions::refold` (a due day or a retry without news) → outbox row → **this** → the inbox, and facts.
//!
//! Invariants: what moves money or begins dunning goes through the inbox, as the notice would have; what only the
//! contract's state tells (it is over) is a fact. An end that we asked for is no news. An answer that tells nothing is a
//! success: the refold asks again later. A due day that the provider itself shows no attempt for is told to operators.
//! Not here: when to ask (`subscriptions::state`), how an end is read off (`domain::subscription::contract_end`).

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_shared::provider::ecpay::query::{self, Query};
use tollgate_shared::provider::ecpay::{Ecpay, observe, period_info};
use tollgate_shared::provider::payuni::{Payuni, period_calls};
use tollgate_shared::provider::{Observation, payuni};
use tollgate_shared::time::Timestamp;

use super::contract::{Contract, is_end_ours, known, load, note_end};
use super::{Desk, Undone, unreadable};
use crate::db::event_log::{self, Line as LogLine};
use crate::db::subscriptions::due;
use crate::db::{DbError, Tx};
use crate::domain::subscription::EndReason;
use crate::domain::subscription::contract_end::{ecpay_end, payuni_end};
use crate::entropy;
use crate::gateway::limiter::Line;
use crate::gateway::provider::Shop;

/// How many calls a look takes at most.
pub(super) const LOOK_CALLS: u32 = 2;
/// After this long without an attempt, and the provider's word that there was none, somebody has to look.
const MISSING: Duration = Duration::from_hours(24 * 3);

/// What the provider tells of a contract.
struct Told {
    observations: Vec<Observation>,
    end: Option<EndReason>,
    /// Charges of an unsigned answer that the signed one does not cover yet.
    unvouched: usize,
}

/// Asks about one contract.
pub(super) async fn make(desk: Desk<'_>, payload: &Value) -> Result<(), Undone> {
    let contract = load(desk, payload).await?;
    let mut line = desk.line(contract.shop, LOOK_CALLS).await?;
    look(desk, &mut line, &contract).await
}

/// Asks about a contract and writes down what is told.
pub(super) async fn look(desk: Desk<'_>, line: &mut Line<'_>, contract: &Contract<'_>) -> Result<(), Undone> {
    let now = desk.origin.clock.now();
    let told = match contract.shop {
        Shop::Ecpay { shop, base_url } => at_ecpay(line, contract, (shop, base_url), now).await?,
        Shop::Payuni { shop, base_url } => at_payuni(line, contract, (shop, base_url)).await?,
    };
    super::feed(desk.origin, contract.shop, &told.observations).await?;
    let id = contract.subscription.id;
    if let Some(reason) = told.end
        && !is_end_ours(&known(desk, id).await?)
    {
        note_end(desk, id, reason, now).await?;
    }
    if told.unvouched > 0 {
        return Err(Undone::Again(format!(
            "ECPay lists {} charges that its signed answer does not cover",
            told.unvouched
        )));
    }
    tell_missing(desk, contract, now).await
}

async fn at_ecpay(
    line: &mut Line<'_>,
    contract: &Contract<'_>,
    (ecpay, base_url): (&Ecpay, &str),
    now: Timestamp,
) -> Result<Told, Undone> {
    let order = &contract.subscription.order;
    let request = query::request(ecpay, base_url, Query::TradeInfo, order, now);
    let trade_info = line.post(&request).await?;
    let request = query::request(ecpay, base_url, Query::PeriodInfo, order, now);
    let period_info = line.post(&request).await?;
    let found = observe::periods(ecpay, &trade_info, &period_info).map_err(unreadable)?;
    let info = period_info::read(&period_info).map_err(unreadable)?;
    // Before the first charge there is no contract that could end.
    let has_begun = !found.told.is_empty();
    Ok(Told {
        end: has_begun.then(|| ecpay_end(&info)).flatten(),
        observations: found.told,
        unvouched: found.unvouched,
    })
}

async fn at_payuni(
    line: &mut Line<'_>,
    contract: &Contract<'_>,
    (payuni, base_url): (&Payuni, &str),
) -> Result<Told, Undone> {
    let request = super::keys(period_calls::query_request(payuni, base_url, &contract.number()?))?;
    let answer = line.post(&request).await?;
    let schedule = period_calls::schedule(payuni, &answer).map_err(unreadable)?;
    Ok(Told {
        observations: payuni::observe::periods(payuni, &answer).map_err(unreadable)?,
        end: payuni_end(&schedule),
        unvouched: 0,
    })
}

/// A charge that was due days ago, and of which the provider shows no attempt now that it was asked.
async fn tell_missing(desk: Desk<'_>, contract: &Contract<'_>, now: Timestamp) -> Result<(), Undone> {
    let id = contract.subscription.id;
    let tell = |tx: Tx| async move {
        let due_at = due::next_charge_at(&tx, id).await?;
        match due_at.filter(|at| at.plus(MISSING) <= now) {
            Some(due_at) => event_log::insert(&tx, &missing(contract, due_at, now)?, now).await,
            None => Ok(false),
        }
    };
    if desk.origin.database.run_tx("subscription_missing", tell).await? {
        tracing::warn!(subscription.id = %id, "the provider made no attempt at a charge of subscription {id} that was due");
    }
    Ok(())
}

fn missing(contract: &Contract<'_>, due_at: Timestamp, now: Timestamp) -> Result<LogLine, DbError> {
    let subscription = &contract.subscription;
    let event_type = "subscription_charge_missing";
    Ok(LogLine {
        id: entropy::uuid_v7(now)?,
        operation_key: format!("{event_type}:{}:{}", subscription.id, due_at.unix_seconds()),
        event_type,
        user: Some(subscription.user.to_string()),
        plan: Some(subscription.plan.id.to_string()),
        money: Some(subscription.price),
        payment: Some(subscription.payment),
        provider: Some(subscription.provider.clone()),
        provider_payment_id: None,
        reason: Some("the provider shows no attempt at a charge that was due".to_owned()),
        details: json!({ "subscriptionId": subscription.id, "dueAt": due_at.to_string() }),
        delivery: None,
        occurred_at: now,
    })
}
