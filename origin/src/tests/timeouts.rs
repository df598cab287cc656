//! Payments that nobody paid, on the test clock.

use std::time::Duration;

use serde_json::json;

use super::notices::Ecpay;
use super::stage::{Stage, settings};
use crate::db::look;

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn pm_8_a_payment_that_nobody_paid_is_canceled_and_a_late_payment_wins() {
    let stage = Stage::start().await;
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.after(Duration::from_secs(3599)).await;
    assert_eq!(stage.payment(&payment).await["status"], "pending");
    stage.after(Duration::from_secs(1)).await;
    let canceled = stage.status("user-1", &payment).await;
    assert_eq!(
        (&canceled.body["status"], &canceled.body["message"]),
        (&json!("canceled"), &json!("timeout"))
    );
    assert_eq!(stage.user("user-1").await["payment_status"], "canceled");
    let told = look::row(&stage.admin, "event_log", "event_type", "purchase_failed").await;
    assert_eq!(
        (&told["reason"], &told["delivery_id"]),
        (&json!("timeout"), &json!(null))
    );
    stage.after(HOUR).await;
    assert_eq!(stage.count("log purchase_failed").await, 1, "once");
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    let paid = stage.status("user-1", &payment).await;
    assert_eq!(
        (&paid.body["status"], paid.body.get("message")),
        (&json!("active"), None)
    );
    assert_eq!(stage.user("user-1").await["subscription_type"], "pro");
}

#[tokio::test]
async fn pm_8_the_wait_is_a_setting() {
    let mut short = settings();
    short.insert("PAYMENT_PENDING_MINUTES".into(), "5".into());
    let stage = Stage::start_with(short).await;
    let (payment, _) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.after(Duration::from_mins(5)).await;
    assert_eq!(stage.payment(&payment).await["status"], "canceled");
}

#[tokio::test]
async fn pm_8_a_code_that_comes_after_the_timeout_opens_the_payment_again() {
    let stage = Stage::start().await;
    let (payment, order) = stage
        .buy("user-1", json!({ "planId": "pro-month", "method": "ATM" }))
        .await;
    stage.after(HOUR).await;
    assert_eq!(stage.payment(&payment).await["status"], "canceled");
    stage.apply(&Ecpay::atm_code(&order, 300).signed()).await;
    let opened = stage.payment(&payment).await;
    assert_eq!(
        (&opened["status"], &opened["pending_until"]),
        (&json!("pending"), &json!("2026-11-27T15:59:59+00:00"))
    );
    stage.after(7 * 24 * HOUR).await;
    assert_eq!(
        stage.payment(&payment).await["status"],
        "canceled",
        "the code ended on the 24th, three days more for its notice"
    );
    assert_eq!(stage.count("log purchase_failed").await, 2);
}

#[tokio::test]
async fn pm_8_a_refused_or_paid_payment_does_not_time_out() {
    let stage = Stage::start().await;
    let (paid, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    let (failed, order) = stage.buy("user-2", json!({ "planId": "pro-month" })).await;
    stage
        .apply(&Ecpay::failed(&order, "10100058", "no", "2026/11/21 10:01:00").signed())
        .await;
    stage.after(30 * 24 * HOUR).await;
    assert_eq!(stage.payment(&paid).await["status"], "active");
    assert_eq!(stage.payment(&failed).await["status"], "failed");
}
