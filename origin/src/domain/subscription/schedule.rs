//! On which days a subscription is charged: calendar days of Asia/Taipei, counted from the first.
//!
//! `standing` and checkout → **schedule** → due days, the period of a day.
//!
//! Invariant: every due day is counted from the anchor, never from the one before, so the 31st comes back after a
//! February (31 January, 28 February, 31 March). Not here: at which hour a provider charges.

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use tollgate_shared::time::Timestamp;

use crate::domain::plan::{PeriodUnit, Schedule};

/// The day of the charge number `period`, 1 for the first; `None` beyond the calendar.
pub(crate) fn due_on(schedule: Schedule, anchor: Date, period: u32) -> Option<Date> {
    let units = i64::from(period.checked_sub(1)?).checked_mul(i64::from(schedule.frequency))?;
    let span = jiff::Span::new();
    let span = match schedule.unit {
        PeriodUnit::Day => span.try_days(units),
        PeriodUnit::Week => span.try_weeks(units),
        PeriodUnit::Month => span.try_months(units),
        PeriodUnit::Year => span.try_years(units),
    };
    anchor.checked_add(span.ok()?).ok()
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
