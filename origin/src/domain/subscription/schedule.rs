//! On which days a subscription is charged: calendar days of Asia/Taipei, counted from the first.
//!
//! `standing` and checkout → **schedule** → due days, the period of a day.
//!
//! Invariant: every due day is counted from the anchor, never from the one before, so the 31st comes back after a
//! February (31 January, 28 February, 31 March). Where the plan has a day of its own (PU-1), the first charge is on the
//! anchor and every later one on that day, the second on the next after the anchor: PAYUNi's pages do not say what it does
//! where the two lie close together, only that a day that is being changed is not charged (reference A.8); what it does
//! otherwise, polls find. Not here: at which hour a provider charges.

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use tollgate_shared::time::Timestamp;

use crate::domain::plan::{PeriodDate, PeriodUnit, Schedule};

/// The day of the charge number `period`, 1 for the first; `None` beyond the calendar.
pub(crate) fn due_on(schedule: Schedule, anchor: Date, period: u32) -> Option<Date> {
    let steps = i64::from(period.checked_sub(1)?);
    match (schedule.period_date, steps.checked_sub(1)?) {
        (Some(day), after_next @ 0..) => later(next_after(day, anchor)?, day, after_next),
        (Some(_) | None, _) => add(
            anchor,
            schedule.unit,
            steps.checked_mul(i64::from(schedule.frequency))?,
        ),
    }
}

fn add(day: Date, unit: PeriodUnit, units: i64) -> Option<Date> {
    let span = jiff::Span::new();
    let span = match unit {
        PeriodUnit::Day => span.try_days(units),
        PeriodUnit::Week => span.try_weeks(units),
        PeriodUnit::Month => span.try_months(units),
        PeriodUnit::Year => span.try_years(units),
    };
    day.checked_add(span.ok()?).ok()
}

/// The first such day after another.
fn next_after(wanted: PeriodDate, day: Date) -> Option<Date> {
    match wanted {
        PeriodDate::Weekday(weekday) => {
            let ahead = weekday
                .checked_sub(day.weekday().to_monday_one_offset())?
                .rem_euclid(7);
            add(
                day,
                PeriodUnit::Day,
                if ahead == 0 { 7 } else { i64::from(ahead) },
            )
        }
        PeriodDate::DayOfMonth(number) => {
            let here = in_month(day, number)?;
            later(here, wanted, i64::from(here <= day))
        }
        PeriodDate::DayOfYear { month, day: number } => {
            let here = in_month(Date::new(day.year(), month, 1).ok()?, number)?;
            later(here, wanted, i64::from(here <= day))
        }
    }
}

/// Such a day, so many weeks, months or years after another such day.
fn later(from: Date, wanted: PeriodDate, periods: i64) -> Option<Date> {
    match wanted {
        PeriodDate::Weekday(_) => add(from, PeriodUnit::Week, periods),
        PeriodDate::DayOfMonth(number) => {
            in_month(add(from.first_of_month(), PeriodUnit::Month, periods)?, number)
        }
        PeriodDate::DayOfYear { .. } => add(from, PeriodUnit::Year, periods),
    }
}

/// The day of this number in the month of a day; its last day where it is shorter.
fn in_month(day: Date, number: i8) -> Option<Date> {
    Date::new(day.year(), day.month(), number.min(day.days_in_month())).ok()
}

/// The instant at which the due day of a period begins.
pub(crate) fn due_at(schedule: Schedule, anchor: Date, period: u32) -> Option<Timestamp> {
    midnight(due_on(schedule, anchor, period)?)
}

/// The period that a day belongs to: the latest whose due day has come; the first before that.
pub(crate) fn period_of(schedule: Schedule, anchor: Date, day: Date) -> u32 {
    let has_come = |period: u32| due_on(schedule, anchor, period).is_some_and(|due| due <= day);
    // Halving instead of walking: a daily contract has 999 periods, and a property test asks often.
    let (mut come, mut not_yet) = (1_u32, u32::from(schedule.times).saturating_add(1));
    while not_yet.saturating_sub(come) > 1 {
        let middle = come.midpoint(not_yet);
        if has_come(middle) {
            come = middle;
        } else {
            not_yet = middle;
        }
    }
    come
}

