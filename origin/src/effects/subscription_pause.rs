//! `subscription_pause` and `subscription_resume`: letting a contract at PAYUNi rest, and going on.
//!
//! `subscriptions::tell` → outbox row → **this** (`suspend`, `restart`).
//!
//! Invariant: PAYUNi refuses to do what is done already, and no code of that is documented; so a refusal is followed by a
//! look at the schedule, and what stands there decides. A contract that has ended is a fact. ECPay has no such call;
//! nobody can ask for it (`subscriptions::pause`).

use serde_json::Value;
use tollgate_shared::provider::payuni::Payuni;
use tollgate_shared::provider::payuni::period_calls::{self, PeriodChange, PeriodChangeReply};

use super::contract::{Contract, load, note_end};
use super::{Desk, Undone};
use crate::domain::subscription::EndReason;
use crate::gateway::limiter::Line;
use crate::gateway::provider::Shop;

/// What a contract is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// To charge no more until it is resumed.
    Rest,
    /// To charge from the next due day on.
    GoOn,
}

/// Changes one contract.
pub(super) async fn make(desk: Desk<'_>, payload: &Value, wanted: Wanted) -> Result<(), Undone> {
    let contract = load(desk, payload).await?;
    let Shop::Payuni { shop, base_url } = contract.shop else {
        return Err(Undone::Never(
            "the provider has no call for that: do it in its console".to_owned(),
        ));
    };
    let number = contract.number()?;
    let change = match wanted {
        Wanted::Rest => PeriodChange::Suspend,
        Wanted::GoOn => PeriodChange::Restart,
    };
    let mut line = desk.line(contract.shop, 2).await?;
    let request = super::keys(period_calls::change_request(shop, base_url, &number, change))?;
    let answer = line.post(&request).await?;
    match period_calls::change_reply(shop, &answer).map_err(super::unreadable)? {
        PeriodChangeReply::Done { .. } => Ok(()),
        PeriodChangeReply::Undecided => Err(Undone::Again("PAYUNi has not decided".to_owned())),
        PeriodChangeReply::AlreadyEnded | PeriodChangeReply::NotFound => {
            let now = desk.origin.clock.now();
            note_end(desk, contract.subscription.id, EndReason::ProviderStopped, now).await
        }
        PeriodChangeReply::Refused { code, message } => {
            if is_so(&mut line, &contract, (shop, base_url), wanted).await? {
                return Ok(());
            }
            Err(Undone::Again(format!("PAYUNi {code}: {message}")))
        }
    }
}

/// Whether the contract does already what it is to do: one that rests has no period that waits for its day.
async fn is_so(
    line: &mut Line<'_>,
    contract: &Contract<'_>,
    (payuni, base_url): (&Payuni, &str),
    wanted: Wanted,
) -> Result<bool, Undone> {
    let request = super::keys(period_calls::query_request(payuni, base_url, &contract.number()?))?;
    let answer = line.post(&request).await?;
    let schedule = period_calls::schedule(payuni, &answer).map_err(super::unreadable)?;
    let waits = schedule.periods.iter().any(|period| period.waiting);
    Ok(waits == (wanted == Wanted::GoOn))
}
