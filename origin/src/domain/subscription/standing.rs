//! What the facts of a subscription amount to at an instant: its status, its dates, its steps.
//!
//! `subscriptions` loads facts → **`standing`** (canonical facts, in order, through `dunning::decide`) → row, history.
//!
//! Invariants: the result depends on the set of facts, never on their order or number: they are sorted by when they
//! happened and told twice is told once. A refusal of a period that is paid counts for nothing. Time transitions
//! happen at their own instants between the facts, so a sweep that comes late decides as one in time.
//! Not here: sending anything; the caller turns what is due into effects, each under a key of its own.

mod due;
mod first;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use tollgate_shared::time::Timestamp;

use super::dunning::{self, Episode, Input, Phase, Step, days, hours};
use super::facts::{anchor, canonical, is_mended, unanswered_since, unique};
use super::history::{Taken, step_key};
use super::schedule::{due_at, due_on, midnight, period_of, taipei_date};
use super::{EndReason, Fact, Known, Mode, Noted, Policy, Terms, What};

pub(crate) use self::due::{Due, Retry};

/// At which hour of a due day we charge (merchant-run); at night nobody could mend a card.
const CHARGE_HOUR: u16 = 9;
/// How long after the beginning of a due day the provider is asked, if it did not tell (provider-run).
const POLL_HOURS_AFTER_DUE: u16 = 12;
/// How long after a retry was asked for its result is asked for.
const POLL_HOURS_AFTER_RETRY: u16 = 6;

/// A subscription at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Where it stands.
    pub(crate) phase: Phase,
    /// Whether it waits, with a card that is bound, for its first charge.
    pub(crate) awaits_first: bool,
    /// The day of the first charge.
    pub(crate) anchor: Option<Date>,
    /// Charges that were not paid back.
    pub(crate) periods_paid: u32,
    /// The latest period the charge of which was kept.
    pub(crate) period_kept: Option<u32>,
    /// The first instant that no charge pays for.
    pub(crate) paid_until: Option<Timestamp>,
    /// The first instant without access, news awaited and grace included.
    pub(crate) access_until: Option<Timestamp>,
    /// When the next charge is due, whoever makes it.
    pub(crate) next_charge: Option<Due>,
    /// The same, and while a charge of ours has no answer, that charge: the subscription goes on.
    pub(crate) charge_ahead: Option<Due>,
    /// The next attempt at a refused charge.
    pub(crate) next_retry: Option<Retry>,
    /// From when the provider is to be asked for news that did not come (provider-run).
    pub(crate) poll_from: Option<Timestamp>,
    /// From when access goes on past what is paid, because news of the next charge did not come.
    pub(crate) overdue_from: Option<Timestamp>,
    /// When it ends by a wish that was told, or because every period was charged, and which of the two.
    pub(crate) ends_at: Option<(Timestamp, EndReason)>,
    /// When the contract is over by its calendar, if nothing ends it before.
    pub(crate) closes_at: Option<Timestamp>,
    /// The period that each attempt was counted to, by the attempt's key.
    pub(crate) periods_of: BTreeMap<String, u32>,
    /// Refusals since the last success.
    pub(crate) failures: u32,
    /// Scheduled retries that were asked for since.
    pub(crate) retries_asked: u8,
    /// Since when an attempt that we asked for has no answer.
    pub(crate) unanswered_since: Option<Timestamp>,
    /// Until when a refused charge may be mended, while there is an episode.
    pub(crate) grace_ends_at: Option<Timestamp>,
    /// Every step so far, in order; each under a key that stays the same however the facts arrive.
    pub(crate) steps: Vec<Taken>,
}

/// The standing at `now`.
pub(crate) fn standing(terms: &Terms, known: &Known, policy: &Policy, now: Timestamp) -> Standing {
    let facts = unique(&known.facts);
    let unanswered_since = match terms.mode {
        Mode::ProviderRun => unanswered_since(&facts),
        Mode::MerchantRun => known.under_way_since,
    };
    let facts = canonical(terms, facts);
    let mut fold = Fold::new(terms, policy, &facts);
    fold.unanswered_since = unanswered_since;
    for fact in &facts {
        fold.advance(fact.occurred_at.min(now));
        fold.take(fact);
    }
    fold.advance(now);
    fold.finish(now)
}

