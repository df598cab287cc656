//! Plans: written by `tollgate plan put`, read by checkout and apply.
//!
//! command line → **plans** → checkout.
//!
//! Invariants: a row becomes a [`Plan`] only if it is whole; the table's checks and [`read`] say the same (a pair
//! assertion). What a charge gives does not change under payments: every user's standing is recomputed from charges
//! and plans, so a new duration would move the end of what was bought long ago.
//! Not here: whether a plan may be sold to somebody (`domain::coverage`).

use std::collections::BTreeMap;

use tokio_postgres::Row;
use tokio_postgres::types::Json;
use tollgate_shared::id::PlanId;
use tollgate_shared::money::{Currency, Minor, Money};
use tollgate_shared::time::Timestamp;

use super::{DbError, Instant, Tx};
use crate::domain::plan::{FirstCharge, PeriodDate, PeriodUnit, Plan, PlanKind, Schedule};
use crate::domain::tokens::TokenAmount;

/// The columns that [`read`] reads, of the table alias `plan`.
pub(super) const COLUMNS: &str = "plan.id as plan_id, plan.name as plan_name, plan.amount as plan_amount, \
     plan.currency as plan_currency, plan.subscription_type as plan_subscription_type, plan.kind as plan_kind, \
     plan.tokens as plan_tokens, plan.limits as plan_limits, plan.duration_days, plan.period_type, plan.period_frequency, plan.period_times, plan.first_charge, \
     plan.period_date, plan.first_amount";

