//! Refunds that are asked for: what the provider is sent, what is booked, and what is left to a person (PM-8).

use std::time::Duration;

use serde_json::json;
use tollgate_shared::money::Minor;

use super::notices::{Ecpay, payuni, trade_no};
use super::provider::{FakeProvider, Scripted, payuni_reply};
use super::stage::{Stage, settings, taipei};
use crate::clock::Clock as _;
use crate::db::{Tx, look};
use crate::domain::refund::RefundRefusal;
use crate::refunds::book::Happened;
use crate::refunds::{self, Asked, RefundError, Verdict, View};
use crate::subscriptions::sweep;

fn ok() -> Scripted {
    Scripted::Answer(200, "1|OK".to_owned())
}

async fn stage(fake: &FakeProvider) -> Stage {
    let mut settings = settings();
    settings.insert("ECPAY_BASE_URL".into(), fake.base.clone());
    settings.insert("PAYUNI_BASE_URL".into(), fake.base.clone());
    settings.insert("ECPAY_QUERY_SPACING_MS".into(), "0".into());
    Stage::start_with(settings).await
}

/// A paid order of NT$300 by card at ECPay: (payment id, order number).
async fn paid(stage: &Stage) -> (String, String) {
    let (payment, order) = stage
        .buy("u1", serde_json::json!({ "planId": "pro-month" }))
        .await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    (payment, order)
}

async fn paid_at_payuni(stage: &Stage) -> (String, String) {
    let body = serde_json::json!({ "planId": "pro-month", "provider": "payuni" });
    let (payment, order) = stage.buy("u1", body).await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "1")).await;
    (payment, order)
}

async fn ask(stage: &Stage, payment: &str, amount: Option<i64>, key: &str) -> Result<View, RefundError> {
    let asked = &Asked {
        payment: payment.parse().unwrap(),
        charge: None,
        amount: amount.map(Minor::new),
        reason: "changed their mind",
        actor: "service:test",
        key,
    };
    let now = stage.clock.now();
    let request = |tx: Tx| async move { refunds::request(&tx, asked, now).await };
    stage.origin.database.run_tx("refund", request).await
}

async fn by_hand(stage: &Stage, id: &str, verdict: Verdict) -> Result<View, RefundError> {
    let now = stage.clock.now();
    let happened = &Happened {
        at: now,
        now,
        delivery: None,
        to_user_core: false,
    };
    let id = id.parse().unwrap();
    let settle = |tx: Tx| async move { refunds::settle_by_hand(&tx, id, verdict, happened).await };
    stage.origin.database.run_tx("refund_by_hand", settle).await
}

async fn status(stage: &Stage, id: &str) -> String {
    let row = look::row(&stage.admin, "refunds", "id", id).await;
    row["status"].as_str().unwrap().to_owned()
}

/// What the ledger says of the user's purchases, in whole TWD; the sign is that of `sales`.
async fn sold(stage: &Stage) -> i64 {
    let sql =
        "select coalesce(sum(-amount), 0)::bigint from tollgate.ledger_entry where account_kind = 'sales'";
    stage.admin.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn pm_8_a_charge_of_today_is_given_up_as_a_whole_and_booked_once() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, order) = paid(&stage).await;
    let view = ask(&stage, &payment, None, "k1").await.unwrap();
    assert_eq!((view.status, view.amount), ("requested", 300));
    fake.will([ok(), ok()]);
    stage.drain().await;
    let sent = fake.seen();
    let actions: Vec<&str> = sent.iter().map(|seen| seen.fields["Action"].as_str()).collect();
    assert_eq!(actions, ["E", "N"]);
    assert_eq!(sent[1].fields["TradeNo"], trade_no(&order));
    assert_eq!(sent[1].fields["TotalAmount"], "300");
    assert_eq!(status(&stage, &view.id).await, "done");
    assert_eq!(sold(&stage).await, 0);
    assert_eq!(stage.payment(&payment).await["status"], "refunded");
    let user = stage.user("u1").await;
    assert_eq!(user["payment_status"], "refunded");
    assert!(user["subscription_type"].is_null());
    assert_eq!(stage.count("log purchase_refunded").await, 1);
    assert_eq!(stage.count("ledger faults").await, 0);
    let again = ask(&stage, &payment, None, "k1").await.unwrap();
    assert_eq!((again.id, again.status), (view.id, "done"));
    let twice = ask(&stage, &payment, None, "k2").await.unwrap_err();
    assert!(matches!(twice, RefundError::Refused(RefundRefusal::NothingLeft)));
    stage.after(Duration::from_hours(1)).await;
    assert_eq!(fake.seen().len(), 2);
}

