//! TB-8: what nobody decided is decided once an hour, by asking.

use std::time::Duration;

use serde_json::json;

use super::{Shop, succeeded};
use crate::clock::Clock as _;
use crate::db::look;
use crate::gateway::user_core::Client;
use crate::jobs::reconcile::{Pass, reconcile};

const HOUR: Duration = Duration::from_hours(1);

async fn pass(shop: &Shop) -> Pass {
    let client = Client::new().unwrap();
    reconcile(&shop.service.stage.origin, &client).await.unwrap()
}

/// found, deducted, failed, left, errors.
fn figures(pass: &Pass) -> [u64; 5] {
    [
        pass.found,
        pass.deducted,
        pass.failed,
        pass.left,
        pass.errors.values().sum(),
    ]
}

/// A reservation of the service API that nobody settles.
async fn reserve(shop: &Shop, key: &str) {
    let body = json!({
        "idempotency_key": key, "company_id": "user-1", "article_id": "a-1", "amount": 1_000,
        "metadata": { "run": 7 }, "expires_in_seconds": 1800,
    });
    let answer = shop.service.post("reserve", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn tb_8_a_record_is_left_alone_for_an_hour_and_then_its_work_is_asked_for() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 20_000).await;
    let job = shop.begin().await;
    reserve(&shop, "r-1").await;
    shop.backend
        .will_say(200, json!({ "state": "exists", "tokensUsed": 700 }));
    shop.service.stage.clock.advance(Duration::from_millis(3_599_999));
    assert_eq!(figures(&pass(&shop).await), [0; 5]);
    shop.service.stage.clock.advance(Duration::from_millis(1));
    assert_eq!(figures(&pass(&shop).await), [2, 2, 0, 0, 0]);
    let asked = shop.backend.got("/lookup");
    assert_eq!(asked.len(), 2);
    let of_the_api = asked
        .iter()
        .find(|question| question["data"]["idempotencyKey"] == "r-1");
    assert_eq!(
        of_the_api.unwrap()["data"],
        json!({ "idempotencyKey": "r-1", "companyId": "user-1", "articleId": "a-1", "metadata": { "run": 7 }, "tokensReserved": 1_000 })
    );
    assert_eq!(shop.job(&job).await["status"], "completed");
    assert_eq!(shop.service.available("user-1").await, 18_600);
    assert_eq!(figures(&pass(&shop).await), [0; 5], "once");
    shop.is_sound().await;
}

#[tokio::test]
async fn tb_8_what_does_not_exist_is_marked_failed_and_its_tokens_go_back() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 20_000).await;
    let job = shop.begin().await;
    reserve(&shop, "r-1").await;
    shop.backend.will_say(200, json!({ "state": "missing" }));
    shop.service.stage.clock.advance(HOUR);
    assert_eq!(figures(&pass(&shop).await), [2, 0, 2, 0, 0]);
    let row = shop.job(&job).await;
    assert_eq!(
        (&row["status"], &row["error_message"]),
        (&json!("failed"), &json!("the work does not exist"))
    );
    let admin = &shop.service.stage.admin;
    let record = look::row(admin, "token_deduction_records", "idempotency_key", "r-1").await;
    assert_eq!(
        (&record["status"], &record["error_message"]),
        (&json!("failed"), &json!("Released: the work does not exist"))
    );
    assert_eq!(shop.service.available("user-1").await, 20_000);
    shop.is_sound().await;
}

#[tokio::test]
async fn tb_8_running_work_and_a_backend_that_fails_decide_nothing() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 20_000).await;
    let job = shop.begin().await;
    shop.service.stage.clock.advance(HOUR);
    shop.backend.will_say(200, json!({ "state": "running" }));
    assert_eq!(figures(&pass(&shop).await), [1, 0, 0, 1, 0]);
    for (status, answer) in [
        (404, json!({ "state": "missing" })),
        (500, json!({})),
        (200, json!("no")),
    ] {
        shop.backend.will_say(status, answer);
        shop.service.stage.clock.advance(HOUR);
        let pass = pass(&shop).await;
        assert_eq!(figures(&pass), [1, 0, 0, 0, 1], "{status}");
    }
    shop.backend.will_say(200, json!({ "state": "running" }));
    shop.service.stage.clock.advance(HOUR);
    assert_eq!(
        figures(&pass(&shop).await),
        [1, 0, 0, 1, 0],
        "a receiver that drops repeats hears a new question"
    );
    assert_eq!(shop.job(&job).await["status"], "generating");
    assert_eq!(shop.service.available("user-1").await, 5_000, "still held");
}

