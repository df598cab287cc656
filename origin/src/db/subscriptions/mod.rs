//! Subscriptions: the row, its lock, and the columns that are recomputed (V14, V16).
//!
//! checkout inserts → `subscriptions::refold` locks, loads facts (`facts`), saves → everybody else reads.
//!
//! Invariants: whoever recomputes a row holds its lock and reads the facts after it, so two facts that arrive at once
//! cannot each miss the other. Locks: payment → ledger accounts → subscription → user. What is known is only added to.
//! Not here: what the facts amount to (`domain::subscription`).

pub(crate) mod attempts;
pub(crate) mod charges;
pub(crate) mod due;
pub(crate) mod facts;
pub(crate) mod figures;
pub(crate) mod held;
pub(crate) mod history;
pub(crate) mod sending;

use jiff::civil::Date;
use tokio_postgres::Row;
use tollgate_shared::id::{OrderNumber, PaymentId, PlanId, UserId};
use tollgate_shared::money::{Minor, Money};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::payments::NewPayment;
pub(crate) use super::plans::unreadable;
use super::plans::{self, money};
use super::{DbError, Instant, Tx};
use crate::domain::plan::{FirstCharge, PeriodDate, Plan, Schedule};
use crate::domain::subscription::{EndReason, Mode};
use crate::subscriptions::SubscriptionId;

/// A subscription to be.
#[derive(Debug, Clone)]
pub(crate) struct NewSubscription<'a> {
    /// Its id.
    pub(crate) id: SubscriptionId,
    /// The payment that it was bought by: user, plan, provider, shop, order number.
    pub(crate) payment: &'a NewPayment,
    /// The amount of one period; the payment's own is that of the first.
    pub(crate) price: Money,
    /// Who charges.
    pub(crate) mode: Mode,
    /// When and how often.
    pub(crate) schedule: Schedule,
    /// The day of the first charge, where it is agreed beforehand.
    pub(crate) anchor: Option<Date>,
    /// The one that it takes the place of.
    pub(crate) replaces: Option<SubscriptionId>,
}

/// A subscription, as it was agreed.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    /// Its id.
    pub(crate) id: SubscriptionId,
    /// Whose it is.
    pub(crate) user: UserId,
    /// What it gives.
    pub(crate) plan: Plan,
    /// The payment that all its charges belong to.
    pub(crate) payment: PaymentId,
    /// Who charges.
    pub(crate) mode: Mode,
    /// The provider's name.
    pub(crate) provider: String,
    /// The shop; empty at a provider that knows no shops.
    pub(crate) merchant: String,
    /// Our number of the order.
    pub(crate) order: OrderNumber,
    /// The provider's number of the contract, where it has one.
    pub(crate) contract_number: Option<String>,
    /// The amount of one period.
    pub(crate) price: Money,
    /// When and how often.
    pub(crate) schedule: Schedule,
    /// The agreed day of the first charge.
    pub(crate) anchor: Option<Date>,
    /// The plan from the next charge on, at this price of a period; without a price, the one to be bought at the end.
    pub(crate) next_plan: Option<(PlanId, Option<Money>)>,
    /// The one that it takes the place of.
    pub(crate) replaces: Option<SubscriptionId>,
    /// Where it stood when it was last recomputed.
    pub(crate) status: String,
    /// When the provider is asked for news next.
    pub(crate) next_poll_at: Option<Timestamp>,
    /// How often it was asked for the same news.
    pub(crate) poll_count: i32,
    /// When it was made.
    pub(crate) created_at: Timestamp,
}

impl Subscription {
    /// What a period takes: the first may have an amount of its own (PU-1).
    pub(crate) fn price_of(&self, period: Option<u32>) -> Money {
        let first = self.schedule.first_amount.filter(|_| period == Some(1));
        Money {
            amount_minor: first.unwrap_or(self.price.amount_minor),
            ..self.price
        }
    }
}

/// The columns that are recomputed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// `pending`, `active`, `past_due`, `paused`, `canceled` or `ended`.
    pub(crate) status: &'static str,
    /// Charges that were kept.
    pub(crate) periods_paid: u32,
    /// Refusals since the last success.
    pub(crate) failures: u32,
    /// The first instant that is not paid for.
    pub(crate) paid_until: Option<Timestamp>,
    /// The first instant without access.
    pub(crate) access_until: Option<Timestamp>,
    /// When the next charge is due.
    pub(crate) next_charge_at: Option<Timestamp>,
    /// When a refused charge is tried again.
    pub(crate) next_retry_at: Option<Timestamp>,
    /// When grace ends.
    pub(crate) grace_ends_at: Option<Timestamp>,
    /// When it ends, as asked for.
    pub(crate) cancel_at: Option<Timestamp>,
    /// Since when the limits are those of FREE, and why.
    pub(crate) downgraded: Option<(Timestamp, String)>,
    /// When and why it ended.
    pub(crate) ended: Option<(Timestamp, EndReason)>,
    /// When the provider is asked for news next.
    pub(crate) next_poll_at: Option<Timestamp>,
    /// How often it was asked for the same news.
    pub(crate) poll_count: i32,
    /// When the sweep looks again.
    pub(crate) next_due_at: Option<Timestamp>,
}

