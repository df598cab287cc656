//! The rules of a subscription as text: every transition, timelines day by day, and facts in any order.
//!
//! Invariant of the tables: a day is counted from `DAY_0`, whose first instant in Taiwan is day 0, so that a row reads
//! without a calendar. Not here: due days and periods (`schedule`), credits (`proration`), which test themselves.

mod any_order;
mod simulation;
mod timelines;
mod transitions;
mod world;

use std::time::Duration;

use tollgate_shared::time::{ECPAY_FORMAT, Timestamp};

/// The midnight in Taiwan that days are counted from; the 31st, so that monthly rows meet short months.
const DAY_0: &str = "2026/01/31 00:00:00";

fn day_0() -> Timestamp {
    Timestamp::from_taipei(ECPAY_FORMAT, DAY_0).unwrap()
}

fn at_day(day: u32) -> Timestamp {
    day_0().plus(Duration::from_hours(u64::from(day) * 24))
}

/// `12` at midnight, `12.09:30` at another time of the day.
fn day_of(at: Timestamp) -> String {
    let minutes = at.unix_ms().strict_sub(day_0().unix_ms()).div_euclid(60_000);
    let (days, rest) = (minutes.div_euclid(1440), minutes.rem_euclid(1440));
    if rest == 0 {
        days.to_string()
    } else {
        format!("{days}.{:02}:{:02}", rest / 60, rest % 60)
    }
}
