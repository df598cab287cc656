//! Timelines of dunning (EC-1 to EC-3) on `standing`, day by day, as text tables in `timelines.txt`.
//!
//! A case begins with `#`, its name and its terms; a row is a day, what is told on it, and what the subscription then
//! is. What is due by then is asked for first, as the sweep does. Columns that follow: where it stands; until when grace
//! lasts; the next retry; the next charge; until when access lasts; the steps that are new.
//! Not here: who is told what, and the effects (`subscriptions`).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use tollgate_shared::time::Timestamp;

use super::world::{World, terms};
use super::{at_day, day_of};
use crate::domain::plan::{PeriodDate, PeriodUnit};
use crate::domain::subscription::dunning::{Phase, Step};
use crate::domain::subscription::schedule::taipei_date;
use crate::domain::subscription::standing::Standing;
use crate::domain::subscription::{EndReason, Mode, Noted, RetrySlot, Terms, What};

const TIMELINES: &str = include_str!("timelines.txt");

#[test]
fn ec_1_ec_2_ec_3_timelines_go_as_written() {
    let (mut found, mut cases) = (String::new(), 0);
    let mut world = World::new(terms(Mode::ProviderRun, PeriodUnit::Month, 1));
    let mut known = BTreeSet::new();
    for line in TIMELINES.lines() {
        if let Some(head) = line.strip_prefix("# ") {
            world = World::new(terms_of(head.rsplit_once('|').unwrap().1));
            known.clear();
            cases += 1;
        }
        if line.is_empty() || line.starts_with('#') {
            writeln!(found, "{line}").unwrap();
        } else {
            writeln!(found, "{}", play(&mut world, &mut known, line)).unwrap();
        }
    }
    assert_eq!(cases, 49);
    assert!(found == TIMELINES, "the timelines are these:\n{found}");
}

/// One row, with what was found in place of what is written.
fn play(world: &mut World, known: &mut BTreeSet<String>, line: &str) -> String {
    let mut cells = line.split('|').map(str::trim);
    let (day, event) = (cells.next().unwrap(), cells.next().unwrap());
    let now = instant(day);
    while world.sweep(now).is_some() {}
    if event != "-" {
        tell(world, event, now);
        while world.sweep(now).is_some() {}
    }
    let standing = world.standing(now);
    let new: Vec<String> = standing
        .steps
        .iter()
        .filter(|taken| known.insert(taken.key.clone()))
        .map(|taken| format!("{} {}", step_text(taken.step, taken.period), day_of(taken.at)))
        .collect();
    let row = format!(
        "{day:>9} | {event:<28} | {:<22} | {:<8} | {:<14} | {:<12} | {:<7} | {}",
        phase_text(&standing.phase),
        standing.grace_ends_at.map(day_of).unwrap_or_default(),
        retry_text(&standing),
        charge_text(&standing),
        standing.access_until.map(day_of).unwrap_or_default(),
        new.join(", ")
    );
    row.trim_end().to_owned()
}

/// `provider monthly 12`, `provider six monthly 12`, `merchant weekly 4`, `provider from 10 on 31 monthly 12`: first on day
/// 10, then on the 31st.
fn terms_of(text: &str) -> Terms {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mode = match words[0] {
        "provider" => Mode::ProviderRun,
        "merchant" => Mode::MerchantRun,
        other => panic!("{other}"),
    };
    let mut last = words.iter().rev();
    let (times, unit) = (last.next().unwrap(), last.next().unwrap());
    let unit = match *unit {
        "daily" => PeriodUnit::Day,
        "weekly" => PeriodUnit::Week,
        "monthly" => PeriodUnit::Month,
        "yearly" => PeriodUnit::Year,
        other => panic!("{other}"),
    };
    let after = |word: &str| {
        let mut rest = words.iter().skip_while(|known| **known != word);
        rest.nth(1)
    };
    let mut terms = terms(mode, unit, times.parse().unwrap());
    terms.provider_failures_max = words.contains(&"six").then_some(6);
    terms.anchor = after("from").map(|day| taipei_date(instant(day)).unwrap());
    terms.schedule.period_date = after("on").and_then(|day| PeriodDate::parse(unit, day));
    terms
}

