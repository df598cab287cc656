//! `PaymentMedia/TradeNoAio`: the settlement file, and how it is asked for.
//!
//! origin's gateway sends **request** (to the vendor's host, not the cashier's) → ECPay → bytes → **read** → `tollgate reconcile`.
//!
//! Nothing signs the file and nothing in it moves money: it is compared with the ledger. One file a minute, a month at most,
//! from the next day on, and only from an address that ECPay knows (lessons, fact 11). The request's fields are those of the
//! official samples (PHP and Node SDK): `DateType`, `BeginDate`, `EndDate`, `MediaFormated`, and no TimeStamp.
//! Invariants: columns are found by the names in the header, whatever their order, because the documents name fewer than
//! there are (a column of fees is in none); a cell of a known column that is not of its type is an error that names its line and
//! column, and nothing is guessed. Fees may have cents, so they are counted in hundredths of a dollar, never in floats.
//! Text is Big5 (UTF-8 where it was asked for); characters that are not Big5 stand in remarks only and are replaced.

use std::collections::BTreeMap;

use encoding_rs::BIG5;

use super::Ecpay;
use super::query::signed;
use crate::id::{OrderNumber, ProviderPaymentId};
use crate::money::{Currency, Minor, Money};
use crate::provider::{CheckoutError, ServerRequest};
use crate::time::{ECPAY_FORMAT, Timestamp};

mod csv;

use csv::Record;

/// By which date a file is asked for: `DateType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateType {
    /// `2`: when it was paid.
    Paid,
    /// `6`: when it was ordered.
    Ordered,
}

/// Days of one file.
const DAYS_MAX: u32 = 31;

/// A line of the file: one charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlementLine {
    /// Where it stands in the file; the header is line 1.
    pub line: usize,
    /// Our order number.
    pub order: OrderNumber,
    /// ECPay's number of the charge; each charge of a periodic order has its own.
    pub trade_no: ProviderPaymentId,
    /// What was charged.
    pub money: Money,
    /// ECPay's fees by their columns' names, in hundredths of a dollar.
    pub fees_hundredths: BTreeMap<&'static str, i64>,
    /// What was given back, 0 where the cell is empty; `None` where the file has no column of refunds.
    pub refunded: Option<Minor>,
    /// What ECPay pays out (應收款項), in hundredths of a dollar.
    pub net_hundredths: Option<i64>,
    /// 付款狀態, in ECPay's words.
    pub status: Option<String>,
    /// 付款方式, in ECPay's words.
    pub method: Option<String>,
    /// 撥款狀態: whether it was paid out, in ECPay's words.
    pub payout_status: Option<String>,
    /// When it was ordered.
    pub ordered_at: Option<Timestamp>,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// When the last refund was made.
    pub refunded_at: Option<Timestamp>,
}

/// Words of a status that say that no money came: 未付款, 付款失敗, 交易失敗.
const UNPAID_WORDS: [&str; 2] = ["未付款", "失敗"];

