//! Proration: what the unused days of a paid period are worth, and what another plan costs with that taken off.
//!
//! `subscriptions` loads the charges of the running period → **proration** → preview, upgrade charge, refund.
//!
//! Invariants: whole TWD, no floats. A credit is never negative and never more than was paid, falls day by day to
//! nothing, and a change to the same price costs nothing. The arithmetic is total: what cannot be computed (two
//! currencies, a sum beyond the type) is `None`, and the caller refuses.
//!
//! `credit = ⌊paid × days_left / days⌋`, where `days` are those from the first paid day up to, without, the day on which
//! the next charge is due, and `days_left` those of them after today. Today has begun and counts as used; the due day
//! is the next charge's, although access lasts to its end (`standing`).
//!
//! NT$300 paid on 1 April for a month, 30 days: on 1 April 29 days are left, credit NT$290; on 15 April 15 days, NT$150;
//! on 30 April none. Another plan at NT$900 a month on 15 April then costs
//! - in place, the same due days: the new price for the days left less the credit, `⌊900 × 15 / 30⌋ − 150` = NT$300;
//! - as a new contract that begins today: the new price less the credit, `900 − 150` = NT$750. Where the provider
//!   charges the contract, it charges NT$900 and the NT$150 are refunded.
//!
//! Not here: who may change (`subscriptions`), which charges there are, moving the money (`refunds`, `ledger`).

use jiff::civil::Date;
use tollgate_shared::money::{Minor, Money};

use super::schedule::due_on;
use crate::domain::plan::Schedule;

/// A charge and the days that it pays for: at least one, and an amount that is not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PaidDays {
    paid: Money,
    /// The first day that is paid for.
    first: Date,
    /// The first that is not.
    next: Date,
}

/// A price with a credit taken off: at most one of the two is more than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Balance {
    /// To be charged.
    pub(crate) due: Money,
    /// To be paid back.
    pub(crate) refund: Money,
}

impl PaidDays {
    /// What was paid (refunds taken off) for the days from `first` up to, without, `next`. A charge for the rest of a
    /// period, as an upgrade in place makes one, pays from tomorrow on.
    pub(crate) fn new(paid: Money, first: Date, next: Date) -> Option<Self> {
        let is_whole = paid.amount_minor >= Minor::ZERO && first < next;
        is_whole.then_some(Self { paid, first, next })
    }

    /// What was paid, or another price, for a period of a schedule.
    pub(crate) fn of_period(paid: Money, schedule: Schedule, anchor: Date, period: u32) -> Option<Self> {
        let next = due_on(schedule, anchor, period.checked_add(1)?)?;
        Self::new(paid, due_on(schedule, anchor, period)?, next)
    }

    /// The days that it pays for.
    pub(crate) fn days(&self) -> u32 {
        days_between(self.first, self.next)
    }

    /// Those of them that have not begun.
    pub(crate) fn days_left(&self, today: Date) -> u32 {
        let tomorrow = today.tomorrow().unwrap_or(Date::MAX);
        days_between(tomorrow.max(self.first), self.next)
    }

    /// The share of the amount that falls on the days left, rounded down.
    pub(crate) fn credit(&self, today: Date) -> Money {
        let paid = i128::from(self.paid.amount_minor.get());
        let (left, days) = (i128::from(self.days_left(today)), i128::from(self.days()));
        // 63 bits times 32 fit; `days` is at least one, as `new` has it, and a share of an i64 is an i64.
        let share = paid.saturating_mul(left).checked_div(days).unwrap_or(0);
        Money {
            amount_minor: Minor::new(i64::try_from(share).unwrap_or(0)),
            currency: self.paid.currency,
        }
    }
}

/// The credit of every charge of the running period: its own, and those of upgrades since. `None` for no charge at all.
pub(crate) fn credit(charges: &[PaidDays], today: Date) -> Option<Money> {
    let credits = charges.iter().map(|charge| Some(charge.credit(today)));
    credits.reduce(|sum, credit| add(sum?, credit?)).flatten()
}

/// What `price` comes to after `credit`. In place, `price` is the new plan's share of the running period
/// (`PaidDays::of_period(new_price, …).credit(today)`); for a new contract, its whole first period.
pub(crate) fn balance(price: Money, credit: Money) -> Option<Balance> {
    let difference = add(
        price,
        Money {
            amount_minor: credit.amount_minor.checked_neg()?,
            ..credit
        },
    )?;
    let at_least_nothing = |amount_minor: Minor| Money {
        amount_minor: amount_minor.max(Minor::ZERO),
        ..price
    };
    Some(Balance {
        due: at_least_nothing(difference.amount_minor),
        refund: at_least_nothing(difference.amount_minor.checked_neg()?),
    })
}

fn add(one: Money, other: Money) -> Option<Money> {
    let amount_minor = one.amount_minor.checked_add(other.amount_minor)?;
    (one.currency == other.currency).then_some(Money { amount_minor, ..one })
}

