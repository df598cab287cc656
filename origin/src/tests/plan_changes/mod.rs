//! Upgrades and downgrades of running subscriptions, with real notices and a stored card (issue 4, PM-8).
//!
//! All begin with pro-monthly (NT$300) on 21 November 2026; fifteen days later 14 of 30 days are left, a credit of NT$140.

mod every_step;
mod in_place;
mod replaced;
mod routes;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_shared::money::Money;

use super::notices::Ecpay;
use super::stage::Stage;
use crate::Origin;
use crate::clock::Clock as _;
use crate::db::{Tx, look, plans};
use crate::domain::plan::{FirstCharge, PeriodUnit, Plan, PlanKind, Schedule};
use crate::subscriptions::{self, Asked, ChangeError, Preview, View, WantedPlan};

pub(super) const DAY: Duration = Duration::from_hours(24);

/// basic-monthly NT$100, max-monthly NT$900; pro-yearly NT$6,000, dearer by the day than pro-monthly.
pub(super) async fn put_plans(stage: &Stage) {
    for (id, price, subscription_type, unit) in [
        ("basic-monthly", 100, "basic", PeriodUnit::Month),
        ("max-monthly", 900, "max", PeriodUnit::Month),
        ("pro-yearly", 6_000, "pro", PeriodUnit::Year),
    ] {
        let plan = &Plan {
            id: id.parse().unwrap(),
            name: format!("Plan {id}"),
            price: Money::twd(price),
            kind: PlanKind::Subscription {
                subscription_type: subscription_type.to_owned(),
                schedule: Schedule {
                    unit,
                    frequency: 1,
                    // ECPay takes at most nine years.
                    times: if unit == PeriodUnit::Year { 9 } else { 12 },
                    first_charge: FirstCharge::Build,
                    period_date: None,
                    first_amount: None,
                },
            },
            limits: BTreeMap::new(),
        };
        let now = stage.clock.now();
        let put = |tx: Tx| async move { plans::put(&tx, plan, now).await };
        stage.origin.database.run_tx("plan", put).await.unwrap();
    }
}

/// A subscription at ECPay that is paid for: its id.
pub(super) async fn at_ecpay(stage: &Stage, user: &str) -> String {
    let (_, order) = stage.buy(user, json!({ "planId": "pro-monthly" })).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    row_of_order(stage, &order).await["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

pub(super) async fn row_of_order(stage: &Stage, order: &str) -> Value {
    look::row(&stage.admin, "saas_subscriptions", "order_number", order).await
}

pub(super) async fn row(stage: &Stage, id: &str) -> Value {
    look::row(&stage.admin, "saas_subscriptions", "id", id).await
}

/// What another plan would be.
pub(super) async fn preview(stage: &Stage, id: &str, plan: &str) -> Result<Preview, ChangeError> {
    let (id, plan) = (id.parse().unwrap(), &plan.parse().unwrap());
    let (context, now) = (stage.origin.subscriptions(), stage.clock.now());
    let read = |tx: Tx| async move { subscriptions::preview(&tx, context, (id, plan), now).await };
    stage.origin.database.run_tx("preview", read).await
}

/// Way, credit, due and refund of a preview, or the refusal.
pub(super) async fn previewed(stage: &Stage, id: &str, plan: &str) -> String {
    match preview(stage, id, plan).await {
        Ok(told) => format!(
            "{} {} {} {}",
            told.way, told.credit_minor, told.due_minor, told.refund_minor
        ),
        Err(error) => error.to_string(),
    }
}

/// Asks for another plan under a key.
pub(super) async fn change(stage: &Stage, id: &str, plan: &str, key: &str) -> Result<View, ChangeError> {
    change_on(stage, &stage.origin, (id, plan), key).await
}

pub(super) async fn change_on(
    stage: &Stage,
    origin: &Origin,
    (id, plan): (&str, &str),
    key: &str,
) -> Result<View, ChangeError> {
    let asked = &Asked {
        subscription: id.parse().unwrap(),
        actor: "user",
        key,
        now: stage.clock.now(),
    };
    let wanted = WantedPlan {
        plan: &plan.parse().unwrap(),
        due_minor: None,
    };
    let context = origin.subscriptions();
    let change = |tx: Tx| async move { subscriptions::change_plan(&tx, context, asked, wanted).await };
    origin.database.run_tx("change_plan", change).await
}

/// The steps of a subscription, with the plans that they lead from and to.
pub(super) async fn steps(stage: &Stage, id: &str) -> Vec<String> {
    let sql = "select concat_ws(' ', kind, details->>'fromPlanId', details->>'planId') \
               from tollgate.subscription_history where subscription_id::text = $1 \
               order by occurred_at, recorded_at, step_key";
    let rows = stage.admin.query(sql, &[&id]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Kinds of the user's notices, in order.
pub(super) async fn notices(stage: &Stage, user: &str) -> Vec<String> {
    let sql = "select kind from tollgate.notices where user_id = $1 order by created_at, operation_key";
    let rows = stage.admin.query(sql, &[&user]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

pub(super) async fn type_of(stage: &Stage, user: &str) -> Value {
    stage.user(user).await["subscription_type"].clone()
}

/// Every row that a change of plan could touch.
pub(super) async fn everything(stage: &Stage) -> Vec<Vec<Value>> {
    let mut tables = Vec::new();
    for table in [
        "users",
        "payments",
        "payment_charges",
        "refunds",
        "saas_subscriptions",
        "subscription_facts",
        "subscription_history",
        "subscription_charges",
        "notices",
        "outbox",
        "event_log",
        "ledger_transaction",
        "checkout_requests",
    ] {
        tables.push(look::rows(&stage.admin, table).await);
    }
    tables
}
