//! How a contract's charges are told: whether at all, how late, and with which faults.
//!
//! control → **[`Telling`]** ← `play`, before a notice goes out; `ecpay` asks it for spellings.
//!
//! Invariant: only what is told is bent here; the charge itself, and what queries say about it, stays true.
//! Defaults: every charge is told at once, failed ones too (§1.4.3 leaves open whether ECPay does); `Gwsr` and `gwsr`
//! take turns, because sources disagree (§1.4.3); the log has the oddities seen in the field (§1.5).
//! Not here: re-sends (`delivery`). Nothing here fails.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil::Date;
use tollgate_shared::money::Minor;

/// What is wrong with one notice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    /// It is never sent.
    pub(crate) lost: bool,
    /// It is sent so much later, under the stamps of the charge.
    pub(crate) late: Duration,
    /// It says another amount, under a genuine MAC.
    pub(crate) amount: Option<Minor>,
}

/// Which notices have the fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Which {
    #[default]
    None,
    Next(u32),
    DueOn(BTreeSet<Date>),
    All,
}

/// How ECPay's period notice spells its authorisation number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// `Gwsr` for even periods, `gwsr` for odd ones.
    #[default]
    Alternating,
    Capital,
    Small,
}

/// How a contract's charges are told.
#[derive(Debug, Clone)]
pub(crate) struct Telling {
    pub(crate) which: Which,
    pub(crate) fault: Fault,
    pub(crate) failures_told: bool,
    pub(crate) spelling: Spelling,
    /// Whether `ExecLog` shows failed charges in their odd forms (§1.5).
    pub(crate) odd_log: bool,
    /// Whether `ExecLog` ends with a success that never was: no `gwsr`, no money (§1.5).
    pub(crate) ghost_in_log: bool,
}

impl Default for Telling {
    fn default() -> Self {
        Self {
            which: Which::None,
            fault: Fault::default(),
            failures_told: true,
            spelling: Spelling::default(),
            odd_log: true,
            ghost_in_log: false,
        }
    }
}

impl Telling {
    /// The fault of the next notice, about a charge that was due on a day.
    pub(crate) fn fault_of_next(&mut self, due_on: Date) -> Fault {
        let hit = match &mut self.which {
            Which::None => false,
            Which::All => true,
            Which::DueOn(days) => days.contains(&due_on),
            Which::Next(count) => match count.checked_sub(1) {
                Some(rest) => {
                    *count = rest;
                    true
                }
                None => false,
            },
        };
        if hit { self.fault } else { Fault::default() }
    }

    /// ECPay's name for the authorisation number in the notice of a period.
    pub(crate) const fn gwsr_name(&self, period: u32) -> &'static str {
        match self.spelling {
            Spelling::Capital => "Gwsr",
            Spelling::Small => "gwsr",
            Spelling::Alternating => {
                if period.is_multiple_of(2) {
                    "Gwsr"
                } else {
                    "gwsr"
                }
            }
        }
    }
}