impl SettlementLine {
    /// Whether money came. A file holds orders without money only where it was asked for them, so a line that says
    /// nothing of it was paid.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        let says = |word| self.status.as_ref().is_some_and(|status| status.contains(word));
        !UNPAID_WORDS.into_iter().any(says)
    }

    /// All fees together; `None` where the file has no column of fees. Whether the columns exclude each other is documented
    /// nowhere: compare with [`SettlementLine::net_hundredths`].
    #[must_use]
    pub fn fee_hundredths(&self) -> Option<i64> {
        let mut fees = self.fees_hundredths.values();
        let first = *fees.next()?;
        fees.try_fold(first, |sum, fee| sum.checked_add(*fee))
    }
}

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettlementError {
    /// One line of words instead of a file: what ECPay said.
    #[error("not a settlement file; ECPay says: {0}")]
    NotAFile(String),
    /// The header lacks a column that every file must have.
    #[error("the header has no column {0}")]
    MissingColumn(&'static str),
    /// The header has a column twice, or under two of its names.
    #[error("the header has the column {0} twice")]
    ColumnTwice(&'static str),
    /// A quote stands where none may, or is never closed.
    #[error("line {line}, column {column}: the quotes do not match")]
    Quotes {
        /// Where the record begins.
        line: usize,
        /// 1 for the first.
        column: usize,
    },
    /// A line with more or fewer cells than the header.
    #[error("line {line} has {found} cells, the header has {expected}")]
    Length {
        /// Where the record begins.
        line: usize,
        /// Cells of the line.
        found: usize,
        /// Cells of the header.
        expected: usize,
    },
    /// A cell that is not of its column's type.
    #[error("line {line}, column {column}: {cell:?} is not what stands there")]
    Cell {
        /// Where the record begins.
        line: usize,
        /// The column's name.
        column: &'static str,
        /// What stands there.
        cell: String,
    },
}

/// Asks for the charges of the days from `first` to `last` (`YYYY-MM-DD`, both included). `vendor_base_url` is the vendor
/// host's: `https://vendor.ecpay.com.tw` or its like.
pub fn request(
    ecpay: &Ecpay,
    vendor_base_url: &str,
    date_type: DateType,
    (first, last): (&str, &str),
) -> Result<ServerRequest, CheckoutError> {
    let from = midnight("BeginDate", first)?;
    let to = midnight("EndDate", last)?;
    let days = u32::try_from(to.distance(from).as_secs() / 86_400).unwrap_or(u32::MAX);
    let days = days.saturating_add(1);
    if to < from || days > DAYS_MAX {
        return Err(CheckoutError::OutOfRange {
            field: "EndDate",
            minimum: 1,
            maximum: DAYS_MAX,
            found: if to < from { 0 } else { days },
        });
    }
    let date_type = match date_type {
        DateType::Paid => "2",
        DateType::Ordered => "6",
    };
    let fields = [
        ("DateType", date_type.to_owned()),
        ("BeginDate", first.to_owned()),
        ("EndDate", last.to_owned()),
        ("MediaFormated", "1".to_owned()),
    ];
    Ok(signed(
        ecpay,
        vendor_base_url,
        "/PaymentMedia/TradeNoAio",
        &fields,
    ))
}

fn midnight(field: &'static str, day: &str) -> Result<Timestamp, CheckoutError> {
    let midnight = Timestamp::from_taipei("%Y-%m-%d %H:%M:%S", &format!("{day} 00:00:00"));
    midnight
        .filter(|_| day.len() == 10)
        .ok_or(CheckoutError::NotADate { field })
}

/// A column, under every name that it is known to have.
type Column = &'static [&'static str];

const ORDER: Column = &["廠商訂單編號", "特店訂單編號", "特店交易編號"];
const TRADE_NO: Column = &["綠界訂單編號", "綠界交易編號", "綠界交易序號"];
const AMOUNT: Column = &["交易金額"];
const STATUS: Column = &["付款狀態", "付款結果"];
const METHOD: Column = &["付款方式"];
const ORDERED_AT: Column = &["訂單日期", "交易日期"];
const PAID_AT: Column = &["付款日期"];
const REFUNDED: Column = &["退款金額"];
const REFUNDED_AT: Column = &["退款日期"];
const NET: Column = &["應收款項(淨額)"];
const PAYOUT_STATUS: Column = &["撥款狀態"];
/// Every column of fees that was seen; the last one is in no document.
const FEES: [Column; 7] = [
    &["手續費"],
    &["處理費"],
    &["交易手續費"],
    &["平台手續費"],
    &["交易服務費金額"],
    &["通路費"],
    &["交易處理費"],
];

/// Reads a file.
pub fn read(bytes: &[u8]) -> Result<Vec<SettlementLine>, SettlementError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_start_matches('\u{feff}').into(),
        Err(_) => BIG5.decode_without_bom_handling(bytes).0,
    };
    // A refusal and a web page have no column of amounts; their quotes are nobody's business.
    if !AMOUNT.iter().any(|name| text.contains(name)) {
        return Err(SettlementError::NotAFile(text.trim().chars().take(200).collect()));
    }
    let mut records = csv::records(&text)?.into_iter();
    let header = Header::read(&records.next().unwrap_or_default())?;
    records.map(|record| header.line(&record)?.settlement()).collect()
}

/// Where each known column stands.
struct Header {
    columns: BTreeMap<&'static str, usize>,
    width: usize,
}

impl Header {
    fn read(record: &Record) -> Result<Self, SettlementError> {
        let known = [
            ORDER,
            TRADE_NO,
            AMOUNT,
            STATUS,
            METHOD,
            ORDERED_AT,
            PAID_AT,
            REFUNDED,
            REFUNDED_AT,
            NET,
            PAYOUT_STATUS,
        ];
        let mut columns = BTreeMap::new();
        for names in known.into_iter().chain(FEES) {
            let places = record.cells.iter().enumerate();
            let mut places = places.filter(|(_, cell)| names.contains(&cell.trim()));
            let (place, again) = (places.next(), places.next());
            let name = names.first().copied().unwrap_or_default();
            if again.is_some() {
                return Err(SettlementError::ColumnTwice(name));
            }
            columns.extend(place.map(|(place, _)| (name, place)));
        }
        for needed in [ORDER, TRADE_NO, AMOUNT]
            .into_iter()
            .filter_map(|names| names.first())
        {
            if !columns.contains_key(needed) {
                return Err(SettlementError::MissingColumn(needed));
            }
        }
        Ok(Self {
            columns,
            width: record.cells.len(),
        })
    }

    fn has(&self, column: Column) -> bool {
        column.first().is_some_and(|name| self.columns.contains_key(name))
    }

    fn line<'a>(&'a self, record: &'a Record) -> Result<Line<'a>, SettlementError> {
        if record.cells.len() == self.width {
            Ok(Line { header: self, record })
        } else {
            Err(SettlementError::Length {
                line: record.line,
                found: record.cells.len(),
                expected: self.width,
            })
        }
    }
}

