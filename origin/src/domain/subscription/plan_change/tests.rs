//! Every mode and phase meets a dearer, a cheaper and an equal plan (`offer`), and plans of another period.
//!
//! The subscription costs NT$300 a month and was charged on 1 April 2026, 30 days; it is asked on a day of April at noon.

use std::collections::BTreeMap;

use jiff::civil::Date;
use tollgate_shared::money::Money;
use tollgate_shared::time::Timestamp;

use super::{Current, Offer, Refusal, offer};
use crate::domain::plan::{FirstCharge, PeriodUnit, Plan, PlanKind, Schedule};
use crate::domain::subscription::proration::PaidDays;
use crate::domain::subscription::schedule::{due_on, midnight};
use crate::domain::subscription::standing::standing;
use crate::domain::subscription::{EndReason, Fact, Known, Mode, Noted, Policy, Terms, What};

/// Who charges | how it stands | the day of April | the plan that is scheduled | the other plan: its price and period |
/// way, credit, due, refund and the amount of the next charge, or the refusal | why.
const TABLE: &str = "
    we       | active     | 15 | -    | 900 1 month | in_place_now 150 300 0 900 | the example of `proration`
    we       | active     | 1  | -    | 900 1 month | in_place_now 290 580 0 900 | on the day of the charge
    we       | active     | 30 | -    | 900 1 month | in_place_now 0 0 0 900 | nothing is left of the period, so it costs nothing
    we       | active     | 15 | -    | 300 1 month | in_place_now 150 0 0 300 | as dear: at once, for nothing
    we       | active     | 15 | -    | 100 1 month | in_place_next_period 0 0 0 100 | cheaper: with the next charge
    we       | active     | 15 | -    | 9000 1 year | new_contract 150 9000 150 9000 | another period cannot be taken in place
    we       | active     | 15 | -    | 600 2 month | next_contract 0 0 0 - | as dear by the day
    we       | active     | 15 | -    | 3000 1 year | next_contract 0 0 0 - | cheaper by the day
    we       | active     | 15 | 100  | 300 1 month same | revoke 0 0 0 300 | the plan in force takes back what was scheduled
    we       | active     | 15 | 100  | 100 1 month | scheduled |
    we       | active     | 15 | 100  | 200 1 month | in_place_next_period 0 0 0 200 | the newest wish counts
    we       | active     | 15 | 100  | 900 1 month | in_place_now 150 300 0 900 | the newest wish counts
    we       | active     | 15 | -    | 300 1 month same | same plan |
    we       | under way  | 15 | -    | 900 1 month | under way |
    we       | under way  | 15 | -    | 100 1 month | under way |
    we       | under way  | 15 | 100  | 300 1 month same | under way | it may be charged in the other plan already
    we       | refunding  | 15 | -    | 900 1 month | refund under way |
    we       | refunding  | 15 | -    | 100 1 month | in_place_next_period 0 0 0 100 | needs no credit
    we       | returned   | 15 | -    | 900 1 month | not computable | nothing was kept
    provider | active     | 15 | -    | 900 1 month | new_contract 150 900 150 900 | its contract has a fixed amount
    provider | active     | 1  | -    | 900 1 month | new_contract 290 900 290 900 |
    provider | active     | 30 | -    | 900 1 month | new_contract 0 900 0 900 |
    provider | active     | 15 | -    | 301 1 month | new_contract 150 301 150 301 |
    provider | active     | 15 | -    | 300 1 month | next_contract 0 0 0 - | as dear: nothing to hurry for
    provider | active     | 15 | -    | 299 1 month | next_contract 0 0 0 - |
    provider | active     | 15 | -    | 71 1 week   | new_contract 150 71 150 71 | dearer by the day, though cheaper by the period
    provider | active     | 15 | -    | 68 1 week   | next_contract 0 0 0 - |
    provider | active     | 15 | -    | 10 1 day    | new_contract 150 10 150 10 |
    provider | active     | 15 | -    | 9 1 day     | next_contract 0 0 0 - |
    provider | active     | 15 | -    | 3600 1 year | next_contract 0 0 0 - | twelve months are a year
    provider | active     | 15 | -    | 3601 1 year | new_contract 150 3601 150 3601 |
    provider | active     | 15 | -    | 901 3 month | new_contract 150 901 150 901 |
    provider | active     | 15 | -    | 300 1 month same | same plan |
    provider | due        | 1  | -    | 900 1 month | under way | the provider charges today, or has and did not tell
    provider | refunding  | 15 | -    | 900 1 month | refund under way |
    provider | refunding  | 15 | -    | 100 1 month | next_contract 0 0 0 - |
    we       | pending    | 15 | -    | 900 1 month | not begun |
    we       | past due   | 15 | -    | 900 1 month | owed |
    we       | downgraded | 15 | -    | 900 1 month | owed |
    we       | paused     | 15 | -    | 900 1 month | paused |
    we       | ending     | 15 | -    | 900 1 month | ending |
    we       | over       | 15 | -    | 900 1 month | ending |
    provider | pending    | 15 | -    | 100 1 month | not begun |
    provider | past due   | 15 | -    | 100 1 month | owed |
    provider | downgraded | 15 | -    | 100 1 month | owed |
    provider | paused     | 15 | -    | 100 1 month | paused |
    provider | ending     | 15 | -    | 100 1 month | ending |
    provider | over       | 15 | -    | 100 1 month | ending |
    provider | over       | 15 | -    | 300 1 month same | ending | how it stands goes first
    we       | active     | 15 | -    | once        | not a subscription |
    provider | over       | 15 | -    | once        | not a subscription | what it is goes before how it stands