/// The day of an instant in Taiwan.
pub(crate) fn taipei_date(instant: Timestamp) -> Option<Date> {
    let instant = jiff::Timestamp::from_millisecond(instant.unix_ms()).ok()?;
    Some(instant.to_zoned(taipei()).date())
}

/// The first instant of a day in Taiwan.
pub(crate) fn midnight(day: Date) -> Option<Timestamp> {
    let midnight = day.to_zoned(taipei()).ok()?;
    Some(Timestamp::from_unix_ms(midnight.timestamp().as_millisecond()))
}

/// Taiwan has been UTC+8 without daylight saving since 1979.
fn taipei() -> TimeZone {
    TimeZone::fixed(Offset::constant(8))
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;
    use proptest::prelude::{Strategy, prop, proptest};
    use proptest::test_runner::{Config, RngSeed};
    use tollgate_shared::time::Timestamp;

    use super::{due_at, due_on, midnight, period_of, taipei_date};
    use crate::domain::plan::{FirstCharge, PeriodDate, PeriodUnit, Schedule};

    /// Every so many units, the day of the first charge; then the due days of the charges from the first on.
    const DUE: &str = "
        1 month | 2026-01-15 | 2026-01-15 2026-02-15 2026-03-15 2026-04-15 | no month-end at all
        1 month | 2026-01-28 | 2026-01-28 2026-02-28 2026-03-28 | the last day that every month has
        1 month | 2026-01-29 | 2026-01-29 2026-02-28 2026-03-29 2026-04-29 | the 29th comes back
        1 month | 2028-01-29 | 2028-01-29 2028-02-29 2028-03-29 | a leap year has it
        1 month | 2026-01-30 | 2026-01-30 2026-02-28 2026-03-30 2026-04-30 |
        1 month | 2028-01-30 | 2028-01-30 2028-02-29 2028-03-30 |
        1 month | 2026-01-31 | 2026-01-31 2026-02-28 2026-03-31 2026-04-30 2026-05-31 2026-06-30 2026-07-31 2026-08-31 2026-09-30 2026-10-31 2026-11-30 2026-12-31 2027-01-31 | the 31st through a year
        1 month | 2028-01-31 | 2028-01-31 2028-02-29 2028-03-31 2028-04-30 |
        1 month | 2026-02-28 | 2026-02-28 2026-03-28 2026-04-28 | begun on a month's end is not for ever on month's ends
        1 month | 2028-02-29 | 2028-02-29 2028-03-29 2028-04-29 2028-05-29 |
        1 month | 2026-11-30 | 2026-11-30 2026-12-30 2027-01-30 2027-02-28 2027-03-30 | over the new year
        2 month | 2026-12-31 | 2026-12-31 2027-02-28 2027-04-30 2027-06-30 2027-08-31 |
        3 month | 2026-11-30 | 2026-11-30 2027-02-28 2027-05-30 2027-08-30 | a quarter
        6 month | 2026-08-31 | 2026-08-31 2027-02-28 2027-08-31 2028-02-29 |
       12 month | 2028-02-29 | 2028-02-29 2029-02-28 2030-02-28 2031-02-28 2032-02-29 | twelve months are a year
        1 year  | 2028-02-29 | 2028-02-29 2029-02-28 2030-02-28 2031-02-28 2032-02-29 | the leap day comes back
        1 year  | 2096-02-29 | 2096-02-29 2097-02-28 2098-02-28 2099-02-28 2100-02-28 | 2100 is no leap year
        1 year  | 2026-11-21 | 2026-11-21 2027-11-21 2028-11-21 |
        1 week  | 2026-11-21 | 2026-11-21 2026-11-28 2026-12-05 2026-12-12 | always a Saturday
        1 week  | 2028-02-26 | 2028-02-26 2028-03-04 2028-03-11 | over a leap day
        2 week  | 2026-12-24 | 2026-12-24 2027-01-07 2027-01-21 |
        1 day   | 2026-02-27 | 2026-02-27 2026-02-28 2026-03-01 |
        1 day   | 2028-02-28 | 2028-02-28 2028-02-29 2028-03-01 |
       30 day   | 2026-01-31 | 2026-01-31 2026-03-02 2026-04-01 | thirty days are not a month
      365 day   | 2027-03-01 | 2027-03-01 2028-02-29 2029-02-28 | nor 365 a year
    ";

    /// The day of the plan, the day of the first charge; then the due days from the first on.
    const FIXED: &str = "
        week 1      | 2026-11-21 | 2026-11-21 2026-11-23 2026-11-30 2026-12-07 | a Saturday, then Mondays
        week 5      | 2026-11-21 | 2026-11-21 2026-11-27 2026-12-04 | a Saturday, then Fridays
        week 6      | 2026-11-21 | 2026-11-21 2026-11-28 2026-12-05 | the same weekday: a week later
        week 7      | 2026-11-21 | 2026-11-21 2026-11-22 2026-11-29 | the day after
        week 7      | 2026-12-27 | 2026-12-27 2027-01-03 2027-01-10 | over the new year
        month 15    | 2026-11-14 | 2026-11-14 2026-11-15 2026-12-15 2027-01-15 | the day after
        month 15    | 2026-11-15 | 2026-11-15 2026-12-15 2027-01-15 | the same day: a month later
        month 15    | 2026-11-16 | 2026-11-16 2026-12-15 2027-01-15 |
        month 31    | 2026-01-10 | 2026-01-10 2026-01-31 2026-02-28 2026-03-31 2026-04-30 | the last day of a short month
        month 31    | 2026-02-10 | 2026-02-10 2026-02-28 2026-03-31 2026-04-30 | and back
        month 31    | 2026-02-28 | 2026-02-28 2026-03-31 2026-04-30 | the short month's day is that day
        month 29    | 2028-02-28 | 2028-02-28 2028-02-29 2028-03-29 | a leap year has it
        month 29    | 2027-02-28 | 2027-02-28 2027-03-29 2027-04-29 |
        month 1     | 2026-12-31 | 2026-12-31 2027-01-01 2027-02-01 |
        year 01-01  | 2026-12-31 | 2026-12-31 2027-01-01 2028-01-01 |
        year 11-21  | 2026-11-21 | 2026-11-21 2027-11-21 2028-11-21 | the same day: a year later
        year 11-22  | 2026-11-21 | 2026-11-21 2026-11-22 2027-11-22 |
        year 02-28  | 2028-02-29 | 2028-02-29 2029-02-28 2030-02-28 |
    ";

    #[test]
    fn pu_1_a_day_of_the_plan_comes_next_after_the_first_charge() {
        let mut count = 0;
        for (cells, row) in rows(FIXED) {
            let (unit, text) = cells[0].split_once(' ').unwrap();
            let mut schedule = every(&format!("1 {unit}"), 99);
            schedule.period_date = PeriodDate::parse(schedule.unit, text.trim());
            assert!(schedule.period_date.is_some(), "{row}");
            for (period, due) in (1..).zip(cells[2].split_whitespace()) {
                let found = due_on(schedule, day(cells[1]), period);
                assert_eq!(found, Some(day(due)), "charge {period} of: {row}");
            }
            count += 1;
        }
        assert_eq!(count, 18);
        let mut yearly = every("1 year", 99);
        yearly.period_date = PeriodDate::parse(yearly.unit, "12-31");
        assert_eq!(due_on(yearly, day("9999-12-31"), 2), None, "beyond the calendar");
        assert_eq!(due_on(yearly, day("2026-11-21"), 0), None, "there is no charge 0");
    }

    /// Every so many units, how often, the day of the first charge; then days and the period that each belongs to.
    const PERIODS: &str = "
        1 month 12 | 2026-01-31 | 2025-12-31=1 2026-01-30=1 2026-01-31=1 2026-02-27=1 2026-02-28=2 2026-03-01=2 2026-03-30=2 2026-03-31=3 2026-04-29=3 2026-04-30=4 2026-12-30=11 2026-12-31=12 | a day before the due day is of the period before
        1 month 12 | 2026-01-31 | 2027-01-31=12 2030-01-01=12 | after the last charge there is no other period
        1 month 12 | 2028-01-29 | 2028-02-28=1 2028-02-29=2 2028-03-28=2 2028-03-29=3 |
        1 month  1 | 2026-01-31 | 2026-01-31=1 2026-02-28=1 2026-12-31=1 | one charge
        1 month  2 | 2026-01-31 | 2026-02-27=1 2026-02-28=2 2026-12-31=2 |
        1 year   3 | 2028-02-29 | 2029-02-27=1 2029-02-28=2 2030-02-27=2 2030-02-28=3 2032-02-29=3 |
        1 week  99 | 2026-11-21 | 2026-11-27=1 2026-11-28=2 2028-10-06=98 2028-10-07=99 2028-10-14=99 |
        1 day  999 | 2026-01-01 | 2026-01-01=1 2026-01-02=2 2028-09-25=999 2028-09-26=999 |
    ";

    fn rows(table: &'static str) -> impl Iterator<Item = (Vec<&'static str>, &'static str)> {
        let rows = table.lines().map(str::trim).filter(|row| !row.is_empty());
        rows.map(|row| (row.split('|').map(str::trim).collect(), row))
    }

    fn every(text: &str, times: u16) -> Schedule {
        let (frequency, unit) = text.split_once(' ').unwrap();
        let unit = unit.split_whitespace().next().unwrap();
        let unit = PeriodUnit::ALL.into_iter().find(|known| known.label() == unit);
        Schedule {
            unit: unit.unwrap(),
            frequency: frequency.parse().unwrap(),
            times,
            first_charge: FirstCharge::Build,
            period_date: None,
            first_amount: None,
        }
    }

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn ec_9_due_days_are_counted_from_the_first_and_month_ends_come_back() {
        let mut count = 0;
        for (cells, row) in rows(DUE) {
            let schedule = every(cells[0], 99);
            for (period, due) in (1..).zip(cells[2].split_whitespace()) {
                let found = due_on(schedule, day(cells[1]), period);
                assert_eq!(found, Some(day(due)), "charge {period} of: {row}");
            }
            count += 1;
        }
        assert_eq!(count, 25);
    }

    #[test]
    fn pu_8_a_day_belongs_to_the_latest_period_that_is_due() {
        let mut count = 0;
        for (cells, row) in rows(PERIODS) {
            let (every_part, times) = cells[0].rsplit_once(' ').unwrap();
            let schedule = every(every_part, times.parse().unwrap());
            for told in cells[2].split_whitespace() {
                let (on, period) = told.split_once('=').unwrap();
                let found = period_of(schedule, day(cells[1]), day(on));
                assert_eq!(found, period.parse::<u32>().unwrap(), "{on} of: {row}");
            }
            count += 1;
        }
        assert_eq!(count, 8);
    }

    #[test]
    fn what_the_calendar_does_not_hold_is_none() {
        let monthly = every("1 month", 12);
        assert_eq!(
            due_on(monthly, day("2026-01-31"), 0),
            None,
            "there is no charge 0"
        );
        assert_eq!(due_on(monthly, day("2026-01-31"), u32::MAX), None);
        assert_eq!(due_on(every("1 year", 12), day("9999-01-01"), 2), None);
        assert_eq!(due_at(every("1 year", 12), day("9999-01-01"), 2), None);
        assert_eq!(taipei_date(Timestamp::from_unix_ms(i64::MAX)), None);
        assert_eq!(taipei_date(Timestamp::from_unix_ms(i64::MIN)), None);
    }

    /// The instant in UTC and its day in Taiwan, which begins at 16:00 UTC of the day before.
    const EDGES: &str = "
        2026-01-30T15:59:59.999Z | 2026-01-30
        2026-01-30T16:00:00Z     | 2026-01-31
        2026-01-31T15:59:59.999Z | 2026-01-31
        2026-01-31T16:00:00Z     | 2026-02-01
        2026-12-31T15:59:59.999Z | 2026-12-31
        2026-12-31T16:00:00Z     | 2027-01-01
        2028-02-28T16:00:00Z     | 2028-02-29
        2028-02-29T15:59:59.999Z | 2028-02-29
        2028-02-29T16:00:00Z     | 2028-03-01
        1979-07-01T16:00:00Z     | 1979-07-02
    ";

    #[test]
    fn days_begin_at_midnight_in_taiwan() {
        let mut count = 0;
        for (cells, row) in rows(EDGES) {
            let instant: jiff::Timestamp = cells[0].parse().unwrap();
            let instant = Timestamp::from_unix_ms(instant.as_millisecond());
            let begins = midnight(day(cells[1])).unwrap();
            assert_eq!(taipei_date(instant), Some(day(cells[1])), "{row}");
            assert!(begins <= instant, "{row}");
            assert!(
                instant < midnight(day(cells[1]).tomorrow().unwrap()).unwrap(),
                "{row}"
            );
            count += 1;
        }
        assert_eq!(count, 10);
        let second = due_at(every("1 month", 12), day("2026-01-31"), 2).unwrap();
        assert_eq!(second.to_string(), "2026-02-27T16:00:00Z");
    }

    fn some_schedule() -> impl Strategy<Value = Schedule> {
        let unit = prop::sample::select(PeriodUnit::ALL.to_vec());
        (unit, 1_u16..13, 1_u16..120).prop_map(|(unit, frequency, times)| Schedule {
            unit,
            frequency,
            times,
            first_charge: FirstCharge::Build,
            period_date: None,
            first_amount: None,
        })
    }

    /// Half of them with a day of their own.
    fn any_schedule() -> impl Strategy<Value = Schedule> {
        let day = (proptest::prelude::any::<bool>(), 1_i8..=31, 1_i8..=12);
        (some_schedule(), day).prop_map(|(schedule, (is_fixed, number, month))| {
            let text = match schedule.unit {
                PeriodUnit::Day => String::new(),
                PeriodUnit::Week => number.rem_euclid(7).max(1).to_string(),
                PeriodUnit::Month => number.to_string(),
                PeriodUnit::Year => format!("{month:02}-{:02}", number.min(28)),
            };
            let period_date = PeriodDate::parse(schedule.unit, &text).filter(|_| is_fixed);
            Schedule {
                frequency: if period_date.is_some() {
                    1
                } else {
                    schedule.frequency
                },
                period_date,
                ..schedule
            }
        })
    }

    proptest! {
        #![proptest_config(Config { cases: 512, rng_seed: RngSeed::Fixed(14), ..Config::default() })]

        #[test]
        fn a_due_day_opens_its_period_and_the_day_before_it_does_not(
            schedule in any_schedule(), offset in 0_i32..4000, any_period in proptest::prelude::any::<prop::sample::Index>(),
        ) {
            let anchor = Date::constant(2024, 1, 1).checked_add(jiff::Span::new().days(offset)).unwrap();
            let period = u32::try_from(any_period.index(usize::from(schedule.times))).unwrap().checked_add(1).unwrap();
            let due = due_on(schedule, anchor, period).unwrap();
            assert_eq!(period_of(schedule, anchor, due), period);
            assert!(due < due_on(schedule, anchor, period.checked_add(1).unwrap()).unwrap());
            let before = period_of(schedule, anchor, due.yesterday().unwrap());
            assert_eq!(before, period.checked_sub(1).unwrap().max(1));
        }
    }
}
