//! EC-5, EC-7, PU-5, PU-6 at the origin: what an operator does by hand, figures, and a browser's own subscriptions.
//!
//! The token is the edge's to check; here a call is one that came over the hop.

use serde_json::json;

use super::notices::Ecpay;
use super::schedule;
use super::stage::{Answer, Call, Stage};
use crate::db::look;

async fn call(stage: &Stage, method: &str, path: &str, subject: &str, body: &str) -> Answer {
    let headers = if body.is_empty() {
        Vec::new()
    } else {
        vec![("content-type", "application/json")]
    };
    stage
        .call(Call {
            method,
            path,
            subject,
            headers,
            body: body.as_bytes().to_vec(),
        })
        .await
}

/// A monthly subscription whose first charge came; its id.
async fn subscribed(stage: &Stage, user: &str) -> String {
    let (_, order) = stage.buy(user, json!({ "planId": "pro-monthly" })).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    let row = look::row(&stage.admin, "saas_subscriptions", "order_number", &order).await;
    row["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn ec_5_a_manual_retry_is_refused_where_nothing_is_owed_and_on_record_all_the_same() {
    let stage = Stage::start().await;
    let id = subscribed(&stage, "user-1").await;
    let body = json!({ "subscriptionId": id }).to_string();
    let refused = call(&stage, "POST", "/internal/v1/admin/retry", "", &body).await;
    assert_eq!((refused.status, refused.problem()), (409, "nothing-owed"));
    let action = look::row(&stage.admin, "admin_actions", "action", "manual_retry").await;
    assert_eq!(
        (&action["actor"], &action["target"]),
        (&json!("admin:webhook"), &json!(id))
    );
}

#[tokio::test]
async fn ec_5_a_users_subscriptions_are_shown_and_the_look_is_on_record() {
    let stage = Stage::start().await;
    let id = subscribed(&stage, "user-1").await;
    let path = "/internal/v1/admin/users/user-1/subscriptions";
    let shown = call(&stage, "GET", path, "", "").await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let first = &shown.body["subscriptions"][0];
    assert_eq!((&first["id"], &first["status"]), (&json!(id), &json!("active")));
    assert_eq!(stage_count(&stage, "admin_actions").await, 1);
    let none = call(
        &stage,
        "GET",
        "/internal/v1/admin/users/nobody/subscriptions",
        "",
        "",
    )
    .await;
    assert_eq!(none.body, json!({ "subscriptions": [] }));
}

async fn stage_count(stage: &Stage, table: &str) -> usize {
    look::rows(&stage.admin, table).await.len()
}

#[tokio::test]
async fn ec_5_maintenance_makes_the_jobs_of_subscriptions_due_at_once() {
    let stage = Stage::start().await;
    let answer = call(&stage, "POST", "/internal/v1/admin/maintenance", "", "").await;
    assert_eq!(
        (answer.status, &answer.body),
        (
            202,
            &json!({ "dueNow": ["failed_payment_retries", "subscription_maintenance"] })
        )
    );
    assert_eq!(schedule::rounds(&stage).await, 2);
    for job in ["failed_payment_retries", "subscription_maintenance"] {
        let row = look::row(&stage.admin, "scheduled_jobs", "name", job).await;
        assert_eq!(
            row["last_result"],
            json!({ "subscriptions": 0, "effects": 0 }),
            "{job}"
        );
    }
}

#[tokio::test]
async fn ec_5_bad_input_is_refused_and_nothing_is_written() {
    let stage = Stage::start().await;
    for (body, status, problem) in [
        ("", 415, "unsupported-media-type"),
        ("[]", 400, "malformed-body"),
        ("{}", 400, "malformed-body"),
        (r#"{"subscriptionId": 1}"#, 400, "malformed-body"),
        (r#"{"subscriptionId": "x"}"#, 404, "unknown-subscription"),
        (
            r#"{"subscriptionId": "01997c5e-0000-7000-8000-000000000001", "more": 1}"#,
            400,
            "malformed-body",
        ),
    ] {
        let answer = call(&stage, "POST", "/internal/v1/admin/retry", "", body).await;
        assert_eq!((answer.status, answer.problem()), (status, problem), "{body}");
    }
    let user = call(
        &stage,
        "GET",
        "/internal/v1/admin/users/a%20b/subscriptions",
        "",
        "",
    )
    .await;
    assert_eq!((user.status, user.problem()), (404, "unknown-user"));
    assert_eq!(stage_count(&stage, "admin_actions").await, 0);
}

#[tokio::test]
async fn ec_7_each_kind_of_webhook_has_its_figures() {
    let stage = Stage::start().await;
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    look::break_table(&stage.admin, "disputes").await;
    stage.forward(&Ecpay::paid("T0NOTOURS", 300).signed()).await;
    let answer = call(&stage, "GET", "/internal/v1/webhooks/stats", "", "").await;
    assert_eq!(
        answer.body,
        json!({ "window_hours": 24, "webhooks": [
            { "kind": "ecpay.payment", "total": 2, "success": 1, "failed": 1, "success_rate": 50.0 }
        ] })
    );
}

#[tokio::test]
async fn pu_5_a_user_sees_the_next_charge_each_period_and_the_history_of_their_own() {
    let stage = Stage::start().await;
    let id = subscribed(&stage, "user-1").await;
    let mine = call(&stage, "GET", "/internal/v1/subscriptions", "user-1", "").await;
    assert_eq!(mine.status, 200, "{mine:?}");
    let first = &mine.body["subscriptions"][0];
    assert_eq!(first["id"], json!(id));
    for (member, is_there) in [
        ("nextChargeAt", first["nextChargeAt"].is_string()),
        ("periodTradeNumber", first["periodTradeNumber"].is_string()),
        ("attempts", first["attempts"][0]["status"] == "paid"),
        ("history", first["history"][0]["kind"].is_string()),
    ] {
        assert!(is_there, "{member} in {first}");
    }
    let others = call(&stage, "GET", "/internal/v1/subscriptions", "user-2", "").await;
    assert_eq!(others.body, json!({ "subscriptions": [] }));
    let nobody = call(&stage, "GET", "/internal/v1/subscriptions", "", "").await;
    assert_eq!((nobody.status, nobody.problem()), (401, "session-required"));
}

#[tokio::test]
async fn pu_6_a_user_ends_their_own_subscription_once_and_no_one_elses() {
    let stage = Stage::start().await;
    let id = subscribed(&stage, "user-1").await;
    let path = format!("/internal/v1/subscriptions/{id}/cancel");
    let wish = r#"{"when": "period_end", "idempotencyKey": "k-1"}"#;
    let stranger = call(&stage, "POST", &path, "user-2", wish).await;
    assert_eq!(
        (stranger.status, stranger.problem()),
        (404, "unknown-subscription")
    );
    for (user, body, status, problem) in [
        ("", wish, 401, "session-required"),
        ("user-1", "{}", 400, "malformed-body"),
        (
            "user-1",
            r#"{"when": "later", "idempotencyKey": "k"}"#,
            400,
            "malformed-body",
        ),
        ("user-1", r#"{"when": "now"}"#, 400, "malformed-body"),
    ] {
        let answer = call(&stage, "POST", &path, user, body).await;
        assert_eq!((answer.status, answer.problem()), (status, problem), "{body}");
    }
    let facts = stage_count(&stage, "subscription_facts").await;
    let ended = call(&stage, "POST", &path, "user-1", wish).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    assert!(ended.body["cancelAt"].is_string(), "{ended:?}");
    let again = call(&stage, "POST", &path, "user-1", wish).await;
    assert_eq!(
        (again.status, &again.body["cancelAt"]),
        (200, &ended.body["cancelAt"])
    );
    assert_eq!(
        stage_count(&stage, "subscription_facts").await,
        facts + 1,
        "one wish"
    );
    let other_key = wish.replace("k-1", "k-2");
    let late = call(&stage, "POST", &path, "user-1", &other_key).await;
    assert_eq!((late.status, late.problem()), (409, "subscription-ending"));
}
