//! Opening a trade at the fake PAYUNi.
//!
//! a posted form → `envelope::open` → `rules::check` → **`upp`**, **`period`** → the cashier page.
//!
//! Invariant: an order number is free again after ten minutes (A.5, A.9), looked up and taken under one lock.
//! Not here: the tables (`rules`), notices (`notice`).
//! Failure: [`Refusal`]; UPP01007 a repeated number, UPP02010 an old stamp, else what `rules` says.

use std::time::Duration;

use jiff::civil::{Date, Weekday};
use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use super::envelope::{self, Refusal};
use super::rules::{self, number};
use crate::app::App;
use crate::config::Merchant;
use crate::contract::schedule::{Cadence, Cycle, First};
use crate::contract::{self, Contract};
use crate::form::Fields;
use crate::trade::{Method, Provider, Status, Trade};
use crate::world::World;

/// How long an order number stays taken.
const NUMBER_TAKEN: Duration = Duration::from_mins(10);

/// PAYUNi documents no tolerance for Timestamp; ten minutes either way is this sandbox's reading (A.3).
pub(crate) const STAMP_TOLERANCE: Duration = Duration::from_mins(10);

/// `/api/upp`.
pub(crate) fn upp(app: &App, body: &[u8]) -> Result<Trade, Refusal> {
    let (merchant, fields) = envelope::open(&app.config, body, &["1.0", "2.0"])?;
    rules::check(rules::UPP, &fields, app.config.standard_ports_only)?;
    check_stamp(&fields, app.clock.now())?;
    let amount = amount(&fields, "TradeAmt")?;
    let methods = offered(&fields, amount)?;
    open(
        app,
        &merchant,
        fields,
        Terms {
            amount,
            methods,
            periodic: None,
        },
    )
}

/// `/api/period/Page`.
pub(crate) fn period(app: &App, body: &[u8]) -> Result<Trade, Refusal> {
    let (merchant, fields) = envelope::open(&app.config, body, &["1.0"])?;
    rules::check(rules::PERIOD, &fields, app.config.standard_ports_only)?;
    let amount = amount(&fields, "PeriodAmt")?;
    let periodic = periodic(&fields)?;
    open(
        app,
        &merchant,
        fields,
        Terms {
            amount,
            methods: vec![Method::Credit],
            periodic: Some(periodic),
        },
    )
}

/// Whether a stamp is recent.
pub(crate) fn check_stamp(fields: &Fields, now: Timestamp) -> Result<(), Refusal> {
    let stamp = number(fields.text("Timestamp")).map(Timestamp::from_unix_seconds);
    if stamp.is_some_and(|stamp| stamp.distance(now) <= STAMP_TOLERANCE) {
        Ok(())
    } else {
        Err(Refusal::new("UPP02010", "Timestamp 逾時 Timestamp has expired"))
    }
}

/// What the order asks the customer for.
struct Terms {
    amount: Minor,
    methods: Vec<Method>,
    periodic: Option<Periodic>,
}

fn amount(fields: &Fields, name: &str) -> Result<Minor, Refusal> {
    Minor::from_decimal(fields.text(name)).ok_or_else(|| Refusal::undocumented(format!("{name}: whole TWD")))
}

/// The sandbox plays card, ATM and CVS; with no switch at all a contract's methods are offered (A.9).
fn offered(fields: &Fields, amount: Minor) -> Result<Vec<Method>, Refusal> {
    let played = [
        ("Credit", Method::Credit, 1, 199_999),
        ("ATM", Method::Atm, 15, 49_999),
        ("CVS", Method::Cvs, 30, 20_000),
    ];
    let switches = [
        "CreditInst",
        "CreditUnionPay",
        "ApplePay",
        "GooglePay",
        "SamsungPay",
        "ICash",
        "Aftee",
        "LinePay",
        "JKoPay",
    ];
    let on = |name: &str| !matches!(fields.text(name), "" | "0");
    let any = switches.into_iter().chain(played.map(|(name, ..)| name)).any(on);
    let chosen = played.into_iter().filter(|(name, ..)| !any || on(name));
    let fitting = chosen.filter(|(_, _, min, max)| (*min..=*max).contains(&amount.get()));
    let methods: Vec<Method> = fitting.map(|(_, method, ..)| method).collect();
    if methods.is_empty() {
        return Err(Refusal::undocumented(
            "TradeAmt is outside the limits of every method that the sandbox plays",
        ));
    }
    Ok(methods)
}

/// A periodic order's own fields.
struct Periodic {
    times_total: u32,
    first_amount: Option<Minor>,
    cadence: Cadence,
}

fn periodic(fields: &Fields) -> Result<Periodic, Refusal> {
    let first_amount = match fields.text("FAmt") {
        "" => None,
        _ => Some(amount(fields, "FAmt")?),
    };
    let (times_total, cadence) = cadence(fields)?;
    Ok(Periodic {
        times_total,
        first_amount,
        cadence,
    })
}

