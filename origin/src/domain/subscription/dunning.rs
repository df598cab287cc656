//! Dunning (EC-1 to EC-3): what a refusal, a success, a new card or the passing of time makes of a subscription's phase.
//!
//! `standing` feeds facts in order → **`decide`** → phase and steps.
//!
//! Invariants: pure and total: every phase meets every input. A paid customer is never dunned, grace is only ever
//! extended within an episode, and an episode ends by a charge, by downgrade or by the end of the subscription.
//! Not here: the calendar (`schedule`), who is told what (`notices`).

use std::time::Duration;

use tollgate_shared::time::Timestamp;

use super::{EndReason, PlanNews, Policy, RetrySlot};

/// Where a subscription stands between two facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No charge has come yet.
    Pending,
    /// Paid for.
    Active,
    /// A charge was refused; access goes on while grace lasts.
    PastDue(Episode),
    /// Grace has passed: FREE limits, status ACTIVE (EC-3). The episode goes on, so that a late success restores.
    Downgraded(Episode, Timestamp),
    /// No charges until it is resumed.
    Paused,
    /// No charge will ever follow: for what reason, and when it ended.
    Over(EndReason, Timestamp),
}

/// The refusals since the last success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Episode {
    /// The newest period that is not paid: providers try no other again.
    pub(crate) period: u32,
    /// Refusals so far.
    pub(crate) failures: u32,
    /// When we first knew that this period was refused: retries count from here.
    pub(crate) since: Timestamp,
    /// When grace ends.
    pub(crate) grace_ends_at: Timestamp,
    /// Scheduled retries that were asked for.
    pub(crate) retries_asked: u8,
    /// Whether trying the same card again is pointless.
    pub(crate) hard: bool,
    /// Since when a new card waits to be tried.
    pub(crate) retry_now: Option<Timestamp>,
}

/// What reaches the phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// A charge of a period succeeded.
    Charged {
        /// Of which period.
        period: u32,
    },
    /// A charge of a period was refused.
    Declined {
        /// Of which period.
        period: u32,
        /// Whether trying the same card again is pointless.
        hard: bool,
    },
    /// Another attempt was asked for.
    RetryAsked(RetrySlot),
    /// The customer has another card.
    CardChanged,
    /// Grace ended by the clock.
    GraceEnded,
    /// The contract rests.
    Paused,
    /// It goes on.
    Resumed,
    /// It is to end with what is paid.
    EndAsked,
    /// News of a change of plan.
    Plan(PlanNews),
    /// The contract ended, by us or by the provider, for this reason.
    Over(EndReason),
}

/// A step of the visible history (EC-8: each is an event and a notice).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A card was bound for a first charge on the agreed day (PU-7).
    CardBound,
    /// The first charge came.
    Activated,
    /// A later charge came while nothing was owed.
    Renewed,
    /// A refusal, the number of which is told: 1 medium, 2 high, 3 and more urgent.
    Failed(u32),
    /// Another attempt was asked for.
    RetryAsked(RetrySlot),
    /// A success after refusals.
    Recovered,
    /// Grace has passed.
    Downgraded,
    /// Another card.
    CardChanged,
    /// Rests.
    Paused,
    /// Goes on.
    Resumed,
    /// Ends with what is paid.
    CancelScheduled,
    /// News of a change of plan.
    Plan(PlanNews),
    /// The subscription ended in this step, for this reason.
    Over(EndReason),
    /// Money came after the end: for a person.
    ChargedAfterEnd,
    /// A period was charged that had its charge: for a person.
    ChargedTwice,
}

/// What an input makes of a phase, and the step that is worth telling. `told_at`: when the input became known.
pub(crate) fn decide(
    phase: Phase,
    input: Input,
    told_at: Timestamp,
    policy: &Policy,
) -> (Phase, Option<Step>) {
    match (phase, input) {
        (_, Input::Over(reason)) => end(phase, reason, told_at),
        // What was asked for changes no phase; the calendar acts on it.
        (Phase::Over(..), Input::EndAsked | Input::Plan(_)) | (_, Input::Plan(PlanNews::Asked)) => {
            (phase, None)
        }
        (_, Input::EndAsked) => (phase, Some(Step::CancelScheduled)),
        (_, Input::Plan(news)) => (phase, Some(Step::Plan(news))),
        _ => live(phase, input, told_at, policy),
    }
}

fn live(phase: Phase, input: Input, told_at: Timestamp, policy: &Policy) -> (Phase, Option<Step>) {
    match phase {
        Phase::Pending => pending(input),
        Phase::Active => active(input, told_at, policy),
        Phase::PastDue(episode) => past_due(episode, input, told_at, policy),
        Phase::Downgraded(episode, at) => downgraded((episode, at), input, told_at, policy),
        Phase::Paused => paused(input),
        Phase::Over(reason, at) => (Phase::Over(reason, at), after_end(input)),
    }
}

