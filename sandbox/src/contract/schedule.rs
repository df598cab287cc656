//! The days on which a contract charges.
//!
//! checkout → [`Cadence`] → the customer pays → **[`Schedule`]** → `play` asks for the day of the next period.
//!
//! Invariant: a period's day is computed from the anchor, never from the period before, so a short month does not
//! shorten the months after it: 31 January, 28 February, 31 March. PAYUNi documents that rule (A.5); for ECPay, of
//! which nothing is known (§1.3.2), it is taken over, unconfirmed.
//! Days are Taiwan's. Not here: the time of day (`contract`), whether the bank agrees (`bank`).
//! Failure: a day beyond the year 9999 is `None`, which ends the schedule.

use jiff::ToSpan as _;
use jiff::civil::{Date, Weekday};
use tollgate_shared::time::Timestamp;

/// From one charge to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Days(u32),
    Months { count: u32, anchor_day: i8 },
}

/// A day that comes again and again (PAYUNi `PeriodType` with `PeriodDate`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cycle {
    Week(Weekday),
    Month { day: i8 },
    Year { month: i8, day: i8 },
}

/// When a PAYUNi contract charges for the first time (`FType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// `build`: on the day of the order.
    OrderDay,
    /// `date`: on this day.
    On(Date),
    /// `job`: on the first day of the cycle, today included.
    PerCycle,
}

/// What was agreed before it is known on which day the customer pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cadence {
    /// ECPay: counted from the day of the purchase.
    FromPurchase(CountedIn, u32),
    /// PAYUNi's cycle.
    Cyclic { cycle: Cycle, first: First },
    /// PAYUNi's list of days.
    Listed(Vec<Date>),
}

/// ECPay's `PeriodType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CountedIn {
    Days,
    Months,
    Years,
}

/// The days themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// Period 1 on `first`; period `base_period` on `base`, and from there step by step.
    Steps {
        first: Date,
        base_period: u32,
        base: Date,
        step: Step,
    },
    Listed(Vec<Date>),
}

impl Cadence {
    /// The schedule of a contract that begins today.
    pub(crate) fn schedule(&self, today: Date) -> Option<Schedule> {
        match self {
            Self::FromPurchase(unit, frequency) => Some(Schedule::Steps {
                first: today,
                base_period: 1,
                base: today,
                step: unit.step(*frequency, today),
            }),
            Self::Cyclic { cycle, first } => {
                let first = match first {
                    First::OrderDay => today,
                    First::On(day) => *day,
                    First::PerCycle => cycle.next_after(today.yesterday().ok()?)?,
                };
                Schedule::cyclic(first, 2, *cycle)
            }
            Self::Listed(days) => Some(Schedule::Listed(days.clone())),
        }
    }
}

impl CountedIn {
    fn step(self, frequency: u32, today: Date) -> Step {
        let anchor_day = today.day();
        match self {
            Self::Days => Step::Days(frequency),
            Self::Months => Step::Months {
                count: frequency,
                anchor_day,
            },
            Self::Years => Step::Months {
                count: frequency.saturating_mul(12),
                anchor_day,
            },
        }
    }
}

impl Schedule {
    /// A cycle whose period `base_period` falls on its first day after `after`. PAYUNi's sample of a contract that was
    /// made on a day of its own cycle shows the next charge one cycle later, not on the same day (A.8, #/7/320).
    pub(crate) fn cyclic(after: Date, base_period: u32, cycle: Cycle) -> Option<Self> {
        Some(Self::Steps {
            first: after,
            base_period,
            base: cycle.next_after(after)?,
            step: cycle.step(),
        })
    }

    /// The day of a period, counted from 1.
    pub(crate) fn day_of(&self, period: u32) -> Option<Date> {
        match self {
            Self::Listed(days) => days.get(usize::try_from(period).ok()?.checked_sub(1)?).copied(),
            Self::Steps {
                first,
                base_period,
                base,
                step,
            } => match period.checked_sub(*base_period) {
                Some(steps) => step.from(*base, steps),
                None => Some(*first),
            },
        }
    }
}

impl Step {
    /// Spans are tried, because one that jiff cannot hold would panic; there is no day that far ahead anyway.
    fn from(self, base: Date, steps: u32) -> Option<Date> {
        match self {
            Self::Days(days) => {
                let days = i64::from(days.saturating_mul(steps));
                base.checked_add(jiff::Span::new().try_days(days).ok()?).ok()
            }
            Self::Months { count, anchor_day } => {
                let months = i64::from(count.saturating_mul(steps));
                let span = jiff::Span::new().try_months(months).ok()?;
                in_month(base.first_of_month().checked_add(span).ok()?, anchor_day)
            }
        }
    }
}

impl Cycle {
    /// The first day of the cycle after a day.
    pub(crate) fn next_after(self, day: Date) -> Option<Date> {
        match self {
            Self::Week(weekday) => day.nth_weekday(1, weekday).ok(),
            Self::Month { day: anchor } => {
                let this_month = in_month(day.first_of_month(), anchor)?;
                if this_month > day {
                    return Some(this_month);
                }
                in_month(day.first_of_month().checked_add(1.month()).ok()?, anchor)
            }
            Self::Year { month, day: anchor } => {
                let in_year = |year| in_month(Date::new(year, month, 1).ok()?, anchor);
                let this_year = in_year(day.year())?;
                if this_year > day {
                    return Some(this_year);
                }
                in_year(day.year().checked_add(1)?)
            }
        }
    }

    const fn step(self) -> Step {
        match self {
            Self::Week(_) => Step::Days(7),
            Self::Month { day } => Step::Months {
                count: 1,
                anchor_day: day,
            },
            Self::Year { day, .. } => Step::Months {
                count: 12,
                anchor_day: day,
            },
        }
    }
}

