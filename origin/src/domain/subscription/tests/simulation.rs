//! Whole lives of subscriptions against a provider that refuses, answers late, loses notices and has a clock of its own.
//!
//! A seeded provider ⇄ `World` (the sweep), from the first charge until nothing more happens.
//!
//! Invariants looked for: every life has an end; between two events there is always an instant at which the row is looked
//! at again; where we charge, there are never two attempts under way, no period is paid twice, and none is left out
//! while nothing is owed; a failed payment has three scheduled retries at most (EC-2).
//! Not here: what the provider really does (the sandbox), effects and their failures (`effects`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::{Strategy, any, prop, proptest};
use proptest::test_runner::{Config, RngSeed};
use tollgate_shared::time::Timestamp;

use super::at_day;
use super::world::{World, terms};
use crate::domain::plan::PeriodUnit;
use crate::domain::subscription::dunning::{Phase, Step};
use crate::domain::subscription::schedule::due_at;
use crate::domain::subscription::standing::Standing;
use crate::domain::subscription::{Mode, Noted, RetrySlot, Terms, What};

/// No life takes so many looks: each is an event, a due time or a poll.
const LOOKS_MAX: usize = 4000;
/// As `subscriptions::state`: the provider is asked about the same news again after so long.
const POLL_AGAIN: Duration = Duration::from_hours(12);

proptest! {
    #![proptest_config(Config { cases: 256, rng_seed: RngSeed::Fixed(99), ..Config::default() })]

    #[test]
    fn ec_9_every_life_has_an_end_and_charges_once(terms in some_terms(), seed in any::<u64>()) {
        let mut life = Life::new(terms, seed);
        life.live();
        life.check();
    }
}

fn some_terms() -> impl Strategy<Value = Terms> {
    let mode = prop::sample::select(vec![Mode::ProviderRun, Mode::MerchantRun]);
    let unit = prop::sample::select(PeriodUnit::ALL.to_vec());
    (mode, unit, 1_u16..14, any::<bool>()).prop_map(|(mode, unit, times, stops)| Terms {
        provider_failures_max: (stops && mode == Mode::ProviderRun).then_some(6),
        ..terms(mode, unit, times)
    })
}

/// A small generator (xorshift64*): the seed decides a life.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).rem_euclid(sides)
    }

    fn hours(&mut self, most: u64) -> Duration {
        Duration::from_mins(self.below(most.saturating_mul(60)).saturating_add(1))
    }
}

/// What happens outside, by when.
#[derive(Debug, Clone)]
enum Event {
    /// The provider charges a period of its contract, or tries the newest refused one again.
    Attempt(Option<u32>),
    /// We are told.
    Told(What, Timestamp),
    NewCard,
}

struct Life {
    world: World,
    dice: Dice,
    now: Timestamp,
    events: BTreeMap<(Timestamp, usize), Event>,
    events_made: usize,
    /// What the provider did and whether it succeeded, by period (provider-run).
    provider: Vec<(u32, bool)>,
    /// What happened and was told to nobody: a poll finds it.
    lost: Vec<(What, Timestamp)>,
    polled_at: Option<Timestamp>,
    looks: usize,
}

impl Life {
    fn new(terms: Terms, seed: u64) -> Self {
        let mut life = Self {
            world: World::new(terms),
            dice: Dice(seed | 1),
            now: at_day(0).plus(Duration::from_hours(10)),
            events: BTreeMap::new(),
            events_made: 0,
            provider: vec![(1, true)],
            lost: Vec::new(),
            polled_at: None,
            looks: 0,
        };
        life.world.terms.anchor = crate::domain::subscription::schedule::taipei_date(life.now);
        life.world.tell(charged(1), life.now, life.now);
        if life.is_ours() {
            return life;
        }
        for period in 2..=u32::from(life.world.terms.schedule.times) {
            let at = life.due(period).plus(Duration::from_hours(8));
            life.at(at, Event::Attempt(Some(period)));
        }
        life
    }

    fn is_ours(&self) -> bool {
        self.world.terms.mode == Mode::MerchantRun
    }

    fn due(&self, period: u32) -> Timestamp {
        due_at(
            self.world.terms.schedule,
            self.world.terms.anchor.unwrap(),
            period,
        )
        .unwrap()
    }

