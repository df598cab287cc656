//! Another plan for a running subscription: which way there is, from when, and what it costs (issue 4, PM-8).
//!
//! `subscriptions::plan` loads what was paid → **`offer`** → a preview, a change, or the leave to replace it at checkout.
//!
//! Where we charge, the plan changes in place: a dearer one at once, for what the rest of the period costs more; a cheaper one
//! with the next charge. A contract at a provider has a fixed amount, and a period cannot change its length, so there (and for
//! plans of another period) a dearer plan is a new contract, bought at checkout, and the unused days of the old one are paid
//! back when it is paid; a cheaper one is bought when the old one has ended. Dearer is by the day: `price / length`, compared
//! without division.
//!
//! Invariants: pure and total; the refusals' order is part of the contract; of credit and due nothing is lost but fractions of
//! a dollar (`proration`). Not here: moving money, who may ask.

use jiff::civil::Date;
use tollgate_shared::id::PlanId;
use tollgate_shared::money::{Minor, Money};
use tollgate_shared::time::Timestamp;

use super::Mode;
use super::dunning::Phase;
use super::proration::{self, PaidDays};
use super::schedule::{due_at, taipei_date};
use super::standing::Standing;
use crate::domain::coverage;
use crate::domain::plan::{PeriodUnit, Plan, Schedule};

/// How a subscription comes to another plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// We charge the difference for the rest of the period, and it changes when that is paid.
    InPlaceNow,
    /// It changes with the next charge.
    InPlaceNextPeriod,
    /// The customer buys it at checkout in place of this one.
    NewContract,
    /// This one ends with what is paid, and the customer buys the other then.
    NextContract,
    /// What was scheduled is taken back: the plan stays.
    Revoke,
}

/// What a change amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    /// How.
    pub(crate) way: Way,
    /// The running period.
    pub(crate) period: u32,
    /// From when the plan is the other one.
    pub(crate) effective_at: Timestamp,
    /// What the unused days are worth, as far as the change takes them into account.
    pub(crate) credit: Money,
    /// To be charged for it.
    pub(crate) due: Money,
    /// To be paid back for it.
    pub(crate) refund: Money,
    /// The next charge after it, and its amount.
    pub(crate) next_charge: Option<(Timestamp, Money)>,
    /// From when the other plan can be bought, where it follows this contract.
    pub(crate) buy_from: Option<Timestamp>,
}

/// A running subscription, as far as a change of plan is concerned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Current<'a> {
    /// Who charges.
    pub(crate) mode: Mode,
    /// When and how often.
    pub(crate) schedule: Schedule,
    /// The plan in force.
    pub(crate) plan: &'a PlanId,
    /// What a period costs.
    pub(crate) price: Money,
    /// The plan that was scheduled.
    pub(crate) next_plan: Option<&'a PlanId>,
    /// Where it stands.
    pub(crate) standing: &'a Standing,
    /// What was paid for the running period, refunds taken off.
    pub(crate) paid: &'a [PaidDays],
    /// Whether a refund of the running period has not ended.
    pub(crate) is_refunding: bool,
}

/// Why there is no way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No charge has come yet.
    NotBegun,
    /// It is over, or about to end.
    Ending,
    /// It rests.
    Paused,
    /// A charge is owed.
    Owed,
    /// A charge is under way; its result decides.
    UnderWay,
    /// The other plan does not renew itself.
    NotASubscription,
    /// The other plan costs another currency.
    OtherCurrency,
    /// It is the plan in force.
    SamePlan,
    /// It is the plan that is scheduled.
    Scheduled,
    /// A refund of the running period has not ended, so nobody knows what is left of it.
    RefundUnderWay,
    /// Nothing was kept of what was paid, or the sums are beyond the types.
    NotComputable,
}

/// What another plan means for a subscription, or why it cannot be.
pub(crate) fn offer(current: &Current<'_>, wanted: &Plan, now: Timestamp) -> Result<Offer, Refusal> {
    let schedule = wanted.schedule().ok_or(Refusal::NotASubscription)?;
    is_steady(current, now)?;
    if wanted.price.currency != current.price.currency {
        return Err(Refusal::OtherCurrency);
    }
    let is_same = wanted.id == *current.plan;
    match current.next_plan {
        Some(_) if is_same => return revoke(current, now),
        None if is_same => return Err(Refusal::SamePlan),
        Some(next) if *next == wanted.id => return Err(Refusal::Scheduled),
        Some(_) | None => {}
    }
    let in_place = current.mode == Mode::MerchantRun && is_alike(current.schedule, schedule);
    let is_dearer = by_the_day(wanted.price, current.schedule) > by_the_day(current.price, schedule);
    match (in_place, is_dearer) {
        (true, _) if wanted.price.amount_minor >= current.price.amount_minor => {
            in_place_now(current, wanted.price, now)
        }
        (true, _) => in_place_next(current, wanted.price),
        (false, true) => new_contract(current, (wanted.price, schedule), now),
        (false, false) => next_contract(current, now),
    }
}

/// Refuses what is not paid for and going on.
fn is_steady(current: &Current<'_>, now: Timestamp) -> Result<(), Refusal> {
    let standing = current.standing;
    match standing.phase {
        Phase::Pending => return Err(Refusal::NotBegun),
        Phase::Over(..) => return Err(Refusal::Ending),
        Phase::Active | Phase::PastDue(_) | Phase::Downgraded(..) | Phase::Paused => {}
    }
    if standing.ends_at.is_some() {
        return Err(Refusal::Ending);
    }
    match standing.phase {
        Phase::Paused => Err(Refusal::Paused),
        Phase::PastDue(_) | Phase::Downgraded(..) => Err(Refusal::Owed),
        _ if is_under_way(current, now) => Err(Refusal::UnderWay),
        Phase::Pending | Phase::Active | Phase::Over(..) => Ok(()),
    }
}

