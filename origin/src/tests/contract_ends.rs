//! Contracts at a provider that are over for us: they are ended there too, in time, and nothing is charged afterwards.

use std::time::Duration;

use serde_json::json;

use super::counterpart::{Counterpart, Wish};
use super::notices::Ecpay;
use super::stage::{Stage, taipei};
use crate::clock::Clock as _;
use crate::db::look;
use crate::subscriptions::{self, CancelWhen};

const DAY: Duration = Duration::from_hours(24);

async fn cancels(stage: &Stage) -> usize {
    let rows = look::rows(&stage.admin, "outbox").await;
    rows.iter()
        .filter(|row| row["kind"] == "subscription_cancel")
        .count()
}

/// A subscription of 12 months at ECPay whose first charge came on 21 November.
async fn begun() -> (Stage, String) {
    let stage = Stage::start().await;
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-monthly" })).await;
    stage.after(Duration::from_mins(6)).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    (stage, order)
}

async fn at(stage: &Stage, instant: &str) {
    stage.clock.advance(taipei(instant).distance(stage.clock.now()));
    while subscriptions::sweep(&stage.origin, 10).await.unwrap().claimed > 0 {}
}

async fn status(stage: &Stage, order: &str) -> (String, String) {
    let row = look::row(&stage.admin, "saas_subscriptions", "order_number", order).await;
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    (text("status"), text("end_reason"))
}

#[tokio::test]
async fn ec_3_a_contract_that_we_infer_to_be_given_up_is_ended_at_the_provider_too() {
    let (stage, order) = begun().await;
    for (number, month) in ["2026/12", "2027/01", "2027/02", "2027/03", "2027/04", "2027/05"]
        .iter()
        .enumerate()
    {
        assert_eq!(cancels(&stage).await, 0, "{month}");
        at(&stage, &format!("{month}/21 06:00:00")).await;
        let (gwsr, day) = (format!("200{number}"), format!("{month}/21 04:00:00"));
        let refused = Ecpay::period(&order, 300, &gwsr, &day, 1).with("RtnCode", "10100058");
        stage.apply(&refused.signed()).await;
    }
    assert_eq!(
        status(&stage, &order).await,
        ("ended".into(), "provider_failures".into())
    );
    assert_eq!(cancels(&stage).await, 1);
    at(&stage, "2028/01/01 00:00:00").await;
    assert_eq!(cancels(&stage).await, 1, "once");
}

/// Nobody says whether ECPay prolongs a contract by periods that failed.
#[tokio::test]
async fn ec_3_a_contract_that_ends_by_its_calendar_with_periods_missing_is_ended_at_the_provider_too() {
    for missing in [true, false] {
        let (stage, order) = begun().await;
        for month in 1..12_u32 {
            if missing && month == 5 {
                continue;
            }
            let (year, of_year) = if month == 1 { (2026, 12) } else { (2027, month - 1) };
            let day = format!("{year}/{of_year:02}/21 04:00:00");
            at(&stage, &day).await;
            let paid = Ecpay::period(&order, 300, &format!("30{month}"), &day, month + 1);
            stage.apply(&paid.signed()).await;
        }
        assert_eq!(cancels(&stage).await, 0);
        at(&stage, "2027/11/23 00:00:00").await;
        assert_eq!(status(&stage, &order).await, ("ended".into(), "completed".into()));
        assert_eq!(cancels(&stage).await, usize::from(missing), "missing: {missing}");
    }
}

/// Of which the provider takes "it is over already" for done: nothing ends dead, nobody is bothered.
#[tokio::test]
async fn ec_3_a_contract_that_ecpay_gave_up_itself_takes_the_end_for_done() {
    let counterpart = Counterpart::start().await;
    let bought = counterpart.subscribe("ecpay").await;
    let declines = format!("contracts/{}/declines", bought.order);
    counterpart.control(&declines, json!({ "next": 100 })).await;
    for _ in 0..7 {
        counterpart.after(DAY * 31).await;
        counterpart.after(DAY).await;
    }
    let view = counterpart.view(bought.id).await;
    assert_eq!(
        (view.status, view.end_reason),
        ("ended", Some("provider_failures"))
    );
    assert_eq!(counterpart.effects("subscription_cancel").await, ["done"]);
}

/// What waits for the provider (a question, a retry) holds up no end, and a retry that comes after it charges nothing.
#[tokio::test]
async fn pu_6_an_end_goes_past_a_retry_that_waits_and_the_retry_charges_nothing_then() {
    for (provider, when) in [("ecpay", CancelWhen::PeriodEnd), ("payuni", CancelWhen::Now)] {
        let counterpart = Counterpart::start().await;
        let bought = counterpart.subscribe(provider).await;
        let declines = format!("contracts/{}/declines", bought.order);
        counterpart.control(&declines, json!({ "next": 1 })).await;
        counterpart.after(DAY * 32).await;
        counterpart.pass(DAY).await;
        subscriptions::sweep(&counterpart.stage.origin, 10).await.unwrap();
        let wait = "update tollgate.outbox set next_attempt_at = next_attempt_at + interval '2 hours' \
                    where kind = 'subscription_retry'";
        assert_eq!(counterpart.stage.admin.execute(wait, &[]).await.unwrap(), 1);
        let charges = counterpart.contract(&bought.order).await["charges"].clone();
        counterpart
            .ask(bought.id, Wish::Cancel(when), "k1")
            .await
            .unwrap();
        counterpart.stage.drain().await;
        assert_eq!(counterpart.effects("subscription_retry").await, ["pending"]);
        let ends = counterpart.effects("subscription_cancel").await;
        assert!(
            !ends.is_empty() && ends.iter().all(|end| end == "done"),
            "{provider}: {ends:?}"
        );
        counterpart.after(Duration::from_hours(3)).await;
        assert_eq!(counterpart.effects("subscription_retry").await, ["done"]);
        let contract = counterpart.contract(&bought.order).await;
        assert_eq!(
            contract["charges"], charges,
            "{provider}: nothing was tried again"
        );
    }
}

/// A change that is stuck is waited for by the next one: a contract never rests because an older wish came late.
#[tokio::test]
async fn pu_6_changes_of_a_contract_keep_their_order() {
    let counterpart = Counterpart::start().await;
    let bought = counterpart.subscribe("payuni").await;
    counterpart.ask(bought.id, Wish::Pause, "k1").await.unwrap();
    let wait = "update tollgate.outbox set next_attempt_at = next_attempt_at + interval '2 hours' \
                where kind = 'subscription_pause'";
    assert_eq!(counterpart.stage.admin.execute(wait, &[]).await.unwrap(), 1);
    counterpart.pass(Duration::from_secs(1)).await;
    counterpart.ask(bought.id, Wish::Resume, "k2").await.unwrap();
    counterpart.stage.drain().await;
    assert_eq!(counterpart.effects("subscription_resume").await, ["pending"]);
    counterpart.after(Duration::from_hours(3)).await;
    assert_eq!(counterpart.effects("subscription_pause").await, ["done"]);
    assert_eq!(counterpart.effects("subscription_resume").await, ["done"]);
    assert_eq!(counterpart.contract(&bought.order).await["state"], "running");
}
