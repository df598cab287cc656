//! TB-7: a trigger that ends dead ends its job and gives the tokens back, whichever way it died, and only once.
//!
//! A test is the generator that refuses, the worker that vanishes (its row is left leased at the last attempt) and the
//! person who revives what is dead.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Shop, succeeded};
use crate::clock::Clock as _;
use crate::db::{Tx, look, outbox};
use crate::jobs::trigger::NOT_TAKEN;

async fn trigger_of(shop: &Shop, job: &str) -> Value {
    let key = format!("generator:{job}");
    look::row(&shop.service.stage.admin, "outbox", "operation_key", &key).await
}

/// As a worker leaves it that vanished while it sent for the last time.
async fn abandon(shop: &Shop, job: &str) {
    let abandon = format!(
        "update tollgate.outbox set attempts = attempts_max, lease_token = gen_random_uuid(), lease_expires_at = created_at
         where operation_key = 'generator:{job}'"
    );
    shop.service.stage.admin.batch_execute(&abandon).await.unwrap();
}

async fn revive(shop: &Shop, job: &str) {
    let id = trigger_of(shop, job).await["id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let (database, now) = (
        &shop.service.stage.origin.database,
        shop.service.stage.clock.now(),
    );
    let revive = |tx: Tx| async move { outbox::revive(&tx, id, now).await };
    assert!(database.run_tx("revive", revive).await.unwrap(), "it was dead");
}

async fn assert_given_up(shop: &Shop, job: &str) {
    let row = shop.job(job).await;
    assert_eq!(
        (&row["status"], &row["error_message"]),
        (&json!("failed"), &json!(NOT_TAKEN))
    );
    assert_eq!(trigger_of(shop, job).await["status"], "dead");
    let admin = &shop.service.stage.admin;
    let record = look::row(admin, "token_deduction_records", "idempotency_key", job).await;
    assert_eq!(record["status"], "failed");
    assert_eq!(shop.service.available("user-1").await, 15_000);
    shop.is_sound().await;
}

#[tokio::test]
async fn tb_7_a_trigger_that_is_refused_for_good_gives_the_tokens_back_at_once() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 15_000).await;
    let job = shop.begin().await;
    assert_eq!(shop.service.available("user-1").await, 0);
    shop.backend.will_refuse(Some(410));
    shop.service.stage.drain().await;
    assert_given_up(&shop, &job).await;
    let late = shop.report(&job, succeeded(10)).await;
    assert_eq!((late.status, late.problem()), (409, "job-ended"));
    assert_given_up(&shop, &job).await;
}

#[tokio::test]
async fn tb_7_a_trigger_that_is_never_taken_ends_its_job() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 15_000).await;
    let job = shop.begin().await;
    shop.backend.will_refuse(Some(503));
    for _ in 0..24 {
        shop.service.stage.after(Duration::from_hours(2)).await;
    }
    assert_eq!(
        shop.job(&job).await["status"],
        "generating",
        "one attempt is left"
    );
    shop.service.stage.after(Duration::from_hours(2)).await;
    assert_eq!(shop.backend.got("/generate").len(), 25);
    assert_given_up(&shop, &job).await;
}

#[tokio::test]
async fn tb_7_a_trigger_whose_worker_vanished_at_the_last_attempt_ends_its_job() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 15_000).await;
    let job = shop.begin().await;
    abandon(&shop, &job).await;
    shop.service.stage.drain().await;
    assert_given_up(&shop, &job).await;
}

#[tokio::test]
async fn tb_7_a_dead_trigger_that_a_person_revives_is_not_sent_and_moves_nothing() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 15_000).await;
    let job = shop.begin().await;
    shop.backend.will_refuse(Some(410));
    shop.service.stage.drain().await;
    shop.backend.will_refuse(None);
    for _ in 0..2 {
        revive(&shop, &job).await;
        shop.service.stage.drain().await;
        assert_eq!(
            shop.backend.got("/generate").len(),
            1,
            "nobody would pay for the article"
        );
        assert_eq!(
            trigger_of(&shop, &job).await["last_error"],
            "the job does not wait for a generator any more"
        );
        assert_given_up(&shop, &job).await;
    }
    let again = shop.generate("user-1", "k-2", json!({ "title": "Oolong" })).await;
    assert_eq!(again.status, 202);
    shop.service.stage.drain().await;
    assert_eq!(shop.backend.got("/generate").len(), 2);
}

#[tokio::test]
async fn tb_7_a_job_that_was_reported_is_neither_ended_nor_triggered_by_what_becomes_of_its_trigger() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 30_000).await;
    let taken = shop.begin().await;
    let other = shop.generate("user-1", "k-2", json!({})).await.body["jobId"]
        .as_str()
        .unwrap()
        .to_owned();
    for job in [&taken, &other] {
        assert_eq!(shop.report(job, succeeded(900)).await.body["status"], "completed");
    }
    abandon(&shop, &taken).await;
    shop.service.stage.drain().await;
    assert_eq!(
        shop.backend.got("/generate").len(),
        0,
        "the other one ended before it was sent"
    );
    for job in [&taken, &other] {
        assert_eq!(trigger_of(&shop, job).await["status"], "dead");
        assert_eq!(shop.job(job).await["status"], "completed");
    }
    assert_eq!(shop.service.available("user-1").await, 30_000 - 2 * 900);
    shop.is_sound().await;
}

/// What the books refuse must not stop the lane: the row ends alone, and reconciliation ends the job later.
#[tokio::test]
async fn tb_7_a_job_whose_tokens_cannot_be_moved_lets_other_triggers_go() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 30_000).await;
    let stuck = shop.begin().await;
    let other = shop.generate("user-1", "k-2", json!({})).await;
    assert_eq!(other.status, 202);
    abandon(&shop, &stuck).await;
    look::break_table(&shop.service.stage.admin, "token_deduction_records").await;
    shop.service.stage.drain().await;
    look::mend_table(&shop.service.stage.admin, "token_deduction_records").await;
    assert_eq!(shop.backend.got("/generate").len(), 1);
    assert_eq!(trigger_of(&shop, &stuck).await["status"], "dead");
    assert_eq!(shop.job(&stuck).await["status"], "generating");
    let failed = json!({ "outcome": "failed", "reason": "never begun" });
    assert_eq!(shop.report(&stuck, failed).await.body["status"], "failed");
    assert_eq!(shop.service.available("user-1").await, 15_000);
    shop.is_sound().await;
}