/// Either a cycle (`PeriodType`, `PeriodDate`, `PeriodTimes`) or a list of days (Date, with `FType` job).
fn cadence(fields: &Fields) -> Result<(u32, Cadence), Refusal> {
    let names = ["PeriodType", "PeriodDate", "PeriodTimes"];
    let dates = fields.text("Date");
    if dates.is_empty() {
        let times = number(fields.text("PeriodTimes")).and_then(|times| u32::try_from(times).ok());
        let times = times.ok_or_else(|| Refusal::undocumented("PeriodTimes: required without Date"))?;
        let cycle = cycle(fields.text("PeriodType"), fields.text("PeriodDate"))?;
        let first = first(fields)?;
        return Ok((times, Cadence::Cyclic { cycle, first }));
    }
    if names.iter().any(|name| !fields.text(name).is_empty()) || fields.text("FType") != "job" {
        return Err(Refusal::undocumented(
            "Date: not together with PeriodType, and only with FType job",
        ));
    }
    let days: Vec<_> = dates.split(',').filter_map(|day| day.parse().ok()).collect();
    if !days.is_sorted() {
        return Err(Refusal::undocumented("Date: in order of time"));
    }
    Ok((
        u32::try_from(days.len()).unwrap_or(u32::MAX),
        Cadence::Listed(days),
    ))
}

/// `PeriodType` with `PeriodDate`.
pub(crate) fn cycle(period_type: &str, date: &str) -> Result<Cycle, Refusal> {
    let day = |min, max| {
        number(date)
            .and_then(|day| i8::try_from(day).ok())
            .filter(|day| (min..=max).contains(day))
    };
    let cycle = match period_type {
        "week" => day(1, 7)
            .and_then(|day| Weekday::from_monday_one_offset(day).ok())
            .map(Cycle::Week),
        "month" => day(1, 31).map(|day| Cycle::Month { day }),
        "year" => date.parse().ok().map(|day: Date| Cycle::Year {
            month: day.month(),
            day: day.day(),
        }),
        _ => return Err(Refusal::undocumented("PeriodType: required without Date")),
    };
    cycle.ok_or_else(|| Refusal::undocumented("PeriodDate: week 1-7, month 1-31, year YYYY-MM-DD"))
}

/// `FType`: `build` charges on the day of the order, `date` on a chosen one, `job` on the first of the cycle (A.5).
fn first(fields: &Fields) -> Result<First, Refusal> {
    match (fields.text("FType"), fields.text("FDate")) {
        ("build", _) => Ok(First::OrderDay),
        ("date", day) => day
            .parse()
            .map(First::On)
            .map_err(|_| Refusal::undocumented("FDate: required with FType date")),
        _ => Ok(First::PerCycle),
    }
}

fn open(app: &App, merchant: &Merchant, fields: Fields, terms: Terms) -> Result<Trade, Refusal> {
    let now = app.clock.now();
    let order_number = fields.text("MerTradeNo").to_owned();
    app.world.with(|world| {
        check_free(world, merchant, &order_number, now)?;
        let period_trade_no = world.numbers.payuni_contract_no(now);
        let trade = Trade {
            provider: Provider::Payuni,
            merchant_id: merchant.id.clone(),
            order_number,
            trade_no: world.numbers.trade_no(Provider::Payuni, now),
            gwsr: String::new(),
            amount: terms.amount,
            description: fields.text("ProdDesc").to_owned(),
            request: fields.into_map(),
            methods: terms.methods,
            method: None,
            status: Status::Open,
            created_at: now,
            settled_at: None,
            settlements: std::collections::BTreeMap::new(),
            credit_hash: None,
            decline_code: None,
            unknown_until: None,
            contract: terms
                .periodic
                .map(|periodic| agreed(app, terms.amount, periodic, period_trade_no))
                .transpose()?,
        };
        world
            .open(trade.clone())
            .map_err(|full| Refusal::undocumented(full.to_string()))?;
        Ok(trade)
    })
}

fn agreed(
    app: &App,
    amount: Minor,
    periodic: Periodic,
    period_trade_no: String,
) -> Result<Contract, Refusal> {
    let terms = contract::Terms {
        provider: Provider::Payuni,
        times_total: periodic.times_total,
        amount,
        first_amount: periodic.first_amount.unwrap_or(amount),
        cadence: periodic.cadence,
        charge_minute_of_day: app.config.payuni_charge_minute_of_day,
        period_trade_no,
    };
    let contract = Contract::agreed(terms, app.clock.now());
    contract.ok_or_else(|| Refusal::undocumented("the sandbox's clock is beyond its calendar"))
}

pub(crate) fn check_free(
    world: &World,
    merchant: &Merchant,
    order_number: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    let last = world.order_of(Provider::Payuni, &merchant.id, order_number);
    if last.is_some_and(|trade| trade.created_at.distance(now) < NUMBER_TAKEN) {
        return Err(Refusal::new("UPP01007", "訂單編號重複 MerTradeNo has been used"));
    }
    Ok(())
}