/// Days from `first` up to, without, `next`; none where that is not later.
fn days_between(first: Date, next: Date) -> u32 {
    let days = first.until(next).map_or(0, |span| span.get_days());
    u32::try_from(days).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::{Date, date};
    use proptest::prelude::{Just, Strategy, any, prop, proptest};
    use proptest::test_runner::Config;
    use tollgate_shared::money::Money;

    use super::{Balance, PaidDays, balance, credit};
    use crate::domain::plan::{FirstCharge, PeriodUnit, Schedule};

    /// Paid, first day, next due day, today; then days, days left, credit.
    const CREDITS: &str = "
        300 2026-04-01 2026-05-01 2026-04-01 | 30 29 290 | the first day has begun
        300 2026-04-01 2026-05-01 2026-04-02 | 30 28 280 |
        300 2026-04-01 2026-05-01 2026-04-15 | 30 15 150 | the example of the header
        300 2026-04-01 2026-05-01 2026-04-29 | 30  1  10 |
        300 2026-04-01 2026-05-01 2026-04-30 | 30  0   0 | the last day has begun
        300 2026-04-01 2026-05-01 2026-05-01 | 30  0   0 | the due day is the next charge's
        300 2026-04-01 2026-05-01 2026-08-01 | 30  0   0 | long past due
        300 2026-04-01 2026-05-01 2026-03-31 | 30 30 300 | charged a day early: everything is left
        300 2026-04-01 2026-05-01 2026-01-01 | 30 30 300 | and never more than everything
        299 2026-04-01 2026-05-01 2026-04-10 | 30 20 199 | 199.33, rounded down
        100 2026-04-01 2026-05-01 2026-04-28 | 30  2   6 | 6.66, rounded down
          1 2026-04-01 2026-05-01 2026-04-02 | 30 28   0 | less than a dollar is nothing
          0 2026-04-01 2026-05-01 2026-04-02 | 30 28   0 | paid back before
        310 2026-01-31 2026-02-28 2026-02-14 | 28 13 143 | 31 January to 28 February
        290 2028-01-31 2028-02-29 2028-02-19 | 29  9  90 | in a leap year to the 29th
       3650 2026-03-01 2027-03-01 2026-03-31 | 365 334 3340 | a year
       3660 2027-03-01 2028-03-01 2027-03-31 | 366 335 3350 | a year over a leap day
        700 2026-11-20 2026-11-27 2026-11-23 |  7  3 300 | a week
         99 2026-11-20 2026-11-21 2026-11-20 |  1  0   0 | a day leaves nothing
        150 2026-04-16 2026-05-01 2026-04-15 | 15 15 150 | what an upgrade charged today for the rest
        150 2026-04-16 2026-05-01 2026-04-16 | 15 14 140 |
        9223372036854775807 2026-04-01 2026-05-01 2026-04-15 | 30 15 4611686018427387903 | no amount overflows
    ";

    #[test]
    fn unused_days_are_worth_their_share_rounded_down() {
        let mut rows = 0;
        for row in CREDITS.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let mut cells = row
                .split('|')
                .map(|cell| cell.split_whitespace().collect::<Vec<_>>());
            let (given, expected) = (cells.next().unwrap(), cells.next().unwrap());
            let [paid, first, next, today] = given[..] else {
                panic!("{row}")
            };
            let paid = Money::twd(paid.parse().unwrap());
            let days = PaidDays::new(paid, day(first), day(next)).unwrap();
            let found = [
                i64::from(days.days()),
                i64::from(days.days_left(day(today))),
                days.credit(day(today)).amount_minor.get(),
            ];
            let expected: Vec<i64> = expected.iter().map(|cell| cell.parse().unwrap()).collect();
            assert_eq!(found[..], expected, "{row}");
            rows += 1;
        }
        assert_eq!(rows, 22);
    }

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn monthly() -> Schedule {
        Schedule {
            unit: PeriodUnit::Month,
            frequency: 1,
            times: 12,
            first_charge: FirstCharge::Build,
            period_date: None,
            first_amount: None,
        }
    }

    #[test]
    fn an_upgrade_in_place_or_by_a_new_contract_costs_what_the_header_says() {
        let (anchor, today) = (date(2026, 4, 1), date(2026, 4, 15));
        let period = |price| PaidDays::of_period(Money::twd(price), monthly(), anchor, 1).unwrap();
        let credit = credit(&[period(300)], today).unwrap();
        let in_place = balance(period(900).credit(today), credit).unwrap();
        assert_eq!((in_place.due, in_place.refund), (Money::twd(300), Money::twd(0)));
        let anew = balance(Money::twd(900), credit).unwrap();
        assert_eq!((anew.due, anew.refund), (Money::twd(750), Money::twd(0)));
        let cheaper = balance(Money::twd(100), credit).unwrap();
        assert_eq!((cheaper.due, cheaper.refund), (Money::twd(0), Money::twd(50)));
    }

    #[test]
    fn periods_follow_the_calendar_of_the_schedule() {
        let second = PaidDays::of_period(Money::twd(310), monthly(), date(2026, 1, 31), 2).unwrap();
        assert_eq!(
            (second.first, second.next),
            (date(2026, 2, 28), date(2026, 3, 31))
        );
        assert_eq!(second.days(), 31);
    }

    #[test]
    fn what_is_no_paid_time_is_refused() {
        let (first, next) = (date(2026, 4, 1), date(2026, 5, 1));
        assert_eq!(PaidDays::new(Money::twd(-1), first, next), None);
        assert_eq!(PaidDays::new(Money::twd(1), first, first), None);
        assert_eq!(PaidDays::new(Money::twd(1), next, first), None);
        assert_eq!(PaidDays::of_period(Money::twd(1), monthly(), first, 0), None);
        assert_eq!(
            PaidDays::of_period(Money::twd(1), monthly(), first, u32::MAX),
            None
        );
        assert_eq!(credit(&[], first), None);
        let most = PaidDays::new(Money::twd(i64::MAX), next, date(2026, 6, 1)).unwrap();
        assert_eq!(
            credit(&[most, most], first),
            None,
            "a sum beyond the type is refused"
        );
        assert_eq!(balance(Money::twd(i64::MAX), Money::twd(-1)), None);
        assert_eq!(balance(Money::twd(0), Money::twd(i64::MIN)), None);
    }

    fn some_days() -> impl Strategy<Value = (Date, Date)> {
        (0_i64..4000, 1_i64..800).prop_map(|(offset, length)| {
            let first = date(2024, 1, 1).checked_add(offset.days()).unwrap();
            (first, first.checked_add(length.days()).unwrap())
        })
    }

    fn seeded() -> Config {
        Config {
            cases: 512,
            rng_seed: proptest::test_runner::RngSeed::Fixed(4),
            ..Config::default()
        }
    }

    proptest! {
        #![proptest_config(seeded())]

        #[test]
        fn a_credit_is_within_what_was_paid_and_falls_day_by_day(
            (first, next) in some_days(), paid in some_amount(), offset in -5_i64..900,
        ) {
            let days = PaidDays::new(Money::twd(paid), first, next).unwrap();
            let today = first.checked_add(offset.days()).unwrap();
            let (now, later) = (amount(days.credit(today)), amount(days.credit(today.tomorrow().unwrap())));
            assert!((0..=paid).contains(&now), "{now}");
            assert!(later <= now, "{now} then {later}");
            assert!(days.days_left(today) <= days.days());
            assert_eq!(now == paid, offset < 0 || paid == 0, "all of it is left only before the first day");
            assert_eq!(i128::from(now), rest_after_used(days, paid, today));
        }

        #[test]
        fn one_side_of_a_balance_is_nothing(price in 0_i64..2_000_000, credit in 0_i64..2_000_000) {
            let Balance { due, refund } = balance(Money::twd(price), Money::twd(credit)).unwrap();
            assert_eq!(sum(amount(due), credit), sum(amount(refund), price));
            assert!(amount(due) == 0 || amount(refund) == 0);
            assert!(amount(due) >= 0 && amount(refund) >= 0);
            assert!(amount(refund) <= credit && amount(due) <= price);
        }

        /// The road does not matter: a step between costs neither more nor less than the change at once.
        #[test]
        fn two_upgrades_on_a_day_cost_what_one_costs(
            (first, next) in some_days(), mut prices in prop::array::uniform3(1_i64..1_000_000), any_day in any::<prop::sample::Index>(),
        ) {
            prices.sort_unstable();
            let period = |price| PaidDays::new(Money::twd(price), first, next).unwrap();
            let today = first.checked_add(i64::try_from(any_day.index(900)).unwrap().days()).unwrap();
            let upgrade = |to: i64, charges: &[PaidDays]| {
                balance(period(to).credit(today), credit(charges, today).unwrap()).unwrap().due
            };
            let mut charges = vec![period(prices[0])];
            let directly = upgrade(prices[2], &charges);
            assert_eq!(amount(upgrade(prices[0], &charges)), 0, "the same price costs nothing");
            let halfway = upgrade(prices[1], &charges);
            charges.extend(PaidDays::new(halfway, today.tomorrow().unwrap(), next));
            let rest = upgrade(prices[2], &charges);
            assert_eq!(sum(amount(halfway), amount(rest)), amount(directly));
        }
    }

    fn some_amount() -> impl Strategy<Value = i64> {
        proptest::prop_oneof![0_i64..1000, 0_i64..10_000_000, Just(i64::MAX)]
    }

    fn amount(money: Money) -> i64 {
        money.amount_minor.get()
    }

    /// The other way round: what is left when the days that have begun are paid for, parts of a dollar with them.
    fn rest_after_used(days: PaidDays, paid: i64, today: Date) -> i128 {
        let (all, used) = (days.days(), days.days().strict_sub(days.days_left(today)));
        let used_of_paid = i128::from(paid).strict_mul(i128::from(used));
        let rounded_up = used_of_paid
            .strict_add(i128::from(all).strict_sub(1))
            .div_euclid(i128::from(all));
        i128::from(paid).strict_sub(rounded_up)
    }

    fn sum(one: i64, other: i64) -> i64 {
        one.checked_add(other).unwrap()
    }
}
