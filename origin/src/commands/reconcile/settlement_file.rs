//! `tollgate reconcile payments --settlement-file`: ECPay's settlement file compared with the ledger (OP-5).
//!
//! main → file → `shared` reads it → **[`settlement_file`]** → charges (`db::settlements`) → `domain::settlement` → one JSON
//! line a difference, then a summary with what ECPay keeps.
//!
//! Invariants: nothing is written and nobody is asked; the file is refused whole before anything is compared: what is no file, a
//! line on another day than those asked for, an order of another shop. Exit code 1 where anything differs.
//! A file tells no shop. It is taken for ours if it has an order of ours and none that was placed at another shop.
//! Failure: [`SettlementRefusal`] with the line and the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tollgate_shared::id::MerchantId;
use tollgate_shared::money::Minor;
use tollgate_shared::provider::ecpay::settlement_file::{SettlementError, SettlementLine, read};
use tollgate_shared::time::{ECPAY_FORMAT, Timestamp};

use super::{CommandError, difference_line};
use crate::Origin;
use crate::commands::print_line;
use crate::config::Config;
use crate::db::polls::{self, AskedPayment};
use crate::db::{DbError, Tx, settlements};
use crate::domain::settlement::{BookedCharge, Difference, Found, differences, order};

/// Why a file is not compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettlementRefusal {
    /// There are no charges at ECPay that it could be compared with.
    #[error("no shop at ECPay is configured")]
    NoShop,
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] SettlementError),
    /// Nothing in it tells which days it is of.
    #[error("line {line} tells no day of payment: say which days the file is of by --from and --to")]
    NoDay {
        /// The line; 2 where there is none beside the header.
        line: usize,
    },
    /// A line of a day that was not asked for.
    #[error("line {line} was paid on {day}, which is not one of the days from --from to --to")]
    OtherDay {
        /// Where it stands in the file.
        line: usize,
        /// Its day.
        day: String,
    },
    /// A line of a shop that is not ours.
    #[error(
        "line {line}: order {order} was placed at shop {merchant}, and the file should be of shop {ours}"
    )]
    OtherShop {
        /// Where it stands in the file.
        line: usize,
        /// Its order.
        order: String,
        /// Where it was placed.
        merchant: String,
        /// The shop that is configured.
        ours: MerchantId,
    },
    /// No line is of an order of ours.
    #[error(
        "line {line}: order {order} is not known here, and neither is any other of the file: it is of another shop"
    )]
    Strange {
        /// The first line.
        line: usize,
        /// Its order.
        order: String,
    },
}

/// What a comparison found, as it is printed.
#[derive(Debug)]
pub(crate) struct Compared {
    /// A line each.
    pub(crate) differences: Vec<Value>,
    /// The last line.
    pub(crate) summary: Value,
}

/// `tollgate reconcile payments --settlement-file`. `days` are those of the file; absent, those that its lines tell.
pub async fn settlement_file(
    config: Config,
    path: &Path,
    days: Option<Range<Timestamp>>,
) -> Result<(), CommandError> {
    let bytes = std::fs::read(path)?;
    let origin = Origin::new(config)?;
    let compared = compare(&origin, &bytes, days).await?;
    for line in &compared.differences {
        print_line(line)?;
    }
    print_line(&compared.summary)?;
    match compared.differences.len() {
        0 => Ok(()),
        count => Err(CommandError::Differences(count)),
    }
}

/// Compares the bytes of a file with the ledger.
pub(crate) async fn compare(
    origin: &Origin,
    bytes: &[u8],
    days: Option<Range<Timestamp>>,
) -> Result<Compared, CommandError> {
    let shop = origin.config.sources.ecpay().ok_or(SettlementRefusal::NoShop)?;
    let lines = read(bytes).map_err(SettlementRefusal::from)?;
    let days = match days {
        Some(days) => {
            check_days(&lines, &days)?;
            days
        }
        None => days_of(&lines)?,
    };
    let books = load(origin, shop.merchant(), &lines, &days).await?;
    check_shop(&lines, &books.payments, shop.merchant())?;
    // After this point the file is compared, whatever it says.
    let found = differences(&lines, &books.charges, &days);
    Ok(Compared {
        differences: found.iter().map(|found| line(found, &books.payments)).collect(),
        summary: summary(&lines, &books.charges, &days, found.len()),
    })
}

