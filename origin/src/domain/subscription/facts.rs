//! Which facts count: each once, in the order in which they happened.
//!
//! `subscriptions` loads facts as they came → **`canonical`** → `standing`.
//!
//! Invariants: the result depends on the set of facts alone, not on their order or number; of several tellings of one
//! refusal one stays. Not here: what the facts amount to.

use std::collections::BTreeMap;

use super::schedule::taipei_date;
use super::{Fact, Mode, Terms, What};

/// Sorted by when it happened, each once, without refusals that are second tellings of another.
pub(super) fn canonical(terms: &Terms, facts: &[Fact]) -> Vec<Fact> {
    let mut by_key: BTreeMap<&str, Fact> = BTreeMap::new();
    for fact in facts {
        by_key
            .entry(&fact.key)
            .and_modify(|known| known.told_at = known.told_at.min(fact.told_at))
            .or_insert_with(|| fact.clone());
    }
    let mut sorted: Vec<Fact> = by_key.into_values().collect();
    sorted.sort_by(|one, other| (one.occurred_at, &one.key).cmp(&(other.occurred_at, &other.key)));
    let mut kept: Vec<Fact> = Vec::with_capacity(sorted.len());
    for fact in &sorted {
        if !is_second_telling(terms, fact, &sorted, &kept) {
            kept.push(fact.clone());
        }
    }
    kept
}

/// ECPay's log may hold one failure twice, with and without its number (§1.5), and a poll may know no number at all: an
/// unnumbered refusal beside another one of the same day is that one.
fn is_second_telling(terms: &Terms, fact: &Fact, all: &[Fact], kept: &[Fact]) -> bool {
    let What::Declined {
        numbered: false,
        period,
        ..
    } = &fact.what
    else {
        return false;
    };
    let same = |other: &Fact| {
        let What::Declined {
            numbered,
            period: theirs,
            ..
        } = &other.what
        else {
            return false;
        };
        other.key != fact.key
            && (*numbered || kept.iter().any(|known| known.key == other.key))
            && taipei_date(other.occurred_at) == taipei_date(fact.occurred_at)
            && (period.is_none() || theirs.is_none() || period == theirs)
    };
    terms.mode == Mode::ProviderRun && all.iter().any(same)
}
