//! Until when a user's charges pay: calendar days and months of Asia/Taipei.
//!
//! `apply` loads every settled charge of a user → **expiry** → `users.subscription_expires_at`.
//!
//! Invariants: the answer depends on the *set* of charges, not on the order in which notices came; a charge that
//! falls into time already paid for extends it (buying twice loses nothing); months are counted from the first
//! day of an unbroken run, so 31 January gives 28 February and then 31 March, not 28 March.
//! Paid time ends at the end of its last day in Taiwan; the instant given is the first that is no longer paid.

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use tollgate_shared::time::Timestamp;

/// How long one charge lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// Calendar days.
    Days(u16),
    /// Calendar months; a short month ends on its last day.
    Months(u16),
    /// Without an end.
    Forever,
}

/// A settled charge, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PaidCharge {
    /// When the money was charged.
    pub(crate) paid_at: Timestamp,
    /// What it pays for.
    pub(crate) span: Span,
}

/// An unbroken run of paid time: its first day, its last day, and the charges of one span it consists of.
struct Run {
    first: Date,
    last: Date,
    span: Span,
    count: i64,
}

/// The first instant that `charges` do not pay for; `None` where there is none (no charge, or one for ever).
pub(crate) fn expires_at(charges: &[PaidCharge]) -> Option<Timestamp> {
    if charges.iter().any(|charge| charge.span == Span::Forever) {
        return None;
    }
    let mut ordered = charges.to_vec();
    ordered.sort_by_key(|charge| (charge.paid_at, span_order(charge.span)));
    let mut run: Option<Run> = None;
    for charge in ordered {
        run = Some(extend(run, charge)?);
    }
    midnight_after(run?.last)
}

/// Adds a charge to the run that it falls into, or begins another.
fn extend(run: Option<Run>, charge: PaidCharge) -> Option<Run> {
    let paid_on = taipei_date(charge.paid_at)?;
    let (first, count) = match run {
        Some(run) if paid_on <= run.last && run.span == charge.span => (run.first, run.count.checked_add(1)?),
        Some(run) if paid_on <= run.last => (run.last, 1),
        _ => (paid_on, 1),
    };
    Some(Run {
        first,
        last: add(first, charge.span, count)?,
        span: charge.span,
        count,
    })
}

fn add(first: Date, span: Span, count: i64) -> Option<Date> {
    let units = |length: u16| i64::from(length).checked_mul(count);
    match span {
        Span::Days(days) => first
            .checked_add(jiff::Span::new().try_days(units(days)?).ok()?)
            .ok(),
        Span::Months(months) => first
            .checked_add(jiff::Span::new().try_months(units(months)?).ok()?)
            .ok(),
        Span::Forever => None,
    }
}

const fn span_order(span: Span) -> (u8, u16) {
    match span {
        Span::Days(days) => (0, days),
        Span::Months(months) => (1, months),
        Span::Forever => (2, 0),
    }
}

fn taipei_date(instant: Timestamp) -> Option<Date> {
    let instant = jiff::Timestamp::from_millisecond(instant.unix_ms()).ok()?;
    Some(instant.to_zoned(taipei()).date())
}

fn midnight_after(last: Date) -> Option<Timestamp> {
    let midnight = last.tomorrow().ok()?.to_zoned(taipei()).ok()?;
    Some(Timestamp::from_unix_ms(midnight.timestamp().as_millisecond()))
}