/// Inserts a pending subscription beside its payment.
pub(crate) async fn insert(tx: &Tx, new: &NewSubscription<'_>, now: Timestamp) -> Result<(), DbError> {
    let sql = "insert into tollgate.saas_subscriptions (id, user_id, plan_id, payment_id, mode, provider, \
               merchant_id, order_number, amount, currency, period_type, period_frequency, period_times, anchor_on, \
               replaces_id, period_date, first_amount, created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8, \
               $9, $10, $11, $12, $13, $14::text::date, $15, $16, $17, $18, $18)";
    let payment = new.payment;
    tx.execute(
        sql,
        &[
            /* id */ &new.id.as_uuid(),
            /* user_id */ &payment.user.as_str(),
            /* plan_id */ &payment.plan.as_str(),
            /* payment_id */ &payment.id.as_uuid(),
            /* mode */ &new.mode.label(),
            /* provider */ &payment.provider,
            /* merchant_id */ &payment.merchant_column(),
            /* order_number */ &payment.order.as_str(),
            /* amount */ &new.price.amount_minor.get(),
            /* currency */ &new.price.currency.code(),
            /* period_type */ &new.schedule.unit.label(),
            /* period_frequency */ &i32::from(new.schedule.frequency),
            /* period_times */ &i32::from(new.schedule.times),
            /* anchor_on */ &new.anchor.map(|day| day.to_string()),
            /* replaces_id */ &new.replaces.map(SubscriptionId::as_uuid),
            /* period_date */ &new.schedule.period_date.map(PeriodDate::text),
            /* first_amount */ &new.schedule.first_amount.map(Minor::get),
            /* now */ &Instant(now),
        ],
    )
    .await?;
    Ok(())
}

/// The columns that [`read`] reads, of the table alias `subscription`, joined with `plan`.
fn select() -> String {
    format!(
        "select subscription.id, subscription.user_id, subscription.payment_id, subscription.mode, \
         subscription.provider, subscription.merchant_id, subscription.order_number, subscription.contract_number, \
         subscription.amount, subscription.currency, subscription.period_type as agreed_period_type, \
         subscription.period_frequency as agreed_frequency, subscription.period_times as agreed_times, \
         subscription.period_date as agreed_period_date, subscription.first_amount as agreed_first_amount, \
         subscription.anchor_on::text as anchor_on, subscription.next_plan_id, subscription.next_amount, \
         subscription.replaces_id, \
         subscription.status, subscription.next_poll_at, subscription.poll_count, subscription.created_at, {} \
         from tollgate.saas_subscriptions subscription \
         join tollgate.plans plan on plan.id = subscription.plan_id",
        plans::COLUMNS
    )
}

/// Locks a subscription.
pub(crate) async fn lock(tx: &Tx, id: SubscriptionId) -> Result<Option<Subscription>, DbError> {
    let sql = format!(
        "{} where subscription.id = $1 for no key update of subscription",
        select()
    );
    one(tx, &sql, id).await
}

/// Reads a subscription without locking it.
pub(crate) async fn find(tx: &Tx, id: SubscriptionId) -> Result<Option<Subscription>, DbError> {
    one(tx, &format!("{} where subscription.id = $1", select()), id).await
}