/// Ours has no answer; or the provider's is due, so that it may be made at any moment or was made and not told.
fn is_under_way(current: &Current<'_>, now: Timestamp) -> bool {
    match current.mode {
        Mode::MerchantRun => current.standing.unanswered_since.is_some(),
        Mode::ProviderRun => current.standing.next_charge.is_some_and(|due| due.at <= now),
    }
}

fn is_alike(one: Schedule, other: Schedule) -> bool {
    (one.unit, one.frequency) == (other.unit, other.frequency)
}

/// A price times the length of the other's period: comparing two of these compares the prices of a day.
fn by_the_day(price: Money, other: Schedule) -> i128 {
    i128::from(price.amount_minor.get()).saturating_mul(length(other))
}

/// The length of a period in 4800ths of a day, in the Gregorian calendar's mean: 400 years are 146,097 days and 4,800 months.
fn length(schedule: Schedule) -> i128 {
    let unit = match schedule.unit {
        PeriodUnit::Day => 4_800,
        PeriodUnit::Week => 33_600,
        PeriodUnit::Month => 146_097,
        PeriodUnit::Year => 1_753_164,
    };
    i128::from(schedule.frequency).saturating_mul(unit)
}

const fn none_of(price: Money) -> Money {
    Money {
        amount_minor: Minor::ZERO,
        ..price
    }
}

/// What the unused days of the running period are worth.
fn credit(current: &Current<'_>, today: Date) -> Result<Money, Refusal> {
    if current.is_refunding {
        return Err(Refusal::RefundUnderWay);
    }
    proration::credit(current.paid, today).ok_or(Refusal::NotComputable)
}

fn in_place_now(current: &Current<'_>, price: Money, now: Timestamp) -> Result<Offer, Refusal> {
    let today = taipei_date(now).ok_or(Refusal::NotComputable)?;
    let credit = credit(current, today)?;
    let running = current.standing.anchor.zip(current.standing.period_kept);
    let share = running
        .and_then(|(anchor, period)| PaidDays::of_period(price, current.schedule, anchor, period))
        .map(|period| period.credit(today));
    let balance = share.and_then(|share| proration::balance(share, credit));
    Ok(Offer {
        way: Way::InPlaceNow,
        period: current.standing.period_kept.unwrap_or(1),
        effective_at: now,
        credit,
        due: balance.ok_or(Refusal::NotComputable)?.due,
        refund: none_of(price),
        next_charge: current.standing.next_charge.map(|due| (due.at, price)),
        buy_from: None,
    })
}

fn in_place_next(current: &Current<'_>, price: Money) -> Result<Offer, Refusal> {
    let next = current.standing.next_charge.ok_or(Refusal::Ending)?;
    Ok(Offer {
        way: Way::InPlaceNextPeriod,
        period: current.standing.period_kept.unwrap_or(1),
        effective_at: next.at,
        credit: none_of(price),
        due: none_of(price),
        refund: none_of(price),
        next_charge: Some((next.at, price)),
        buy_from: None,
    })
}

fn revoke(current: &Current<'_>, now: Timestamp) -> Result<Offer, Refusal> {
    let next = current.standing.next_charge.ok_or(Refusal::Ending)?;
    Ok(Offer {
        way: Way::Revoke,
        period: current.standing.period_kept.unwrap_or(1),
        effective_at: now,
        credit: none_of(current.price),
        due: none_of(current.price),
        refund: none_of(current.price),
        next_charge: Some((next.at, current.price)),
        buy_from: None,
    })
}

/// The whole price is charged, as the contract is of that amount; the credit goes back separately.
fn new_contract(
    current: &Current<'_>,
    (price, schedule): (Money, Schedule),
    now: Timestamp,
) -> Result<Offer, Refusal> {
    let today = taipei_date(now).ok_or(Refusal::NotComputable)?;
    let credit = credit(current, today)?;
    let first = schedule.first_amount.map_or(price, |amount_minor| Money {
        amount_minor,
        ..price
    });
    Ok(Offer {
        way: Way::NewContract,
        period: current.standing.period_kept.unwrap_or(1),
        effective_at: now,
        credit,
        due: first,
        refund: credit,
        next_charge: due_at(schedule, today, 2).map(|at| (at, price)),
        buy_from: None,
    })
}

fn next_contract(current: &Current<'_>, now: Timestamp) -> Result<Offer, Refusal> {
    let paid_until = current.standing.paid_until.ok_or(Refusal::NotComputable)?;
    Ok(Offer {
        way: Way::NextContract,
        period: current.standing.period_kept.unwrap_or(1),
        effective_at: paid_until,
        credit: none_of(current.price),
        due: none_of(current.price),
        refund: none_of(current.price),
        next_charge: None,
        buy_from: Some(coverage::renew_after(paid_until).max(now)),
    })
}

impl Way {
    /// The word in answers.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::InPlaceNow => "in_place_now",
            Self::InPlaceNextPeriod => "in_place_next_period",
            Self::NewContract => "new_contract",
            Self::NextContract => "next_contract",
            Self::Revoke => "revoke",
        }
    }
}

#[cfg(test)]
mod tests;
