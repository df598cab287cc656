//! `subscription_charge`: charging a stored card at PAYUNi (`/api/credit`), for a subscription whose schedule is ours.
//!
//! `subscriptions::wanted` (row and order number) → outbox row → **this** → the inbox → apply → the charge's result.
//!
//! Invariants: that a charge is about to be sent is committed before it is sent, under the lease, so one worker sends at a
//! time and what was sent is known. A charge that was sent and has no result is asked for by its order number; only where
//! PAYUNi does not know the number, a quarter of an hour after it was sent, is it sent again, under the same number.
//! A subscription that ended before its charge was sent is not charged.
//! Failure: a refusal of the call is a refused charge, so that dunning begins; silence for days, and an
//! answer that does not match the charge, leave it held, for a person (`subscriptions::by_hand`).

use std::time::Duration;

use serde_json::Value;
use tollgate_shared::event::StoredCredential;
use tollgate_shared::money::Money;
use tollgate_shared::provider::Observation;
use tollgate_shared::provider::payuni::credit::{self, StoredCharge};
use tollgate_shared::provider::payuni::observe::{self, ChargeReply};
use tollgate_shared::provider::payuni::{Payuni, trade_calls};
use tollgate_shared::time::Timestamp;

use super::contract::{Contract, is_end_ours, load};
use super::{Desk, Undone, unreadable};
use crate::db::subscriptions::sending::{self, Charging, Progress};
use crate::db::subscriptions::{self, charges, facts};
use crate::db::{DbError, Tx};
use crate::gateway::limiter::Line;
use crate::gateway::provider::Shop;
use crate::subscriptions::tell_held;

/// PAYUNi holds a number for ten minutes, and may take a quarter of an hour to know a result (reference A.9).
const ASK_AFTER: Duration = Duration::from_mins(15);
/// After so long without a word a person has to ask.
const GIVEN_UP: Duration = Duration::from_hours(24 * 3);
/// What an operator reads of a charge whose effect ended dead.
const GIVEN_UP_ON: &str = "it was given up (the outbox says why): look in PAYUNi's console";
/// What an operator reads of a charge that PAYUNi tells otherwise than we made it.
const NOT_OURS: &str =
    "what PAYUNi tells of the charge does not match it (see disputes): look in its console";
/// In place of PAYUNi's code, where there is nothing to charge.
const NO_CARD: (&str, &str) = ("NO_CARD", "no card of this customer is stored");

/// Makes one charge, or finds out what became of it.
pub(super) async fn make(desk: Desk<'_>, payload: &Value) -> Result<(), Undone> {
    let contract = load(desk, payload).await?;
    let Shop::Payuni { shop, base_url } = contract.shop else {
        return Err(Undone::Never("the provider charges no stored cards".to_owned()));
    };
    let id = super::id(payload, "chargeId")?;
    let find = |tx: Tx| async move {
        let charging = sending::find(&tx, id).await?;
        let credential = match &charging {
            Some(charging) => sending::credential(&tx, charging.subscription).await?,
            None => None,
        };
        Ok::<_, DbError>(charging.zip(Some(credential)))
    };
    let found = desk.origin.database.run_tx("charge_load", find).await?;
    let (charging, credential) = found.ok_or_else(|| Undone::Never("there is no such charge".to_owned()))?;
    let charge = stored_charge(&contract, &charging);
    let shop = (shop, base_url);
    match (charging.progress, credential) {
        (Progress::Finished, _) => Ok(()),
        (Progress::Unknown(sent_at), credential) => {
            let mut line = desk.line(contract.shop, 2).await?;
            match ask(desk, &mut line, (&contract, &charging), shop, sent_at).await? {
                Found::Told => told(desk, &charging, sent_at).await,
                Found::Never(known) => {
                    let credential = credential.ok_or_else(|| Undone::Never(NO_CARD.1.to_owned()))?;
                    let sent = Some(known);
                    send(
                        desk,
                        &mut line,
                        (&contract, &charging, &charge),
                        shop,
                        (&credential, sent),
                    )
                    .await
                }
            }
        }
        (Progress::Unsent, Some(credential)) => {
            let mut line = desk.line(contract.shop, 1).await?;
            send(
                desk,
                &mut line,
                (&contract, &charging, &charge),
                shop,
                (&credential, None),
            )
            .await
        }
        (Progress::Unsent, None) => {
            let refused =
                observe::refused_charge(shop.0, &charge, NO_CARD.0, NO_CARD.1).map_err(unreadable)?;
            super::feed(desk.origin, contract.shop, &[refused]).await
        }
    }
}

fn stored_charge(contract: &Contract<'_>, charging: &Charging) -> StoredCharge {
    StoredCharge {
        number: charging.order.clone(),
        money: Money {
            amount_minor: charging.amount_minor,
            currency: contract.subscription.price.currency,
        },
        description: contract.subscription.plan.name.clone(),
        notify_url: None,
    }
}

/// What asking for a charge found.
enum Found {
    /// Its result; the inbox has it.
    Told,
    /// PAYUNi never heard of what was sent at this instant.
    Never(Timestamp),
}

