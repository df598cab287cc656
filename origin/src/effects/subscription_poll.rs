//! `subscription_poll`: asking a provider what became of a contract whose news did not come (OP-5).
//!
//! `subscriptions::refold` (a due day or a retry without news) → outbox row → **this** → the inbox, and facts.
//!
//! Invariants: what moves money or begins dunning goes through the inbox, as the notice would have; what only the
//! contract's state tells (it is over) is a fact. An end that we asked for is no news. An answer that tells nothing is a
//! success: the refold asks again later. A due day that the provider itself shows no attempt for is told to operators.
//! Not here: when to ask (`subscriptions::state`), the calls (`polls`).

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_shared::time::Timestamp;

use super::contract::{Contract, is_end_ours, known, load, note_end};
use super::{Desk, Undone};
use crate::db::event_log::{self, Line as LogLine};
use crate::db::subscriptions::due;
use crate::db::{DbError, Tx};
use crate::gateway::limiter::Line;
use crate::polls::{CONTRACT_CALLS, ToldOfContract, ask_contract};
use crate::subscriptions::event_line::about;

/// After this long without an attempt, and the provider's word that there was none, somebody has to look.
const MISSING: Duration = Duration::from_hours(24 * 3);

/// Asks about one contract.
pub(super) async fn make(desk: Desk<'_>, payload: &Value) -> Result<(), Undone> {
    let contract = load(desk, payload).await?;
    let mut line = desk.line(contract.shop, CONTRACT_CALLS).await?;
    look(desk, &mut line, &contract).await.map(drop)
}

/// Asks about a contract and writes down what is told.
pub(super) async fn look(
    desk: Desk<'_>,
    line: &mut Line<'_>,
    contract: &Contract<'_>,
) -> Result<ToldOfContract, Undone> {
    let now = desk.origin.clock.now();
    let told = ask_contract(line, contract.shop, &contract.subscription, now).await?;
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
    tell_missing(desk, contract, now).await?;
    Ok(told)
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
    let key = format!("{event_type}:{}:{}", subscription.id, due_at.unix_seconds());
    Ok(LogLine {
        reason: Some("the provider shows no attempt at a charge that was due".to_owned()),
        details: json!({ "subscriptionId": subscription.id, "dueAt": due_at.to_string() }),
        ..about(subscription, event_type, key, now)?
    })
}
