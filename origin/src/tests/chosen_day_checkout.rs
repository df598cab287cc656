//! PU-1 and PU-7 at the checkout: what may be put as a plan, which day may be chosen, and what PAYUNi's page is told.
//!
//! How: the form that the browser would post is opened with the shop's key, as PAYUNi opens it. The clock says 2026-11-21,
//! 10:00 in Taiwan. Not here: what follows (`chosen_day`).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_shared::form::Form;
use tollgate_shared::provider::payuni::cipher;
use tollgate_shared::secret::Secret;

use super::notices::PAYUNI;
use super::stage::{Answer, Stage, settings};
use crate::commands::{self, PlanArguments, PlanArgumentsKind};
use crate::db::look;

/// The sealed fields of PAYUNi's form.
fn sealed(answer: &Answer) -> BTreeMap<String, String> {
    assert_eq!(answer.status, 201, "{answer:?}");
    let fields = answer.body["form"]["fields"].as_array().unwrap();
    let sealed = fields.iter().find(|field| field[0] == "EncryptInfo").unwrap();
    let inner = cipher::open(sealed[1].as_str().unwrap(), PAYUNI[1], PAYUNI[2]).unwrap();
    let form = Form::parse(&inner).unwrap();
    form.fields()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn subscription(period_type: &str, first_charge: &str) -> PlanArgumentsKind {
    PlanArgumentsKind::Subscription {
        period_type: period_type.into(),
        frequency: 1,
        times: 12,
        first_charge: first_charge.into(),
        period_date: None,
        first_amount_minor: None,
    }
}

fn on(kind: PlanArgumentsKind, date: Option<&str>, first: Option<i64>) -> PlanArgumentsKind {
    match kind {
        PlanArgumentsKind::Subscription {
            period_type,
            frequency,
            times,
            first_charge,
            ..
        } => PlanArgumentsKind::Subscription {
            period_type,
            frequency,
            times,
            first_charge,
            period_date: date.map(str::to_owned),
            first_amount_minor: first,
        },
        other @ (PlanArgumentsKind::OneTime { .. } | PlanArgumentsKind::Free) => other,
    }
}

async fn put(stage: &Stage, id: &str, kind: PlanArgumentsKind) -> Result<(), commands::CommandError> {
    let arguments = PlanArguments {
        id: id.parse().unwrap(),
        name: format!("Plan {id}"),
        amount_minor: 300,
        subscription_type: Some("pro".into()),
        tokens: None,
        limits: BTreeMap::new(),
        kind,
    };
    commands::plan_put(&Secret::new(stage.database_url()), arguments).await
}

/// plan's unit, first charge, period date, first amount | chosen day | what PAYUNi is told: `PeriodType PeriodDate FType FDate FAmt`
const FORMS: &str = "
    week  build -     -  | -          | week 6 build - -
    week  build 1     99 | -          | week 1 build - 99
    week  date  -     -  | 2026-11-23 | week 1 date 2026-11-23 -
    week  date  5     -  | 2026-11-23 | week 5 date 2026-11-23 -
    month build -     -  | -          | month 21 build - -
    month build 31    2  | -          | month 31 build - 2
    month date  -     -  | 2026-12-31 | month 31 date 2026-12-31 -
    month date  1     99 | 2026-12-31 | month 1 date 2026-12-31 99
    year  build -     -  | -          | year 2026-11-21 build - -
    year  build 11-21 -  | -          | year 2027-11-21 build - -
    year  build 11-22 -  | -          | year 2026-11-22 build - -
    year  date  01-05 -  | 2027-01-04 | year 2027-01-05 date 2027-01-04 -
    year  date  -     -  | 2027-11-21 | year 2027-11-21 date 2027-11-21 -
";

#[tokio::test]
async fn pu_1_pu_7_payuni_is_told_the_plans_day_the_chosen_day_and_the_first_amount() {
    let stage = Stage::start().await;
    let given = |cell: &str| (cell != "-").then(|| cell.to_owned());
    for (number, row) in FORMS.trim().lines().map(str::trim).enumerate() {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let plan: Vec<&str> = cells[0].split_whitespace().collect();
        let first = given(plan[3]).map(|amount| amount.parse().unwrap());
        let kind = on(subscription(plan[0], plan[1]), given(plan[2]).as_deref(), first);
        let id = format!("plan-{number}");
        put(&stage, &id, kind).await.unwrap();
        let mut body = json!({ "planId": id, "provider": "payuni" });
        if let Some(day) = given(cells[1]) {
            body["firstChargeOn"] = json!(day);
        }
        let answer = stage.checkout(&format!("user-{number}"), "k1", body).await;
        assert_eq!(answer.body["amount"], first.unwrap_or(300), "{row}");
        let fields = sealed(&answer);
        let names = ["PeriodType", "PeriodDate", "FType", "FDate", "FAmt"];
        let told = names.map(|name| fields.get(name).map_or("-", String::as_str));
        assert_eq!(told.join(" "), cells[2], "{row}");
        assert_eq!(fields["PeriodAmt"], "300", "{row}");
        let payment = answer.body["paymentId"].as_str().unwrap();
        let back = format!("https://pay.example.tw/api/payments/{payment}/return");
        let is_bound = plan[1] == "date";
        assert_eq!(fields.get("ReturnURL"), is_bound.then_some(&back), "{row}");
        let order = answer.body["orderNumber"].as_str().unwrap();
        let agreed = look::row(&stage.admin, "saas_subscriptions", "order_number", order).await;
        assert_eq!(agreed["anchor_on"], json!(given(cells[1])), "{row}");
        assert_eq!(agreed["period_date"], json!(given(plan[2])), "{row}");
        assert_eq!(
            (&agreed["amount"], &agreed["first_amount"]),
            (&json!(300), &json!(first))
        );
    }
}

#[tokio::test]
async fn pu_1_a_plan_that_no_provider_could_keep_is_not_written() {
    let stage = Stage::start().await;
    let monthly = || subscription("month", "build");
    for (kind, words) in [
        (on(subscription("week", "build"), Some("8"), None), "period date"),
        (on(monthly(), Some("32"), None), "period date"),
        (on(monthly(), Some("01"), None), "period date"),
        (on(monthly(), Some("12-31"), None), "period date"),
        (
            on(subscription("year", "build"), Some("02-29"), None),
            "not 02-29",
        ),
        (on(subscription("day", "build"), Some("1"), None), "period date"),
        (on(monthly(), None, Some(1)), "first amount"),
        (on(monthly(), None, Some(0)), "first amount"),
        (on(monthly(), None, Some(-5)), "first amount"),
        (subscription("month", "job"), "first charge"),
        (
            PlanArgumentsKind::Subscription {
                period_type: "month".into(),
                frequency: 2,
                times: 12,
                first_charge: "build".into(),
                period_date: Some("1".into()),
                first_amount_minor: None,
            },
            "frequency of 1",
        ),
    ] {
        let refused = put(&stage, "odd", kind.clone()).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{kind:?}: {refused}");
    }
    let plans = look::rows(&stage.admin, "plans").await;
    assert!(plans.iter().all(|plan| plan["id"] != "odd"));
    // A pair assertion: what another program writes is refused by the table.
    for set in [
        "period_date = '32'",
        "period_date = '2', period_frequency = 2",
        "first_amount = 0",
        "period_type = 'year', period_date = '02-29'",
        "period_type = 'day', period_date = '1'",
    ] {
        let sql = format!("update tollgate.plans set {set} where id = 'pro-monthly'");
        assert!(stage.admin.execute(&sql, &[]).await.is_err(), "{set}");
    }
}

#[tokio::test]
async fn pu_7_a_day_that_cannot_be_chosen_is_refused_and_nothing_is_written() {
    let stage = Stage::start().await;
    let before = stage.tally().await;
    let later = |day: Value| json!({ "planId": "later", "provider": "payuni", "firstChargeOn": day });
    for (body, status, problem) in [
        (
            json!({ "planId": "later", "provider": "payuni" }),
            422,
            "first-charge-on",
        ),
        (later(Value::Null), 422, "first-charge-on"),
        (later(json!("")), 422, "first-charge-on"),
        (later(json!("2026-11-21")), 422, "first-charge-on"),
        (later(json!("2026-11-20")), 422, "first-charge-on"),
        (later(json!("2027-11-22")), 422, "first-charge-on"),
        (later(json!("9999-12-31")), 422, "first-charge-on"),
        (later(json!("2026-11-31")), 422, "first-charge-on"),
        (later(json!("20261210")), 422, "first-charge-on"),
        (later(json!("2026-12-10T00:00:00")), 422, "first-charge-on"),
        (later(json!("tomorrow")), 422, "first-charge-on"),
        (later(json!(20_261_210)), 400, "malformed-body"),
        (
            json!({ "planId": "pro-monthly", "provider": "payuni", "firstChargeOn": "2026-12-10" }),
            422,
            "first-charge-on",
        ),
        (
            json!({ "planId": "pro-month", "provider": "payuni", "firstChargeOn": "2026-12-10" }),
            422,
            "first-charge-on",
        ),
        (
            json!({ "planId": "later", "provider": "ecpay", "firstChargeOn": "2026-12-10" }),
            422,
            "plan-not-payable",
        ),
        (
            json!({ "planId": "later", "provider": "payuni", "method": "ATM", "firstChargeOn": "2026-12-10" }),
            422,
            "unknown-method",
        ),
    ] {
        let answer = stage.checkout("user-1", "k1", body.clone()).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (status, problem),
            "{body}: {answer:?}"
        );
        if problem == "first-charge-on" {
            assert_eq!(answer.body["field"], "firstChargeOn", "{body}");
        }
    }
    assert_eq!(stage.tally().await, before);
    for day in ["2026-11-22", "2027-11-21"] {
        let answer = stage
            .checkout(&format!("user-{day}"), "k1", later(json!(day)))
            .await;
        assert_eq!(
            sealed(&answer)["FDate"],
            day,
            "the first and the last that can be chosen"
        );
    }
    // Until midnight in Taiwan it is the day before.
    stage.clock.advance(
        super::stage::taipei("2026/11/22 00:00:00").distance(super::stage::taipei("2026/11/21 10:00:00")),
    );
    let answer = stage.checkout("user-2", "k1", later(json!("2026-11-22"))).await;
    assert_eq!(answer.problem(), "first-charge-on", "today by now");
}