struct Fold<'a> {
    terms: &'a Terms,
    policy: &'a Policy,
    facts: &'a [Fact],
    anchor: Option<Date>,
    phase: Phase,
    /// Periods that were charged; true: paid back since.
    charged: BTreeMap<u32, bool>,
    /// Periods that were refused and not charged since.
    refused: BTreeSet<u32>,
    /// Which period each attempt was counted to.
    periods_of: BTreeMap<String, u32>,
    /// The latest period that was tried.
    tried: u32,
    /// Why it ends with what is paid, and since when that is known.
    ending: Option<(EndReason, Timestamp)>,
    /// Periods that fell due before it went on are not made up for.
    resumed_at: Option<Timestamp>,
    /// Since when an attempt that was asked for has no answer.
    unanswered_since: Option<Timestamp>,
    steps: Vec<Taken>,
}

impl<'a> Fold<'a> {
    fn new(terms: &'a Terms, policy: &'a Policy, facts: &'a [Fact]) -> Self {
        Self {
            terms,
            policy,
            facts,
            anchor: anchor(terms, facts),
            phase: Phase::Pending,
            charged: BTreeMap::new(),
            refused: BTreeSet::new(),
            periods_of: BTreeMap::new(),
            tried: 0,
            ending: None,
            resumed_at: None,
            unanswered_since: None,
            steps: Vec::new(),
        }
    }

    /// What time alone brings about until `to`.
    fn advance(&mut self, to: Timestamp) {
        // Grace, then the end: two transitions at most.
        for _ in 0..2 {
            let grace = self.grace_ends_at().map(|at| (at, Input::GraceEnded));
            let end = self.ends_at().or_else(|| self.closes_at());
            let end = end.map(|(at, reason)| (at, Input::Over(reason)));
            let Some((at, input)) = grace.into_iter().chain(end).min_by_key(|(at, _)| *at) else {
                return;
            };
            if at > to {
                return;
            }
            self.decide(input, at, None, "");
        }
    }

    const fn episode(&self) -> Option<&Episode> {
        match &self.phase {
            Phase::PastDue(episode) | Phase::Downgraded(episode, _) => Some(episode),
            Phase::Pending | Phase::Active | Phase::Paused | Phase::Over(..) => None,
        }
    }

    fn grace_ends_at(&self) -> Option<Timestamp> {
        let is_past_due = matches!(self.phase, Phase::PastDue(_));
        self.episode()
            .filter(|_| is_past_due)
            .map(|episode| episode.grace_ends_at)
    }

    /// When the subscription ends, as was asked for or because no charge will follow.
    fn ends_at(&self) -> Option<(Timestamp, EndReason)> {
        match (&self.phase, self.ending) {
            (Phase::Over(..) | Phase::Pending, _) => None,
            // Nothing may be left of what was paid: then with the wish itself.
            (_, Some((reason, told_at))) => Some((self.paid_until().max(Some(told_at))?, reason)),
            (Phase::Active | Phase::Paused, None) if self.next_period().is_none() => Some((
                self.paid_until().or_else(|| self.calendar_end())?,
                EndReason::Completed,
            )),
            (Phase::Active | Phase::Paused | Phase::PastDue(_) | Phase::Downgraded(..), None) => None,
        }
    }

    /// When the contract is over by its calendar, whatever was charged or told; what is owed is waited for.
    fn closes_at(&self) -> Option<(Timestamp, EndReason)> {
        let at = match self.phase {
            Phase::Active | Phase::Paused => self.calendar_end(),
            Phase::Downgraded(_, since) => self.calendar_end().max(Some(since)),
            Phase::Pending | Phase::PastDue(_) | Phase::Over(..) => None,
        };
        Some((at?, EndReason::Completed))
    }

    fn calendar_end(&self) -> Option<Timestamp> {
        self.paid_with(u32::from(self.terms.schedule.times))
    }

    fn take(&mut self, fact: &Fact) {
        match fact.what {
            What::Charged { period, returned } => self.charged(fact, period, returned),
            What::Declined { period, hard, .. } => self.declined(fact, period, hard),
            What::Noted(noted) => self.noted(noted, fact.told_at.max(fact.occurred_at), &fact.key),
        }
    }

