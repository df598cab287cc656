//! The customer's bank: agrees to every charge, unless a test says that the card is bad.
//!
//! control → **[`Bank`]** ← a contract or a stored card asks before each charge.
//!
//! Invariants: rules hold for retries as for first attempts until they are lifted, because a bad card does not get
//! better by being asked again; only `next` is used up. The day that counts for `dates` is the day on which the
//! period was due, the one for `from` and `until` is the day of the attempt.
//! Not here: how a decline looks on the wire (`ecpay`, `payuni`). Nothing here fails.

use std::collections::BTreeSet;

use jiff::civil::Date;

/// What the bank does with the charges of one card.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bank {
    /// Declines from `from` (or from ever) to the day before `until` (or for good).
    pub(crate) bad: bool,
    pub(crate) from: Option<Date>,
    pub(crate) until: Option<Date>,
    /// Periods that were due on these days are declined.
    pub(crate) dates: BTreeSet<Date>,
    /// So many attempts to come are declined.
    pub(crate) next: u32,
    /// The code of a decline; the provider's own where none was chosen.
    pub(crate) code: Option<String>,
}

impl Bank {
    /// Whether an attempt is approved.
    pub(crate) fn approves(&mut self, due_on: Date, today: Date) -> bool {
        let on_its_day = self.dates.contains(&due_on);
        let bad_today = self.bad
            && self.from.is_none_or(|from| from <= today)
            && self.until.is_none_or(|until| today < until);
        if on_its_day || bad_today {
            return false;
        }
        match self.next.checked_sub(1) {
            Some(rest) => {
                self.next = rest;
                false
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Bank;

    #[test]
    fn rules_stay_until_they_are_lifted_and_next_is_used_up() {
        let day = |text: &str| text.parse().unwrap();
        let mut bank = Bank {
            dates: [day("2027-01-31")].into(),
            next: 1,
            ..Bank::default()
        };
        assert!(!bank.approves(day("2027-01-31"), day("2027-01-31")));
        assert!(!bank.approves(day("2027-01-31"), day("2027-02-03")), "a retry");
        assert!(!bank.approves(day("2027-02-28"), day("2027-02-28")), "next");
        assert!(bank.approves(day("2027-02-28"), day("2027-03-01")));
        let mut bad = Bank {
            bad: true,
            from: Some(day("2027-02-01")),
            until: Some(day("2027-02-10")),
            ..Bank::default()
        };
        let answers = ["2027-01-31", "2027-02-01", "2027-02-09", "2027-02-10"]
            .map(|today| bad.approves(day("2027-01-01"), day(today)));
        assert_eq!(answers, [true, false, false, true]);
    }
}
