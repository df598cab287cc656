//! The inbox: a duplicate is success, a failure is kept, a repeat of the worker ends it.

use std::time::Duration;

use serde_json::json;

use super::notices::{Ecpay, Notice};
use super::purchases::join_all;
use super::stage::{Stage, settings};
use crate::db::look;

#[tokio::test]
async fn pm_8_a_hundred_copies_of_a_notice_and_its_resends_have_one_effect() {
    let stage = Stage::start().await;
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let first = Ecpay::paid(&order, 300).signed();
    // ECPay's re-send has another RtnMsg and so another CheckMacValue (reference §1.4.5).
    let resent = Ecpay::paid(&order, 300).with("RtnMsg", "paid").signed();
    assert_ne!(first.body, resent.body);
    let copies = (0..100).map(|copy| stage.forward(if copy % 2 == 0 { &first } else { &resent }));
    let answers = join_all(copies).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.body["outcome"] == "accepted")
            .count(),
        1
    );
    let ids: std::collections::BTreeSet<String> = answers
        .iter()
        .map(|answer| answer.body["eventId"].to_string())
        .collect();
    assert_eq!(ids.len(), 1, "every copy names the one event");
    let tally = stage.tally().await;
    assert_eq!(
        (
            tally["inbox applied"],
            tally["charges settled"],
            tally["ledger transactions"]
        ),
        (1, 1, 1)
    );
    assert_eq!(tally["log purchase_success"], 1);
    assert_eq!(stage.payment(&payment).await["status"], "active");
}

#[tokio::test]
async fn invariant_2_another_notice_of_the_same_charge_has_no_second_effect() {
    let stage = Stage::start().await;
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-monthly" })).await;
    stage
        .apply(&Ecpay::period(&order, 300, "11944679", "2026/12/21 04:00:00", 2).signed())
        .await;
    // The event key is of Gwsr; a corrected ProcessDate does not change it, a missing Gwsr does.
    let same = Ecpay::period(&order, 300, "11944679", "2026/12/21 04:00:01", 2).signed();
    assert_eq!(stage.forward(&same).await.body["outcome"], "repeated");
    let nameless = Ecpay::period(&order, 300, "", "2026/12/21 04:00:00", 2).signed();
    assert_eq!(stage.forward(&nameless).await.body["outcome"], "accepted");
    assert_eq!(
        (
            stage.count("log payment_held").await,
            stage.count("disputes amount_mismatch").await
        ),
        (1, 0),
        "which charge it was is not known, so it is held and on record"
    );
    assert_eq!(stage.count("ledger transactions").await, 1);
}

#[tokio::test]
async fn invariant_1_ed_5_an_event_that_cannot_be_applied_is_kept_and_applied_later() {
    let stage = Stage::start().await;
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    look::break_table(&stage.admin, "payment_charges").await;
    let notice = Ecpay::paid(&order, 300).signed();
    let answer = stage.forward(&notice).await;
    assert_eq!(
        (answer.status, &answer.body["applied"]),
        (200, &json!(false)),
        "{answer:?}"
    );
    let event = look::row(&stage.admin, "inbox_events", "order_number", &order).await;
    assert_eq!(
        (&event["status"], &event["attempts"]),
        (&json!("pending"), &json!(1))
    );
    let last_error = event["last_error"].as_str().unwrap();
    assert!(
        last_error.contains("23514") && last_error.contains("broken_by_a_test"),
        "{last_error}"
    );
    assert!(
        !last_error.contains("Failing row"),
        "invariant_8: no row is quoted: {last_error}"
    );
    let raw = format!("\\x{}", hex::encode(&notice.body));
    assert_eq!(event["raw"], raw, "the bytes that were signed");
    let repeat = stage.forward(&notice).await;
    assert_eq!(
        (&repeat.body["outcome"], &repeat.body["applied"]),
        (&json!("repeated"), &json!(false))
    );
    stage.drain().await;
    assert_eq!(stage.count("inbox pending").await, 1, "not due yet");
    look::mend_table(&stage.admin, "payment_charges").await;
    stage.after(Duration::from_secs(2)).await;
    assert_eq!(
        (
            stage.count("inbox applied").await,
            stage.count("ledger transactions").await
        ),
        (1, 1)
    );
    assert_eq!(stage.payment(&payment).await["status"], "active");
}

#[tokio::test]
async fn invariant_7_an_event_that_never_applies_ends_dead_with_the_reason() {
    let stage = Stage::start().await;
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    look::break_table(&stage.admin, "payment_charges").await;
    stage.forward(&Ecpay::paid(&order, 300).signed()).await;
    let mut rounds = 0;
    while stage.count("inbox pending").await == 1 {
        stage.after(Duration::from_mins(15)).await;
        rounds += 1;
        assert!(rounds <= 40, "it ends");
    }
    let event = look::row(&stage.admin, "inbox_events", "order_number", &order).await;
    assert_eq!(
        (&event["status"], &event["attempts"]),
        (&json!("dead"), &json!(40))
    );
    assert!(
        event["last_error"]
            .as_str()
            .unwrap()
            .starts_with("gave up after 40 attempts: "),
        "{event}"
    );
    assert_eq!(event["lease_token"], json!(null));
}