/// What the books have of the file's days and orders.
struct Books {
    charges: Vec<BookedCharge>,
    /// The payments of the file's orders and of the charges, by order number.
    payments: BTreeMap<String, AskedPayment>,
}

async fn load(
    origin: &Origin,
    merchant: &MerchantId,
    lines: &[SettlementLine],
    days: &Range<Timestamp>,
) -> Result<Books, DbError> {
    let orders: BTreeSet<String> = lines.iter().map(order).collect();
    let numbers: Vec<&str> = lines.iter().map(|line| line.trade_no.as_str()).collect();
    let (orders, numbers) = (&orders, numbers.as_slice());
    let load = |tx: Tx| async move {
        let of_file: Vec<String> = orders.iter().cloned().collect();
        let charges = settlements::charges(&tx, merchant, days, (numbers, &of_file)).await?;
        let all: BTreeSet<String> = orders
            .iter()
            .cloned()
            .chain(charges.iter().map(|charge| charge.order.clone()))
            .collect();
        let payments = polls::at_ecpay(&tx, &all.into_iter().collect::<Vec<_>>()).await?;
        let by_order = |payment: AskedPayment| (payment.order.to_string(), payment);
        Ok(Books {
            charges,
            payments: payments.into_iter().map(by_order).collect(),
        })
    };
    origin.database.run_tx("settlement_file", load).await
}

fn check_days(lines: &[SettlementLine], days: &Range<Timestamp>) -> Result<(), SettlementRefusal> {
    let told = lines.iter().filter_map(|line| line.paid_at.map(|at| (line, at)));
    match told.into_iter().find(|(_, at)| !days.contains(at)) {
        Some((line, at)) => Err(SettlementRefusal::OtherDay {
            line: line.line,
            day: day(at),
        }),
        None => Ok(()),
    }
}

/// From the first day that is told to the last.
fn days_of(lines: &[SettlementLine]) -> Result<Range<Timestamp>, SettlementRefusal> {
    let mut told = Vec::new();
    for line in lines.iter().filter(|line| line.is_paid()) {
        told.push(line.paid_at.ok_or(SettlementRefusal::NoDay { line: line.line })?);
    }
    let midnight = |at: &Timestamp| {
        let start = at.to_taipei("%Y/%m/%d 00:00:00")?;
        Timestamp::from_taipei(ECPAY_FORMAT, &start)
    };
    let first = told.iter().min().and_then(midnight);
    let last = told.iter().max().and_then(midnight);
    let (first, last) = first.zip(last).ok_or(SettlementRefusal::NoDay { line: 2 })?;
    Ok(first..last.plus(Duration::from_hours(24)))
}

fn check_shop(
    lines: &[SettlementLine],
    payments: &BTreeMap<String, AskedPayment>,
    ours: &MerchantId,
) -> Result<(), SettlementRefusal> {
    let mut is_ours = false;
    for line in lines {
        let Some(payment) = payments.get(&order(line)) else {
            continue;
        };
        is_ours = true;
        if payment.merchant.as_ref() != Some(ours) {
            return Err(SettlementRefusal::OtherShop {
                line: line.line,
                order: order(line),
                merchant: payment
                    .merchant
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                ours: ours.clone(),
            });
        }
    }
    match lines.first().filter(|_| !is_ours) {
        Some(line) => Err(SettlementRefusal::Strange {
            line: line.line,
            order: order(line),
        }),
        None => Ok(()),
    }
}

fn line(found: &Found<'_>, payments: &BTreeMap<String, AskedPayment>) -> Value {
    let order = found
        .booked
        .map(|charge| charge.order.clone())
        .or_else(|| found.line.map(order))
        .unwrap_or_default();
    let label = found.difference.label();
    let mut told = match payments.get(&order) {
        Some(payment) => difference_line(label, payment, reason(found, true)),
        None => json!({
            "event": "difference", "difference": label, "paymentId": null, "provider": "ecpay",
            "orderNumber": order, "reason": reason(found, false),
        }),
    };
    if let Some(members) = told.as_object_mut() {
        members.extend(both_sides(found));
    }
    told
}

