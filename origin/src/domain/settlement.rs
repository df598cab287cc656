//! How a settlement file of ECPay's and the books differ (OP-5).
//!
//! `commands::reconcile` reads the file and loads the charges → **`differences`** → a line each for an operator.
//!
//! A charge and its line have the same number, but for the later charges of a periodic order: their notices tell the number
//! of the authorisation (Gwsr), and the file that of the charge. Those are paired by order and day, in the order of time;
//! a period is charged once a day at most.
//! Invariants: a line is paired with one charge and a charge with one line, whatever the order of either; what is wrong with a
//! pair is told once, the gravest first. Nothing is concluded about money: a file is not signed.
//! Not here: the file's form (`shared`), which charges to load (`db::settlements`), whose file it is (`commands`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use tollgate_shared::id::PaymentId;
use tollgate_shared::money::Minor;
use tollgate_shared::provider::ecpay::settlement_file::SettlementLine;
use tollgate_shared::time::Timestamp;

/// A charge as the books have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BookedCharge {
    /// Which payment it settled.
    pub(crate) payment: PaymentId,
    /// Our order number, in capitals.
    pub(crate) order: String,
    /// The number under which it is booked.
    pub(crate) number: String,
    /// Whether it is a later charge of a periodic order.
    pub(crate) of_period: bool,
    /// When it was paid.
    pub(crate) paid_at: Timestamp,
    /// What the ledger says that came.
    pub(crate) settled_minor: Minor,
    /// What was paid back.
    pub(crate) refunded_minor: Minor,
}

/// How they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    /// The charge has a line already.
    TwiceInFile,
    /// The file has a charge that the books do not have.
    NotBooked,
    /// It is booked under another order.
    OtherOrder,
    /// It is booked, and the file says that no money came.
    NotPaidThere,
    /// The amounts differ.
    OtherAmount,
    /// What was paid back differs.
    OtherRefund,
    /// It is booked on one of the file's days, and the file does not have it.
    NotInFile,
}

impl Difference {
    /// What the command prints.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::TwiceInFile => "twice_in_file",
            Self::NotBooked => "not_booked",
            Self::OtherOrder => "other_order",
            Self::NotPaidThere => "not_paid_at_provider",
            Self::OtherAmount => "other_amount",
            Self::OtherRefund => "other_refund",
            Self::NotInFile => "not_in_file",
        }
    }
}

/// A difference, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    pub(crate) difference: Difference,
    pub(crate) line: Option<&'a SettlementLine>,
    pub(crate) booked: Option<&'a BookedCharge>,
}

/// Everything in which they differ: the file's lines in their order, then what the file lacks. `days` are the days of which
/// it has to hold every charge.
pub(crate) fn differences<'a>(
    lines: &'a [SettlementLine],
    booked: &'a [BookedCharge],
    days: &Range<Timestamp>,
) -> Vec<Found<'a>> {
    let pairs = pairs(lines, booked);
    let listed: BTreeSet<&str> = pairs
        .iter()
        .flatten()
        .map(|charge| charge.number.as_str())
        .collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (line, booked) in lines.iter().zip(pairs) {
        let is_first = seen.insert(line.trade_no.as_str());
        found.extend(of_line(line, booked, is_first).map(|difference| Found {
            difference,
            line: Some(line),
            booked,
        }));
    }
    let missing = booked.iter().filter(|charge| {
        // What was given up before it was captured is in no file.
        let is_gone = charge.refunded_minor >= charge.settled_minor && charge.settled_minor > Minor::ZERO;
        days.contains(&charge.paid_at) && !is_gone && !listed.contains(charge.number.as_str())
    });
    found.extend(missing.map(|charge| Found {
        difference: Difference::NotInFile,
        line: None,
        booked: Some(charge),
    }));
    found
}

fn of_line(line: &SettlementLine, booked: Option<&BookedCharge>, is_first: bool) -> Option<Difference> {
    if !is_first {
        return Some(Difference::TwiceInFile);
    }
    let Some(charge) = booked else {
        return line.is_paid().then_some(Difference::NotBooked);
    };
    let refunds_differ = line.refunded.is_some_and(|there| there != charge.refunded_minor);
    if charge.order != order(line) {
        Some(Difference::OtherOrder)
    } else if !line.is_paid() {
        Some(Difference::NotPaidThere)
    } else if charge.settled_minor != line.money.amount_minor {
        Some(Difference::OtherAmount)
    } else {
        refunds_differ.then_some(Difference::OtherRefund)
    }
}

/// The order number of a line, as ours are written: ECPay compares them without case.
pub(crate) fn order(line: &SettlementLine) -> String {
    line.order.as_str().to_uppercase()
}

