//! Opening a trade at the fake PAYUNi.
//!
//! a posted form → `envelope::open` → `rules::check` → **`upp`**, **`period`** → the cashier page.
//!
//! Invariant: an order number is free again after ten minutes (A.5, A.9), looked up and taken under one lock.
//! Not here: the tables (`rules`), notices (`notice`).
//! Failure: [`Refusal`]; UPP01007 a repeated number, UPP02010 an old stamp, else what `rules` says.

use std::time::Duration;

use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use super::envelope::{self, Refusal};
use super::rules::{self, is_date, number};
use crate::app::App;
use crate::config::Merchant;
use crate::form::Fields;
use crate::trade::{Method, Plan, Provider, Status, Trade};
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
            plan: None,
        },
    )
}

/// `/api/period/Page`.
pub(crate) fn period(app: &App, body: &[u8]) -> Result<Trade, Refusal> {
    let (merchant, fields) = envelope::open(&app.config, body, &["1.0"])?;
    rules::check(rules::PERIOD, &fields, app.config.standard_ports_only)?;
    let amount = amount(&fields, "PeriodAmt")?;
    let plan = plan(&fields, amount, app.clock.now())?;
    open(
        app,
        &merchant,
        fields,
        Terms {
            amount,
            methods: vec![Method::Credit],
            plan: Some(plan),
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
    plan: Option<Plan>,
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

fn plan(fields: &Fields, amount: Minor, now: Timestamp) -> Result<Plan, Refusal> {
    let first_amount = if fields.text("FAmt").is_empty() {
        amount
    } else {
        self::amount(fields, "FAmt")?
    };
    Ok(Plan {
        times_total: times_total(fields)?,
        amount,
        first_amount,
        period_trade_no: String::new(),
        first_charge_now: charges_now(fields, now)?,
        charges: Vec::new(),
    })
}

/// Either a cycle (`PeriodType`, `PeriodDate`, `PeriodTimes`) or a list of days (Date, with `FType` job).
fn times_total(fields: &Fields) -> Result<u32, Refusal> {
    let cycle = ["PeriodType", "PeriodDate", "PeriodTimes"].map(|name| fields.text(name));
    let dates = fields.text("Date");
    if !dates.is_empty() {
        if cycle.iter().any(|value| !value.is_empty()) || fields.text("FType") != "job" {
            return Err(Refusal::undocumented(
                "Date: not together with PeriodType, and only with FType job",
            ));
        }
        return Ok(u32::try_from(dates.split(',').count()).unwrap_or(u32::MAX));
    }
    let [period_type, date, times] = cycle;
    let date_fits = match period_type {
        "week" => number(date).is_some_and(|day| (1..=7).contains(&day)),
        "month" => number(date).is_some_and(|day| (1..=31).contains(&day)),
        "year" => is_date(date),
        _ => return Err(Refusal::undocumented("PeriodType: required without Date")),
    };
    if !date_fits {
        return Err(Refusal::undocumented(
            "PeriodDate: week 1-7, month 1-31, year YYYY-MM-DD",
        ));
    }
    let times = number(times).and_then(|times| u32::try_from(times).ok());
    times.ok_or_else(|| Refusal::undocumented("PeriodTimes: required without Date"))
}

/// `build` charges today; `date` charges today only on that day, otherwise the card is bound with NT$1 (A.5).
fn charges_now(fields: &Fields, now: Timestamp) -> Result<bool, Refusal> {
    let today = now.to_taipei("%Y-%m-%d").unwrap_or_default();
    match fields.text("FType") {
        "build" => Ok(true),
        "date" if fields.text("FDate").is_empty() => {
            Err(Refusal::undocumented("FDate: required with FType date"))
        }
        "date" => Ok(fields.text("FDate") == today),
        _ => Ok(false),
    }
}

fn open(app: &App, merchant: &Merchant, fields: Fields, terms: Terms) -> Result<Trade, Refusal> {
    let now = app.clock.now();
    let order_number = fields.text("MerTradeNo").to_owned();
    app.world.with(|world| {
        check_free(world, merchant, &order_number, now)?;
        let contract_no = world.numbers.payuni_contract_no(now);
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
            plan: terms.plan.map(|plan| Plan {
                period_trade_no: contract_no,
                ..plan
            }),
        };
        world
            .open(trade.clone())
            .map_err(|full| Refusal::undocumented(full.to_string()))?;
        Ok(trade)
    })
}

fn check_free(world: &World, merchant: &Merchant, order_number: &str, now: Timestamp) -> Result<(), Refusal> {
    let last = world.order_of(Provider::Payuni, &merchant.id, order_number);
    if last.is_some_and(|trade| trade.created_at.distance(now) < NUMBER_TAKEN) {
        return Err(Refusal::new("UPP01007", "訂單編號重複 MerTradeNo has been used"));
    }
    Ok(())
}
