//! What customers are told of a subscription (EC-8, PU-6): decided once, sent once, visible.

use std::time::Duration;

use serde_json::json;
use tollgate_shared::money::Money;
use uuid::Uuid;

use super::stage::{Stage, settings};
use super::user_core::{Receiver, SECRET};
use crate::clock::Clock as _;
use crate::db::{DbError, Tx, look};
use crate::notices::{self, Notice, NoticeFacts, NoticeKind};

/// The step that most tests tell of.
fn first_failure(stage: &Stage) -> Notice {
    let now = stage.clock.now();
    Notice {
        user: "user-1".parse().unwrap(),
        subscription: Some(Uuid::from_u128(1)),
        operation_key: "subscription-1:first_failure:2".to_owned(),
        kind: NoticeKind::FirstFailure,
        facts: NoticeFacts {
            plan_name: "Pro".to_owned(),
            money: Some(Money::twd(1_234)),
            period_number: Some(2),
            period_total: Some(12),
            next_retry_at: Some(now.plus(Duration::from_hours(24))),
            grace_period_ends_at: Some(now.plus(Duration::from_hours(168))),
            reason: Some("餘額不足".to_owned()),
            reference: Some("T0001".to_owned()),
            ..NoticeFacts::default()
        },
        delivery: None,
        occurred_at: now,
    }
}

/// Tells of a step as the subscription code does.
async fn tell(stage: &Stage, notice: &Notice) {
    let (config, now) = (&stage.origin.config.notices, stage.clock.now());
    let write = |tx: Tx| async move { notices::enqueue(&tx, notice, config, now).await };
    stage
        .origin
        .database
        .run_tx::<_, DbError, _>("notice", write)
        .await
        .unwrap();
}

async fn stage_with_receiver() -> (Stage, Receiver) {
    let (receiver, url) = Receiver::start().await;
    let mut settings = settings();
    settings.insert("SUBSCRIPTION_WEBHOOK_URL".into(), url);
    settings.insert("SUBSCRIPTION_WEBHOOK_SECRET".into(), format!("whsec_{SECRET}"));
    (Stage::start_with(settings).await, receiver)
}

#[tokio::test]
async fn ec_8_a_step_that_is_decided_twice_is_told_once() {
    let (stage, receiver) = stage_with_receiver().await;
    let notice = first_failure(&stage);
    tell(&stage, &notice).await;
    tell(&stage, &notice).await;
    stage.drain().await;
    let got = receiver.checked();
    assert_eq!(got.len(), 1);
    assert_eq!(
        got[0].1,
        json!({
            "type": "subscription.first_failure",
            "timestamp": "2026-11-21T02:00:00Z",
            "data": {
                "userId": "user-1",
                "subscriptionId": Uuid::from_u128(1),
                "urgency": "medium",
                "planName": "Pro",
                "amount": 1_234,
                "currency": "TWD",
                "periodNumber": 2,
                "periodTotal": 12,
                "nextChargeAt": null,
                "nextRetryAt": "2026-11-22T02:00:00Z",
                "gracePeriodEndsAt": "2026-11-28T02:00:00Z",
                "accessUntil": null,
                "reason": "餘額不足",
                "reference": "T0001",
            },
        })
    );
    let seen = look::rows(&stage.admin, "notice_outcomes").await;
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (&seen[0]["kind"], &seen[0]["urgency"], &seen[0]["event"]),
        (&json!("first_failure"), &json!("medium"), &json!("done"))
    );
}

#[tokio::test]
async fn ec_8_without_a_receiver_the_notice_is_still_on_record() {
    let stage = Stage::start().await;
    tell(&stage, &first_failure(&stage)).await;
    let seen = look::rows(&stage.admin, "notice_outcomes").await;
    assert_eq!(
        (&seen[0]["mail"], &seen[0]["event"]),
        (&json!("not_configured"), &json!("not_configured"))
    );
    assert_eq!(stage.count("outbox pending").await, 0);
}

#[tokio::test]
async fn ec_8_an_event_is_tried_again_as_promised_under_the_same_id_and_ends_dead() {
    let (stage, receiver) = stage_with_receiver().await;
    receiver.will_answer(&[500; 8]);
    tell(&stage, &first_failure(&stage)).await;
    stage.drain().await;
    let minute = Duration::from_mins(1);
    for (attempts, wait) in (1_usize..).zip([
        Duration::from_secs(5),
        5 * minute,
        30 * minute,
        120 * minute,
        300 * minute,
        600 * minute,
        600 * minute,
    ]) {
        let just_before = wait - Duration::from_millis(1);
        stage.after(just_before).await;
        assert_eq!(receiver.checked().len(), attempts, "not before {wait:?}");
        stage.after(Duration::from_millis(1) + wait / 64).await;
        assert_eq!(receiver.checked().len(), attempts + 1, "after {wait:?}");
    }
    let got = receiver.checked();
    assert!(got.iter().all(|(id, _)| *id == got[0].0));
    let seen = &look::rows(&stage.admin, "notice_outcomes").await[0];
    assert_eq!(
        (&seen["event"], &seen["event_attempts"], &seen["event_error"]),
        (&json!("dead"), &json!(8), &json!("the receiver answered 500"))
    );
}

#[tokio::test]
async fn ec_8_a_receiver_of_events_that_is_gone_is_not_asked_again() {
    let (stage, receiver) = stage_with_receiver().await;
    receiver.will_answer(&[410]);
    tell(&stage, &first_failure(&stage)).await;
    stage.drain().await;
    let seen = &look::rows(&stage.admin, "notice_outcomes").await[0];
    assert_eq!(
        (&seen["event"], &seen["event_error"]),
        (&json!("dead"), &json!("the receiver answered 410 Gone"))
    );
}