/// Taiwan has been UTC+8 without daylight saving since 1979.
fn taipei() -> TimeZone {
    TimeZone::fixed(Offset::constant(8))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, proptest};
    use tollgate_shared::time::{ECPAY_FORMAT, Timestamp};

    use super::{PaidCharge, Span, expires_at};

    fn at(text: &str) -> Timestamp {
        Timestamp::from_taipei(ECPAY_FORMAT, text).unwrap()
    }

    /// One row a case: charges as `taipei time + span`, then the last paid second in Taiwan.
    const TABLE: &str = "
        2026/11/21 10:00:00 30d                             | 2026/12/21 23:59:59 | a day plan counts calendar days
        2026/11/21 00:00:00 30d                             | 2026/12/21 23:59:59 | whatever the hour
        2026/11/21 23:59:59 30d                             | 2026/12/21 23:59:59 |
        2026/01/31 10:00:00 1m                              | 2026/02/28 23:59:59 | a short month ends on its last day
        2028/01/31 10:00:00 1m                              | 2028/02/29 23:59:59 | a leap year's too
        2026/01/31 10:00:00 1m, 2026/02/28 04:00:00 1m      | 2026/03/31 23:59:59 | and the 31st comes back
        2026/01/31 10:00:00 1m, 2026/02/28 04:00:00 1m, 2026/03/31 04:00:00 1m | 2026/04/30 23:59:59 |
        2026/03/31 10:00:00 12m                             | 2027/03/31 23:59:59 | a year
        2028/02/29 10:00:00 12m                             | 2029/02/28 23:59:59 | a year from a leap day
        2028/02/29 10:00:00 12m, 2029/02/28 10:00:00 12m, 2030/02/28 10:00:00 12m, 2031/02/28 10:00:00 12m | 2032/02/29 23:59:59 |
        2026/11/01 10:00:00 30d, 2026/11/20 10:00:00 30d    | 2026/12/31 23:59:59 | paying early loses nothing
        2026/11/20 10:00:00 30d, 2026/11/01 10:00:00 30d    | 2026/12/31 23:59:59 | in whatever order it is told
        2026/01/01 10:00:00 30d, 2026/06/01 10:00:00 30d    | 2026/07/01 23:59:59 | a gap is not paid for
        2026/11/01 10:00:00 30d, 2026/11/20 10:00:00 1m     | 2027/01/01 23:59:59 | another span joins at the end
        2026/12/31 23:30:00 1d                              | 2027/01/01 23:59:59 | over the new year
    ";

    #[test]
    fn pm_4_expiry_follows_the_calendar_of_taiwan() {
        let mut rows = 0;
        for row in TABLE.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let mut cells = row.split('|').map(str::trim);
            let charges: Vec<PaidCharge> = cells.next().unwrap().split(", ").map(charge).collect();
            let last_paid = at(cells.next().unwrap());
            assert_eq!(
                expires_at(&charges),
                Some(Timestamp::from_unix_ms(last_paid.unix_ms() + 1000)),
                "{row}"
            );
            rows += 1;
        }
        assert_eq!(rows, 15);
        assert_eq!(expires_at(&[]), None);
    }

    fn charge(text: &str) -> PaidCharge {
        let (time, span) = text.rsplit_once(' ').unwrap();
        let (length, is_days) = match span.strip_suffix('d') {
            Some(length) => (length.parse().unwrap(), true),
            None => (span.strip_suffix('m').unwrap().parse().unwrap(), false),
        };
        PaidCharge {
            paid_at: at(time),
            span: if is_days {
                Span::Days(length)
            } else {
                Span::Months(length)
            },
        }
    }

    fn some_charge() -> impl Strategy<Value = PaidCharge> {
        let span = prop::sample::select(vec![
            Span::Days(30),
            Span::Days(1),
            Span::Months(1),
            Span::Months(12),
        ]);
        (1_760_000_000_i64..1_860_000_000, span).prop_map(|(paid_at, span)| PaidCharge {
            paid_at: Timestamp::from_unix_seconds(paid_at),
            span,
        })
    }

    proptest! {
        #[test]
        fn pm_8_expiry_depends_on_the_set_of_charges_only(
            (charges, shuffled) in prop::collection::vec(some_charge(), 0..8)
                .prop_flat_map(|charges| (Just(charges.clone()), Just(charges).prop_shuffle()))
        ) {
            assert_eq!(expires_at(&charges), expires_at(&shuffled));
        }

        #[test]
        fn pm_8_another_charge_never_shortens_what_is_paid(charges in prop::collection::vec(some_charge(), 1..8), index in any::<prop::sample::Index>()) {
            let mut fewer = charges.clone();
            fewer.remove(index.index(charges.len()));
            assert!(expires_at(&fewer) <= expires_at(&charges));
        }
    }
}