/// The anchor's day in a month, or the last one of a month that is shorter.
fn in_month(month: Date, anchor_day: i8) -> Option<Date> {
    let day = anchor_day.min(month.days_in_month());
    Date::new(month.year(), month.month(), day).ok()
}

/// Taiwan's day at an instant.
pub(crate) fn day_at(at: Timestamp) -> Option<Date> {
    at.to_taipei("%Y-%m-%d")?.parse().ok()
}

/// The instant of a Taiwan day and minute.
pub(crate) fn instant(day: Date, minute_of_day: u32) -> Option<Timestamp> {
    let (hour, minute) = (minute_of_day.div_euclid(60), minute_of_day.rem_euclid(60));
    Timestamp::from_taipei("%Y-%m-%d %H:%M", &format!("{day} {hour:02}:{minute:02}"))
}

#[cfg(test)]
mod tests {
    use jiff::civil::Weekday;

    use super::{Cadence, CountedIn, Cycle, First};

    /// `agreement | today | days of periods 1, 2, 3, …`.
    const TABLE: &str = "
D30         | 2027-01-31 | 2027-01-31 2027-03-02 2027-04-01
D1          | 2027-12-31 | 2027-12-31 2028-01-01
M1          | 2027-01-15 | 2027-01-15 2027-02-15 2027-03-15
M1          | 2027-01-31 | 2027-01-31 2027-02-28 2027-03-31 2027-04-30 2027-05-31
M1          | 2027-01-30 | 2027-01-30 2027-02-28 2027-03-30
M1          | 2028-01-31 | 2028-01-31 2028-02-29 2028-03-31
M3          | 2027-11-30 | 2027-11-30 2028-02-29 2028-05-30
M12         | 2028-02-29 | 2028-02-29 2029-02-28 2030-02-28 2031-02-28 2032-02-29
Y1          | 2028-02-29 | 2028-02-29 2029-02-28 2030-02-28 2031-02-28 2032-02-29
build W2    | 2024-01-23 | 2024-01-23 2024-01-30 2024-02-06
build W2    | 2024-01-24 | 2024-01-24 2024-01-30 2024-02-06
build 31    | 2027-01-15 | 2027-01-15 2027-01-31 2027-02-28 2027-03-31
build 31    | 2027-01-31 | 2027-01-31 2027-02-28 2027-03-31
build 30    | 2027-02-28 | 2027-02-28 2027-03-30 2027-04-30
build 1     | 2027-01-31 | 2027-01-31 2027-02-01 2027-03-01
build 02-29 | 2027-03-01 | 2027-03-01 2028-02-29 2029-02-28
build 12-31 | 2027-12-31 | 2027-12-31 2028-12-31 2029-12-31
job 19      | 2027-01-19 | 2027-01-19 2027-02-19
job 19      | 2027-01-20 | 2027-02-19 2027-03-19
date 31     | 2027-01-20 | 2027-02-10 2027-02-28 2027-03-31
";

    fn cadence(text: &str) -> Cadence {
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        let unit = match kind.chars().next() {
            Some('D') => Some(CountedIn::Days),
            Some('M') => Some(CountedIn::Months),
            Some('Y') => Some(CountedIn::Years),
            _ => None,
        };
        if let Some(unit) = unit {
            return Cadence::FromPurchase(unit, kind[1..].parse().unwrap());
        }
        let cycle = match (rest.strip_prefix('W'), rest.split_once('-')) {
            (Some(day), _) => Cycle::Week(Weekday::from_monday_one_offset(day.parse().unwrap()).unwrap()),
            (None, Some((month, day))) => Cycle::Year {
                month: month.parse().unwrap(),
                day: day.parse().unwrap(),
            },
            (None, None) => Cycle::Month {
                day: rest.parse().unwrap(),
            },
        };
        let first = match kind {
            "build" => First::OrderDay,
            "job" => First::PerCycle,
            _ => First::On("2027-02-10".parse().unwrap()),
        };
        Cadence::Cyclic { cycle, first }
    }

    #[test]
    fn pu_1_pu_7_every_schedule_has_the_days_of_the_table() {
        let mut rows = 0;
        for line in TABLE.lines().filter(|line| !line.is_empty()) {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            let schedule = cadence(columns[0]).schedule(columns[1].parse().unwrap()).unwrap();
            let days: Vec<String> = (1..=5)
                .map(|period| schedule.day_of(period).unwrap().to_string())
                .collect();
            let expected: Vec<&str> = columns[2].split(' ').collect();
            assert_eq!(days[..expected.len()], expected, "{line}");
            rows += 1;
        }
        assert_eq!(rows, 20);
    }

    #[test]
    fn a_list_of_days_ends() {
        let days = ["2027-01-01", "2027-05-05"].map(|day| day.parse().unwrap());
        let schedule = Cadence::Listed(days.to_vec()).schedule(days[0]).unwrap();
        assert_eq!(schedule.day_of(2), Some(days[1]));
        assert_eq!((schedule.day_of(0), schedule.day_of(3)), (None, None));
    }

    #[test]
    fn no_number_of_steps_panics() {
        for text in ["D365", "M12", "Y1", "build W7", "build 31", "build 02-29"] {
            let schedule = cadence(text).schedule("9998-12-31".parse().unwrap());
            for period in [1, 2, 3, 999, u32::MAX] {
                let day = schedule.as_ref().and_then(|schedule| schedule.day_of(period));
                assert!(day.is_none_or(|day| day.year() >= 9998), "{text} {period}");
            }
        }
    }
}
