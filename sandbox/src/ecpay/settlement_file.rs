//! `PaymentMedia/TradeNoAio`: the settlement file, one line a charge, in Big5 (§1.7.5).
//!
//! a signed form → **`answer`** → CSV whose cells are `="value"`, the header's too, with a thirteenth column of fees that
//! no documentation names.
//!
//! Invariants: one file a minute and merchant, and a refused call starts the minute anew; one month at most; what happened
//! today is not in it yet; each period of a contract is a line under the number of its own charge; a charge that was
//! given up is none. The column names are those of files that were seen, their order is the sandbox's.
//! Not here: unpaid and failed orders, which the file lists only when asked for them: such a file is empty here.
//! Failure: one line of text that is no CSV; what ECPay says is not known.

use encoding_rs::BIG5;
use jiff::civil::Date;
use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use super::call::{self, Call, Unread};
use super::do_action::CAPTURE_MINUTE_OF_DAY;
use super::wall_clock;
use crate::app::App;
use crate::contract::schedule::day_at;
use crate::form::Fields;
use crate::settlement::{Settlement, Standing};
use crate::trade::{Method, Provider, Status, Trade};

const ALLOWED: [&str; 9] = [
    "DateType",
    "BeginDate",
    "EndDate",
    "PaymentType",
    "PlatformStatus",
    "PaymentStatus",
    "AllocateStatus",
    "MediaFormated",
    "CharSet",
];

const HEADER: [&str; 13] = [
    "訂單日期",
    "廠商訂單編號",
    "綠界訂單編號",
    "付款方式",
    "付款日期",
    "付款狀態",
    "交易金額",
    "退款日期",
    "退款金額",
    "交易手續費",
    "應收款項(淨額)",
    "撥款狀態",
    "交易處理費",
];

/// Days of one file (lessons: at most a month).
const DAYS_MAX: i32 = 31;

/// What every charge costs beside the percentage.
const HANDLING: Minor = Minor::new(1);

/// The bytes of the file.
pub(crate) fn answer(app: &App, body: &[u8]) -> Vec<u8> {
    let text = match file(app, body) {
        Ok(text) | Err(text) => text,
    };
    BIG5.encode(&text).0.into_owned()
}

fn file(app: &App, body: &[u8]) -> Result<String, String> {
    let call = call::read(app, body, &ALLOWED).map_err(|unread| match unread {
        Unread::NotGenuine => "0|CheckMacValue Error",
        Unread::Invalid(_) => "0|Parameter Error",
    })?;
    let now = app.clock.now();
    if !app
        .world
        .with(|world| world.settlement_files.admits(&call.merchant.id, now))
    {
        return Err("0|一分鐘內僅能下載一個檔案".into());
    }
    let question = Question::read(&call.fields, now)?;
    Ok(written(&lines(app, &call, &question, now)))
}

/// Who took a file last, and when.
#[derive(Debug, Default)]
pub(crate) struct OneAMinute(std::collections::BTreeMap<String, Timestamp>);

impl OneAMinute {
    fn admits(&mut self, merchant: &str, now: Timestamp) -> bool {
        let last = self.0.insert(merchant.to_owned(), now);
        last.is_none_or(|last| last.distance(now) >= std::time::Duration::from_mins(1))
    }
}

/// What is asked for.
struct Question {
    by_order_date: bool,
    first: Date,
    last: Date,
    method: Option<Method>,
    wants_paid: bool,
}

impl Question {
    fn read(fields: &Fields, now: Timestamp) -> Result<Self, String> {
        let one_of = |name: &str, choices: &[&str]| {
            let known = choices.contains(&fields.text(name));
            known
                .then_some(())
                .ok_or_else(|| format!("0|Parameter Error. {name}"))
        };
        one_of("DateType", &["2", "4", "6"])?;
        one_of("MediaFormated", &["0", "1", "2"])?;
        one_of("PaymentStatus", &["", "0", "1", "2"])?;
        one_of("PlatformStatus", &["", "1", "2"])?;
        one_of("AllocateStatus", &["", "0", "1"])?;
        one_of("CharSet", &["", "1"])?;
        let (first, last) = days(fields)?;
        let yesterday = day_at(now).and_then(|today| today.yesterday().ok());
        Ok(Self {
            by_order_date: fields.text("DateType") == "6",
            first,
            last: yesterday.map_or(last, |yesterday| last.min(yesterday)),
            method: method(fields.text("PaymentType"))?,
            wants_paid: matches!(fields.text("PaymentStatus"), "" | "1"),
        })
    }

    fn wants(&self, line: &Line) -> bool {
        let at = if self.by_order_date {
            line.ordered_at
        } else {
            line.paid_at
        };
        let in_time = day_at(at).is_some_and(|day| (self.first..=self.last).contains(&day));
        in_time && self.wants_paid && self.method.is_none_or(|method| method == line.method)
    }
}