#[tokio::test]
async fn invariant_7_a_lease_of_a_vanished_worker_runs_out() {
    let stage = Stage::start().await;
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    look::break_table(&stage.admin, "payment_charges").await;
    stage.forward(&Ecpay::paid(&order, 300).signed()).await;
    look::mend_table(&stage.admin, "payment_charges").await;
    stage.clock.advance(Duration::from_secs(2));
    let (now, lease_end) = (crate::clock::Clock::now(&stage.clock), Duration::from_mins(1));
    let token = uuid::Uuid::from_bytes([7; 16]);
    let vanish = |tx: crate::db::Tx| async move {
        crate::db::inbox::claim(&tx, token, now.plus(lease_end), now).await
    };
    assert!(
        stage
            .origin
            .database
            .run_tx("vanish", vanish)
            .await
            .unwrap()
            .is_some()
    );
    stage.drain().await;
    assert_eq!(stage.count("inbox applied").await, 0, "the lease holds");
    stage.after(lease_end).await;
    assert_eq!(stage.count("inbox applied").await, 1);
    let event = look::row(&stage.admin, "inbox_events", "order_number", &order).await;
    assert_eq!(event["attempts"], 3, "the vanished attempt is counted");
}

#[tokio::test]
async fn ed_4_the_origin_makes_its_own_key_and_refuses_another() {
    let stage = Stage::start().await;
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let before = stage.tally().await;
    let mut envelope = stage.envelope(&Ecpay::paid(&order, 300).signed());
    envelope.key.push('x');
    let refused = stage.post_event(envelope.to_json()).await;
    assert_eq!((refused.status, refused.problem()), (409, "key-mismatch"));
    assert_eq!(stage.tally().await, before);
}

#[tokio::test]
async fn ed_1_the_origin_checks_the_providers_signature_again() {
    let stage = Stage::start().await;
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let before = stage.tally().await;
    let good = stage.envelope(&Ecpay::paid(&order, 300).signed());
    let cases: [(&str, u16, Vec<u8>); 4] = [
        (
            "signature-mismatch",
            422,
            replaced(&good.raw, b"TradeAmt=300", b"TradeAmt=301"),
        ),
        (
            "malformed-body",
            422,
            [good.raw.as_slice(), b"&TradeAmt=300"].concat(),
        ),
        ("malformed-body", 422, vec![0xff]),
        ("malformed-body", 422, Vec::new()),
    ];
    for (problem, status, raw) in cases {
        let mut envelope = good.clone();
        envelope.raw = raw;
        let refused = stage.post_event(envelope.to_json()).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (status, problem),
            "{envelope:?}"
        );
    }
    assert_eq!(stage.tally().await, before);
}

fn replaced(raw: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = raw.windows(from.len()).position(|window| window == from).unwrap();
    [&raw[..at], to, &raw[at + from.len()..]].concat()
}

#[tokio::test]
async fn ed_5_a_source_that_is_not_configured_here_yet_keeps_the_event_at_the_edge() {
    let stage = Stage::start().await;
    let envelope = stage.envelope(&Ecpay::paid("T1", 300).signed());
    let mut only_payuni = settings();
    only_payuni.retain(|name, _| !name.starts_with("ECPAY"));
    only_payuni.insert("PAYMENT_PROVIDER".into(), "payuni".into());
    let behind = Stage::start_with(only_payuni).await;
    let refused = behind.post_event(envelope.to_json()).await;
    assert_eq!(
        (refused.status, refused.problem()),
        (503, "source-not-configured")
    );
    let mut unknown = envelope.clone();
    unknown.source = "crm".parse().unwrap();
    let refused = stage.post_event(unknown.to_json()).await;
    assert_eq!((refused.status, refused.problem()), (503, "unknown-source"));
    let mut newer = envelope;
    newer.notice = "hologram".into();
    let refused = stage.post_event(newer.to_json()).await;
    assert_eq!((refused.status, refused.problem()), (503, "unknown-notice"));
}

#[tokio::test]
async fn a_carried_source_is_logged_by_its_type() {
    let mut with_crm = settings();
    with_crm.insert("WEBHOOK_SOURCES".into(), "crm:standard".into());
    with_crm.insert(
        "WEBHOOK_SECRET_CRM".into(),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(),
    );
    let stage = Stage::start_with(with_crm).await;
    let envelope =
        super::user_core::standard_envelope(&stage, "crm", br#"{"type":"contact.created","data":{}}"#);
    let answer = stage.post_event(envelope.to_json()).await;
    assert_eq!(
        (answer.status, &answer.body["applied"]),
        (200, &json!(true)),
        "{answer:?}"
    );
    let logged = look::row(&stage.admin, "event_log", "event_type", "source_event").await;
    assert_eq!(
        (&logged["provider"], &logged["details"]),
        (&json!("crm"), &json!({ "eventType": "contact.created" }))
    );
}

#[tokio::test]
async fn op_2_notices_of_the_size_limit_are_kept_and_larger_ones_refused() {
    let stage = Stage::start().await;
    let padded = |length: usize| {
        let pad = |bytes: usize| {
            Ecpay::paid("T1", 300)
                .with("CustomField1", &"x".repeat(bytes))
                .signed()
        };
        let overhead = pad(0).body.len();
        pad(length - overhead)
    };
    let (largest, over): (Notice, Notice) = (padded(65_536), padded(65_537));
    assert_eq!(stage.forward(&largest).await.status, 200);
    let refused = stage.forward(&over).await;
    assert_eq!((refused.status, refused.problem()), (413, "body-too-long"));
}
