//! How fast providers are called (OP-5): turns over all workers, and half an hour of silence after a 403.

use std::time::Duration;

use super::notices::Ecpay;
use super::provider::{FakeProvider, Scripted};
use super::stage::{Stage, settings};
use crate::clock::Clock as _;
use crate::db::{Tx, look};
use crate::gateway::user_core::Client;
use crate::refunds::{self, Asked};
use crate::work::outbox::{self, Lane};

async fn stage(fake: &FakeProvider) -> Stage {
    let mut settings = settings();
    settings.insert("ECPAY_BASE_URL".into(), fake.base.clone());
    Stage::start_with(settings).await
}

/// Pays so many orders in full and asks for a part of each back: one call each.
async fn refunds_of_orders(stage: &Stage, count: usize) {
    for index in 0..count {
        let (payment, order) = stage
            .buy(&format!("u{index}"), serde_json::json!({ "planId": "pro-month" }))
            .await;
        stage.apply(&Ecpay::paid(&order, 300).signed()).await;
        let now = stage.clock.now();
        let key = format!("k{index}");
        let asked = &Asked {
            payment: payment.parse().unwrap(),
            charge: None,
            amount: Some(tollgate_shared::money::Minor::new(100)),
            reason: "test",
            actor: "service:test",
            key: &key,
        };
        let request = |tx: Tx| async move { refunds::request(&tx, asked, now).await };
        stage.origin.database.run_tx("refund", request).await.unwrap();
    }
}

fn ok() -> Scripted {
    Scripted::Answer(200, "1|OK".to_owned())
}

#[tokio::test]
async fn op_5_calls_about_a_shop_are_kept_apart_over_all_workers() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    refunds_of_orders(&stage, 5).await;
    fake.will((0..5).map(|_| ok()));
    let client = Client::new().unwrap();
    let round = || outbox::round(&stage.origin, &client, Lane::Providers);
    let rounds = tokio::join!(round(), round(), round(), round(), round());
    for worked in [rounds.0, rounds.1, rounds.2, rounds.3, rounds.4] {
        worked.unwrap();
    }
    assert_eq!(fake.seen().len(), 1, "five workers, one turn");
    for done in 2..=5 {
        stage.after(Duration::from_millis(1_999)).await;
        assert_eq!(fake.seen().len(), done - 1);
        stage.after(Duration::from_millis(1)).await;
        assert_eq!(fake.seen().len(), done);
    }
    let attempts = |row: &serde_json::Value| row["attempts"].as_i64();
    let rows = look::rows(&stage.admin, "outbox").await;
    assert!(rows.iter().all(|row| attempts(row) == Some(1)), "{rows:?}");
}

#[tokio::test]
async fn op_5_turns_that_nobody_took_up_end_in_no_burst() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    refunds_of_orders(&stage, 5).await;
    fake.will((0..5).map(|_| ok()));
    stage.drain().await;
    stage.after(Duration::from_hours(1)).await;
    assert_eq!(fake.seen().len(), 2, "one before the outage, one after");
    stage.after(Duration::from_secs(2)).await;
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn op_5_a_403_silences_every_worker_for_half_an_hour() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    refunds_of_orders(&stage, 3).await;
    fake.will([Scripted::Answer(403, String::new()), ok(), ok(), ok()]);
    stage.drain().await;
    assert_eq!(fake.seen().len(), 1);
    stage.after(Duration::from_mins(30)).await;
    assert_eq!(fake.seen().len(), 1, "not even one call");
    for _ in 0..4 {
        stage.after(Duration::from_mins(2)).await;
    }
    assert_eq!(fake.seen().len(), 4);
    let rows = look::rows(&stage.admin, "refunds").await;
    assert!(rows.iter().all(|row| row["status"] == "done"), "{rows:?}");
}