fn end(phase: Phase, reason: EndReason, at: Timestamp) -> (Phase, Option<Step>) {
    match phase {
        Phase::Over(..) => (phase, None),
        Phase::Pending | Phase::Active | Phase::PastDue(_) | Phase::Downgraded(..) | Phase::Paused => {
            (Phase::Over(reason, at), Some(Step::Over(reason)))
        }
    }
}

/// A first authorisation that was refused is a failed payment, not a subscription in trouble.
const fn pending(input: Input) -> (Phase, Option<Step>) {
    match input {
        Input::Charged { .. } => (Phase::Active, Some(Step::Activated)),
        Input::Declined { .. }
        | Input::RetryAsked(_)
        | Input::CardChanged
        | Input::GraceEnded
        | Input::Paused
        | Input::Resumed
        | Input::EndAsked
        | Input::Plan(_)
        | Input::Over(_) => (Phase::Pending, None),
    }
}

fn active(input: Input, told_at: Timestamp, policy: &Policy) -> (Phase, Option<Step>) {
    match input {
        Input::Charged { .. } => (Phase::Active, Some(Step::Renewed)),
        Input::Declined { period, hard } => first_failure(period, hard, told_at, policy),
        Input::CardChanged => (Phase::Active, Some(Step::CardChanged)),
        Input::Paused => (Phase::Paused, Some(Step::Paused)),
        Input::RetryAsked(_)
        | Input::GraceEnded
        | Input::Resumed
        | Input::EndAsked
        | Input::Plan(_)
        | Input::Over(_) => (Phase::Active, None),
    }
}

fn first_failure(period: u32, hard: bool, told_at: Timestamp, policy: &Policy) -> (Phase, Option<Step>) {
    let episode = Episode {
        period,
        failures: 1,
        since: told_at,
        grace_ends_at: told_at.plus(days(policy.grace_first_days)),
        retries_asked: 0,
        hard,
        retry_now: None,
    };
    (Phase::PastDue(episode), Some(Step::Failed(1)))
}

fn past_due(episode: Episode, input: Input, told_at: Timestamp, policy: &Policy) -> (Phase, Option<Step>) {
    match input {
        Input::Charged { period } if is_arrear(&episode, period) => {
            (Phase::PastDue(episode), Some(Step::Renewed))
        }
        Input::Charged { .. } => (Phase::Active, Some(Step::Recovered)),
        Input::Declined { period, hard } => {
            let episode = more_grace(again(episode, (period, hard), told_at), told_at, policy);
            let step = Step::Failed(episode.failures);
            (Phase::PastDue(episode), Some(step))
        }
        Input::GraceEnded => (Phase::Downgraded(episode, told_at), Some(Step::Downgraded)),
        Input::Paused => (Phase::Paused, Some(Step::Paused)),
        Input::RetryAsked(slot) => (
            Phase::PastDue(asked(episode, slot, told_at, policy)),
            Some(Step::RetryAsked(slot)),
        ),
        Input::CardChanged => (
            Phase::PastDue(new_card(episode, told_at)),
            Some(Step::CardChanged),
        ),
        Input::Resumed | Input::EndAsked | Input::Plan(_) | Input::Over(_) => (Phase::PastDue(episode), None),
    }
}

fn downgraded(
    (episode, at): (Episode, Timestamp),
    input: Input,
    told_at: Timestamp,
    policy: &Policy,
) -> (Phase, Option<Step>) {
    match input {
        Input::Charged { period } if is_arrear(&episode, period) => {
            (Phase::Downgraded(episode, at), Some(Step::Renewed))
        }
        Input::Charged { .. } => (Phase::Active, Some(Step::Recovered)),
        Input::Declined { period, hard } => {
            let episode = again(episode, (period, hard), told_at);
            let step = Step::Failed(episode.failures);
            (Phase::Downgraded(episode, at), Some(step))
        }
        Input::RetryAsked(slot) => (
            Phase::Downgraded(asked(episode, slot, told_at, policy), at),
            Some(Step::RetryAsked(slot)),
        ),
        Input::CardChanged => (
            Phase::Downgraded(new_card(episode, told_at), at),
            Some(Step::CardChanged),
        ),
        Input::Paused => (Phase::Paused, Some(Step::Paused)),
        Input::GraceEnded | Input::Resumed | Input::EndAsked | Input::Plan(_) | Input::Over(_) => {
            (Phase::Downgraded(episode, at), None)
        }
    }
}