/// What only a file tells: the line, the charge's two numbers, and what each side has of it.
fn both_sides(found: &Found<'_>) -> Map<String, Value> {
    let (there, here) = (found.line, found.booked);
    let get = |amount: Minor| amount.get();
    let members = [
        ("line", json!(there.map(|line| line.line))),
        ("tradeNo", json!(there.map(|line| line.trade_no.to_string()))),
        ("charge", json!(here.map(|charge| &charge.number))),
        ("chargedHere", json!(here.map(|charge| get(charge.settled_minor)))),
        (
            "chargedThere",
            json!(there.map(|line| get(line.money.amount_minor))),
        ),
        (
            "refundedHere",
            json!(here.map(|charge| get(charge.refunded_minor))),
        ),
        (
            "refundedThere",
            json!(there.and_then(|line| line.refunded).map(get)),
        ),
    ];
    members
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

fn reason(found: &Found<'_>, is_known: bool) -> Option<&'static str> {
    match found.difference {
        Difference::NotBooked if !is_known => Some("no payment has this order number"),
        Difference::NotBooked => Some("reconcile payments --from --to asks for it; or see the disputes"),
        Difference::OtherOrder => Some("the charge is booked under another order"),
        Difference::NotPaidThere => Some("the file says that no money came"),
        Difference::NotInFile => Some("the file is cut off, or of fewer days; or ECPay never charged it"),
        Difference::TwiceInFile | Difference::OtherAmount | Difference::OtherRefund => None,
    }
}

fn summary(
    lines: &[SettlementLine],
    charges: &[BookedCharge],
    days: &Range<Timestamp>,
    differences: usize,
) -> Value {
    let paid = || lines.iter().filter(|line| line.is_paid());
    let sum = |amounts: &mut dyn Iterator<Item = i64>| amounts.map(i128::from).sum::<i128>();
    let mut fees: BTreeMap<&str, i128> = BTreeMap::new();
    for (column, fee) in paid().flat_map(|line| &line.fees_hundredths) {
        let total = fees.entry(column).or_default();
        *total = total.saturating_add(i128::from(*fee));
    }
    let fees: BTreeMap<&str, String> = fees
        .into_iter()
        .map(|(column, fee)| (column, dollars(fee)))
        .collect();
    let has_net = paid().any(|line| line.net_hundredths.is_some());
    let net = sum(&mut paid().filter_map(|line| line.net_hundredths));
    json!({
        "event": "reconciled",
        "from": day(days.start),
        "to": day(Timestamp::from_unix_ms(days.end.unix_ms().saturating_sub(1))),
        "lines": lines.len(),
        "charges": charges.iter().filter(|charge| days.contains(&charge.paid_at)).count(),
        "differences": differences,
        "charged": sum(&mut paid().map(|line| line.money.amount_minor.get())).to_string(),
        "refunded": sum(&mut paid().filter_map(|line| line.refunded).map(Minor::get)).to_string(),
        "fees": fees,
        "net": has_net.then(|| dollars(net)),
    })
}

/// Hundredths as dollars: 2860 is `28.60`.
fn dollars(hundredths: i128) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    let digits = hundredths.unsigned_abs();
    format!("{sign}{}.{:02}", digits.div_euclid(100), digits.rem_euclid(100))
}

/// The day in Taipei.
fn day(at: Timestamp) -> String {
    at.to_taipei("%Y-%m-%d").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::dollars;

    #[test]
    fn op_5_hundredths_are_written_as_dollars() {
        let written = [0, 5, 2860, -127_045, 100_000_000_000_000_000_000].map(dollars);
        assert_eq!(
            written,
            ["0.00", "0.05", "28.60", "-1270.45", "1000000000000000000.00"]
        );
    }
}