    fn noted(&mut self, noted: Noted, told_at: Timestamp, key: &str) {
        match noted {
            Noted::ChargeAsked { .. } => {}
            Noted::CardBound => self.bound(told_at, key),
            Noted::RetryAsked(slot) => {
                let period = self.period_to_retry(told_at);
                self.decide(Input::RetryAsked(slot), told_at, Some(period), key);
            }
            Noted::CardChanged => self.decide(Input::CardChanged, told_at, None, key),
            Noted::CancelNowAsked => self.decide(Input::Over(EndReason::Canceled), told_at, None, key),
            Noted::Replaced => self.decide(Input::Over(EndReason::Replaced), told_at, None, key),
            // Nothing is paid that could be used up.
            Noted::CancelAtEndAsked if self.awaits_first() => {
                self.decide(Input::Over(EndReason::Canceled), told_at, None, key);
            }
            Noted::CancelAtEndAsked => {
                self.ending = self.ending.or(Some((EndReason::Canceled, told_at)));
                self.decide(Input::EndAsked, told_at, None, key);
            }
            Noted::Paused => self.decide(Input::Paused, told_at, None, key),
            Noted::Resumed => {
                self.resumed_at = Some(told_at);
                self.decide(Input::Resumed, told_at, None, key);
            }
            Noted::Plan(news) => self.decide(Input::Plan(news), told_at, None, key),
            Noted::ProviderEnded(EndReason::ProviderFailures) => {
                self.decide(Input::Over(EndReason::ProviderFailures), told_at, None, key);
            }
            // What was paid for is kept to its end.
            Noted::ProviderEnded(reason) => self.ending = self.ending.or(Some((reason, told_at))),
        }
    }

    fn charged(&mut self, fact: &Fact, told: Option<u32>, returned: bool) {
        let Some(period) = told.or_else(|| self.free_period(fact.occurred_at)) else {
            return;
        };
        let told_at = fact.told_at.max(fact.occurred_at);
        self.periods_of.insert(fact.key.clone(), period);
        let before = self.charged.get(&period).copied();
        self.charged.insert(period, before.unwrap_or(true) && returned);
        self.refused.remove(&period);
        self.tried = self.tried.max(period);
        // A period that was paid back may be charged anew.
        if before == Some(false) && !returned && !matches!(self.phase, Phase::Over(..)) {
            return self.push(Step::ChargedTwice, Some(period), told_at, &fact.key);
        }
        if self.is_unwanted(fact) {
            self.push(Step::ChargedAfterEnd, Some(period), told_at, &fact.key);
        }
        self.decide(Input::Charged { period }, told_at, Some(period), &fact.key);
    }

    /// The provider charged although the end had been asked for: the contract has to be ended once more.
    fn is_unwanted(&self, fact: &Fact) -> bool {
        let is_over = matches!(self.phase, Phase::Over(..));
        let asked = self.ending.filter(|(reason, _)| *reason == EndReason::Canceled);
        let is_after = asked.is_some_and(|(_, told_at)| fact.occurred_at > told_at);
        self.terms.mode == Mode::ProviderRun && !is_over && is_after
    }

    /// The period of a charge's day. If that has its charge: one that was refused before (a late success), else the
    /// next (a provider that charges a day early).
    fn free_period(&self, at: Timestamp) -> Option<u32> {
        let period = period_of(self.terms.schedule, self.anchor?, taipei_date(at)?);
        if !self.charged.contains_key(&period) {
            return Some(period);
        }
        let owed = self.refused.iter().copied().find(|refused| *refused < period);
        owed.or(period.checked_add(1))
    }

    fn declined(&mut self, fact: &Fact, told: Option<u32>, hard: bool) {
        let told_at = fact.told_at.max(fact.occurred_at);
        let Some(period) = told.or_else(|| self.refused_period(fact.occurred_at)) else {
            return;
        };
        self.periods_of.insert(fact.key.clone(), period);
        if self.phase == Phase::Pending {
            return self.declined_before_first(period, fact.occurred_at);
        }
        if self.charged.contains_key(&period) {
            return;
        }
        self.tried = self.tried.max(period);
        self.refused.insert(period);
        // Somebody who has paid for a later period owes nothing.
        if Some(period) < self.latest_charged() || is_mended(self.facts, fact) {
            return;
        }
        let dunned = self.dunned_period(period);
        self.decide(
            Input::Declined { period: dunned, hard },
            told_at,
            Some(period),
            &fact.key,
        );
        if self.provider_gave_up() {
            self.decide(Input::Over(EndReason::ProviderFailures), told_at, None, &fact.key);
        }
    }