";

#[test]
fn pm_8_a_change_of_plan_has_one_way_or_one_reason_against_it() {
    let mut count = 0;
    for row in TABLE.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [who, phase, day, next, wanted, expected, _] = cells[..] else {
            panic!("{row}")
        };
        let mode = if who == "we" {
            Mode::MerchantRun
        } else {
            Mode::ProviderRun
        };
        let found = offered((mode, phase), day.parse().unwrap(), next, &plan(wanted));
        assert_eq!(found, expected, "{row}");
        count += 1;
    }
    assert_eq!(count, 51);
}

fn monthly() -> Schedule {
    every("1 month")
}

fn every(text: &str) -> Schedule {
    let (frequency, unit) = text.split_once(' ').unwrap();
    let unit = PeriodUnit::ALL.into_iter().find(|known| known.label() == unit);
    Schedule {
        unit: unit.unwrap(),
        frequency: frequency.parse().unwrap(),
        times: 12,
        first_charge: FirstCharge::Build,
        period_date: None,
        first_amount: None,
    }
}

fn plan(text: &str) -> Plan {
    let words: Vec<&str> = text.split_whitespace().collect();
    let kind = match words[..] {
        ["once"] => PlanKind::OneTime {
            subscription_type: None,
            duration_days: None,
        },
        _ => PlanKind::Subscription {
            subscription_type: "pro".to_owned(),
            schedule: every(&words[1..3].join(" ")),
        },
    };
    let id = if words.last() == Some(&"same") {
        "now".to_owned()
    } else {
        format!("plan-{}", words[0])
    };
    Plan {
        id: id.parse().unwrap(),
        name: text.to_owned(),
        price: Money::twd(words[0].parse().unwrap_or(1)),
        kind,
        limits: BTreeMap::new(),
    }
}

fn at(month: i8, day: i8, hour: u64) -> Timestamp {
    midnight(Date::constant(2026, month, day))
        .unwrap()
        .plus(std::time::Duration::from_hours(hour))
}

fn offered((mode, phase): (Mode, &str), day: i8, next: &str, wanted: &Plan) -> String {
    // A charge in March falls due again in April; all others were made on 1 April.
    let first = if phase == "due" {
        at(3, 1, 10)
    } else {
        at(4, 1, 10)
    };
    let terms = Terms {
        mode,
        schedule: monthly(),
        anchor: None,
        price: Money::twd(300),
        provider_failures_max: None,
    };
    let now = at(4, day, 12);
    let standing = standing(&terms, &known(phase, first), &Policy::default(), now);
    let paid = standing
        .anchor
        .and_then(|anchor| PaidDays::of_period(Money::twd(300), monthly(), anchor, standing.period_kept?));
    let scheduled = (next != "-").then(|| format!("plan-{next}").parse().unwrap());
    let current = Current {
        mode,
        schedule: monthly(),
        plan: &"now".parse().unwrap(),
        price: Money::twd(300),
        next_plan: scheduled.as_ref(),
        standing: &standing,
        paid: paid.as_slice(),
        is_refunding: phase == "refunding",
    };
    match offer(&current, wanted, now) {
        Ok(offer) => told(&offer),
        Err(refusal) => refusal_text(refusal).to_owned(),
    }
}