#[tokio::test]
async fn tb_8_what_a_long_pass_books_is_dated_when_it_is_booked_and_owed_jobs_do_not_wait_for_it() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 16_000).await;
    let owed = shop.begin().await;
    look::break_table(&shop.service.stage.admin, "token_usage_logs").await;
    shop.report(&owed, succeeded(900)).await;
    look::mend_table(&shop.service.stage.admin, "token_usage_logs").await;
    reserve(&shop, "r-1").await;
    shop.backend
        .will_say(200, json!({ "state": "exists", "tokensUsed": 7 }));
    shop.backend.will_take(&shop.service.stage.clock, HOUR);
    shop.service.stage.clock.advance(HOUR);
    let began = shop.service.stage.clock.now();
    assert_eq!(figures(&pass(&shop).await), [2, 2, 0, 0, 0]);
    let admin = &shop.service.stage.admin;
    for (key, when) in [(owed.as_str(), began), ("r-1", began.plus(HOUR))] {
        let record = look::row(admin, "token_deduction_records", "idempotency_key", key).await;
        let completed: jiff::Timestamp = record["completed_at"].as_str().unwrap().parse().unwrap();
        assert_eq!(completed.as_millisecond(), when.unix_ms(), "{key}");
    }
}

#[tokio::test]
async fn tb_8_an_article_without_tokens_is_charged_when_they_are_there() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 15_000).await;
    let job = shop.begin().await;
    shop.service.stage.clock.advance(Duration::from_hours(25));
    assert_eq!(shop.service.deduct("other", "user-1", 15_000).await.status, 200);
    let owed = shop.report(&job, succeeded(900)).await;
    assert_eq!(owed.body["status"], "pending_token_deduction");
    assert_eq!(figures(&pass(&shop).await), [0; 5], "not within the hour");
    shop.service.stage.clock.advance(HOUR);
    assert_eq!(figures(&pass(&shop).await), [1, 0, 0, 1, 0], "still none");
    shop.service.buy("user-1", 900).await;
    assert_eq!(figures(&pass(&shop).await), [1, 1, 0, 0, 0]);
    assert_eq!(shop.job(&job).await["retry_count"], 2);
    assert_eq!(
        shop.backend.got("/lookup").len(),
        0,
        "its generator said that it exists"
    );
    assert_eq!(shop.service.available("user-1").await, 0);
    shop.is_sound().await;
}

#[tokio::test]
async fn tb_8_an_article_that_is_never_paid_ends_failed() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 15_000).await;
    let job = shop.begin().await;
    shop.service.stage.clock.advance(Duration::from_hours(25));
    assert_eq!(shop.service.deduct("other", "user-1", 15_000).await.status, 200);
    for _ in 0..80 {
        let owed = shop.report(&job, succeeded(900)).await;
        assert_eq!(
            owed.body["status"], "pending_token_deduction",
            "asking often ends nothing"
        );
    }
    shop.service.stage.clock.advance(71 * HOUR);
    assert_eq!(figures(&pass(&shop).await), [1, 0, 0, 1, 0]);
    assert_eq!(figures(&pass(&shop).await), [1, 0, 0, 1, 0], "another process");
    shop.service.stage.clock.advance(HOUR);
    assert_eq!(figures(&pass(&shop).await), [1, 0, 1, 0, 0], "three days");
    let row = shop.job(&job).await;
    assert_eq!(
        (&row["status"], &row["error_message"]),
        (&json!("failed"), &json!("InsufficientBalance"))
    );
    shop.is_sound().await;
}

#[tokio::test]
async fn tb_11_with_nobody_to_ask_a_stuck_record_ends_a_day_after_its_hold() {
    let shop = Shop::open_with(false).await;
    shop.service.buy("user-1", 20_000).await;
    let job = shop.begin().await;
    reserve(&shop, "r-1").await;
    shop.service.stage.clock.advance(HOUR);
    assert_eq!(figures(&pass(&shop).await), [2, 0, 0, 2, 0]);
    shop.service.stage.clock.advance(Duration::from_hours(24));
    assert_eq!(
        figures(&pass(&shop).await),
        [2, 0, 1, 1, 0],
        "the job is held for a day"
    );
    shop.service.stage.clock.advance(Duration::from_hours(24));
    assert_eq!(figures(&pass(&shop).await), [1, 0, 1, 0, 0]);
    assert_eq!(shop.job(&job).await["error_message"], "nobody reported the work");
    assert_eq!(shop.service.available("user-1").await, 20_000);
    shop.is_sound().await;
}

#[tokio::test]
async fn tb_8_a_pass_goes_on_after_one_that_cannot_be_done_and_over_several_pages() {
    let shop = Shop::open_with(false).await;
    shop.service.buy("user-1", 1_000_000).await;
    for number in 0..205 {
        reserve(&shop, &format!("r-{number}")).await;
    }
    shop.service.stage.clock.advance(Duration::from_hours(25));
    assert_eq!(figures(&pass(&shop).await), [205, 0, 205, 0, 0]);
    assert_eq!(shop.service.available("user-1").await, 1_000_000);
}