/// Reads the subscription of a payment without locking it, if the payment is one's.
pub(crate) async fn of_payment(tx: &Tx, payment: PaymentId) -> Result<Option<Subscription>, DbError> {
    let sql = format!("{} where subscription.payment_id = $1", select());
    tx.query_opt(&sql, &[&payment.as_uuid()])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

async fn one(tx: &Tx, sql: &str, id: SubscriptionId) -> Result<Option<Subscription>, DbError> {
    tx.query_opt(sql, &[&id.as_uuid()])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Locks the subscription of a payment, if the payment is one's.
pub(crate) async fn lock_of_payment(tx: &Tx, payment: PaymentId) -> Result<Option<Subscription>, DbError> {
    let sql = format!(
        "{} where subscription.payment_id = $1 for no key update of subscription",
        select()
    );
    tx.query_opt(&sql, &[&payment.as_uuid()])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Locks the payment of the subscription that a pending one is to take the place of, if there is one.
pub(crate) async fn lock_replaced_payment(tx: &Tx, payment: PaymentId) -> Result<(), DbError> {
    let sql = "select from tollgate.payments payment \
               join tollgate.saas_subscriptions old on old.payment_id = payment.id \
               join tollgate.saas_subscriptions new on new.replaces_id = old.id \
               where new.payment_id = $1 and new.status = 'pending' for update of payment";
    tx.query_opt(sql, &[&payment.as_uuid()]).await?;
    Ok(())
}

/// Every subscription of a user, the newest first.
pub(crate) async fn of_user(tx: &Tx, user: &UserId) -> Result<Vec<Subscription>, DbError> {
    let sql = format!(
        "{} where subscription.user_id = $1 order by subscription.created_at desc, subscription.id desc",
        select()
    );
    tx.query(&sql, &[&user.as_str()])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// A subscription of the user, other than one, that gives a type and may be charged again, or for the first time on a chosen
/// day.
pub(crate) async fn running(
    tx: &Tx,
    user: &UserId,
    subscription_type: &str,
    except: Option<SubscriptionId>,
) -> Result<Option<SubscriptionId>, DbError> {
    let sql = "select subscription.id from tollgate.saas_subscriptions subscription \
               join tollgate.plans plan on plan.id = subscription.plan_id \
               where subscription.user_id = $1 and plan.subscription_type = $2 \
               and subscription.id is distinct from $3 \
               and (subscription.status in ('active', 'past_due', 'paused') \
                    or (subscription.status = 'pending' and subscription.next_charge_at is not null)) \
               and subscription.cancel_at is null \
               and (subscription.next_charge_at is not null or subscription.status <> 'active' \
                    or subscription.downgraded_at is not null) \
               order by subscription.created_at desc limit 1";
    let row = tx
        .query_opt(
            sql,
            &[
                &user.as_str(),
                &subscription_type,
                &except.map(SubscriptionId::as_uuid),
            ],
        )
        .await?;
    row.map(|row| Ok(SubscriptionId::from_uuid(row.try_get("id")?)))
        .transpose()
}

fn read(row: &Row) -> Result<Subscription, DbError> {
    let text = |column: &'static str| row.try_get::<_, String>(column);
    let anchor = day(row, "anchor_on")?;
    Ok(Subscription {
        id: SubscriptionId::from_uuid(row.try_get("id")?),
        user: text("user_id")?
            .try_into()
            .map_err(|_| unreadable("saas_subscriptions.user_id"))?,
        plan: plans::read(row)?,
        payment: PaymentId::from_uuid(row.try_get("payment_id")?),
        mode: mode(row)?,
        provider: text("provider")?,
        merchant: text("merchant_id")?,
        order: text("order_number")?
            .try_into()
            .map_err(|_| unreadable("saas_subscriptions.order_number"))?,
        contract_number: row.try_get("contract_number")?,
        price: money(row, "amount", "currency")?,
        schedule: schedule(row, anchor.is_some())?,
        anchor,
        next_plan: next_plan(row)?,
        replaces: row
            .try_get::<_, Option<Uuid>>("replaces_id")?
            .map(SubscriptionId::from_uuid),
        status: text("status")?,
        next_poll_at: instant(row, "next_poll_at")?,
        poll_count: row.try_get("poll_count")?,
        created_at: row.try_get::<_, Instant>("created_at")?.0,
    })
}

/// The schedule as it was agreed; a day of the first charge was agreed only where it is a chosen one.
fn schedule(row: &Row, is_first_chosen: bool) -> Result<Schedule, DbError> {
    let unit = plans::unit(row, "agreed_period_type")?;
    Ok(Schedule {
        unit,
        frequency: small(row, "agreed_frequency")?,
        times: small(row, "agreed_times")?,
        first_charge: if is_first_chosen {
            FirstCharge::Date
        } else {
            FirstCharge::Build
        },
        period_date: plans::period_date(row, unit, "agreed_period_date")?,
        first_amount: row
            .try_get::<_, Option<i64>>("agreed_first_amount")?
            .map(Minor::new),
    })
}

/// Reads a day, which the statement gives as text.
fn day(row: &Row, column: &'static str) -> Result<Option<Date>, DbError> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|_| unreadable(column)))
        .transpose()
}

fn next_plan(row: &Row) -> Result<Option<(PlanId, Option<Money>)>, DbError> {
    let Some(plan) = row.try_get::<_, Option<String>>("next_plan_id")? else {
        return Ok(None);
    };
    let plan = plan
        .try_into()
        .map_err(|_| unreadable("saas_subscriptions.next_plan_id"))?;
    let amount: Option<i64> = row.try_get("next_amount")?;
    let price = amount
        .map(|_| money(row, "next_amount", "currency"))
        .transpose()?;
    Ok(Some((plan, price)))
}

fn mode(row: &Row) -> Result<Mode, DbError> {
    let label: &str = row.try_get("mode")?;
    [Mode::ProviderRun, Mode::MerchantRun]
        .into_iter()
        .find(|mode| mode.label() == label)
        .ok_or_else(|| unreadable("saas_subscriptions.mode"))
}

fn small(row: &Row, column: &'static str) -> Result<u16, DbError> {
    let number: i32 = row.try_get(column)?;
    u16::try_from(number).map_err(|_| unreadable(column))
}

fn instant(row: &Row, column: &'static str) -> Result<Option<Timestamp>, DbError> {
    Ok(row
        .try_get::<_, Option<Instant>>(column)?
        .map(|instant| instant.0))
}

/// A count as a column holds it.
pub(crate) fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Writes what was recomputed.
pub(crate) async fn save(tx: &Tx, id: SubscriptionId, state: &State, now: Timestamp) -> Result<(), DbError> {
    let sql = "update tollgate.saas_subscriptions set status = $2, periods_paid = $3, failure_count = $4, \
               paid_until = $5, access_until = $6, next_charge_at = $7, next_retry_at = $8, \
               grace_period_ends_at = $9, cancel_at = $10, downgraded_at = $11, downgrade_reason = $12, \
               ended_at = $13, end_reason = $14, next_poll_at = $15, poll_count = $16, next_due_at = $17, \
               updated_at = $18 where id = $1";
    let (downgraded_at, downgrade_reason) = state.downgraded.clone().unzip();
    let (ended_at, end_reason) = state.ended.unzip();
    tx.execute(
        sql,
        &[
            /* id */ &id.as_uuid(),
            /* status */ &state.status,
            /* periods_paid */ &count(state.periods_paid),
            /* failure_count */ &count(state.failures),
            /* paid_until */ &state.paid_until.map(Instant),
            /* access_until */ &state.access_until.map(Instant),
            /* next_charge_at */ &state.next_charge_at.map(Instant),
            /* next_retry_at */ &state.next_retry_at.map(Instant),
            /* grace_period_ends_at */ &state.grace_ends_at.map(Instant),
            /* cancel_at */ &state.cancel_at.map(Instant),
            /* downgraded_at */ &downgraded_at.map(Instant),
            /* downgrade_reason */ &downgrade_reason,
            /* ended_at */ &ended_at.map(Instant),
            /* end_reason */ &end_reason.map(EndReason::label),
            /* next_poll_at */ &state.next_poll_at.map(Instant),
            /* poll_count */ &state.poll_count,
            /* next_due_at */ &state.next_due_at.map(Instant),
            /* updated_at */ &Instant(now),
        ],
    )
    .await?;
    Ok(())
}

/// Notes the provider's number of the contract, the first time that it is told.
pub(crate) async fn set_contract_number(tx: &Tx, id: SubscriptionId, number: &str) -> Result<(), DbError> {
    let sql = "update tollgate.saas_subscriptions set contract_number = $2 where id = $1 and contract_number is null";
    tx.execute(sql, &[&id.as_uuid(), &number]).await?;
    Ok(())
}

/// Another plan from now on (merchant-run), at its price.
pub(crate) async fn set_plan(
    tx: &Tx,
    id: SubscriptionId,
    plan: &PlanId,
    price: Money,
) -> Result<(), DbError> {
    let sql = "update tollgate.saas_subscriptions set plan_id = $2, amount = $3, currency = $4, next_plan_id = null, \
               next_amount = null where id = $1";
    tx.execute(
        sql,
        &[
            /* id */ &id.as_uuid(),
            /* plan_id */ &plan.as_str(),
            /* amount */ &price.amount_minor.get(),
            /* currency */ &price.currency.code(),
        ],
    )
    .await?;
    Ok(())
}

/// The plan to come, or none any more.
pub(crate) async fn set_next_plan(
    tx: &Tx,
    id: SubscriptionId,
    next: Option<(&PlanId, Option<Money>)>,
) -> Result<(), DbError> {
    let sql = "update tollgate.saas_subscriptions set next_plan_id = $2, next_amount = $3 where id = $1";
    let plan = next.map(|(plan, _)| plan.as_str());
    let amount = next.and_then(|(_, price)| price.map(|price| price.amount_minor.get()));
    tx.execute(sql, &[&id.as_uuid(), &plan, &amount]).await?;
    Ok(())
}