/// The charge of each line.
fn pairs<'a>(lines: &[SettlementLine], booked: &'a [BookedCharge]) -> Vec<Option<&'a BookedCharge>> {
    let numbers: BTreeMap<&str, &BookedCharge> = booked
        .iter()
        .map(|charge| (charge.number.as_str(), charge))
        .collect();
    let mut pairs: Vec<Option<&BookedCharge>> = lines
        .iter()
        .map(|line| numbers.get(line.trade_no.as_str()).copied())
        .collect();
    let taken: BTreeSet<&str> = pairs
        .iter()
        .flatten()
        .map(|charge| charge.number.as_str())
        .collect();
    let mut by_day: BTreeMap<(String, String), Vec<&BookedCharge>> = BTreeMap::new();
    for charge in booked {
        if charge.of_period && !taken.contains(charge.number.as_str()) {
            let day = day(charge.paid_at);
            by_day
                .entry((charge.order.clone(), day))
                .or_default()
                .push(charge);
        }
    }
    // The latest first, to be taken from the end.
    for charges in by_day.values_mut() {
        charges.sort_by_key(|charge| std::cmp::Reverse(charge.paid_at));
    }
    let mut seen = BTreeSet::new();
    let mut unpaired: Vec<(Timestamp, usize)> = Vec::new();
    for (index, (line, pair)) in lines.iter().zip(&pairs).enumerate() {
        let is_first = seen.insert(line.trade_no.as_str());
        if pair.is_none() && is_first && line.is_paid() {
            unpaired.extend(line.paid_at.map(|at| (at, index)));
        }
    }
    unpaired.sort_unstable();
    for (paid_at, index) in unpaired {
        let Some((line, pair)) = lines.get(index).zip(pairs.get_mut(index)) else {
            continue;
        };
        *pair = by_day.get_mut(&(order(line), day(paid_at))).and_then(Vec::pop);
    }
    pairs
}

