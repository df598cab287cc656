//! Subscriptions that renew: what is known of one, and what it amounts to.
//!
//! `subscriptions` loads terms and facts → **subscription** (`schedule`, `dunning`, `standing`) → row, history, effects.
//!
//! Invariants: the standing is a function of the set of facts, the policy and the instant, never of the order or the
//! number of their arrival; nothing here reads a clock or asks a provider. What time alone brings about (grace that
//! ends, a period that is over) is a transition like any other, at its own instant.
//! Not here: money (charges and the ledger are booked before), what a notice says (`notices`).

pub(crate) mod contract_end;
pub(crate) mod dunning;
mod facts;
pub(crate) mod history;
pub(crate) mod plan_change;
pub(crate) mod proration;
pub(crate) mod schedule;
pub(crate) mod standing;

use jiff::civil::Date;
use tollgate_shared::money::Money;
use tollgate_shared::time::Timestamp;

pub(crate) use self::facts::unanswered_since;
use super::plan::Schedule;

/// Who makes the charges (DESIGN.md, Subscriptions).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A contract at the provider; we observe, and may ask for re-authorisation.
    ProviderRun,
    /// We charge a stored token on schedule.
    MerchantRun,
}

/// What was agreed. Fixed when the subscription is made; the plan may change afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Who charges.
    pub(crate) mode: Mode,
    /// How often and how many times.
    pub(crate) schedule: Schedule,
    /// The day of the first charge in Asia/Taipei, where it is known before the charge; else the first charge says.
    pub(crate) anchor: Option<Date>,
    /// The amount of one period.
    pub(crate) price: Money,
    /// After so many refusals in a row the provider ends the contract by itself (ECPay: six, reference §1.5).
    pub(crate) provider_failures_max: Option<u32>,
}

/// One thing that is known, with the instants that order and date it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    /// Its identity: a fact that is told twice is one fact.
    pub(crate) key: String,
    /// When it happened; the order of facts.
    pub(crate) occurred_at: Timestamp,
    /// When we first knew; periods of grace and retries count from here, as nobody can act on what he does not know.
    pub(crate) told_at: Timestamp,
    /// What happened.
    pub(crate) what: What,
}

/// Everything that is known of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// In any order, told any number of times.
    pub(crate) facts: Vec<Fact>,
    /// Since when a charge of ours is under way: intended or sent, and no answer known (merchant-run). It may have
    /// succeeded, so no other is made.
    pub(crate) under_way_since: Option<Timestamp>,
}

/// What happened to a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A charge succeeded.
    Charged {
        /// The number of the period, where the provider counts periods; else the day decides.
        period: Option<u32>,
        /// Whether it was paid back in full since.
        returned: bool,
    },
    /// A charge was refused.
    Declined {
        /// As above.
        period: Option<u32>,
        /// Whether trying the same card again is pointless.
        hard: bool,
        /// Whether the provider's number of the attempt is known; one without may be a second telling of one with.
        numbered: bool,
    },
    /// Something that is known beside attempts.
    Noted(Noted),
}

/// What is known beside attempts: what was asked for, and what the provider said of its contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// We sent a charge of a period (merchant-run).
    ChargeAsked {
        /// Which.
        period: u32,
    },
    /// We asked for another attempt at the newest refused charge.
    RetryAsked(RetrySlot),
    /// A card was bound for a first charge on the agreed day (PU-7).
    CardBound,
    /// The customer has another card.
    CardChanged,
    /// To end at once.
    CancelNowAsked,
    /// To end with the paid period.
    CancelAtEndAsked,
    /// The contract rests.
    Paused,
    /// It goes on.
    Resumed,
    /// The provider says that its contract is over.
    ProviderEnded(EndReason),
    /// Another subscription took its place (an upgrade).
    Replaced,
    /// News of a change of plan.
    Plan(PlanNews),
}

/// What became of a wish for another plan within a running subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanNews {
    /// It was asked for at once, and is charged for first; nothing has changed yet.
    Asked,
    /// It begins with the next charge.
    Scheduled,
    /// What was scheduled is taken back.
    Revoked,
    /// It is the plan from now on.
    Changed,
    /// Its charge was refused, so nothing changes.
    Failed,
}

/// Which retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RetrySlot {
    /// Of the schedule, counted from 1; takes every earlier one with it.
    Scheduled(u8),
    /// After a change of card, at once.
    CardChanged,
    /// By hand (EC-5).
    Manual,
}

/// Why there will be no more charges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EndReason {
    /// Every period was charged.
    Completed,
    /// Asked for.
    Canceled,
    /// The provider gave up after refusals in a row.
    ProviderFailures,
    /// The provider stopped for a reason that it does not tell.
    ProviderStopped,
    /// Another subscription took its place.
    Replaced,
}

/// The schedule of dunning (EC-1, EC-2); configuration with these defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "names carry their units")]
pub(crate) struct Policy {
    /// Grace after the first refusal.
    pub(crate) grace_first_days: u16,
    /// More grace after the second.
    pub(crate) grace_second_days: u16,
    /// Days after the first refusal on which to try again, ascending.
    pub(crate) retry_days: Vec<u16>,
    /// How long access goes on past the day on which a charge is due, while no news of it has come.
    pub(crate) news_days: u16,
}

/// ECPay stops a contract after six refusals in a row (reference §1.5); PAYUNi documents no such end.
pub(crate) const ECPAY_FAILURES_MAX: u32 = 6;

impl Default for Policy {
    fn default() -> Self {
        Self {
            grace_first_days: 7,
            grace_second_days: 3,
            retry_days: vec![1, 3, 7],
            news_days: 3,
        }
    }
}

impl EndReason {
    /// Every reason.
    pub(crate) const ALL: [Self; 5] = [
        Self::Completed,
        Self::Canceled,
        Self::ProviderFailures,
        Self::ProviderStopped,
        Self::Replaced,
    ];

    /// The reason of a label.
    pub(crate) fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.label() == label)
    }

    /// The label in `saas_subscriptions.end_reason` and in answers.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Canceled => "canceled",
            Self::ProviderFailures => "provider_failures",
            Self::ProviderStopped => "provider_stopped",
            Self::Replaced => "replaced",
        }
    }
}

impl PlanNews {
    /// Every kind of news.
    pub(crate) const ALL: [Self; 5] = [
        Self::Asked,
        Self::Scheduled,
        Self::Revoked,
        Self::Changed,
        Self::Failed,
    ];

    /// The label in `subscription_facts.kind`, and the step's in the history.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Asked => "plan_change_asked",
            Self::Scheduled => "plan_change_scheduled",
            Self::Revoked => "plan_change_revoked",
            Self::Changed => "plan_changed",
            Self::Failed => "plan_change_failed",
        }
    }

    /// The news of a label.
    pub(crate) fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|news| news.label() == label)
    }
}

impl Mode {
    /// The label in `saas_subscriptions.mode` and in answers.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::ProviderRun => "provider_run",
            Self::MerchantRun => "merchant_run",
        }
    }
}

impl RetrySlot {
    /// The number in `subscription_facts.retry_slot`: 0 by hand, -1 after a change of card.
    pub(crate) fn number(self) -> i16 {
        match self {
            Self::Scheduled(number) => i16::from(number),
            Self::Manual => 0,
            Self::CardChanged => -1,
        }
    }

    /// The slot of a number.
    pub(crate) fn from_number(number: i16) -> Option<Self> {
        match number {
            -1 => Some(Self::CardChanged),
            0 => Some(Self::Manual),
            _ => u8::try_from(number).ok().map(Self::Scheduled),
        }
    }
}

#[cfg(test)]
mod tests;
