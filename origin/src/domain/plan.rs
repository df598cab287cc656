//! What is sold: a plan and its rules.
//!
//! `tollgate plan put` writes plans; checkout and apply read them through `db::plans` into these types.
//!
//! Invariant: a `Plan` that exists is whole: a subscription has a type and a schedule, a one-time plan has no schedule,
//! a pack gives tokens and nothing else, and every amount is positive, the free plan's aside. Not here: limits of a provider (`shared::provider::*::checkout` checks those at checkout).

use std::collections::BTreeMap;

use tollgate_shared::id::PlanId;
use tollgate_shared::money::Money;

use super::expiry::Span;
use super::tokens::TokenAmount;

/// `users.subscription_type` of those whose payments failed (EC-3): the type of V14's plan `free`.
pub(crate) const FREE: &str = "free";

/// Something that a user can pay for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Its id, as the page sends it.
    pub(crate) id: PlanId,
    /// What the customer reads at the cashier.
    pub(crate) name: String,
    /// The price of one charge.
    pub(crate) price: Money,
    /// What a charge gives, and whether more charges follow: the plan's terms, which stay while payments refer to it.
    pub(crate) kind: PlanKind,
    /// What the plan allows, by name: `{"articles": 3}`. Carried to whoever asks, never interpreted.
    pub(crate) limits: BTreeMap<String, i64>,
}

/// Whether a plan is charged once or periodically, and what a charge gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlanKind {
    /// One charge pays for a number of days, or for ever.
    OneTime {
        /// `users.subscription_type`; `None`: the plan opens no subscription.
        subscription_type: Option<String>,
        /// Calendar days in Asia/Taipei; `None`: for ever.
        duration_days: Option<u16>,
    },
    /// One charge buys tokens for the user's company (TB-1). They never expire, and may be bought again at any time.
    TokenPack(TokenAmount),
    /// Costs nothing and is not sold: what those have whose payments failed (EC-3).
    Free {
        /// `users.subscription_type`.
        subscription_type: String,
    },
    /// The provider charges on a schedule (provider-run, DESIGN.md "Subscriptions").
    Subscription {
        /// `users.subscription_type`.
        subscription_type: String,
        /// When.
        schedule: Schedule,
    },
}

/// The schedule of a provider-run subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// The unit of a period.
    pub(crate) unit: PeriodUnit,
    /// Units in one period (ECPay `Frequency`).
    pub(crate) frequency: u16,
    /// Charges in all, the first included.
    pub(crate) times: u16,
    /// When the first charge is made.
    pub(crate) first_charge: FirstCharge,
}

/// The unit of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeriodUnit {
    /// A day (ECPay only).
    Day,
    /// A week (PAYUNi only).
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
}

/// PAYUNi's `FType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstCharge {
    /// On the day of the order.
    Build,
    /// On a chosen day; binding the card takes NT$1 that is never the first period's money (PU-7).
    Date,
}

/// Which plans a route sells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KindWanted {
    /// Either kind.
    Any,
    /// `/create-payment`.
    OneTime,
    /// `/create-subscription`.
    Subscription,
}

impl Plan {
    /// What a charge makes of `users.subscription_type`; `None`: the plan opens no subscription.
    pub(crate) fn subscription_type(&self) -> Option<&str> {
        match &self.kind {
            PlanKind::OneTime {
                subscription_type, ..
            } => subscription_type.as_deref(),
            PlanKind::TokenPack(_) => None,
            PlanKind::Free { subscription_type }
            | PlanKind::Subscription {
                subscription_type, ..
            } => Some(subscription_type),
        }
    }

    /// The tokens that a charge gives to the user's company.
    pub(crate) fn tokens(&self) -> Option<TokenAmount> {
        match self.kind {
            PlanKind::TokenPack(tokens) => Some(tokens),
            PlanKind::OneTime { .. } | PlanKind::Free { .. } | PlanKind::Subscription { .. } => None,
        }
    }

    /// How long what one charge gives lasts.
    pub(crate) fn span(&self) -> Span {
        match self.kind {
            PlanKind::OneTime { duration_days, .. } => duration_days.map_or(Span::Forever, Span::Days),
            PlanKind::TokenPack(_) | PlanKind::Free { .. } => Span::Forever,
            PlanKind::Subscription { schedule, .. } => schedule.span(),
        }
    }

    /// Whether it is sold at all.
    pub(crate) const fn is_sold(&self) -> bool {
        !matches!(self.kind, PlanKind::Free { .. })
    }

    /// The schedule of a plan that renews itself.
    pub(crate) const fn schedule(&self) -> Option<Schedule> {
        match self.kind {
            PlanKind::Subscription { schedule, .. } => Some(schedule),
            PlanKind::OneTime { .. } | PlanKind::TokenPack(_) | PlanKind::Free { .. } => None,
        }
    }

    /// Whether charges after the first come without the user.
    pub(crate) fn renews_itself(&self) -> bool {
        matches!(self.kind, PlanKind::Subscription { .. })
    }

    /// Whether a route that sells `wanted` may sell this plan.
    pub(crate) fn is_of(&self, wanted: KindWanted) -> bool {
        match wanted {
            KindWanted::Any => true,
            KindWanted::OneTime => !self.renews_itself(),
            KindWanted::Subscription => self.renews_itself(),
        }
    }
}

impl PeriodUnit {
    /// Every unit.
    pub(crate) const ALL: [Self; 4] = [Self::Day, Self::Week, Self::Month, Self::Year];

    /// The label in `plans.period_type` and on the command line.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

impl FirstCharge {
    /// The label in `plans.first_charge` and on the command line.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Date => "date",
        }
    }
}

impl Schedule {
    fn span(self) -> Span {
        match self.unit {
            PeriodUnit::Day => Span::Days(self.frequency),
            PeriodUnit::Week => Span::Days(self.frequency.saturating_mul(7)),
            PeriodUnit::Month => Span::Months(self.frequency),
            PeriodUnit::Year => Span::Months(self.frequency.saturating_mul(12)),
        }
    }
}