    /// Where we charge, every attempt within an episode is a retry, whichever period it would have paid for.
    fn dunned_period(&self, period: u32) -> u32 {
        let is_ours = self.terms.mode == Mode::MerchantRun;
        let owed = self.episode().filter(|_| is_ours);
        owed.map_or(period, |episode| episode.period)
    }

    /// Periods count, not attempts: nothing says that ECPay counts retries (§1.5), and a contract that is given up too
    /// early goes on charging, while an end that is noticed late is found by polling.
    fn provider_gave_up(&self) -> bool {
        let paid = self.latest_charged().unwrap_or(0);
        let failed = self.refused.iter().filter(|period| **period > paid).count();
        let most = self.terms.provider_failures_max.map(usize::try_from);
        most.is_some_and(|most| most.is_ok_and(|most| failed >= most))
    }

    fn latest_charged(&self) -> Option<u32> {
        self.charged.last_key_value().map(|(period, _)| *period)
    }

    /// An unnumbered refusal is of the period of its day. Before the first charge there is no calendar and no dunning.
    fn refused_period(&self, at: Timestamp) -> Option<u32> {
        Some(period_of(self.terms.schedule, self.anchor?, taipei_date(at)?))
    }

    fn decide(&mut self, input: Input, at: Timestamp, period: Option<u32>, fact_key: &str) {
        let period = period.or(self.episode().map(|episode| episode.period));
        let (phase, step) = dunning::decide(self.phase, input, at, self.policy);
        self.phase = phase;
        if let Some(step) = step {
            self.push(step, period, at, fact_key);
        }
    }

    fn push(&mut self, step: Step, period: Option<u32>, at: Timestamp, fact_key: &str) {
        self.steps.push(Taken {
            key: step_key(step, period, fact_key),
            step,
            period,
            at,
        });
    }

    /// The latest period the charge of which was kept.
    fn latest_kept(&self) -> Option<u32> {
        let kept = self.charged.iter().filter(|(_, returned)| !**returned);
        kept.map(|(period, _)| *period).max()
    }

    fn paid_until(&self) -> Option<Timestamp> {
        self.paid_with(self.latest_kept()?)
    }

    /// Until when the charge of a period pays: to the end of its last day, as in `expiry`.
    fn paid_with(&self, period: u32) -> Option<Timestamp> {
        let next = due_on(self.terms.schedule, self.anchor?, period.checked_add(1)?)?;
        midnight(next.tomorrow().ok()?)
    }

    /// The next period that has not been tried and is not beyond the contract.
    fn next_period(&self) -> Option<u32> {
        let next = self.tried.saturating_add(1);
        (next <= u32::from(self.terms.schedule.times)).then_some(next)
    }

    /// What another attempt pays for: at the provider, the refused period; ours, the period that has come since.
    fn period_to_retry(&self, at: Timestamp) -> u32 {
        let owed = self.episode().map_or(self.tried, |episode| episode.period);
        let is_ours = self.terms.mode == Mode::MerchantRun;
        let today = self.anchor.zip(taipei_date(at)).filter(|_| is_ours);
        today.map_or(owed, |(anchor, day)| {
            owed.max(period_of(self.terms.schedule, anchor, day))
        })
    }

    fn finish(self, now: Timestamp) -> Standing {
        let charge_ahead = self.charge_ahead(now);
        // An attempt of ours without an answer may have succeeded.
        let is_under_way = self.terms.mode == Mode::MerchantRun && self.unanswered_since.is_some();
        let next_charge = charge_ahead.filter(|_| !is_under_way);
        Standing {
            awaits_first: self.awaits_first(),
            anchor: self.anchor,
            periods_paid: u32::try_from(self.charged.values().filter(|returned| !**returned).count())
                .unwrap_or(u32::MAX),
            period_kept: self.latest_kept(),
            paid_until: self.paid_until(),
            access_until: self.access_until(now),
            overdue_from: self.overdue_from(),
            next_retry: self.next_retry(now),
            poll_from: self.poll_from(next_charge),
            next_charge,
            charge_ahead,
            ends_at: self.ends_at(),
            closes_at: self.closes_at().map(|(at, _)| at),
            failures: self.episode().map_or(0, |episode| episode.failures),
            retries_asked: self.episode().map_or(0, |episode| episode.retries_asked),
            unanswered_since: self.unanswered_since,
            grace_ends_at: self.grace_ends_at(),
            periods_of: self.periods_of,
            phase: self.phase,
            steps: self.steps,
        }
    }

