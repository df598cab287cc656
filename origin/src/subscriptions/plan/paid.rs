//! What was paid for the running period, charge by charge, with the days that each pays for.
//!
//! `preview`, `change_plan`, `replace` → **`charges`** → `domain::subscription::proration`.
//!
//! Invariants: what was paid back of a charge is taken off, so no credit exceeds what is left of it; a period that was
//! charged twice counts once (the second is for a person). Not here: what the days are worth.

use jiff::civil::Date;
use tollgate_shared::money::{Minor, Money};

use crate::db::refunds::{self, Charge};
use crate::db::subscriptions::Subscription;
use crate::db::subscriptions::charges::{self, Proration};
use crate::db::{DbError, Tx};
use crate::domain::subscription::proration::PaidDays;
use crate::domain::subscription::schedule::{due_on, taipei_date};
use crate::domain::subscription::standing::Standing;

/// A charge of the running period.
#[derive(Debug, Clone)]
pub(super) struct PaidCharge {
    /// The provider's number of it.
    pub(super) number: String,
    /// What is left of it, and for which days.
    pub(super) days: PaidDays,
    /// Whether a refund of it has not ended.
    pub(super) is_refunding: bool,
}

/// The charges of the newest period that was kept: its own, then those of upgrades since.
pub(super) async fn charges(
    tx: &Tx,
    subscription: &Subscription,
    standing: &Standing,
) -> Result<Vec<PaidCharge>, DbError> {
    let (Some(anchor), Some(period)) = (standing.anchor, standing.period_kept) else {
        return Ok(Vec::new());
    };
    let made = refunds::charges(tx, subscription.payment).await?;
    let own = made.iter().find(|charge| is_of(standing, charge, period));
    let own = own.and_then(|charge| {
        let days = PaidDays::of_period(left(charge), subscription.schedule, anchor, period)?;
        Some(paid(charge, days))
    });
    let next = period
        .checked_add(1)
        .and_then(|next| due_on(subscription.schedule, anchor, next));
    let prorations = charges::prorations(tx, subscription.id, period).await?;
    let upgrades = prorations
        .iter()
        .filter_map(|proration| upgrade(&made, proration, next?));
    Ok(own.into_iter().chain(upgrades).collect())
}

fn is_of(standing: &Standing, charge: &Charge, period: u32) -> bool {
    let attempt = format!("paid:{}", charge.number);
    standing.periods_of.get(&attempt) == Some(&period) && left(charge).amount_minor > Minor::ZERO
}

/// It pays for the days from tomorrow on, as seen from the day that it was computed on.
fn upgrade(made: &[Charge], proration: &Proration, next: Date) -> Option<PaidCharge> {
    let charge = made
        .iter()
        .find(|charge| charge.number.as_str() == proration.number)?;
    let first = taipei_date(proration.asked_at)?.tomorrow().ok()?;
    Some(paid(charge, PaidDays::new(left(charge), first, next)?))
}

fn paid(charge: &Charge, days: PaidDays) -> PaidCharge {
    PaidCharge {
        number: charge.number.to_string(),
        days,
        is_refunding: charge.under_way,
    }
}

fn left(charge: &Charge) -> Money {
    let left = charge
        .money
        .amount_minor
        .get()
        .saturating_sub(charge.refunded_minor.get());
    Money {
        amount_minor: Minor::new(left),
        ..charge.money
    }
}
