//! Payments whose notice was lost: asked about, and booked as if the provider had told (OP-5).

use std::time::Duration;

use serde_json::json;
use tollgate_shared::provider::OBSERVED_PAYMENT;

use super::notices::{Ecpay, payuni, trade_no};
use super::provider::{FakeProvider, Scripted, payuni_reply, trade_fields, trade_info};
use super::stage::{Stage, settings};
use crate::clock::Clock as _;
use crate::commands::reconcile::{Difference, compare};
use crate::db::{Tx, look, polls};
use crate::gateway::user_core::Client;
use crate::work;

async fn stage(fake: &FakeProvider) -> Stage {
    let mut settings = settings();
    settings.insert("ECPAY_BASE_URL".into(), fake.base.clone());
    settings.insert("PAYUNI_BASE_URL".into(), fake.base.clone());
    settings.insert("ECPAY_QUERY_SPACING_MS".into(), "0".into());
    settings.insert("PAYMENT_PENDING_MINUTES".into(), "10080".into());
    Stage::start_with(settings).await
}

/// `/api/trade/query`'s answer about an order that is paid by card.
fn paid_at_payuni(order: &str) -> Scripted {
    payuni_reply(&[
        ("Status", "SUCCESS"),
        ("Result[0][MerTradeNo]", order),
        ("Result[0][TradeNo]", &trade_no(order)),
        ("Result[0][TradeAmt]", "300"),
        ("Result[0][TradeStatus]", "1"),
        ("Result[0][PaymentType]", "1"),
        ("Result[0][PaymentDay]", "2026-11-21 10:05:00"),
        ("Result[0][DataSource]", "A"),
    ])
}

/// Moves the clock, looks at payments without news, and works.
async fn look_after(stage: &Stage, minutes: u64) {
    stage.clock.advance(Duration::from_mins(minutes));
    work::payment_polls::round(&stage.origin).await.unwrap();
    stage.drain().await;
}

#[tokio::test]
async fn op_5_a_lost_notice_is_found_by_asking_and_the_late_one_changes_nothing() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, order) = stage.buy("u1", json!({ "planId": "pro-month" })).await;
    let number = trade_no(&order);
    look_after(&stage, 14).await;
    assert!(fake.seen().is_empty(), "too early");
    fake.will([trade_info(&trade_fields(&order, &number, "1"))]);
    look_after(&stage, 1).await;
    assert_eq!(fake.paths(), ["/Cashier/QueryTradeInfo/V5"]);
    assert_eq!(stage.payment(&payment).await["status"], "active");
    assert_eq!(stage.user("u1").await["subscription_type"], "pro");
    let before = stage.tally().await;
    let late = stage.forward(&Ecpay::paid(&order, 300).signed()).await;
    assert_eq!((late.status, &late.body["applied"]), (200, &json!(true)));
    assert_eq!(stage.tally().await, before);
    assert_eq!(stage.count("inbox applied").await, 1);
    look_after(&stage, 24 * 60).await;
    assert_eq!(fake.seen().len(), 1, "what is paid is not asked about");
}

#[tokio::test]
async fn op_5_what_tells_nothing_is_asked_again_at_the_next_slot_and_not_for_ever() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, order) = stage.buy("u1", json!({ "planId": "pro-month" })).await;
    let number = trade_no(&order);
    fake.will((0..20).map(|_| trade_info(&trade_fields(&order, &number, "0"))));
    for (minutes, calls) in [
        (15, 1),
        (30, 1),
        (15, 2),
        (5 * 60, 3),
        (18 * 60, 4),
        (9 * 24 * 60, 5),
        (24 * 60, 5),
    ] {
        look_after(&stage, minutes).await;
        look_after(&stage, 0).await;
        assert_eq!(fake.seen().len(), calls, "after {minutes} more minutes");
    }
    assert_eq!(stage.payment(&payment).await["status"], "canceled");
    assert_eq!(stage.count("inbox applied").await, 0);
}

#[tokio::test]
async fn op_5_a_payment_that_time_canceled_is_still_found() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, order) = stage.buy("u1", json!({ "planId": "pro-month" })).await;
    let number = trade_no(&order);
    fake.will([trade_info(&trade_fields(&order, &number, "1"))]);
    stage.after(Duration::from_hours(24 * 8)).await;
    assert_eq!(stage.payment(&payment).await["status"], "canceled");
    look_after(&stage, 0).await;
    assert_eq!(stage.payment(&payment).await["status"], "active");
}

#[tokio::test]
async fn op_5_payuni_is_asked_too_and_an_unknown_order_is_no_failure() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let body = json!({ "planId": "pro-month", "provider": "payuni" });
    let (payment, order) = stage.buy("u1", body).await;
    fake.will([payuni_reply(&[
        ("Status", "QUERY03001"),
        ("Message", "no such order"),
    ])]);
    look_after(&stage, 15).await;
    assert_eq!(stage.count("outbox done").await, 1);
    fake.will([paid_at_payuni(&order)]);
    look_after(&stage, 45).await;
    assert_eq!(stage.payment(&payment).await["status"], "active");
    let before = stage.tally().await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "1")).await;
    assert_eq!(stage.tally().await, before, "the notice of the same charge");
}