/// The cells of one line, by their columns' names.
struct Line<'a> {
    header: &'a Header,
    record: &'a Record,
}

impl Line<'_> {
    fn settlement(&self) -> Result<SettlementLine, SettlementError> {
        let amount = self.required(AMOUNT, |cell| whole(cell).filter(|amount| *amount >= Minor::ZERO))?;
        Ok(SettlementLine {
            line: self.record.line,
            order: self.required(ORDER, |cell| cell.parse().ok())?,
            trade_no: self.required(TRADE_NO, |cell| cell.parse().ok())?,
            money: Money {
                amount_minor: amount,
                currency: Currency::Twd,
            },
            fees_hundredths: self.fees()?,
            refunded: self.refunded()?,
            net_hundredths: self.optional(NET, hundredths)?,
            status: self.text(STATUS),
            method: self.text(METHOD),
            payout_status: self.text(PAYOUT_STATUS),
            ordered_at: self.optional(ORDERED_AT, time)?,
            paid_at: self.optional(PAID_AT, time)?.or_else(|| self.time_of_status()),
            refunded_at: self.optional(REFUNDED_AT, time)?,
        })
    }

    fn refunded(&self) -> Result<Option<Minor>, SettlementError> {
        let not_negative = |cell: &str| whole(cell).filter(|amount| *amount >= Minor::ZERO);
        let told = self.optional(REFUNDED, not_negative)?;
        let has_column = self.header.has(REFUNDED);
        Ok(has_column.then(|| told.unwrap_or(Minor::ZERO)))
    }

    fn fees(&self) -> Result<BTreeMap<&'static str, i64>, SettlementError> {
        let mut fees = BTreeMap::new();
        for column in FEES {
            let fee = self.optional(column, hundredths)?;
            fees.extend(column.first().copied().zip(fee));
        }
        Ok(fees)
    }

    fn required<T>(&self, column: Column, parse: impl Fn(&str) -> Option<T>) -> Result<T, SettlementError> {
        self.optional(column, parse)?.ok_or_else(|| self.wrong(column))
    }

    /// Empty and `-` stand for nothing.
    fn optional<T>(
        &self,
        column: Column,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettlementError> {
        match self.cell(column) {
            "" | "-" => Ok(None),
            cell => parse(cell).map(Some).ok_or_else(|| self.wrong(column)),
        }
    }

    /// Files without a column of paid dates were seen to begin the status with the time: `2026-11-01 09:31:02 已付款`.
    fn time_of_status(&self) -> Option<Timestamp> {
        self.cell(STATUS).get(..19).and_then(time)
    }

    fn text(&self, column: Column) -> Option<String> {
        Some(self.cell(column).to_owned()).filter(|cell| !cell.is_empty())
    }

    fn cell(&self, column: Column) -> &str {
        let place = column.first().and_then(|name| self.header.columns.get(name));
        let cell = place.and_then(|place| self.record.cells.get(*place));
        cell.map_or("", |cell| cell.trim())
    }

    fn wrong(&self, column: Column) -> SettlementError {
        SettlementError::Cell {
            line: self.record.line,
            column: column.first().copied().unwrap_or_default(),
            cell: self.cell(column).chars().take(64).collect(),
        }
    }
}

/// A decimal with at most two places, as hundredths: `1,234.5` is 123450.
fn hundredths(cell: &str) -> Option<i64> {
    let (sign, digits) = match cell.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, cell),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = ungrouped(whole)?;
    let fraction_digits = fraction.len() <= 2 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let dangling = digits.ends_with('.');
    if !fraction_digits || dangling {
        return None;
    }
    let number: i64 = format!("{plain}{fraction:0<2}").parse().ok()?;
    number.checked_mul(sign)
}

/// Digits, with or without a comma before every third from the end.
fn ungrouped(whole: &str) -> Option<String> {
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let grouped = whole.contains(',');
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let sound = digits(first)
        && (!grouped || first.len() <= 3)
        && groups.all(|group| group.len() == 3 && digits(group))
        && whole.len() <= 15;
    sound.then(|| whole.replace(',', ""))
}

/// Whole dollars.
fn whole(cell: &str) -> Option<Minor> {
    let hundredths = hundredths(cell)?;
    let cents = hundredths.checked_rem(100)?;
    (cents == 0)
        .then(|| hundredths.checked_div(100))
        .flatten()
        .map(Minor::new)
}

/// A Taiwan wall clock, with slashes or dashes, with or without a time of day.
fn time(cell: &str) -> Option<Timestamp> {
    let slashed = cell.replace('-', "/");
    Timestamp::from_taipei(ECPAY_FORMAT, &slashed)
        .or_else(|| Timestamp::from_taipei(ECPAY_FORMAT, &format!("{slashed} 00:00:00")))
}
