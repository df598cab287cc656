//! What is sold: a plan and its rules.
//!
//! `tollgate plan put` writes plans; checkout and apply read them through `db::plans` into these types.
//!
//! Invariant: a `Plan` that exists is whole: a subscription has a type and a schedule, a one-time plan has no schedule,
//! a pack gives tokens and nothing else, and every amount is positive, the free plan's aside. Not here: limits of a provider (`shared::provider::*::checkout` checks those at checkout).

use std::collections::BTreeMap;

use jiff::civil::Date;
use tollgate_shared::id::PlanId;
use tollgate_shared::money::{Minor, Money};

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
    /// The price of one charge; a subscription's first may be another (`Schedule::first_amount`).
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

/// When a subscription is charged, and what the first charge takes (PU-1's `periodConfig`).
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
    /// The day of every charge after the first; `None`: that of the first.
    pub(crate) period_date: Option<PeriodDate>,
    /// What the first charge takes (PAYUNi's `FAmt`); `None`: what every charge takes.
    pub(crate) first_amount: Option<Minor>,
}

/// A day that comes once in every period (PAYUNi's `PeriodDate`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeriodDate {
    /// 1 (Monday) to 7.
    Weekday(i8),
    /// 1 to 31; a short month has its last day.
    DayOfMonth(i8),
    /// A day that every year has: not 29 February.
    DayOfYear {
        /// 1 to 12.
        month: i8,
        /// 1 to 31.
        day: i8,
    },
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

    /// What the first charge takes.
    pub(crate) fn first_price(&self) -> Money {
        let first = self.schedule().and_then(|schedule| schedule.first_amount);
        Money {
            amount_minor: first.unwrap_or(self.price.amount_minor),
            ..self.price
        }
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

impl PeriodDate {
    /// Reads `1` to `7` of a week, `1` to `31` of a month, `MM-DD` of a year; a day has no period date.
    pub(crate) fn parse(unit: PeriodUnit, text: &str) -> Option<Self> {
        let number = |max: i8| {
            let number = text.parse::<i8>().ok()?;
            ((1..=max).contains(&number) && number.to_string() == text).then_some(number)
        };
        match unit {
            PeriodUnit::Day => None,
            PeriodUnit::Week => number(7).map(Self::Weekday),
            PeriodUnit::Month => number(31).map(Self::DayOfMonth),
            PeriodUnit::Year => {
                // 2026 is a common year, so the 29th of February is in none of these.
                let day: Date = format!("2026-{text}").parse().ok().filter(|_| text.len() == 5)?;
                Some(Self::DayOfYear {
                    month: day.month(),
                    day: day.day(),
                })
            }
        }
    }

    /// As `parse` reads it: the text in `plans.period_date` and on the command line.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Weekday(day) | Self::DayOfMonth(day) => day.to_string(),
            Self::DayOfYear { month, day } => format!("{month:02}-{day:02}"),
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

#[cfg(test)]
mod tests {
    use super::{PeriodDate, PeriodUnit};

    /// A unit and a text; the texts of a unit that are days of it come back as they were.
    const TEXTS: &str = "
        week  | 1 7                     | 0 8 01 -1 +1 mon 1.0
        month | 1 28 31                 | 0 32 01 031 -1 last 1-1
        year  | 01-01 02-28 12-31 11-30 | 02-29 02-30 13-01 00-10 1-1 2026-01-01 0101 01-1 01/01
        day   |                         | 1 01-01
    ";

    #[test]
    fn pu_1_a_period_date_is_a_day_that_its_period_has() {
        let mut count = 0;
        for row in TEXTS.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let unit = PeriodUnit::ALL
                .into_iter()
                .find(|unit| unit.label() == cells[0])
                .unwrap();
            for text in cells[1].split_whitespace() {
                assert_eq!(PeriodDate::parse(unit, text).unwrap().text(), text, "{row}");
                count += 1;
            }
            for text in cells[2].split_whitespace().chain([""]) {
                assert_eq!(PeriodDate::parse(unit, text), None, "{text:?} of: {row}");
            }
        }
        assert_eq!(count, 9);
    }
}
