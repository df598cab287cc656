//! Contracts: what stands in them, a card that goes bad, and notices that go wrong.
//!
//! `GET /control/v1/contracts/{provider}/{order}` → **`show`**: state, next due time, every attempt.
//! `POST …/declines` → **`decline`**, `DELETE …/declines` → **`approve`**:
//! `{"card": "bad" | "good", "from": "2027-01-31", "until": "2027-03-01", "dates": ["2027-01-31"], "next": 2, "code": "54"}`
//! `POST …/notices` → **`tell`**, `DELETE …/notices` → **`tell_all`**: `{"lose": true, "lateSeconds": 3600, "amount": 1,
//! "next": 1, "dates": ["2027-01-31"], "failuresTold": false, "gwsr": "capital", "oddLog": false, "ghostInLog": true}`
//!
//! Rules add up until they are lifted; `from` or `until` alone mean a bad card; `"card": "good"` lifts every decline.
//! A fault of notices holds for the next so many, for periods due on dates, or without either for all.
//! Not here: what rules mean (`contract::bank`, `contract::telling`). Failure: 404 without such a contract, 400.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};
use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use super::trades::find;
use super::{Fault, answered, read};
use crate::app::App;
use crate::contract::bank::Bank;
use crate::contract::schedule::day_at;
use crate::contract::telling::{self, Spelling, Telling, Which};
use crate::contract::{Cause, Charge, Contract};
use crate::trade::{Provider, Trade};

/// Days in one call, and the longest code of a decline.
const DATES_MAX: usize = 400;
const CODE_BYTES_MAX: usize = 16;

type At = Path<(String, String)>;