#[tokio::test]
async fn op_5_an_account_that_was_issued_is_asked_about_until_the_money_came() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, order) = stage.buy("u1", json!({ "planId": "pro-month" })).await;
    stage.apply(&Ecpay::atm_code(&order, 300).signed()).await;
    assert_eq!(stage.payment(&payment).await["status"], "pending");
    let number = trade_no(&order);
    fake.will([trade_info(&trade_fields(&order, &number, "0"))]);
    look_after(&stage, 24 * 60).await;
    assert_eq!(stage.payment(&payment).await["status"], "pending");
    // Transferred on the second day; the notice never came.
    let mut fields = trade_fields(&order, &number, "1");
    fields.retain(|(name, _)| *name != "PaymentType");
    fields.push(("PaymentType", "ATM_TAISHIN"));
    fake.will([trade_info(&fields)]);
    look_after(&stage, 24 * 60).await;
    assert_eq!(fake.seen().len(), 2);
    assert_eq!(stage.payment(&payment).await["status"], "active");
    assert_eq!(stage.count("ledger faults").await, 0);
}

#[tokio::test]
async fn op_5_what_the_bank_had_not_decided_is_asked_about_a_quarter_of_an_hour_later() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let body = json!({ "planId": "pro-month", "provider": "payuni" });
    let (payment, order) = stage.buy("u1", body).await;
    stage.apply(&payuni(&order, 300, "UNKNOWN", "8")).await;
    assert_eq!(stage.payment(&payment).await["status"], "pending");
    fake.will([paid_at_payuni(&order)]);
    look_after(&stage, 15).await;
    assert_eq!(fake.paths(), ["/api/trade/query"]);
    assert_eq!(stage.payment(&payment).await["status"], "active");
}

#[tokio::test]
async fn op_5_the_edge_may_never_submit_what_only_the_origin_observes() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (_, order) = stage.buy("u1", json!({ "planId": "pro-month" })).await;
    let number = trade_no(&order);
    let Scripted::Answer(_, genuine) = trade_info(&trade_fields(&order, &number, "1")) else {
        panic!("an answer")
    };
    let mut envelope = stage.envelope(&Ecpay::paid(&order, 300).signed());
    envelope.notice = OBSERVED_PAYMENT.to_owned();
    envelope.raw = genuine.into_bytes();
    let before = stage.tally().await;
    let answer = stage.post_event(envelope.to_json()).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(stage.tally().await, before);
}

#[tokio::test]
async fn op_5_reconciling_recovers_what_was_lost_and_tells_what_contradicts() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let client = Client::new().unwrap();
    let (lost, order) = stage.buy("u1", json!({ "planId": "pro-month" })).await;
    let (booked, other) = stage.buy("u2", json!({ "planId": "pro-month" })).await;
    stage.apply(&Ecpay::paid(&other, 300).signed()).await;
    let difference = async |payment: &str, order: &str, status: &str| {
        let number = trade_no(order);
        fake.will([trade_info(&trade_fields(order, &number, status))]);
        let id = payment.parse().unwrap();
        let find = |tx: Tx| async move { polls::find(&tx, id).await };
        let asked = stage.origin.database.run_tx("find", find).await.unwrap().unwrap();
        let found = compare(&stage.origin, &client, &asked).await.unwrap();
        assert!(found.len() < 2, "{found:?}");
        found.first().map(|found| found.difference)
    };
    assert_eq!(difference(&lost, &order, "0").await, None);
    assert_eq!(difference(&lost, &order, "1").await, Some(Difference::Recovered));
    assert_eq!(difference(&lost, &order, "1").await, None);
    assert_eq!(difference(&booked, &other, "1").await, None);
    assert_eq!(
        difference(&booked, &other, "0").await,
        Some(Difference::NotPaidThere)
    );
    let now = stage.clock.now();
    let day = (taipei_midnight(now), now);
    let nil = (
        day.0,
        tollgate_shared::id::PaymentId::from_uuid(uuid::Uuid::nil()),
    );
    let all = |tx: Tx| async move { polls::between(&tx, day, nil, 10).await };
    assert_eq!(stage.origin.database.run_tx("all", all).await.unwrap().len(), 2);
    assert_eq!(look::rows(&stage.admin, "payment_charges").await.len(), 2);
}

fn taipei_midnight(now: tollgate_shared::time::Timestamp) -> tollgate_shared::time::Timestamp {
    let day = now.to_taipei("%Y/%m/%d").unwrap();
    super::stage::taipei(&format!("{day} 00:00:00"))
}

#[tokio::test]
async fn op_5_payments_without_news_are_found_by_their_age_and_not_by_walking_the_table() {
    let stage = Stage::start_with(settings()).await;
    look::merchant_run(&stage.admin, 20_000, "2026-10-01").await;
    let page = polls::without_news_page()
        .replace("$1", "'2026-11-11T10:00:00+08:00'")
        .replace("$2", "'2026-11-21T10:00:00+08:00'")
        .replace("$3", "'2026-11-11T10:00:00+08:00'")
        .replace("$4", "'00000000-0000-0000-0000-000000000000'::uuid")
        .replace("$5", "200");
    stage.admin.batch_execute("analyze").await.unwrap();
    let plan = look::plan(&stage.admin, &page).await;
    assert!(
        plan.contains("Index Scan using payments_by_age") && !plan.contains("Seq Scan on payments "),
        "{plan}"
    );
}