/// A plan that is sold; one that is not sold any more is not found.
pub(crate) async fn find_available(tx: &Tx, id: &PlanId) -> Result<Option<Plan>, DbError> {
    let sql = format!("select {COLUMNS} from tollgate.plans plan where plan.id = $1 and plan.available");
    tx.query_opt(&sql, &[&id.as_str()])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// A plan, sold or not.
pub(crate) async fn find(tx: &Tx, id: &PlanId) -> Result<Option<Plan>, DbError> {
    let sql = format!("select {COLUMNS} from tollgate.plans plan where plan.id = $1");
    tx.query_opt(&sql, &[&id.as_str()])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// What became of a plan that was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It stands as given.
    Written,
    /// Payments refer to the plan, and it would give something else for a charge.
    TermsInUse,
}

/// Writes a plan, or changes it: name and amount always (payments keep the amount that was agreed), its terms only
/// while no payment refers to it.
pub(crate) async fn put(tx: &Tx, plan: &Plan, now: Timestamp) -> Result<Put, DbError> {
    if let Some(before) = lock(tx, &plan.id).await?
        && before.kind != plan.kind
        && is_in_use(tx, &plan.id).await?
    {
        return Ok(Put::TermsInUse);
    }
    write(tx, plan, now).await?;
    Ok(Put::Written)
}

/// Locked against a checkout, whose payment's foreign key wants to share the row.
async fn lock(tx: &Tx, id: &PlanId) -> Result<Option<Plan>, DbError> {
    let sql = format!("select {COLUMNS} from tollgate.plans plan where plan.id = $1 for update");
    tx.query_opt(&sql, &[&id.as_str()])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

async fn is_in_use(tx: &Tx, id: &PlanId) -> Result<bool, DbError> {
    let sql = "select exists (select from tollgate.payments where plan_id = $1) \
               or exists (select from tollgate.saas_subscriptions where plan_id = $1 or next_plan_id = $1) \
               or exists (select from tollgate.subscription_charges where plan_id = $1) as in_use";
    Ok(tx.query_one(sql, &[&id.as_str()]).await?.try_get("in_use")?)
}

async fn write(tx: &Tx, plan: &Plan, now: Timestamp) -> Result<(), DbError> {
    let sql = "insert into tollgate.plans (id, name, amount, currency, kind, subscription_type, duration_days, \
               period_type, period_frequency, period_times, first_charge, tokens, limits, period_date, \
               first_amount, available, created_at, updated_at) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, true, $16, $16) \
               on conflict (id) do update set name = excluded.name, amount = excluded.amount, \
               currency = excluded.currency, kind = excluded.kind, subscription_type = excluded.subscription_type, \
               duration_days = excluded.duration_days, period_type = excluded.period_type, \
               period_frequency = excluded.period_frequency, period_times = excluded.period_times, \
               first_charge = excluded.first_charge, tokens = excluded.tokens, limits = excluded.limits, \
               period_date = excluded.period_date, first_amount = excluded.first_amount, \
               available = true, updated_at = excluded.updated_at";
    let (kind, duration_days, schedule) = match plan.kind {
        PlanKind::OneTime { duration_days, .. } => ("one_time", duration_days.map(i32::from), None),
        PlanKind::TokenPack(_) => ("one_time", None, None),
        PlanKind::Free { .. } => ("free", None, None),
        PlanKind::Subscription { schedule, .. } => ("subscription", None, Some(schedule)),
    };
    tx.execute(
        sql,
        &[
            /* id */ &plan.id.as_str(),
            /* name */ &plan.name,
            /* amount */ &plan.price.amount_minor.get(),
            /* currency */ &plan.price.currency.code(),
            /* kind */ &kind,
            /* subscription_type */ &plan.subscription_type(),
            /* duration_days */ &duration_days,
            /* period_type */ &schedule.map(|schedule| schedule.unit.label()),
            /* period_frequency */ &schedule.map(|schedule| i32::from(schedule.frequency)),
            /* period_times */ &schedule.map(|schedule| i32::from(schedule.times)),
            /* first_charge */ &schedule.map(|schedule| schedule.first_charge.label()),
            /* tokens */ &plan.tokens().map(TokenAmount::get),
            /* limits */ &Json(&plan.limits),
            /* period_date */ &schedule.and_then(|schedule| Some(schedule.period_date?.text())),
            /* first_amount */ &schedule.and_then(|schedule| Some(schedule.first_amount?.get())),
            /* now */ &Instant(now),
        ],
    )
    .await?;
    Ok(())
}

/// Reads the columns of [`COLUMNS`].
pub(super) fn read(row: &Row) -> Result<Plan, DbError> {
    Ok(Plan {
        id: row
            .try_get::<_, String>("plan_id")?
            .try_into()
            .map_err(|_| unreadable("plans.id"))?,
        name: row.try_get("plan_name")?,
        price: money(row, "plan_amount", "plan_currency")?,
        kind: kind(row)?,
        limits: row.try_get::<_, Json<BTreeMap<String, i64>>>("plan_limits")?.0,
    })
}

fn kind(row: &Row) -> Result<PlanKind, DbError> {
    let subscription_type: Option<String> = row.try_get("plan_subscription_type")?;
    match row.try_get("plan_kind")? {
        "one_time" => one_time(row, subscription_type),
        "free" => Ok(PlanKind::Free {
            subscription_type: subscription_type.ok_or_else(|| unreadable("plans.subscription_type"))?,
        }),
        "subscription" => Ok(PlanKind::Subscription {
            subscription_type: subscription_type.ok_or_else(|| unreadable("plans.subscription_type"))?,
            schedule: schedule(row)?,
        }),
        _ => Err(unreadable("plans.kind")),
    }
}

fn one_time(row: &Row, subscription_type: Option<String>) -> Result<PlanKind, DbError> {
    let duration_days = small(row, "duration_days")?;
    match tokens(row)? {
        None => Ok(PlanKind::OneTime {
            subscription_type,
            duration_days,
        }),
        Some(tokens) if subscription_type.is_none() && duration_days.is_none() => {
            Ok(PlanKind::TokenPack(tokens))
        }
        Some(_) => Err(unreadable("plans.tokens")),
    }
}

/// Reads the tokens that a plan sells, `plan_tokens`.
pub(super) fn tokens(row: &Row) -> Result<Option<TokenAmount>, DbError> {
    let tokens: Option<i64> = row.try_get("plan_tokens")?;
    tokens
        .map(|tokens| TokenAmount::new(tokens).map_err(|_| unreadable("plans.tokens")))
        .transpose()
}

fn schedule(row: &Row) -> Result<Schedule, DbError> {
    let unit = unit(row, "period_type")?;
    Ok(Schedule {
        unit,
        period_date: period_date(row, unit, "period_date")?,
        first_amount: row.try_get::<_, Option<i64>>("first_amount")?.map(Minor::new),
        frequency: small(row, "period_frequency")?.ok_or_else(|| unreadable("plans.period_frequency"))?,
        times: small(row, "period_times")?.ok_or_else(|| unreadable("plans.period_times"))?,
        first_charge: match row.try_get("first_charge")? {
            "build" => FirstCharge::Build,
            "date" => FirstCharge::Date,
            _ => return Err(unreadable("plans.first_charge")),
        },
    })
}

/// Reads the day of a period.
pub(super) fn period_date(
    row: &Row,
    unit: PeriodUnit,
    column: &'static str,
) -> Result<Option<PeriodDate>, DbError> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| PeriodDate::parse(unit, text).ok_or_else(|| unreadable(column)))
        .transpose()
}

/// Reads the unit of a period.
pub(super) fn unit(row: &Row, column: &'static str) -> Result<PeriodUnit, DbError> {
    let label: &str = row.try_get(column)?;
    PeriodUnit::ALL
        .into_iter()
        .find(|unit| unit.label() == label)
        .ok_or_else(|| unreadable(column))
}

fn small(row: &Row, column: &'static str) -> Result<Option<u16>, DbError> {
    let number: Option<i32> = row.try_get(column)?;
    number
        .map(|number| u16::try_from(number).map_err(|_| unreadable(column)))
        .transpose()
}

/// Reads an amount and its currency.
pub(super) fn money(row: &Row, amount: &'static str, currency: &'static str) -> Result<Money, DbError> {
    let code: &str = row.try_get(currency)?;
    let currency = Currency::from_code(code).ok_or_else(|| unreadable(currency))?;
    Ok(Money {
        amount_minor: Minor::new(row.try_get(amount)?),
        currency,
    })
}

pub(crate) const fn unreadable(column: &'static str) -> DbError {
    DbError::Unreadable { column }
}