#[tokio::test]
async fn pm_8_a_period_that_we_paid_back_gives_nothing_any_more() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let plan = serde_json::json!({ "planId": "pro-monthly" });
    let (payment, order) = stage.buy("u1", plan).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    assert_eq!(stage.user("u1").await["subscription_type"], "pro");
    let view = ask(&stage, &payment, None, "k1").await.unwrap();
    fake.will([ok(), ok()]);
    stage.drain().await;
    assert_eq!(status(&stage, &view.id).await, "done");
    sweep(&stage.origin, 10).await.unwrap();
    let user = stage.user("u1").await;
    assert!(user["subscription_type"].is_null(), "{user}");
    let sql = "select attempt.status, period.status, subscription.periods_paid, subscription.access_until::text \
               from tollgate.saas_subscriptions subscription \
               join tollgate.subscription_payments attempt on attempt.subscription_id = subscription.id \
               join tollgate.period_transactions period on period.subscription_id = subscription.id";
    let row = stage.admin.query_one(sql, &[]).await.unwrap();
    let (attempt, period): (String, String) = (row.get(0), row.get(1));
    assert_eq!((attempt.as_str(), period.as_str()), ("refunded", "refunded"));
    assert_eq!(row.get::<_, i32>(2), 0);
    assert_eq!(row.get::<_, Option<String>>(3), None);
}

#[tokio::test]
async fn pm_8_parts_of_a_charge_add_up_to_it_and_no_further() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, _) = paid(&stage).await;
    fake.will([ok(), ok()]);
    ask(&stage, &payment, Some(100), "k1").await.unwrap();
    let meanwhile = ask(&stage, &payment, Some(50), "k2").await.unwrap_err();
    assert!(matches!(meanwhile, RefundError::Refused(RefundRefusal::UnderWay)));
    stage.drain().await;
    assert_eq!(sold(&stage).await, 200);
    assert_eq!(stage.payment(&payment).await["status"], "active");
    assert_eq!(stage.user("u1").await["subscription_type"], "pro");
    let too_much = ask(&stage, &payment, Some(201), "k2").await.unwrap_err();
    assert!(matches!(
        too_much,
        RefundError::Refused(RefundRefusal::MoreThanLeft { .. })
    ));
    let other = ask(&stage, &payment, Some(99), "k1").await.unwrap_err();
    assert!(matches!(other, RefundError::Refused(RefundRefusal::KeyReused)));
    stage.clock.advance(Duration::from_hours(12));
    ask(&stage, &payment, None, "k2").await.unwrap();
    stage.drain().await;
    let actions: Vec<String> = fake
        .seen()
        .iter()
        .map(|seen| seen.fields["Action"].clone())
        .collect();
    assert_eq!(actions, ["R", "R"]);
    assert_eq!(sold(&stage).await, 0);
    assert_eq!(stage.payment(&payment).await["status"], "refunded");
    assert_eq!(stage.count("log purchase_refunded").await, 2);
    assert_eq!(stage.count("ledger faults").await, 0);
}