/// Asks what became of a charge that was sent.
async fn ask(
    desk: Desk<'_>,
    line: &mut Line<'_>,
    (contract, charging): (&Contract<'_>, &Charging),
    (payuni, base_url): (&Payuni, &str),
    sent_at: Timestamp,
) -> Result<Found, Undone> {
    let now = desk.origin.clock.now();
    let request = super::keys(trade_calls::query_request(payuni, base_url, &charging.order, now))?;
    let answer = line.post(&request).await?;
    match observe::trades(payuni, &answer) {
        Ok(told) if !told.is_empty() => {
            super::feed(desk.origin, contract.shop, &told).await?;
            Ok(Found::Told)
        }
        Ok(_) => Err(wait(sent_at, now)),
        Err(error) if trade_calls::is_unknown_trade(&error) => {
            if now < sent_at.plus(ASK_AFTER) {
                return Err(wait(sent_at, now));
            }
            Ok(Found::Never(sent_at))
        }
        Err(error) => Err(unreadable(error)),
    }
}

/// What was told is the charge's result, or is being applied, or does not match the charge and is a person's to judge.
async fn told(desk: Desk<'_>, charging: &Charging, sent_at: Timestamp) -> Result<(), Undone> {
    let (id, now) = (charging.id, desk.origin.clock.now());
    let look = |tx: Tx| async move {
        if sending::has_news(&tx, id).await? {
            return Ok(true);
        }
        tell_held(&tx, id, NOT_OURS, now).await?;
        Ok::<_, DbError>(false)
    };
    if desk.origin.database.run_tx("charge_told", look).await? {
        return Err(wait(sent_at, now));
    }
    Ok(())
}

/// The effect ended dead: what became of the charge, a person has to find out.
pub(crate) async fn give_up(tx: &Tx, payload: &Value, now: Timestamp) -> Result<(), DbError> {
    match super::id(payload, "chargeId") {
        Ok(charge) => tell_held(tx, charge, GIVEN_UP_ON, now).await,
        Err(_) => Ok(()),
    }
}

/// Its result is not there yet.
fn wait(sent_at: Timestamp, now: Timestamp) -> Undone {
    if sent_at.plus(GIVEN_UP) <= now {
        return Undone::Never(
            "sent to PAYUNi, and for days no result: look in its console what became of the charge"
                .to_owned(),
        );
    }
    Undone::NotBefore(now.plus(ASK_AFTER), "PAYUNi has no result of the charge yet")
}

async fn send(
    desk: Desk<'_>,
    line: &mut Line<'_>,
    (contract, charging, charge): (&Contract<'_>, &Charging, &StoredCharge),
    (payuni, base_url): (&Payuni, &str),
    (credential, sent_before): (&StoredCredential, Option<Timestamp>),
) -> Result<(), Undone> {
    let now = desk.origin.clock.now();
    let request = credit::charge_request(payuni, base_url, credential, charge, now)
        .map_err(|error| Undone::Never(error.to_string()))?;
    match note_sending(desk, charging, now).await? {
        Sending::Yes => {}
        Sending::NotAnyMore => return Ok(()),
        Sending::ByAnother => return Err(Undone::Again("another worker has the charge".to_owned())),
    }
    let answer = match line.charge(&request).await {
        Err(error) if error.was_not_received() => {
            if sent_before.is_none() {
                note_unsent(desk, charging, now).await?;
            }
            return Err(error.into());
        }
        Err(error) => return Err(error.into()),
        Ok(answer) => answer,
    };
    let told = match observe::charge(payuni, charge, &answer).map_err(unreadable)? {
        ChargeReply::Told(told) => *told,
        ChargeReply::Undecided | ChargeReply::Duplicate => return Err(wait(now, now)),
        ChargeReply::Refused { code, message } => {
            observe::refused_charge(payuni, charge, &code, &message).map_err(unreadable)?
        }
    };
    finish(desk, contract, charging, told).await
}

/// Feeds the answer; one that leaves the charge without a result (`UNKNOWN`) is asked for later.
async fn finish(
    desk: Desk<'_>,
    contract: &Contract<'_>,
    charging: &Charging,
    told: Observation,
) -> Result<(), Undone> {
    super::feed(desk.origin, contract.shop, &[told]).await?;
    let (id, now) = (charging.id, desk.origin.clock.now());
    let find = |tx: Tx| async move { sending::find(&tx, id).await };
    let left = desk.origin.database.run_tx("charge_result", find).await?;
    match left.map(|charging| charging.progress) {
        Some(Progress::Unknown(sent_at)) => Err(wait(sent_at, now)),
        Some(Progress::Unsent | Progress::Finished) | None => Ok(()),
    }
}

/// Whether a charge may be sent now.
enum Sending {
    Yes,
    /// It has its result, or its subscription is over.
    NotAnyMore,
    ByAnother,
}

/// Notes that the charge is about to be sent, under the lock of its subscription: a wish to end it comes before or after.
async fn note_sending(desk: Desk<'_>, charging: &Charging, now: Timestamp) -> Result<Sending, Undone> {
    let (id, subscription) = (charging.id, charging.subscription);
    let note = |tx: Tx| async move {
        let locked = subscriptions::lock(&tx, subscription).await?;
        if !desk.holds(&tx).await? {
            return Ok(Sending::ByAnother);
        }
        let is_over = locked.is_none_or(|row| matches!(row.status.as_str(), "canceled" | "ended"));
        if is_over || is_end_ours(&facts::load(&tx, subscription).await?) {
            charges::finish(&tx, id, None, now).await?;
            return Ok(Sending::NotAnyMore);
        }
        Ok::<_, DbError>(if sending::note_sending(&tx, id, now).await? {
            Sending::Yes
        } else {
            Sending::NotAnyMore
        })
    };
    Ok(desk.origin.database.run_tx("charge_sending", note).await?)
}

async fn note_unsent(desk: Desk<'_>, charging: &Charging, sent_at: Timestamp) -> Result<(), Undone> {
    let id = charging.id;
    let note = |tx: Tx| async move { sending::note_unsent(&tx, id, sent_at).await };
    Ok(desk.origin.database.run_tx("charge_unsent", note).await?)
}
