//! Which facts count: each once, in the order in which they happened.
//!
//! `subscriptions` loads facts as they came → **`unique`, `canonical`** → `standing`.
//!
//! Invariants: the result depends on the set of facts alone, not on their order or number; of several tellings of one
//! refusal one stays. Not here: what the facts amount to.

use std::collections::BTreeMap;

use jiff::civil::Date;
use tollgate_shared::time::Timestamp;

use super::schedule::taipei_date;
use super::{Fact, Mode, Noted, Terms, What};

/// Each once, sorted by when it happened.
pub(super) fn unique(facts: &[Fact]) -> Vec<Fact> {
    let mut by_key: BTreeMap<&str, Fact> = BTreeMap::new();
    for fact in facts {
        by_key
            .entry(&fact.key)
            .and_modify(|known| merge(known, fact))
            .or_insert_with(|| fact.clone());
    }
    let mut unique: Vec<Fact> = by_key.into_values().collect();
    sort(&mut unique);
    unique
}

/// Of unique facts, those that count: without refusals that are second tellings of another.
pub(super) fn canonical(terms: &Terms, facts: Vec<Fact>) -> Vec<Fact> {
    let may_be_second = |fact: &Fact| terms.mode == Mode::ProviderRun && is_unnumbered(fact);
    let (doubtful, mut kept): (Vec<Fact>, Vec<Fact>) = facts.into_iter().partition(may_be_second);
    for fact in doubtful {
        match kept.iter_mut().find(|known| is_same_refusal(known, &fact)) {
            Some(known) => known.told_at = known.told_at.min(fact.told_at),
            None => kept.push(fact),
        }
    }
    sort(&mut kept);
    kept
}

fn sort(facts: &mut [Fact]) {
    let order = |fact: &Fact| (fact.occurred_at, rank(&fact.what));
    facts.sort_by(|one, other| (order(one), &one.key).cmp(&(order(other), &other.key)));
}

/// Of one instant: a wish is about what has happened, and what we asked for follows from both. Names must not decide it:
/// half of them are the callers'.
const fn rank(what: &What) -> u8 {
    match what {
        What::Charged { .. } | What::Declined { .. } => 0,
        What::Noted(Noted::ChargeAsked { .. } | Noted::RetryAsked(_)) => 2,
        What::Noted(_) => 1,
    }
}

/// Two tellings of one fact: known since the first, and paid back if either says so.
fn merge(known: &mut Fact, again: &Fact) {
    known.told_at = known.told_at.min(again.told_at);
    if let (What::Charged { returned, .. }, What::Charged { returned: told, .. }) =
        (&mut known.what, &again.what)
    {
        *returned = *returned || *told;
    }
}

const fn is_unnumbered(fact: &Fact) -> bool {
    matches!(fact.what, What::Declined { numbered: false, .. })
}

/// ECPay's log may hold one failure twice, with and without its number (§1.5), and a poll may know no number at all: an
/// unnumbered refusal beside another one of the same day is that one.
fn is_same_refusal(known: &Fact, unnumbered: &Fact) -> bool {
    let period_of = |fact: &Fact| match fact.what {
        What::Declined { period, .. } => Some(period),
        What::Charged { .. } | What::Noted(_) => None,
    };
    let (Some(one), Some(other)) = (period_of(known), period_of(unnumbered)) else {
        return false;
    };
    taipei_date(known.occurred_at) == taipei_date(unnumbered.occurred_at)
        && (one.is_none() || other.is_none() || one == other)
}

/// Since when the newest attempt that the provider was asked for has no answer (provider-run). By when we were told, not
/// by when it happened: the provider's clock is not ours and has whole seconds, so an answer may seem older than its
/// question.
pub(crate) fn unanswered_since(facts: &[Fact]) -> Option<Timestamp> {
    let newest = |is_wanted: fn(&What) -> bool| {
        let wanted = facts.iter().filter(|fact| is_wanted(&fact.what));
        wanted.map(|fact| fact.told_at).max()
    };
    let asked = newest(|what| matches!(what, What::Noted(Noted::RetryAsked(_))));
    let answered = newest(|what| matches!(what, What::Charged { .. } | What::Declined { .. }));
    asked.filter(|asked| answered < Some(*asked))
}

/// The day of the first charge: agreed, or that of the first that came.
pub(super) fn anchor(terms: &Terms, facts: &[Fact]) -> Option<Date> {
    let first = facts
        .iter()
        .find(|fact| matches!(fact.what, What::Charged { .. }));
    terms.anchor.or_else(|| taipei_date(first?.occurred_at))
}

/// The success that followed was known before the refusal: nobody is told that a charge failed which is paid.
pub(super) fn is_mended(facts: &[Fact], refusal: &Fact) -> bool {
    let is_charge = |fact: &&Fact| matches!(fact.what, What::Charged { .. });
    let mut charges = facts.iter().filter(is_charge);
    charges.any(|charge| charge.occurred_at >= refusal.occurred_at && charge.told_at <= refusal.told_at)
}
