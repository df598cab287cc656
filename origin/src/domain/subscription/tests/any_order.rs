//! Facts in any order: the standing is a function of their set, and keeps its promises whatever they are.
//!
//! Random facts, most of them no provider would send in this order, shuffled, repeated and told in two goes. Seeded, so a
//! failure is the same failure everywhere. Not here: what a standing should be (`timelines`).

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::{Config, RngSeed};
use tollgate_shared::time::Timestamp;

use super::at_day;
use super::world::terms;
use crate::domain::plan::PeriodUnit;
use crate::domain::subscription::dunning::{Phase, days};
use crate::domain::subscription::standing::{Standing, standing};
use crate::domain::subscription::{
    EndReason, Fact, Known, Mode, Noted, PlanNews, Policy, RetrySlot, Terms, What,
};

fn seeded() -> Config {
    Config {
        cases: 4_096,
        rng_seed: RngSeed::Fixed(1004),
        ..Config::default()
    }
}

fn some_terms() -> impl Strategy<Value = Terms> {
    let mode = prop::sample::select(vec![Mode::ProviderRun, Mode::MerchantRun]);
    let unit = prop::sample::select(PeriodUnit::ALL.to_vec());
    (mode, unit, 1_u16..8, any::<bool>()).prop_map(|(mode, unit, times, stops)| Terms {
        provider_failures_max: stops.then_some(3),
        ..terms(mode, unit, times)
    })
}

fn some_period() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![Just(None), (1_u32..9).prop_map(Some)]
}

fn some_attempt() -> impl Strategy<Value = What> {
    prop_oneof![
        (some_period(), prop::bool::weighted(0.1))
            .prop_map(|(period, returned)| What::Charged { period, returned }),
        (
            some_period(),
            prop::bool::weighted(0.2),
            prop::bool::weighted(0.7)
        )
            .prop_map(|(period, hard, numbered)| What::Declined {
                period,
                hard,
                numbered
            }),
    ]
}

fn some_wish() -> impl Strategy<Value = What> {
    let retry = prop::sample::select(vec![
        RetrySlot::Scheduled(1),
        RetrySlot::Scheduled(2),
        RetrySlot::Scheduled(3),
        RetrySlot::CardChanged,
        RetrySlot::Manual,
    ]);
    prop_oneof![
        4 => retry.prop_map(Noted::RetryAsked),
        2 => (1_u32..9).prop_map(|period| Noted::ChargeAsked { period }),
        2 => Just(Noted::CardBound),
        2 => Just(Noted::CardChanged),
        1 => Just(Noted::CancelNowAsked),
        1 => Just(Noted::CancelAtEndAsked),
        2 => Just(Noted::Paused),
        2 => Just(Noted::Resumed),
        1 => Just(Noted::Plan(PlanNews::Changed)),
        1 => Just(Noted::Replaced),
        1 => prop::sample::select(EndReason::ALL.to_vec()).prop_map(Noted::ProviderEnded),
    ]
    .prop_map(What::Noted)
}

/// Quarters of a day, so that many happen at the same instant; told at once or up to twelve days later.
fn some_fact() -> impl Strategy<Value = (What, u32, u32)> {
    let what = prop_oneof![3 => some_attempt(), 1 => some_wish()];
    let delay = prop_oneof![Just(0_u32), 0_u32..48];
    (what, 0_u32..4 * 120, delay)
}

fn some_facts() -> impl Strategy<Value = Vec<Fact>> {
    prop::collection::vec(some_fact(), 0..14).prop_map(|facts| {
        let named = (0_u32..).zip(facts);
        named
            .map(|(number, (what, quarter, delay))| {
                let occurred_at = at_quarter(quarter);
                Fact {
                    key: format!("{}", number.wrapping_mul(7).rem_euclid(17)),
                    occurred_at,
                    told_at: occurred_at.plus(Duration::from_hours(u64::from(delay) * 6)),
                    what,
                }
            })
            .collect()
    })
}

fn at_quarter(quarter: u32) -> Timestamp {
    at_day(0).plus(Duration::from_hours(u64::from(quarter) * 6))
}

/// The same facts in another order, some of them told again later.
fn retold(facts: &[Fact]) -> impl Strategy<Value = Vec<Fact>> + use<> {
    let again = prop::collection::vec(any::<bool>(), facts.len());
    let facts = facts.to_vec();
    again
        .prop_map(move |again| {
            let repeated = facts.iter().zip(again).filter(|(_, again)| *again);
            let later = repeated.map(|(fact, _)| Fact {
                told_at: fact.told_at.plus(Duration::from_hours(30)),
                ..fact.clone()
            });
            let later: Vec<Fact> = later.collect();
            facts.iter().cloned().chain(later).collect::<Vec<Fact>>()
        })
        .prop_shuffle()
}

fn known(facts: &[Fact]) -> Known {
    Known {
        facts: facts.to_vec(),
        under_way_since: None,
    }
}

/// Facts as the table keeps them: the first telling of a name stays.
fn keep(kept: &mut Vec<Fact>, told: &[Fact]) {
    for fact in told {
        if kept.iter().all(|known| known.key != fact.key) {
            kept.push(fact.clone());
        }
    }
}