    fn at(&mut self, at: Timestamp, event: Event) {
        self.events_made = self.events_made.saturating_add(1);
        self.events.insert((at, self.events_made), event);
    }

    /// From event to due time to event, until there is neither.
    fn live(&mut self) {
        loop {
            self.looks = self.looks.saturating_add(1);
            assert!(
                self.looks < LOOKS_MAX,
                "the row is looked at for ever: {:?}",
                self.world
            );
            self.look();
            let due = self.next_due();
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = due.into_iter().chain(event).min() else {
                return;
            };
            self.now = next.max(self.now);
            while let Some(entry) = self
                .events
                .first_entry()
                .filter(|entry| entry.key().0 <= self.now)
            {
                let ((at, _), event) = entry.remove_entry();
                self.happen(event, at);
            }
        }
    }

    /// When the row is looked at again, as `subscriptions::state` has it.
    fn next_due(&self) -> Option<Timestamp> {
        let standing = self.world.standing(self.now);
        let ours = standing.next_charge.filter(|_| self.is_ours());
        let due = [
            standing.grace_ends_at,
            standing.ends_at.map(|(at, _)| at),
            standing.closes_at,
            standing.next_retry.map(|retry| retry.at),
            ours.map(|due| due.at),
            self.poll_at(&standing),
        ];
        let next = due.into_iter().flatten().min();
        assert!(
            next.is_none_or(|next| next > self.now),
            "due, and nothing moved: {:?}",
            self.world
        );
        next
    }

    fn poll_at(&self, standing: &Standing) -> Option<Timestamp> {
        // What ended is not polled for ever; `subscriptions::state` counts.
        let from = standing
            .poll_from
            .filter(|_| !matches!(standing.phase, Phase::Over(..)))?;
        let again = self.polled_at.map(|at| at.plus(POLL_AGAIN));
        Some(from.max(again.unwrap_or(from)))
    }

    fn look(&mut self) {
        while let Some(noted) = self.world.sweep(self.now) {
            match noted {
                Noted::ChargeAsked { period } => self.answer(period),
                Noted::RetryAsked(_) if self.is_ours() => {
                    let steps = self.world.standing(self.now).steps;
                    let asked = steps
                        .iter()
                        .rev()
                        .find(|taken| matches!(taken.step, Step::RetryAsked(_)));
                    self.answer(asked.unwrap().period.unwrap());
                }
                Noted::RetryAsked(_) => {
                    let soon = self.dice.hours(3);
                    self.at(self.now.plus(soon), Event::Attempt(None));
                }
                Noted::CardBound
                | Noted::CardChanged
                | Noted::CancelNowAsked
                | Noted::CancelAtEndAsked
                | Noted::Paused
                | Noted::Resumed
                | Noted::ProviderEnded(_)
                | Noted::Replaced
                | Noted::Plan(_) => panic!("{noted:?}"),
            }
        }
        let standing = self.world.standing(self.now);
        if self.poll_at(&standing).is_some_and(|at| at <= self.now) {
            self.polled_at = Some(self.now);
            for (what, occurred_at) in std::mem::take(&mut self.lost) {
                self.world.tell(what, occurred_at, self.now);
            }
            self.look();
        }
    }

    /// Our own charge: the answer is of the provider's clock, a minute behind, and may come days later.
    fn answer(&mut self, period: u32) {
        assert!(
            self.events
                .values()
                .all(|event| !matches!(event, Event::Told(..))),
            "two attempts under way: {:?}",
            self.world
        );
        let what = self.outcome(period);
        let occurred_at = Timestamp::from_unix_ms(self.now.unix_ms().saturating_sub(60_000));
        let delay = match self.dice.below(4) {
            0 => self.dice.hours(60),
            _ => Duration::ZERO,
        };
        self.at(self.now.plus(delay), Event::Told(what, occurred_at));
    }

    fn outcome(&mut self, period: u32) -> What {
        match self.dice.below(8) {
            0..4 => charged(period),
            fate => What::Declined {
                period: Some(period),
                hard: fate == 7,
                numbered: fate != 6,
            },
        }
    }