#[tokio::test]
async fn pm_8_a_refund_without_an_answer_is_never_sent_to_ecpay_again_but_left_to_an_operator() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, _) = paid(&stage).await;
    let view = ask(&stage, &payment, Some(100), "k1").await.unwrap();
    fake.will([Scripted::Lost, ok(), ok()]);
    stage.drain().await;
    assert_eq!(status(&stage, &view.id).await, "unknown");
    stage.after(Duration::from_mins(1)).await;
    assert_eq!(status(&stage, &view.id).await, "manual");
    stage.after(Duration::from_hours(24)).await;
    assert_eq!(fake.seen().len(), 1);
    assert_eq!(sold(&stage).await, 300, "nothing is booked that nobody knows of");
    let done = by_hand(&stage, &view.id, Verdict::Done).await.unwrap();
    assert_eq!(done.status, "done");
    by_hand(&stage, &view.id, Verdict::Done).await.unwrap();
    assert!(matches!(
        by_hand(&stage, &view.id, Verdict::Refused).await,
        Err(RefundError::Ended("done"))
    ));
    assert_eq!(sold(&stage).await, 200);
}

#[tokio::test]
async fn pm_8_a_refusal_is_told_and_books_nothing() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, _) = paid(&stage).await;
    let view = ask(&stage, &payment, Some(100), "k1").await.unwrap();
    fake.will([Scripted::Answer(200, "10100055|Refund denied".into())]);
    stage.drain().await;
    let row = look::row(&stage.admin, "refunds", "id", &view.id).await;
    assert_eq!(row["status"], "refused");
    assert_eq!(row["last_error"], "ECPay 10100055: Refund denied");
    assert_eq!(sold(&stage).await, 300);
    ask(&stage, &payment, Some(100), "k2").await.unwrap();
}

#[tokio::test]
async fn pm_8_while_ecpay_captures_nothing_is_sent() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, _) = paid(&stage).await;
    let capture = taipei("2026/11/21 20:15:00");
    stage.clock.advance(capture.distance(stage.clock.now()));
    let view = ask(&stage, &payment, None, "k1").await.unwrap();
    fake.will([ok()]);
    stage.drain().await;
    assert!(fake.seen().is_empty());
    stage.after(Duration::from_mins(15)).await;
    assert_eq!(fake.seen()[0].fields["Action"], "R");
    assert_eq!(status(&stage, &view.id).await, "done");
    let effect = &look::rows(&stage.admin, "outbox").await[0];
    assert_eq!(effect["attempts"], 1, "to wait is no attempt");
}

fn trade<'a>(order: &'a str, trade: &'a str, remaining: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("Status", "SUCCESS"),
        ("Result[0][MerTradeNo]", order),
        ("Result[0][TradeNo]", trade),
        ("Result[0][TradeAmt]", "300"),
        ("Result[0][TradeStatus]", "1"),
        ("Result[0][CloseStatus]", "2"),
        ("Result[0][RemainAmt]", remaining),
        ("Result[0][DataSource]", "A"),
    ]
}

#[tokio::test]
async fn pm_8_payuni_is_asked_what_became_of_a_refund_whose_answer_was_lost() {
    for (remaining, closes) in [("200", 1), ("300", 2)] {
        let fake = FakeProvider::start().await;
        let stage = stage(&fake).await;
        let (payment, order) = paid_at_payuni(&stage).await;
        let number = trade_no(&order);
        let view = ask(&stage, &payment, Some(100), "k1").await.unwrap();
        fake.will([payuni_reply(&trade(&order, &number, "300")), Scripted::Lost]);
        stage.drain().await;
        assert_eq!(status(&stage, &view.id).await, "unknown");
        fake.will([
            payuni_reply(&trade(&order, &number, remaining)),
            payuni_reply(&[("Status", "SUCCESS"), ("TradeNo", &number)]),
        ]);
        stage.after(Duration::from_mins(1)).await;
        assert_eq!(status(&stage, &view.id).await, "done");
        let paths = fake.paths();
        let sent = paths.iter().filter(|path| *path == "/api/trade/close").count();
        assert_eq!(sent, closes, "{paths:?}");
        assert_eq!(sold(&stage).await, 200);
    }
}