/// The day in Taipei.
fn day(at: Timestamp) -> String {
    at.to_taipei("%Y-%m-%d").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, prop, prop_assert, prop_assert_eq, proptest};
    use tollgate_shared::id::PaymentId;
    use tollgate_shared::money::Minor;
    use tollgate_shared::provider::ecpay::settlement_file::{SettlementLine, read};
    use tollgate_shared::time::{ECPAY_FORMAT, Timestamp};
    use uuid::Uuid;

    use super::{BookedCharge, differences};

    fn at(text: &str) -> Timestamp {
        let text = if text.len() == 10 {
            format!("{text} 09:30:00")
        } else {
            text.to_owned()
        };
        Timestamp::from_taipei(ECPAY_FORMAT, &text).unwrap()
    }

    /// `O1 17 300 0 2026/11/01 [words]`: order, number, amount, paid back, day.
    fn line(text: &str) -> SettlementLine {
        let cells: Vec<&str> = text.splitn(6, ' ').collect();
        let status = cells.get(5).copied().unwrap_or("已付款");
        let file = format!(
            "廠商訂單編號,綠界訂單編號,交易金額,退款金額,付款日期,付款狀態\n{},{},{},{},{},{status}",
            cells[0],
            cells[1],
            cells[2],
            cells[3],
            cells[4].replace('T', " ")
        );
        read(file.as_bytes()).unwrap().remove(0)
    }

    /// The same; `~` before the number is a later period.
    fn charge(text: &str) -> BookedCharge {
        let cells: Vec<&str> = text.splitn(5, ' ').collect();
        BookedCharge {
            payment: PaymentId::from_uuid(Uuid::nil()),
            order: cells[0].to_owned(),
            number: cells[1].trim_start_matches('~').to_owned(),
            of_period: cells[1].starts_with('~'),
            paid_at: at(&cells[4].replace('T', " ")),
            settled_minor: Minor::new(cells[2].parse().unwrap()),
            refunded_minor: Minor::new(cells[3].parse().unwrap()),
        }
    }

    fn told(lines: &[SettlementLine], booked: &[BookedCharge]) -> Vec<String> {
        let days = at("2026/11/01 00:00:00")..at("2026/12/01 00:00:00");
        let found = differences(lines, booked, &days);
        let number =
            |line: Option<&SettlementLine>| line.map_or("-".to_owned(), |line| line.trade_no.to_string());
        let own =
            |booked: Option<&BookedCharge>| booked.map_or("-".to_owned(), |charge| charge.number.clone());
        found
            .iter()
            .map(|found| {
                format!(
                    "{} {} {}",
                    found.difference.label(),
                    number(found.line),
                    own(found.booked)
                )
            })
            .collect()
    }

    /// Lines; charges; what is told: `+` between two of a kind.
    const TABLE: &str = "
        ;;
        O1 17 300 0 2026/11/01; O1 17 300 0 2026/11/01;
        o1 17 300 0 2026/11/01; O1 17 300 0 2026/11/01;
        O1 17 300 0 2026/11/01;; not_booked 17 -
        O1 17 300 0 2026/11/01 未付款;;
        ; O1 17 300 0 2026/11/30; not_in_file - 17
        ; O1 17 300 0 2026/12/01;
        ; O1 17 300 0 2026/10/31;
        ; O1 17 300 300 2026/11/01;
        ; O1 17 300 299 2026/11/01; not_in_file - 17
        ; O1 17 0 0 2026/11/01; not_in_file - 17
        O1 17 301 0 2026/11/01; O1 17 300 0 2026/11/01; other_amount 17 17
        O1 17 300 0 2026/11/01; O1 17 0 0 2026/11/01; other_amount 17 17
        O1 17 300 100 2026/11/01; O1 17 300 0 2026/11/01; other_refund 17 17
        O1 17 300 0 2026/11/01; O1 17 300 100 2026/11/01; other_refund 17 17
        O1 17 300 100 2026/11/01; O1 17 300 100 2026/11/01;
        O2 17 300 0 2026/11/01; O1 17 300 0 2026/11/01; other_order 17 17
        O1 17 300 0 2026/11/01 付款失敗; O1 17 300 0 2026/11/01; not_paid_at_provider 17 17
        O1 17 300 0 2026/11/01 + O1 17 300 0 2026/11/01; O1 17 300 0 2026/11/01; twice_in_file 17 17
        O1 2017 300 0 2026/11/01; O1 ~8 300 0 2026/11/01;
        O1 2017 300 0 2026/11/02; O1 ~8 300 0 2026/11/01; not_booked 2017 - + not_in_file - 8
        O1 2017 300 0 2026/11/01; O1 8 300 0 2026/11/01; not_booked 2017 - + not_in_file - 8
        O2 2017 300 0 2026/11/01; O1 ~8 300 0 2026/11/01; not_booked 2017 - + not_in_file - 8
        O1 2017 299 0 2026/11/01; O1 ~8 300 0 2026/11/01; other_amount 2017 8
        O1 2017 300 0 2026/11/01 + O1 2018 300 0 2026/11/01; O1 ~8 300 0 2026/11/01; not_booked 2018 -
        O1 2017 300 0 2026/11/01 付款失敗; O1 ~8 300 0 2026/11/01; not_in_file - 8
    ";

    #[test]
    fn op_5_the_file_and_the_books_differ_in_every_way_there_is() {
        let mut rows = 0;
        for row in TABLE.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let columns: Vec<&str> = row.split(';').collect();
            let several = |column: usize| {
                columns[column]
                    .split(" + ")
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
            };
            let lines: Vec<_> = several(0).map(line).collect();
            let booked: Vec<_> = several(1).map(charge).collect();
            assert_eq!(told(&lines, &booked), several(2).collect::<Vec<_>>(), "{row}");
            rows += 1;
        }
        assert_eq!(rows, 26);
    }

    #[test]
    fn op_5_two_periods_of_a_day_are_paired_in_the_order_of_time() {
        let lines = [
            line("O1 2018 301 0 2026/11/01T20:00:00"),
            line("O1 2017 300 0 2026/11/01T08:00:00"),
        ];
        let booked = [
            charge("O1 ~9 301 0 2026/11/01T20:00:01"),
            charge("O1 ~8 300 0 2026/11/01T08:00:01"),
        ];
        assert!(told(&lines, &booked).is_empty());
    }

    /// Charges of some orders, each on a day of its own order.
    fn charges() -> impl Strategy<Value = Vec<BookedCharge>> {
        prop::collection::btree_map((0_u8..3, 1_u8..29), 1_i64..400, 0..12).prop_map(|rows| {
            let of = |((order, day), amount): ((u8, u8), i64)| {
                charge(&format!("O{order} ~{order}{day:02} {amount} 0 2026/11/{day:02}"))
            };
            rows.into_iter().map(of).collect()
        })
    }

    proptest! {
        #[test]
        fn op_5_only_what_is_missing_is_missing_in_any_order(
            (booked, shuffled) in charges().prop_flat_map(|booked| (Just(booked.clone()), Just(booked).prop_shuffle())),
            left_out in prop::collection::vec(prop::bool::weighted(0.3), 12),
        ) {
            let kept: Vec<_> = shuffled.iter().zip(&left_out).filter(|(_, out)| !**out).map(|(charge, _)| charge).collect();
            let lines: Vec<_> = kept.iter().map(|charge| {
                let day = charge.paid_at.to_taipei("%Y/%m/%d").unwrap();
                line(&format!("{} 99{} {} 0 {day}", charge.order, charge.number, charge.settled_minor))
            }).collect();
            let found = told(&lines, &booked);
            prop_assert_eq!(Some(found.len()), booked.len().checked_sub(kept.len()));
            prop_assert!(found.iter().all(|told| told.starts_with("not_in_file")));
            // The other way round: what the books lack.
            let kept: Vec<_> = kept.into_iter().cloned().collect();
            let lines: Vec<_> = booked.iter().map(|charge| {
                let day = charge.paid_at.to_taipei("%Y/%m/%d").unwrap();
                line(&format!("{} 99{} {} 0 {day}", charge.order, charge.number, charge.settled_minor))
            }).collect();
            let found = told(&lines, &kept);
            prop_assert_eq!(Some(found.len()), booked.len().checked_sub(kept.len()));
            prop_assert!(found.iter().all(|told| told.starts_with("not_booked")));
        }
    }
}
