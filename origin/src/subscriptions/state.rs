//! From a standing to the columns of the row.
//!
//! `refold` → **state** → `db::subscriptions::save`.
//!
//! Invariants: a column says what the standing says and nothing more; `next_due_at` is the earliest instant at which time
//! alone changes anything, and always later than now, so that a sweep never spins. Not here: the rules.

use std::time::Duration;

use jiff::civil::Date;
use tollgate_shared::time::Timestamp;

use crate::db::subscriptions::{State, Subscription};
use crate::domain::subscription::dunning::Phase;
use crate::domain::subscription::schedule::taipei_date;
use crate::domain::subscription::standing::Standing;
use crate::domain::subscription::{ECPAY_FAILURES_MAX, EndReason, Fact, Mode, Terms, What};

/// How long after one question about the same news the next is put.
const POLL_AGAIN: Duration = Duration::from_hours(12);
/// After so many questions about the same news, a person has to look.
const POLLS_MAX: i32 = 30;
/// When to look again at what was due and did not move; seen only where this program has a defect.
const STUCK: Duration = Duration::from_hours(1);

/// What the provider is asked, and when next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Poll {
    /// When next.
    pub(super) next_at: Option<Timestamp>,
    /// How often it was asked about the same news.
    pub(super) count: i32,
    /// Whether it is to be asked now.
    pub(super) is_due: bool,
}

/// What was agreed, as the rules read it.
pub(super) fn terms(subscription: &Subscription, known: &[Fact]) -> Terms {
    let stops_itself = subscription.mode == Mode::ProviderRun && subscription.provider == "ecpay";
    Terms {
        mode: subscription.mode,
        schedule: subscription.schedule,
        anchor: subscription
            .anchor
            .or_else(|| guessed_anchor(subscription, known)),
        price: subscription.price,
        provider_failures_max: stops_itself.then_some(ECPAY_FAILURES_MAX),
    }
}

/// The day of the order, while later charges are known and the first is not: counting from one of those would number
/// the periods otherwise than when it comes, and tell the same step again under another number.
fn guessed_anchor(subscription: &Subscription, known: &[Fact]) -> Option<Date> {
    let mut charges = known.iter().filter_map(|fact| match fact.what {
        What::Charged { period, .. } => Some(period),
        What::Declined { .. } | What::Noted(_) => None,
    });
    let is_missing = charges.clone().next().is_some() && charges.all(|period| period != Some(1));
    is_missing.then(|| taipei_date(subscription.created_at)).flatten()
}

/// Whether the provider is to be asked for news that did not come. News move `poll_from` into the future, and the count
/// begins anew.
pub(super) fn poll(subscription: &Subscription, poll_from: Option<Timestamp>, now: Timestamp) -> Poll {
    let Some(from) = poll_from else {
        return Poll {
            next_at: None,
            count: 0,
            is_due: false,
        };
    };
    if from > now {
        return Poll {
            next_at: Some(from),
            count: 0,
            is_due: false,
        };
    }
    let waiting_for = subscription.next_poll_at.filter(|_| subscription.poll_count > 0);
    if subscription.poll_count >= POLLS_MAX {
        return Poll {
            next_at: None,
            count: subscription.poll_count,
            is_due: false,
        };
    }
    if let Some(later) = waiting_for.filter(|at| *at > now) {
        return Poll {
            next_at: Some(later),
            count: subscription.poll_count,
            is_due: false,
        };
    }
    Poll {
        next_at: Some(now.plus(POLL_AGAIN)),
        count: subscription.poll_count.saturating_add(1),
        is_due: true,
    }
}

/// The columns.
pub(super) fn state(mode: Mode, standing: &Standing, poll: Poll, now: Timestamp) -> State {
    let next_retry_at = standing.next_retry.map(|retry| retry.at);
    let is_ours = mode == Mode::MerchantRun;
    let ours = standing.next_charge.filter(|_| is_ours).map(|due| due.at);
    let ends_at = standing.ends_at.map(|(at, _)| at);
    // What is overdue has been taken in already.
    let overdue_from = standing.overdue_from.filter(|at| *at > now);
    let due = [
        standing.grace_ends_at,
        ends_at,
        standing.closes_at,
        next_retry_at,
        ours,
        poll.next_at,
        overdue_from,
    ];
    let next_due_at = due.into_iter().flatten().min();
    State {
        status: status(&standing.phase),
        periods_paid: standing.periods_paid,
        failures: standing.failures,
        paid_until: standing.paid_until,
        access_until: standing.access_until,
        next_charge_at: standing.charge_ahead.map(|due| due.at),
        next_retry_at,
        grace_ends_at: standing.grace_ends_at,
        cancel_at: standing
            .ends_at
            .filter(|(_, reason)| *reason != EndReason::Completed)
            .map(|(at, _)| at),
        downgraded: downgraded(&standing.phase),
        ended: match standing.phase {
            Phase::Over(reason, at) => Some((at, reason)),
            Phase::Pending | Phase::Active | Phase::PastDue(_) | Phase::Downgraded(..) | Phase::Paused => {
                None
            }
        },
        next_poll_at: poll.next_at,
        poll_count: poll.count,
        next_due_at: next_due_at.map(|at| if at > now { at } else { now.plus(STUCK) }),
    }
}

/// The label in `saas_subscriptions.status`. Downgraded is active with FREE limits (EC-3).
pub(super) const fn status(phase: &Phase) -> &'static str {
    match phase {
        Phase::Pending => "pending",
        Phase::Active | Phase::Downgraded(..) => "active",
        Phase::PastDue(_) => "past_due",
        Phase::Paused => "paused",
        Phase::Over(EndReason::Canceled | EndReason::Replaced, _) => "canceled",
        Phase::Over(EndReason::Completed | EndReason::ProviderFailures | EndReason::ProviderStopped, _) => {
            "ended"
        }
    }
}

/// Since when the limits are those of FREE, and why.
fn downgraded(phase: &Phase) -> Option<(Timestamp, String)> {
    match phase {
        Phase::Downgraded(_, at) => Some((*at, "payment_failed".to_owned())),
        Phase::Over(EndReason::ProviderFailures, at) => {
            Some((*at, EndReason::ProviderFailures.label().to_owned()))
        }
        Phase::Pending | Phase::Active | Phase::PastDue(_) | Phase::Paused | Phase::Over(..) => None,
    }
}