#[tokio::test]
async fn pm_8_the_providers_own_notice_of_our_refund_ends_it_and_is_booked_once() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, order) = paid_at_payuni(&stage).await;
    let number = trade_no(&order);
    let view = ask(&stage, &payment, None, "k1").await.unwrap();
    fake.will([payuni_reply(&trade(&order, &number, "300")), Scripted::Lost]);
    stage.drain().await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "5")).await;
    assert_eq!(status(&stage, &view.id).await, "done");
    assert_eq!(sold(&stage).await, 0);
    stage.after(Duration::from_mins(1)).await;
    assert_eq!(fake.seen().len(), 2, "what has ended is not asked about");
    assert_eq!(stage.count("log purchase_refunded").await, 1);
    assert_eq!(stage.count("ledger faults").await, 0);
}

#[tokio::test]
async fn pm_8_a_notice_of_the_whole_after_a_part_is_for_a_person() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, order) = paid_at_payuni(&stage).await;
    let number = trade_no(&order);
    ask(&stage, &payment, Some(100), "k1").await.unwrap();
    fake.will([
        payuni_reply(&trade(&order, &number, "300")),
        payuni_reply(&[("Status", "SUCCESS"), ("TradeNo", &number)]),
    ]);
    stage.drain().await;
    stage.apply(&payuni(&order, 300, "SUCCESS", "5")).await;
    assert_eq!(stage.count("disputes refund_unclear").await, 1);
    assert_eq!(sold(&stage).await, 200);
}

/// The giving up was not heard, and the capture passed meanwhile: the charge was taken out of it and cannot be refunded.
#[tokio::test]
async fn pm_8_what_was_taken_out_of_the_capture_is_given_up_after_it_too() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, _) = paid(&stage).await;
    let late = taipei("2026/11/21 20:05:00");
    stage.clock.advance(late.distance(stage.clock.now()));
    let view = ask(&stage, &payment, None, "k1").await.unwrap();
    let silent = Scripted::Answer(403, String::new());
    let not_captured = Scripted::Answer(200, "10100055|Not captured".to_owned());
    fake.will([ok(), silent, not_captured, ok()]);
    stage.drain().await;
    assert_eq!(status(&stage, &view.id).await, "requested");
    stage.after(Duration::from_mins(35)).await;
    let sent = fake.seen();
    let actions: Vec<&str> = sent.iter().map(|seen| seen.fields["Action"].as_str()).collect();
    assert_eq!(actions, ["E", "N", "R", "N"]);
    assert_eq!(status(&stage, &view.id).await, "done");
    assert_eq!(sold(&stage).await, 0);
}

#[tokio::test]
async fn pm_8_a_refund_that_cannot_be_made_ends_with_an_operator_and_not_in_silence() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, _) = paid_at_payuni(&stage).await;
    let view = ask(&stage, &payment, None, "k1").await.unwrap();
    stage.drain().await;
    // The script is empty, so every question is answered 500.
    for _ in 0..24 {
        stage.after(Duration::from_hours(2)).await;
    }
    assert_eq!(stage.count("outbox dead").await, 1);
    assert_eq!(status(&stage, &view.id).await, "manual");
    let asked = fake.seen().len();
    by_hand(&stage, &view.id, Verdict::Refused).await.unwrap();
    ask(&stage, &payment, Some(100), "k2").await.unwrap();
    assert_eq!(sold(&stage).await, 300);
    assert_eq!(asked, 24, "each attempt asked once what became of the charge");
}