/// `28`, `28.09:30`
fn instant(day: &str) -> Timestamp {
    let (day, time) = day.split_once('.').unwrap_or((day, "00:00"));
    let (hour, minute) = time.split_once(':').unwrap();
    at_day(day.parse().unwrap())
        .plus(Duration::from_hours(hour.parse().unwrap()))
        .plus(Duration::from_mins(minute.parse().unwrap()))
}

/// `charged`, `charged p2 returned`, `declined hard unnumbered at 28.08:00`, …
fn tell(world: &mut World, event: &str, now: Timestamp) {
    let (event, occurred_at) = match event.split_once(" at ") {
        Some((event, day)) => (event, instant(day)),
        None => (event, now),
    };
    let words: Vec<&str> = event.split_whitespace().collect();
    let period = words.iter().find_map(|word| word.strip_prefix('p')?.parse().ok());
    let what = match words[0] {
        "charged" => What::Charged {
            period,
            returned: false,
        },
        "returned" => return take_back(world),
        "declined" => What::Declined {
            period,
            hard: words.contains(&"hard"),
            numbered: !words.contains(&"unnumbered"),
        },
        _ => What::Noted(noted(event)),
    };
    world.tell(what, occurred_at, now);
}

fn take_back(world: &mut World) {
    let facts = &mut world.known.facts;
    let newest = facts.iter_mut().rev().find_map(|fact| match &mut fact.what {
        What::Charged { returned, .. } if !*returned => Some(returned),
        What::Charged { .. } | What::Declined { .. } | What::Noted(_) => None,
    });
    *newest.unwrap() = true;
}

fn noted(event: &str) -> Noted {
    match event {
        "card bound" => Noted::CardBound,
        "new card" => Noted::CardChanged,
        "cancel now" => Noted::CancelNowAsked,
        "cancel with period" => Noted::CancelAtEndAsked,
        "pause" => Noted::Paused,
        "resume" => Noted::Resumed,
        "replace" => Noted::Replaced,
        "retry by hand" => Noted::RetryAsked(RetrySlot::Manual),
        _ => {
            let reason = event.strip_prefix("provider ended ").unwrap();
            Noted::ProviderEnded(EndReason::from_label(reason).unwrap())
        }
    }
}

fn phase_text(phase: &Phase) -> String {
    match phase {
        Phase::Pending => "pending".to_owned(),
        Phase::Active => "active".to_owned(),
        Phase::PastDue(episode) => format!("past due, {} failed", episode.failures),
        Phase::Downgraded(_, at) => format!("downgraded {}", day_of(*at)),
        Phase::Paused => "paused".to_owned(),
        Phase::Over(reason, at) => format!("{} {}", reason.label(), day_of(*at)),
    }
}

fn retry_text(standing: &Standing) -> String {
    let Some(retry) = standing.next_retry else {
        return String::new();
    };
    format!("{} on {}", slot_text(retry.slot), day_of(retry.at))
}

fn slot_text(slot: RetrySlot) -> String {
    match slot {
        RetrySlot::Scheduled(number) => number.to_string(),
        RetrySlot::CardChanged => "card".to_owned(),
        RetrySlot::Manual => "by hand".to_owned(),
    }
}

fn charge_text(standing: &Standing) -> String {
    let charge = standing.next_charge;
    charge.map_or_else(String::new, |due| {
        format!("p{} on {}", due.period, day_of(due.at))
    })
}

fn step_text(step: Step, period: Option<u32>) -> String {
    let period = period.map_or_else(String::new, |period| format!(" p{period}"));
    match step {
        Step::CardBound => format!("card bound{period}"),
        Step::Activated => format!("activated{period}"),
        Step::Renewed => format!("renewed{period}"),
        Step::Failed(number) => format!("failure {number}{period}"),
        Step::RetryAsked(slot) => format!("retry {} asked{period}", slot_text(slot)),
        Step::Recovered => format!("recovered{period}"),
        Step::Downgraded => "downgraded".to_owned(),
        Step::CardChanged => "card changed".to_owned(),
        Step::Paused => "paused".to_owned(),
        Step::Resumed => "resumed".to_owned(),
        Step::CancelScheduled => "cancel scheduled".to_owned(),
        Step::Plan(news) => news.label().replace('_', " "),
        Step::Over(reason) => format!("over {}", reason.label()),
        Step::ChargedAfterEnd => format!("charged after end{period}"),
        Step::ChargedTwice => format!("charged twice{period}"),
    }
}