    fn happen(&mut self, event: Event, at: Timestamp) {
        match event {
            Event::Told(what, occurred_at) => {
                self.world.tell(what, occurred_at, self.now);
                self.maybe_new_card();
            }
            Event::NewCard => self
                .world
                .tell(What::Noted(Noted::CardChanged), self.now, self.now),
            Event::Attempt(period) => self.attempt(period, at),
        }
    }

    /// The provider charges, unless it has given up, or there is nothing to try again.
    fn attempt(&mut self, period: Option<u32>, at: Timestamp) {
        let newest = self.provider.last().copied().unwrap();
        let Some(period) = period.or_else(|| (!newest.1).then_some(newest.0)) else {
            return;
        };
        if self.world.terms.provider_failures_max.is_some() && self.failed_in_a_row() >= 6 {
            return;
        }
        let what = self.outcome(period);
        self.provider.push((period, matches!(what, What::Charged { .. })));
        match self.dice.below(3) {
            0 => self.lost.push((what, at)),
            1 => self.world.tell(what, at, self.now),
            _ => {
                let late = self.dice.hours(70);
                self.at(self.now.plus(late), Event::Told(what, at));
            }
        }
        self.maybe_new_card();
    }

    fn failed_in_a_row(&self) -> usize {
        let failed = self.provider.iter().rev().take_while(|(_, succeeded)| !succeeded);
        failed.map(|(period, _)| *period).collect::<BTreeSet<u32>>().len()
    }

    fn maybe_new_card(&mut self) {
        if self.dice.below(6) == 0 {
            let later = self.dice.hours(400);
            self.at(self.now.plus(later), Event::NewCard);
        }
    }

    fn check(&self) {
        let standing = self.world.standing(self.now);
        assert!(
            matches!(standing.phase, Phase::Over(..)),
            "no end: {:?} {:?}",
            standing,
            self.world
        );
        let mut retries: BTreeMap<u32, usize> = BTreeMap::new();
        for taken in &standing.steps {
            if let Step::RetryAsked(RetrySlot::Scheduled(_)) = taken.step {
                let count = retries.entry(taken.period.unwrap()).or_default();
                *count = count.saturating_add(1);
            }
        }
        assert!(
            retries.values().all(|count| *count <= 3),
            "EC-2: {retries:?} {:?}",
            self.world
        );
        if self.is_ours() {
            self.check_our_charges();
        }
    }

    /// Every period was paid once, or was asked for in vain, or fell due while another was owed or under way.
    fn check_our_charges(&self) {
        let mut paid = BTreeSet::new();
        let mut tried = BTreeSet::from([1]);
        for fact in &self.world.known.facts {
            match fact.what {
                What::Charged { period, .. } => {
                    assert!(paid.insert(period.unwrap()), "{period:?} twice: {:?}", self.world);
                }
                What::Noted(Noted::ChargeAsked { period }) => {
                    tried.insert(period);
                }
                What::Declined { .. } | What::Noted(_) => {}
            }
        }
        for period in 1..=u32::from(self.world.terms.schedule.times) {
            let at = self.due(period).plus(Duration::from_hours(9));
            let mut then = self.world.clone();
            then.known.facts.retain(|fact| fact.told_at <= at);
            let then = then.standing(at);
            let is_owed = matches!(
                then.phase,
                Phase::PastDue(_) | Phase::Downgraded(..) | Phase::Over(..)
            );
            let is_excused = is_owed || self.is_under_way(at);
            assert!(
                is_excused || tried.contains(&period) || paid.contains(&period),
                "{period} was left out: {:?}",
                self.world
            );
        }
    }
}

impl Life {
    /// Whether a charge of ours had no answer at an instant. Facts stand in the order in which they were told.
    fn is_under_way(&self, at: Timestamp) -> bool {
        let mut until_then = self.world.known.facts.iter().filter(|fact| fact.told_at <= at);
        let newest = until_then.rfind(|fact| !matches!(fact.what, What::Noted(Noted::CardChanged)));
        newest.is_some_and(|fact| matches!(fact.what, What::Noted(_)))
    }
}

const fn charged(period: u32) -> What {
    What::Charged {
        period: Some(period),
        returned: false,
    }
}
