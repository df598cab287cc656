//! A subscription in a test: what was told so far, and what the sweep would ask for.
//!
//! timelines and properties → **`World`** → `standing`, as `subscriptions::refold` does it: what is due becomes a fact.
//!
//! Invariant: `asks` asks for what is due exactly as `subscriptions::wanted` does, a fact a name, at most once.

use tollgate_shared::money::Money;
use tollgate_shared::time::Timestamp;

use crate::domain::plan::{FirstCharge, PeriodUnit, Schedule};
use crate::domain::subscription::standing::{Standing, standing};
use crate::domain::subscription::{Fact, Known, Mode, Noted, Policy, RetrySlot, Terms, What};

/// What is known of one subscription.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) terms: Terms,
    pub(super) policy: Policy,
    pub(super) known: Known,
}

/// Terms of so many charges.
pub(super) fn terms(mode: Mode, unit: PeriodUnit, times: u16) -> Terms {
    Terms {
        mode,
        schedule: Schedule {
            unit,
            frequency: 1,
            times,
            first_charge: FirstCharge::Build,
            period_date: None,
            first_amount: None,
        },
        anchor: None,
        price: Money::twd(300),
        provider_failures_max: None,
    }
}

impl World {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            policy: Policy::default(),
            known: Known {
                facts: Vec::new(),
                under_way_since: None,
            },
        }
    }

    /// A fact, named by its number. An attempt is the answer to the charge of ours that is under way.
    pub(super) fn tell(&mut self, what: What, occurred_at: Timestamp, told_at: Timestamp) {
        // Names that sort on both sides of the sweep's own.
        let is_wish = matches!(what, What::Noted(_));
        let door = if is_wish { "wish" } else { "attempt" };
        let key = format!("{door}:{}", self.known.facts.len());
        if !is_wish {
            self.known.under_way_since = None;
        }
        self.known.facts.push(Fact {
            key,
            occurred_at,
            told_at,
            what,
        });
    }

    pub(super) fn standing(&self, now: Timestamp) -> Standing {
        standing(&self.terms, &self.known, &self.policy, now)
    }

    /// The sweep at `now`: asks for what is due, and says what was asked for.
    pub(super) fn sweep(&mut self, now: Timestamp) -> Option<Noted> {
        let (key, noted) = self.wanted(now)?;
        assert!(
            self.known.facts.iter().all(|fact| fact.key != key),
            "{key} is wanted once more: the row would be looked at for ever: {:?}",
            self.known
        );
        self.known.facts.push(Fact {
            key,
            occurred_at: now,
            told_at: now,
            what: What::Noted(noted),
        });
        // What becomes a charge of ours; at the provider, it is the provider's.
        if self.terms.mode == Mode::MerchantRun {
            self.known.under_way_since = Some(now);
        }
        Some(noted)
    }

    fn wanted(&self, now: Timestamp) -> Option<(String, Noted)> {
        let standing = self.standing(now);
        if let Some(retry) = standing.next_retry.filter(|retry| retry.at <= now) {
            let key = match retry.slot {
                RetrySlot::Scheduled(number) => format!("retry:{}:{number}", retry.period_owed),
                RetrySlot::CardChanged | RetrySlot::Manual => {
                    format!("retry:{}:card:{}", retry.period_owed, retry.at.unix_ms())
                }
            };
            return Some((key, Noted::RetryAsked(retry.slot)));
        }
        let is_ours = self.terms.mode == Mode::MerchantRun;
        let due = standing.next_charge.filter(|due| is_ours && due.at <= now)?;
        Some((
            format!("charge:{}", due.period),
            Noted::ChargeAsked { period: due.period },
        ))
    }
}
