//! Before the first charge, where its day was agreed and a card is bound for it (PU-7).
//!
//! `standing` → **these rules** → steps, and whether a first charge is awaited.
//!
//! Invariants: a card that is bound pays for nothing, so there is no access, no period and no grace before the first
//! charge; a charge that comes unannounced counts as any. Only a contract at the provider is awaited: we bind no card.
//! A first charge that is refused is a failed payment and begins no dunning; the contract goes on to the next period.
//! Not here: which authorisation binds a card (`shared`), the money (`apply`).

use tollgate_shared::time::Timestamp;

use super::Fold;
use crate::domain::subscription::dunning::{Phase, Step};
use crate::domain::subscription::{Mode, Noted, What};

impl Fold<'_> {
    /// A card was bound. After the first charge that is no news.
    pub(super) fn bound(&mut self, told_at: Timestamp, key: &str) {
        if self.awaits_first() {
            self.push(Step::CardBound, Some(1), told_at, key);
        }
    }

    /// Whether a first charge is to come without the customer: its day was agreed, and a card is bound. By whichever
    /// clock: the provider's may be ahead of ours, and nobody would look again.
    pub(super) fn awaits_first(&self) -> bool {
        let is_agreed = self.terms.mode == Mode::ProviderRun && self.terms.anchor.is_some();
        is_agreed && self.phase == Phase::Pending && self.bound_at().is_some()
    }

    /// When a card was bound first.
    fn bound_at(&self) -> Option<Timestamp> {
        let is_binding = |what: &What| matches!(what, What::Noted(Noted::CardBound));
        let mut facts = self.facts.iter();
        facts
            .find(|fact| is_binding(&fact.what))
            .map(|fact| fact.occurred_at)
    }

    /// At the cashier a customer tries cards, and no provider counts that. With a card that is bound it was the period's
    /// charge, and the next is the next period's.
    pub(super) fn declined_before_first(&mut self, period: u32, at: Timestamp) {
        if self.awaits_first() && self.bound_at() <= Some(at) {
            self.tried = self.tried.max(period);
        }
    }
}