#[tokio::test]
async fn pu_7_where_we_charge_no_card_is_bound_and_ecpay_says_why_it_cannot() {
    let mut merchant_run = settings();
    merchant_run.insert("PAYUNI_SUBSCRIPTIONS".into(), "token".into());
    let stage = Stage::start_with(merchant_run).await;
    let body = json!({ "planId": "later", "provider": "payuni", "firstChargeOn": "2026-12-10" });
    let answer = stage.checkout("user-1", "k1", body).await;
    assert_eq!(answer.problem(), "plan-not-payable");
    assert!(
        answer.body["detail"].as_str().unwrap().contains("binds a card"),
        "{answer:?}"
    );
    for (id, date, first, words) in [
        ("fixed", Some("1"), None, "other day"),
        ("trial", None, Some(99), "another amount"),
    ] {
        put(&stage, id, on(subscription("month", "build"), date, first))
            .await
            .unwrap();
        let answer = stage
            .checkout("user-1", id, json!({ "planId": id, "provider": "ecpay" }))
            .await;
        assert_eq!((answer.status, answer.problem()), (422, "plan-not-payable"));
        assert!(
            answer.body["detail"].as_str().unwrap().contains(words),
            "{answer:?}"
        );
        // Where we charge, both are ours to keep: the first payment is of the first amount.
        let answer = stage
            .checkout(
                &format!("user-{id}"),
                "k1",
                json!({ "planId": id, "provider": "payuni" }),
            )
            .await;
        assert_eq!(sealed(&answer)["TradeAmt"], first.unwrap_or(300).to_string());
    }
}

#[tokio::test]
async fn pu_7_the_day_is_part_of_what_a_key_stands_for() {
    let stage = Stage::start().await;
    let body = |day: &str| json!({ "planId": "later", "provider": "payuni", "firstChargeOn": day });
    let first = stage.checkout("user-1", "k1", body("2026-12-10")).await;
    let again = stage.checkout("user-1", "k1", body("2026-12-10")).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    let other = stage.checkout("user-1", "k1", body("2026-12-11")).await;
    assert_eq!((other.status, other.problem()), (422, "idempotency-mismatch"));
    assert_eq!(other.body["field"], "firstChargeOn");
    assert_eq!(stage.count("payments pending").await, 1);
}