fn days(fields: &Fields) -> Result<(Date, Date), String> {
    let day = |name: &str| {
        let day = fields.text(name).parse::<Date>();
        day.map_err(|_| format!("0|Parameter Error. {name}"))
    };
    let (first, last) = (day("BeginDate")?, day("EndDate")?);
    let count = first.until(last).map_or(DAYS_MAX, |span| span.get_days());
    if (0..DAYS_MAX).contains(&count) {
        Ok((first, last))
    } else {
        Err("0|查詢區間不可超過一個月".into())
    }
}

/// `PaymentType`: the methods that the cashier plays; all where it is absent.
fn method(code: &str) -> Result<Option<Method>, String> {
    match code {
        "" => Ok(None),
        "01" => Ok(Some(Method::Credit)),
        "02" => Ok(Some(Method::WebAtm)),
        "03" => Ok(Some(Method::Atm)),
        "04" => Ok(Some(Method::Cvs)),
        "05" => Ok(Some(Method::Barcode)),
        _ => Err("0|Parameter Error. PaymentType".into()),
    }
}

/// One charge.
struct Line {
    ordered_at: Timestamp,
    order_number: String,
    trade_no: String,
    method: Method,
    paid_at: Timestamp,
    amount: Minor,
    settlement: Option<Settlement>,
}

fn lines(app: &App, call: &Call, question: &Question, now: Timestamp) -> Vec<Line> {
    let mut lines: Vec<Line> = app.world.with(|world| {
        let trades = world.paid_trades(Provider::Ecpay, &call.merchant.id);
        trades.into_iter().flat_map(charges).collect()
    });
    lines.retain(|line| question.wants(line) && !line.is_given_up(now));
    lines.sort_by_key(|line| (line.paid_at, line.trade_no.clone()));
    lines
}

fn charges(mut trade: Trade) -> Vec<Line> {
    let Some(method) = trade.method.filter(|_| trade.status == Status::Paid) else {
        return Vec::new();
    };
    let charges: Vec<(String, Minor, Timestamp)> = match (&trade.contract, trade.settled_at) {
        (Some(contract), _) => contract
            .succeeded()
            .map(|charge| (charge.trade_no.clone(), charge.amount, charge.at))
            .collect(),
        (None, Some(paid_at)) => vec![(trade.trade_no.clone(), trade.amount, paid_at)],
        (None, None) => Vec::new(),
    };
    let of = |(trade_no, amount, paid_at): (String, Minor, Timestamp)| Line {
        ordered_at: trade.created_at,
        order_number: trade.order_number.clone(),
        settlement: trade.settlement_mut(&trade_no, CAPTURE_MINUTE_OF_DAY).cloned(),
        trade_no,
        method,
        paid_at,
        amount,
    };
    charges.into_iter().map(of).collect()
}

impl Line {
    fn is_given_up(&self, now: Timestamp) -> bool {
        let standing = self
            .settlement
            .as_ref()
            .map(|settlement| settlement.standing(now));
        standing == Some(Standing::GivenUp)
    }

    fn cells(&self) -> [String; 13] {
        let refunds = self
            .settlement
            .as_ref()
            .map(|settlement| settlement.refunds.as_slice());
        let last = refunds.and_then(|refunds| refunds.last());
        let refunded = self.settlement.as_ref().map_or(Minor::ZERO, Settlement::refunded);
        let fee = fee(self.amount);
        let costs = [fee, HANDLING, refunded].map(Minor::checked_neg);
        let net = costs
            .into_iter()
            .try_fold(self.amount, |net, cost| net.checked_add(cost?));
        [
            wall_clock(self.ordered_at),
            self.order_number.clone(),
            self.trade_no.clone(),
            self.method.as_str().to_owned(),
            wall_clock(self.paid_at),
            "已付款".to_owned(),
            self.amount.to_string(),
            last.map(|refund| wall_clock(refund.at)).unwrap_or_default(),
            refunded.to_string(),
            fee.to_string(),
            net.map(|net| net.to_string()).unwrap_or_default(),
            "未撥款".to_owned(),
            HANDLING.to_string(),
        ]
    }
}

/// Two percent in whole dollars, at least one.
fn fee(amount: Minor) -> Minor {
    Minor::new(amount.get().checked_div(50).unwrap_or_default().max(1))
}

fn written(lines: &[Line]) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| format!("=\"{cell}\"")).collect();
        format!("{}\r\n", cells.join(","))
    };
    let header = row(&HEADER.map(str::to_owned));
    lines.iter().fold(header, |text, line| text + &row(&line.cells()))
}