#[tokio::test]
async fn pm_8_a_method_without_a_refund_call_is_an_operators_task() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, order) = stage
        .buy("u1", serde_json::json!({ "planId": "pro-month" }))
        .await;
    let notice = Ecpay::paid(&order, 300).with("PaymentType", "ATM_TAISHIN");
    stage.apply(&notice.signed()).await;
    let view = ask(&stage, &payment, None, "k1").await.unwrap();
    assert_eq!(view.status, "manual");
    stage.after(Duration::from_hours(24)).await;
    assert!(fake.seen().is_empty());
    by_hand(&stage, &view.id, Verdict::Refused).await.unwrap();
    assert_eq!(sold(&stage).await, 300);
    let view = ask(&stage, &payment, None, "k2").await.unwrap();
    by_hand(&stage, &view.id, Verdict::Done).await.unwrap();
    assert_eq!(sold(&stage).await, 0);
}

#[tokio::test]
async fn pm_8_two_requests_at_once_pay_back_once() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, _) = paid(&stage).await;
    let (one, other) = tokio::join!(
        ask(&stage, &payment, None, "k1"),
        ask(&stage, &payment, None, "k2")
    );
    assert!(one.is_ok() != other.is_ok());
    fake.will([ok(), ok()]);
    stage.drain().await;
    assert_eq!(sold(&stage).await, 0);
    assert_eq!(fake.seen().len(), 2);
}

#[tokio::test]
async fn pm_8_what_is_no_charge_is_refused_and_writes_nothing() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, _) = stage
        .buy("u1", serde_json::json!({ "planId": "pro-month" }))
        .await;
    for unknown in [payment.as_str(), "01997c5e-0000-7000-8000-00000000abcd"] {
        let refused = ask(&stage, unknown, None, "k1").await.unwrap_err();
        assert!(matches!(
            refused,
            RefundError::Refused(RefundRefusal::UnknownCharge)
        ));
    }
    assert!(look::rows(&stage.admin, "refunds").await.is_empty());
    assert_eq!(stage.count("outbox pending").await, 0);
}

#[tokio::test]
async fn pm_8_a_period_is_paid_back_under_the_number_that_only_the_log_tells() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (payment, order) = stage.buy("u1", json!({ "planId": "pro-monthly" })).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    stage.clock.advance(Duration::from_hours(24 * 31));
    let second = Ecpay::period(&order, 300, "12345", "2026/12/21 10:05:00", 2);
    stage.apply(&second.signed()).await;
    let asked = &Asked {
        payment: payment.parse().unwrap(),
        charge: Some("12345"),
        amount: None,
        reason: "changed their mind",
        actor: "service:test",
        key: "k1",
    };
    let now = stage.clock.now();
    let request = |tx: Tx| async move { refunds::request(&tx, asked, now).await };
    let view = stage.origin.database.run_tx("refund", request).await.unwrap();
    fake.will([log(&order, "99999"), log(&order, "12345"), ok()]);
    stage.drain().await;
    assert_eq!(status(&stage, &view.id).await, "manual", "not in the log");
    by_hand(&stage, &view.id, Verdict::Refused).await.unwrap();
    let again = &Asked { key: "k2", ..*asked };
    let request = |tx: Tx| async move { refunds::request(&tx, again, now).await };
    let view = stage.origin.database.run_tx("refund", request).await.unwrap();
    stage.drain().await;
    assert_eq!(status(&stage, &view.id).await, "done");
    let sent = fake.seen();
    assert_eq!(sent[2].fields["TradeNo"], "20261221100500123456");
    assert_eq!(sent[2].fields["Action"], "R");
    assert_eq!(stage.count("ledger faults").await, 0);
}

/// ECPay's log of an order with one later charge.
fn log(order: &str, gwsr: &str) -> Scripted {
    let log = json!({
        "ExecStatus": "1", "MerchantID": "3002607", "MerchantTradeNo": order, "RtnCode": 1,
        "TotalSuccessTimes": 2, "ExecLog": [
            { "RtnCode": 1, "amount": 300, "gwsr": 11111, "process_date": "2026/11/21 10:05:00", "TradeNo": "261" },
            { "RtnCode": 1, "amount": 300, "gwsr": gwsr, "process_date": "2026/12/21 10:05:00",
              "TradeNo": "20261221100500123456" },
        ],
    });
    Scripted::Answer(200, log.to_string())
}
