//! What each step of a subscription tells: its own dates, however late it was noticed, and why a charge was refused.

use std::time::Duration;

use serde_json::{Value, json};

use super::notices::{Ecpay, PAYUNI};
use super::provider::{FakeProvider, payuni_reply};
use super::stage::{Stage, settings, taipei};
use super::stored_cards::{card, due};
use super::user_core::SECRET;
use crate::clock::Clock as _;
use crate::db::look;
use crate::subscriptions;

async fn stage(more: &[(&str, &str)]) -> Stage {
    let mut settings = settings();
    settings.insert(
        "SUBSCRIPTION_WEBHOOK_URL".into(),
        "http://127.0.0.1:1/hook".into(),
    );
    settings.insert("SUBSCRIPTION_WEBHOOK_SECRET".into(), format!("whsec_{SECRET}"));
    settings.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    Stage::start_with(settings).await
}

/// What the event of a kind tells.
async fn told(stage: &Stage, kind: &str) -> Value {
    let rows = look::rows(&stage.admin, "outbox").await;
    let kind = format!("subscription.{kind}");
    let event = rows.iter().find(|row| row["payload"]["type"] == kind);
    event.unwrap_or_else(|| panic!("{kind} {rows:?}"))["payload"]["data"].clone()
}

/// Nobody looked for a year: the downgrade in its midst is told as it was then.
#[tokio::test]
async fn ec_8_of_several_steps_that_are_noticed_at_once_each_tells_its_own_dates() {
    let stage = stage(&[]).await;
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-monthly" })).await;
    stage.clock.advance(Duration::from_mins(6));
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    let at = |instant: &str| stage.clock.advance(taipei(instant).distance(stage.clock.now()));
    at("2026/12/21 06:00:00");
    let refused = Ecpay::period(&order, 300, "2001", "2026/12/21 04:00:00", 1);
    stage.apply(&refused.with("RtnCode", "10100252").signed()).await;
    let failure = told(&stage, "first_failure").await;
    assert_eq!(
        (
            &failure["declineReason"],
            &failure["gracePeriodEndsAt"],
            &failure["nextRetryAt"]
        ),
        (
            &json!("insufficient_funds"),
            &json!("2026-12-27T22:00:00Z"),
            &json!("2026-12-21T22:00:00Z")
        )
    );
    at("2028/01/01 00:00:00");
    subscriptions::sweep(&stage.origin, 10).await.unwrap();
    let downgraded = told(&stage, "downgraded").await;
    assert_eq!(
        (
            &downgraded["declineReason"],
            &downgraded["nextChargeAt"],
            &downgraded["accessUntil"]
        ),
        (
            &json!("insufficient_funds"),
            &json!("2027-01-20T16:00:00Z"),
            &json!("2026-12-21T16:00:00Z")
        )
    );
    let ended = told(&stage, "ended").await;
    assert_eq!(
        (&ended["nextChargeAt"], &ended["declineReason"]),
        (&json!(null), &json!(null))
    );
}

/// Of PAYUNi the bank's own code says it; the attempt shows it, too.
#[tokio::test]
async fn ec_8_ec_6_a_refusal_tells_why_by_the_banks_code() {
    let fake = FakeProvider::start().await;
    let stage = stage(&[
        ("PAYUNI_SUBSCRIPTIONS", "token"),
        ("PAYUNI_BASE_URL", &fake.base),
        ("PAYUNI_QUERY_SPACING_MS", "0"),
    ])
    .await;
    let order = due(&stage, &card()).await;
    fake.will([payuni_reply(&[
        ("Status", "CREDIT04012"),
        ("Message", "words"),
        ("MerID", PAYUNI[0]),
        ("MerTradeNo", &order),
        ("TradeAmt", "300"),
        ("TradeStatus", "2"),
        ("PaymentType", "1"),
        ("ResCode", "54"),
        ("AuthDay", "20261221"),
        ("AuthTime", "100010"),
    ])]);
    stage.drain().await;
    let failure = told(&stage, "first_failure").await;
    assert_eq!(
        (
            &failure["declineReason"],
            &failure["reason"],
            &failure["nextRetryAt"]
        ),
        (&json!("card_expired"), &json!(null), &json!(null)),
        "a hard refusal is not tried again"
    );
    let attempts = look::rows(&stage.admin, "subscription_payments").await;
    let failed = attempts.iter().find(|row| row["status"] == "failed").unwrap();
    assert_eq!(failed["decline_reason"], "card_expired");
}