    /// Provider-run: what we expect. Merchant-run: what we make. Periods that passed without a word are not made up for.
    fn charge_ahead(&self, now: Timestamp) -> Option<Due> {
        let is_ours = self.terms.mode == Mode::MerchantRun;
        if self.ending.is_some() || !(self.may_charge() || self.awaits_first()) {
            return None;
        }
        let (anchor, schedule) = (self.anchor?, self.terms.schedule);
        let mut period = self.next_period()?;
        period = period.max(period_of(schedule, anchor, taipei_date(now)?));
        // What fell due while it rested is passed over by a provider's contract. We charge the period that runs: who resumes
        // wants the service, and nothing else would pay for it before the next due day.
        if !is_ours && self.resumed_at > due_at(schedule, anchor, period) {
            period = period.checked_add(1)?;
        }
        if period > u32::from(schedule.times) {
            return None;
        }
        let hour = if is_ours { CHARGE_HOUR } else { 0 };
        Some(Due {
            period,
            at: due_at(schedule, anchor, period)?.plus(hours(hour)),
        })
    }

    const fn may_charge(&self) -> bool {
        match (self.terms.mode, &self.phase) {
            // A provider's contract goes on charging, whatever we made of the refusal.
            (_, Phase::Active) | (Mode::ProviderRun, Phase::PastDue(_) | Phase::Downgraded(..)) => true,
            (Mode::MerchantRun, Phase::PastDue(_) | Phase::Downgraded(..))
            | (_, Phase::Pending | Phase::Paused | Phase::Over(..)) => false,
        }
    }

    fn next_retry(&self, now: Timestamp) -> Option<Retry> {
        let episode = self.episode()?;
        // Merchant-run: an attempt without an answer may have succeeded.
        if self.ending.is_some() || (self.terms.mode == Mode::MerchantRun && self.unanswered_since.is_some())
        {
            return None;
        }
        let (slot, at) = dunning::next_retry(episode, self.policy, now)?;
        Some(Retry {
            slot,
            period_owed: episode.period,
            at,
        })
    }

    fn poll_from(&self, next_charge: Option<Due>) -> Option<Timestamp> {
        if self.terms.mode == Mode::MerchantRun {
            return None;
        }
        let of_due = next_charge.map(|due| due.at.plus(hours(POLL_HOURS_AFTER_DUE)));
        let of_retry = self
            .unanswered_since
            .map(|at| at.plus(hours(POLL_HOURS_AFTER_RETRY)));
        of_due.into_iter().chain(of_retry).min()
    }

    /// Half a day after the next charge was due; while it is paid for and goes on.
    fn overdue_from(&self) -> Option<Timestamp> {
        if self.phase != Phase::Active || self.ends_at().is_some() {
            return None;
        }
        let next = self.latest_kept()?.checked_add(1)?;
        // Charged and paid back: that is news.
        let is_news = self.charged.contains_key(&next);
        let due = due_at(self.terms.schedule, self.anchor?, next).filter(|_| !is_news)?;
        // What fell due while it rested is not awaited.
        (self.resumed_at <= Some(due)).then(|| due.plus(hours(POLL_HOURS_AFTER_DUE)))
    }

    /// Nobody loses access because a notice was lost: overdue news give some days more.
    fn access_until(&self, now: Timestamp) -> Option<Timestamp> {
        let paid_until = self.paid_until();
        let is_overdue = self.overdue_from().is_some_and(|from| from <= now);
        match &self.phase {
            Phase::Pending => None,
            Phase::Active if is_overdue => paid_until.map(|at| at.plus(days(self.policy.news_days))),
            Phase::PastDue(episode) => paid_until.max(Some(episode.grace_ends_at)),
            Phase::Over(EndReason::Canceled | EndReason::Replaced, at) => paid_until.min(Some(*at)),
            Phase::Active | Phase::Paused | Phase::Downgraded(..) | Phase::Over(..) => paid_until,
        }
    }
}