fn known(phase: &str, first: Timestamp) -> Known {
    let charged = |returned| What::Charged {
        period: Some(1),
        returned,
    };
    let declined = What::Declined {
        period: Some(2),
        hard: false,
        numbered: true,
    };
    let whats = match phase {
        "pending" => Vec::new(),
        "past due" | "downgraded" => vec![charged(false), declined],
        "paused" => vec![charged(false), What::Noted(Noted::Paused)],
        "ending" => vec![charged(false), What::Noted(Noted::CancelAtEndAsked)],
        "over" => vec![
            charged(false),
            What::Noted(Noted::ProviderEnded(EndReason::ProviderFailures)),
        ],
        _ => vec![charged(phase == "returned")],
    };
    // Seven days of grace pass from 2 April, and do not from 10 April.
    let later = if phase == "downgraded" {
        at(4, 2, 10)
    } else {
        at(4, 10, 10)
    };
    let facts = whats.into_iter().enumerate().map(|(number, what)| {
        let at = if number == 0 { first } else { later };
        Fact {
            key: number.to_string(),
            occurred_at: at,
            told_at: at,
            what,
        }
    });
    Known {
        facts: facts.collect(),
        under_way_since: (phase == "under way").then_some(later),
    }
}

fn told(offer: &Offer) -> String {
    let next = offer.next_charge.map(|(_, money)| money.amount_minor.to_string());
    format!(
        "{} {} {} {} {}",
        offer.way.label(),
        offer.credit.amount_minor,
        offer.due.amount_minor,
        offer.refund.amount_minor,
        next.as_deref().unwrap_or("-")
    )
}

const fn refusal_text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotBegun => "not begun",
        Refusal::Ending => "ending",
        Refusal::Paused => "paused",
        Refusal::Owed => "owed",
        Refusal::UnderWay => "under way",
        Refusal::NotASubscription => "not a subscription",
        Refusal::OtherCurrency => "other currency",
        Refusal::SamePlan => "same plan",
        Refusal::Scheduled => "scheduled",
        Refusal::RefundUnderWay => "refund under way",
        Refusal::NotComputable => "not computable",
    }
}

#[test]
fn pm_8_an_offer_says_from_when() {
    let standing = standing(
        &Terms {
            mode: Mode::ProviderRun,
            schedule: monthly(),
            anchor: None,
            price: Money::twd(300),
            provider_failures_max: None,
        },
        &known("active", at(4, 1, 10)),
        &Policy::default(),
        at(4, 15, 12),
    );
    let paid = [PaidDays::of_period(Money::twd(300), monthly(), Date::constant(2026, 4, 1), 1).unwrap()];
    let ask = |mode, wanted: &str| {
        let current = Current {
            mode,
            schedule: monthly(),
            plan: &"now".parse().unwrap(),
            price: Money::twd(300),
            next_plan: None,
            standing: &standing,
            paid: &paid,
            is_refunding: false,
        };
        offer(&current, &plan(wanted), at(4, 15, 12)).unwrap()
    };
    let next = ask(Mode::ProviderRun, "100 1 month");
    assert_eq!(
        next.effective_at,
        at(5, 2, 0),
        "what is paid lasts to the end of the due day"
    );
    assert_eq!(next.buy_from, Some(at(4, 25, 0)), "the week before");
    let new = ask(Mode::ProviderRun, "900 1 month");
    assert_eq!(new.effective_at, at(4, 15, 12));
    assert_eq!(
        new.next_charge,
        Some((at(5, 15, 0), Money::twd(900))),
        "a period from today"
    );
    assert_eq!(
        due_on(monthly(), Date::constant(2026, 4, 15), 2),
        Some(Date::constant(2026, 5, 15))
    );
    assert_eq!(ask(Mode::MerchantRun, "100 1 month").effective_at, at(5, 1, 0));
}