/// Shows a contract.
pub(super) async fn show(State(app): State<App>, Path((provider, order)): At) -> Result<Response, Fault> {
    change(&app, &provider, &order, |_| {})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Declines {
    card: Option<Card>,
    from: Option<String>,
    until: Option<String>,
    #[serde(default)]
    dates: Vec<String>,
    next: Option<u32>,
    code: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Card {
    Good,
    Bad,
}

/// Adds declines, or lifts them all.
pub(super) async fn decline(
    State(app): State<App>,
    Path((provider, order)): At,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let rules = Rules::read(read(body)?)?;
    change(&app, &provider, &order, |contract| {
        rules.apply(&mut contract.bank);
    })
}

/// Lifts every decline.
pub(super) async fn approve(State(app): State<App>, Path((provider, order)): At) -> Result<Response, Fault> {
    change(&app, &provider, &order, |contract| {
        contract.bank = Bank::default();
    })
}

/// Declines that were read; also those of a stored card (`control::tokens`).
pub(super) struct Rules {
    declines: Declines,
    from: Option<Date>,
    until: Option<Date>,
    dates: BTreeSet<Date>,
}

impl Rules {
    pub(super) fn read(declines: Declines) -> Result<Self, Fault> {
        let others = declines.from.is_some()
            || declines.until.is_some()
            || !declines.dates.is_empty()
            || declines.next.is_some()
            || declines.code.is_some();
        if declines.card == Some(Card::Good) && others {
            return Err(Fault::Value {
                member: "card",
                expected: "good stands alone: it lifts every decline",
            });
        }
        if !declines.code.as_deref().is_none_or(is_decline) {
            return Err(Fault::Value {
                member: "code",
                expected: "1 to 16 letters and digits, and no code of a success",
            });
        }
        Ok(Self {
            from: declines.from.as_deref().map(day).transpose()?,
            until: declines.until.as_deref().map(day).transpose()?,
            dates: days(&declines.dates)?,
            declines,
        })
    }

    pub(super) fn apply(self, bank: &mut Bank) {
        if self.declines.card == Some(Card::Good) {
            *bank = Bank::default();
            return;
        }
        if self.declines.card.is_some() || self.from.is_some() || self.until.is_some() {
            bank.bad = true;
            bank.from = self.from;
            bank.until = self.until;
        }
        bank.dates.extend(self.dates);
        bank.next = self.declines.next.unwrap_or(bank.next);
        bank.code = self.declines.code.or_else(|| bank.code.take());
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Faults {
    lose: Option<bool>,
    late_seconds: Option<u32>,
    amount: Option<i64>,
    next: Option<u32>,
    #[serde(default)]
    dates: Vec<String>,
    failures_told: Option<bool>,
    gwsr: Option<Gwsr>,
    odd_log: Option<bool>,
    ghost_in_log: Option<bool>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Gwsr {
    Alternating,
    Capital,
    Small,
}

/// Lets notices go wrong.
pub(super) async fn tell(
    State(app): State<App>,
    Path((provider, order)): At,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let faults: Faults = read(body)?;
    let which = match (faults.next, days(&faults.dates)?) {
        (Some(next), dates) if dates.is_empty() => Which::Next(next),
        (None, dates) if dates.is_empty() => Which::All,
        (None, dates) => Which::DueOn(dates),
        (Some(_), _) => {
            return Err(Fault::Value {
                member: "next",
                expected: "this or dates, not both",
            });
        }
    };
    change(&app, &provider, &order, |contract| {
        bend(&mut contract.telling, &faults, which);
    })
}

fn bend(telling: &mut Telling, faults: &Faults, which: Which) {
    if faults.lose.is_some() || faults.late_seconds.is_some() || faults.amount.is_some() {
        telling.which = which;
        telling.fault = telling::Fault {
            lost: faults.lose.unwrap_or(false),
            late: Duration::from_secs(u64::from(faults.late_seconds.unwrap_or(0))),
            amount: faults.amount.map(Minor::new),
        };
    }
    telling.failures_told = faults.failures_told.unwrap_or(telling.failures_told);
    telling.odd_log = faults.odd_log.unwrap_or(telling.odd_log);
    telling.ghost_in_log = faults.ghost_in_log.unwrap_or(telling.ghost_in_log);
    telling.spelling = faults.gwsr.map_or(telling.spelling, |gwsr| match gwsr {
        Gwsr::Alternating => Spelling::Alternating,
        Gwsr::Capital => Spelling::Capital,
        Gwsr::Small => Spelling::Small,
    });
}

/// Lets every notice go out as it should.
pub(super) async fn tell_all(State(app): State<App>, Path((provider, order)): At) -> Result<Response, Fault> {
    change(&app, &provider, &order, |contract| {
        contract.telling = Telling::default();
    })
}

/// A provider's or a bank's code that cannot be taken for a success.
fn is_decline(code: &str) -> bool {
    (1..=CODE_BYTES_MAX).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !matches!(code, "1" | "00" | "SUCCESS")
}

fn day(text: &str) -> Result<Date, Fault> {
    text.parse().map_err(|_| Fault::Value {
        member: "dates, from, until",
        expected: "days in Taiwan, as 2027-01-31",
    })
}

fn days(texts: &[String]) -> Result<BTreeSet<Date>, Fault> {
    if texts.len() > DATES_MAX {
        return Err(Fault::Value {
            member: "dates",
            expected: "at most 400 days",
        });
    }
    texts.iter().map(|text| day(text)).collect()
}

/// Changes the contract of an order, and shows it.
fn change(
    app: &App,
    provider: &str,
    order: &str,
    work: impl FnOnce(&mut Contract),
) -> Result<Response, Fault> {
    let (provider, trade_no) = find(app, provider, order)?;
    let now = app.clock.now();
    let shown = app.world.with(|world| {
        let (trade, _) = world.trade_mut(provider, &trade_no)?;
        work(trade.contract.as_mut()?);
        Some(view(trade, trade.contract.as_ref()?, now))
    });
    shown
        .map(|view| answered(&view))
        .ok_or(Fault::Unknown("contract"))
}

fn view(trade: &Trade, contract: &Contract, now: Timestamp) -> Value {
    let next_due = contract.next_period_at();
    let next_day = next_due.and_then(day_at).map(|day| day.to_string());
    json!({
        "provider": trade.provider.as_str(),
        "merchantId": trade.merchant_id,
        "orderNumber": trade.order_number,
        "tradeNo": trade.trade_no,
        "periodTradeNo": contract.terms.period_trade_no,
        "state": contract.state.as_str(),
        "timesTotal": contract.terms.times_total,
        "timesPaid": contract.succeeded().count(),
        "amount": contract.terms.amount.get(),
        "firstAmount": contract.terms.first_amount.get(),
        "nextPeriod": contract.next_period(),
        "nextPeriodOn": next_day,
        "nextPeriodUnixMs": next_due.map(Timestamp::unix_ms),
        "nextDueUnixMs": contract.next_due().map(Timestamp::unix_ms),
        "card": bank_view(&contract.bank),
        "charges": contract.charges.iter().map(|charge| charge_view(trade, charge, now)).collect::<Vec<_>>(),
    })
}

/// The rules of a card.
pub(super) fn bank_view(bank: &Bank) -> Value {
    let text = |day: Option<Date>| day.map(|day| day.to_string());
    json!({
        "bad": bank.bad,
        "from": text(bank.from),
        "until": text(bank.until),
        "dates": bank.dates.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "next": bank.next,
        "code": bank.code,
    })
}

fn charge_view(trade: &Trade, charge: &Charge, now: Timestamp) -> Value {
    let settlement = trade.settlements.get(&charge.trade_no);
    json!({
        "number": charge.number,
        "dueOn": charge.due_on.to_string(),
        "cause": match charge.cause {
            Cause::Scheduled => "scheduled",
            Cause::Retry => "retry",
        },
        "tradeNo": charge.trade_no,
        "gwsr": (trade.provider == Provider::Ecpay).then_some(&charge.gwsr),
        "amount": charge.amount.get(),
        "succeeded": charge.succeeded,
        "code": charge.code,
        "at": charge.at.to_string(),
        "atUnixMs": charge.at.unix_ms(),
        "standing": settlement.map(|settlement| settlement.standing(now).as_str()),
        "refunded": settlement.map_or(0, |settlement| settlement.refunded().get()),
    })
}