/// A refusal that was under way changes nothing: what rests is not dunned, and the contract must still be resumed.
const fn paused(input: Input) -> (Phase, Option<Step>) {
    match input {
        Input::Charged { .. } => (Phase::Paused, Some(Step::Renewed)),
        Input::Resumed => (Phase::Active, Some(Step::Resumed)),
        Input::CardChanged => (Phase::Paused, Some(Step::CardChanged)),
        Input::Declined { .. }
        | Input::RetryAsked(_)
        | Input::GraceEnded
        | Input::Paused
        | Input::EndAsked
        | Input::Plan(_)
        | Input::Over(_) => (Phase::Paused, None),
    }
}

const fn after_end(input: Input) -> Option<Step> {
    match input {
        Input::Charged { .. } => Some(Step::ChargedAfterEnd),
        Input::Declined { .. }
        | Input::RetryAsked(_)
        | Input::CardChanged
        | Input::GraceEnded
        | Input::Paused
        | Input::Resumed
        | Input::EndAsked
        | Input::Plan(_)
        | Input::Over(_) => None,
    }
}

/// An older period than the newest refused one was paid after all; the newest is still owed.
const fn is_arrear(episode: &Episode, period: u32) -> bool {
    period < episode.period
}

/// One more refusal. That of a newer period is another failed payment, with retries of its own (EC-2).
fn again(episode: Episode, (period, hard): (u32, bool), told_at: Timestamp) -> Episode {
    let failures = episode.failures.saturating_add(1);
    if period > episode.period {
        return Episode {
            period,
            failures,
            since: told_at,
            retries_asked: 0,
            hard,
            ..episode
        };
    }
    Episode {
        failures,
        since: episode.since.min(told_at),
        hard: episode.hard || hard,
        ..episode
    }
}

/// EC-1: the second refusal gives more grace, later ones none. Grace counts from when we first knew of a refusal, also where
/// one that happened earlier is told later: the customer has known since then.
fn more_grace(episode: Episode, told_at: Timestamp, policy: &Policy) -> Episode {
    let (first, second) = (days(policy.grace_first_days), days(policy.grace_second_days));
    let none = Duration::ZERO;
    let (given, more) = if episode.failures == 2 {
        (none, second)
    } else {
        (second, none)
    };
    let ends_at = episode.grace_ends_at.min(told_at.plus(first).plus(given));
    Episode {
        grace_ends_at: ends_at.plus(more),
        ..episode
    }
}

/// EC-2: at most three on the schedule. A manual retry and one after a change of card are beside it, but stand for the
/// slots that have passed: what has just been tried is not tried once more at once.
fn asked(episode: Episode, slot: RetrySlot, told_at: Timestamp, policy: &Policy) -> Episode {
    let passed = slots(&episode, policy)
        .filter(|(_, at)| *at <= told_at)
        .map(|(number, _)| number)
        .max();
    let asked = match slot {
        RetrySlot::Scheduled(number) => Some(number),
        RetrySlot::CardChanged | RetrySlot::Manual => None,
    };
    Episode {
        retries_asked: passed.max(asked).unwrap_or(0).max(episode.retries_asked),
        retry_now: None,
        ..episode
    }
}

fn slots(episode: &Episode, policy: &Policy) -> impl Iterator<Item = (u8, Timestamp)> {
    (1_u8..)
        .zip(&policy.retry_days)
        .map(|(number, after_days)| (number, episode.since.plus(days(*after_days))))
}

fn new_card(episode: Episode, told_at: Timestamp) -> Episode {
    Episode {
        hard: false,
        retry_now: Some(told_at),
        ..episode
    }
}

/// The next attempt of an episode. Slots that passed while nobody could act are taken as one, the latest.
pub(crate) fn next_retry(
    episode: &Episode,
    policy: &Policy,
    now: Timestamp,
) -> Option<(RetrySlot, Timestamp)> {
    if let Some(at) = episode.retry_now {
        return Some((RetrySlot::CardChanged, at));
    }
    if episode.hard {
        return None;
    }
    let open: Vec<(u8, Timestamp)> = slots(episode, policy)
        .filter(|(number, _)| *number > episode.retries_asked)
        .collect();
    let latest_passed = open.iter().rfind(|(_, at)| *at <= now);
    latest_passed
        .or(open.first())
        .map(|(number, at)| (RetrySlot::Scheduled(*number), *at))
}

pub(super) fn days(count: u16) -> Duration {
    Duration::from_hours(u64::from(count).saturating_mul(24))
}

pub(super) fn hours(count: u16) -> Duration {
    Duration::from_hours(u64::from(count))
}