proptest! {
    #![proptest_config(seeded())]

    #[test]
    fn ec_9_the_standing_depends_on_the_set_of_facts_only(
        terms in some_terms(),
        (facts, retold) in some_facts().prop_flat_map(|facts| (Just(facts.clone()), retold(&facts))),
        split in any::<prop::sample::Index>(),
        quarter in 0_u32..4 * 200,
    ) {
        let now = at_quarter(quarter);
        let once = standing(&terms, &known(&facts), &Policy::default(), now);
        assert_eq!(standing(&terms, &known(&retold), &Policy::default(), now), once);
        // In two goes, with a look in between that must leave no trace.
        let (first, rest) = facts.split_at(split.index(facts.len().saturating_add(1)));
        let mut kept = Vec::new();
        keep(&mut kept, rest);
        let between = standing(&terms, &known(&kept), &Policy::default(), now);
        keep(&mut kept, first);
        keep(&mut kept, rest);
        assert_eq!(standing(&terms, &known(&kept), &Policy::default(), now), once, "after {between:?}");
    }

    #[test]
    fn ec_1_whoever_paid_has_access_and_nobody_rides_free(
        terms in some_terms(), facts in some_facts(), quarter in 0_u32..4 * 200,
    ) {
        let policy = Policy::default();
        let standing = standing(&terms, &known(&facts), &policy, at_quarter(quarter));
        check_access(&standing, &policy);
        check_dates(&standing, &policy);
    }

    #[test]
    fn ec_8_a_step_is_told_under_one_name_and_time_only_adds(
        terms in some_terms(), facts in some_facts(), quarter in 0_u32..4 * 200, later in 0_u32..4 * 200,
    ) {
        let names = |now: Timestamp| -> BTreeSet<String> {
            let told = facts.iter().filter(|fact| fact.told_at <= now).cloned();
            let known_by_then = known(&told.collect::<Vec<Fact>>());
            let steps = standing(&terms, &known_by_then, &Policy::default(), now).steps;
            steps.into_iter().map(|taken| taken.key).collect()
        };
        let (now, then) = (at_quarter(quarter), at_quarter(quarter.saturating_add(later)));
        let told_late = |fact: &Fact| fact.told_at > now && fact.told_at <= then;
        // Without another fact, later is the same and more.
        if !facts.iter().any(told_late) {
            assert!(names(now).is_subset(&names(then)));
        }
    }
}

/// Found by random facts. The customer has known of a refusal since the first telling, whichever happened first.
#[test]
fn ec_1_a_refusal_that_is_told_after_a_later_one_gives_no_more_grace() {
    let fact = |key: &str, (happened, told): (u32, u32), what: What| Fact {
        key: key.to_owned(),
        occurred_at: at_quarter(4 * happened),
        told_at: at_quarter(4 * told),
        what,
    };
    let charged = What::Charged {
        period: Some(1),
        returned: false,
    };
    let declined = What::Declined {
        period: Some(2),
        hard: false,
        numbered: true,
    };
    let facts = [
        fact("first", (0, 0), charged),
        fact("earlier, told later", (31, 41), declined.clone()),
        fact("later, told first", (32, 32), declined),
    ];
    let terms = terms(Mode::ProviderRun, PeriodUnit::Month, 12);
    let standing = standing(&terms, &known(&facts), &Policy::default(), at_quarter(4 * 41));
    let Phase::PastDue(episode) = standing.phase else {
        panic!("{standing:?}");
    };
    assert_eq!((episode.failures, episode.since), (2, at_quarter(4 * 32)));
    assert_eq!(episode.grace_ends_at, at_quarter(4 * (32 + 7 + 3)));
}

fn check_access(standing: &Standing, policy: &Policy) {
    let (paid, access) = (standing.paid_until, standing.access_until);
    match standing.phase {
        Phase::Pending => assert_eq!(access, None, "{standing:?}"),
        Phase::Over(EndReason::Canceled | EndReason::Replaced, at) => {
            assert_eq!(access, paid.min(Some(at)), "{standing:?}");
        }
        Phase::PastDue(episode) => {
            assert_eq!(access, paid.max(Some(episode.grace_ends_at)), "{standing:?}");
        }
        Phase::Active => {
            let most = paid.map(|paid| paid.plus(days(policy.news_days)));
            assert!(access >= paid && access <= most, "{standing:?}");
        }
        Phase::Paused | Phase::Downgraded(..) | Phase::Over(..) => assert_eq!(access, paid, "{standing:?}"),
    }
}

fn check_dates(standing: &Standing, policy: &Policy) {
    let is_owed = matches!(standing.phase, Phase::PastDue(_) | Phase::Downgraded(..));
    assert!(standing.next_retry.is_none() || is_owed, "{standing:?}");
    assert!(
        usize::from(standing.retries_asked) <= policy.retry_days.len(),
        "EC-2: {standing:?}"
    );
    if let Phase::PastDue(episode) = standing.phase {
        let most = episode
            .since
            .plus(days(policy.grace_first_days))
            .plus(days(policy.grace_second_days));
        assert!(episode.grace_ends_at <= most, "EC-1: {standing:?}");
    }
    let is_over = matches!(standing.phase, Phase::Over(..));
    let is_nothing_more = standing.next_charge.is_none() && standing.next_retry.is_none();
    assert!(
        !is_over || is_nothing_more,
        "what is over is not charged: {standing:?}"
    );
    // Every row that is not over has an instant at which time alone moves it on, but one that never began.
    let moves_on = [
        standing.grace_ends_at,
        standing.ends_at.map(|(at, _)| at),
        standing.closes_at,
    ];
    let is_waiting = matches!(standing.phase, Phase::Pending);
    assert!(
        is_over || is_waiting || moves_on.iter().any(Option::is_some),
        "{standing:?}"
    );
}
