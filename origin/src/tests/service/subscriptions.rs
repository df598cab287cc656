//! Subscriptions, refunds and figures of the service API: scopes, wishes, repeats, bad input (PM-8, PU-6).

use std::time::Duration;

use serde_json::{Value, json};

use super::super::notices::Ecpay;
use super::super::plan_changes::put_plans;
use super::super::stage::{Answer, Stage, settings};
use super::make_key;
use crate::db::look;
use crate::service_keys::Scope;

/// A stage with plans, a backend's key, and a monthly subscription whose first charge came.
struct Shop {
    stage: Stage,
    key: String,
    subscription: String,
    payment: String,
}

impl Shop {
    async fn open() -> Self {
        let stage = Stage::start_with(settings()).await;
        let key = make_key(&stage, "backend", Scope::ALL).await;
        let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-monthly" })).await;
        stage.apply(&Ecpay::paid(&order, 300).signed()).await;
        let row = look::row(&stage.admin, "saas_subscriptions", "order_number", &order).await;
        let subscription = row["id"].as_str().unwrap().to_owned();
        Self {
            stage,
            key,
            subscription,
            payment,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let path = format!("/api/service/v1/{path}");
        self.stage
            .send("GET", &path, &[("authorization", &bearer)], Vec::new())
            .await
    }

    async fn post(&self, path: &str, key: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let mut headers = vec![
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        headers.extend((!key.is_empty()).then_some(("idempotency-key", key)));
        let path = format!("/api/service/v1/{path}");
        self.stage
            .send("POST", &path, &headers, body.as_bytes().to_vec())
            .await
    }

    async fn rows(&self, table: &str) -> Vec<Value> {
        look::rows(&self.stage.admin, table).await
    }
}

#[tokio::test]
async fn pu_6_a_backend_reads_a_users_subscriptions_and_the_figures() {
    let shop = Shop::open().await;
    let listed = shop.get("users/user-1/subscriptions").await;
    assert_eq!(listed.status, 200, "{listed:?}");
    let one = shop.get(&format!("subscriptions/{}", shop.subscription)).await;
    assert_eq!(one.body, listed.body["subscriptions"][0]);
    let figures = shop.get("stats/subscriptions").await;
    assert_eq!(
        figures.body,
        json!({
            "at": figures.body["at"], "active": 1, "pastDue": 0, "downgraded": 0, "paused": 0, "pending": 0, "heldCharges": 0,
            "ended30Days": 0, "churnRate30Days": 0, "monthlyRecurringRevenue": 300, "currency": "TWD",
        })
    );
}

#[tokio::test]
async fn pu_6_a_wish_counts_once_for_its_key() {
    let shop = Shop::open().await;
    let path = format!("subscriptions/{}/cancel", shop.subscription);
    let before = shop.rows("subscription_facts").await.len();
    let ended = shop.post(&path, "k-1", r#"{"when":"now"}"#).await;
    assert_eq!(
        (ended.status, &ended.body["status"]),
        (200, &json!("canceled")),
        "{ended:?}"
    );
    let again = shop.post(&path, "k-1", r#"{"when":"now"}"#).await;
    assert_eq!((again.status, &again.body["status"]), (200, &json!("canceled")));
    assert_eq!(shop.rows("subscription_facts").await.len(), before + 1);
    let actor = shop.rows("subscription_facts").await.pop().unwrap()["actor"].clone();
    assert_eq!(actor, "service:backend");
    let other = shop.post(&path, "k-2", r#"{"when":"period_end"}"#).await;
    assert_eq!((other.status, other.problem()), (409, "subscription-ending"));
}

#[tokio::test]
async fn pm_8_a_backend_previews_and_asks_for_another_plan_once_for_its_key() {
    let shop = Shop::open().await;
    put_plans(&shop.stage).await;
    let path = format!("subscriptions/{}/change-plan", shop.subscription);
    let told = shop
        .post(&format!("{path}/preview"), "", r#"{"planId":"max-monthly"}"#)
        .await;
    assert_eq!(
        (told.status, &told.body["way"]),
        (200, &json!("new_contract")),
        "{told:?}"
    );
    assert_eq!(
        (&told.body["dueMinor"], &told.body["refundMinor"]),
        (&json!(900), &json!(290))
    );
    let before = shop.rows("subscription_facts").await.len();
    for _ in 0..2 {
        let body = r#"{"planId":"basic-monthly","dueMinor":0}"#;
        let changed = shop.post(&path, "k-1", body).await;
        assert_eq!(
            (changed.status, &changed.body["nextPlanId"]),
            (200, &json!("basic-monthly")),
            "{changed:?}"
        );
        assert_eq!(shop.rows("subscription_facts").await.len(), before + 1);
    }
    let fact = shop.rows("subscription_facts").await.pop().unwrap();
    assert_eq!(
        (&fact["actor"], &fact["plan_id"]),
        (&json!("service:backend"), &json!("basic-monthly"))
    );
}

/// Path, idempotency key (- for none), status, problem, body.
const BAD: &str = r#"
subscriptions/ID/cancel       - 400 idempotency-key-missing  {"when":"now"}
subscriptions/ID/cancel       k 400 malformed-body           {}
subscriptions/ID/cancel       k 400 malformed-body           {"when":"soon"}
subscriptions/ID/cancel       k 400 malformed-body           {"when":"now","user":"user-2"}
subscriptions/NOWHERE/cancel  k 404 unknown-subscription     {"when":"now"}
subscriptions/x/cancel        k 404 unknown-subscription     {"when":"now"}
subscriptions/ID/pause        k 409 not-supported            {}
subscriptions/ID/pause        k 400 malformed-body           {"x":1}
subscriptions/ID/resume       k 409 subscription-not-paused  {}
subscriptions/ID/retry        k 409 nothing-owed             {}
subscriptions/ID/restart      k 404 unknown-route            {}
subscriptions/ID/change-plan  - 400 idempotency-key-missing  {"planId":"max-monthly"}
subscriptions/ID/change-plan  k 400 malformed-body           {}
subscriptions/ID/change-plan  k 400 malformed-body           {"planId":"max-monthly","due":1}
subscriptions/ID/change-plan  k 404 unknown-plan             {"planId":"nowhere"}
subscriptions/ID/change-plan  k 409 new-contract-needed      {"planId":"max-monthly"}
subscriptions/ID/change-plan  k 409 plan-not-possible        {"planId":"pro-monthly"}
subscriptions/ID/change-plan  k 409 due-changed              {"planId":"basic-monthly","dueMinor":1}
subscriptions/x/change-plan   k 404 unknown-subscription     {"planId":"max-monthly"}
subscriptions/ID/change-plan/preview - 400 malformed-body    {"planId":"max-monthly","dueMinor":1}
subscriptions/ID/change-plan/preview - 404 unknown-plan      {"planId":"nowhere"}
subscriptions/NOWHERE/change-plan/preview - 404 unknown-subscription {"planId":"max-monthly"}
subscriptions/ID/change-plan/now k 404 unknown-route         {}
payments/PAYMENT/refunds      - 400 idempotency-key-missing  {"reason":"r"}
payments/PAYMENT/refunds      k 400 malformed-body           {}
payments/PAYMENT/refunds      k 400 invalid-request          {"reason":""}
payments/PAYMENT/refunds      k 400 invalid-request          {"reason":"r","amount":0}
payments/PAYMENT/refunds      k 422 more-than-left           {"reason":"r","amount":301}
payments/PAYMENT/refunds      k 400 malformed-body           {"reason":"r","amount":1.5}
payments/NOWHERE/refunds      k 404 unknown-charge           {"reason":"r"}
payments/x/refunds            k 404 unknown-charge           {"reason":"r"}
"#;

#[tokio::test]
async fn pu_6_pm_8_bad_input_is_refused_and_nothing_is_written() {
    let shop = Shop::open().await;
    put_plans(&shop.stage).await;
    let written = async || (shop.rows("subscription_facts").await, shop.rows("refunds").await);
    let before = written().await;
    for line in BAD.lines().filter(|line| !line.is_empty()) {
        let [path, key, status, problem, body] =
            line.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
        let path = path
            .replace("NOWHERE", "01997c5e-0000-7000-8000-000000000001")
            .replace("PAYMENT", &shop.payment)
            .replace("ID", &shop.subscription);
        let answer = shop.post(&path, key.trim_matches('-'), body).await;
        assert_eq!(answer.status.to_string(), status, "{line}: {answer:?}");
        assert_eq!(answer.problem(), problem, "{line}");
    }
    assert_eq!(written().await, before);
}

#[tokio::test]
async fn pm_8_a_refund_is_asked_for_once_and_listed() {
    let shop = Shop::open().await;
    let path = format!("payments/{}/refunds", shop.payment);
    let asked = shop
        .post(&path, "k-1", r#"{"reason":"goodwill","amount":100}"#)
        .await;
    assert_eq!(
        (asked.status, &asked.body["amount"]),
        (202, &json!(100)),
        "{asked:?}"
    );
    let again = shop
        .post(&path, "k-1", r#"{"reason":"goodwill","amount":100}"#)
        .await;
    assert_eq!((again.status, &again.body["id"]), (202, &asked.body["id"]));
    let other = shop
        .post(&path, "k-1", r#"{"reason":"goodwill","amount":50}"#)
        .await;
    assert_eq!((other.status, other.problem()), (422, "idempotency-key-reused"));
    let second = shop.post(&path, "k-2", r#"{"reason":"goodwill"}"#).await;
    assert_eq!((second.status, second.problem()), (409, "refund-under-way"));
    let listed = shop.get(&path).await;
    assert_eq!(listed.body["refunds"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn pu_6_each_route_needs_its_scope() {
    let mut shop = Shop::open().await;
    let (id, payment) = (shop.subscription.clone(), shop.payment.clone());
    shop.key = make_key(&shop.stage, "tokens-only", &[Scope::Read, Scope::Grant]).await;
    for path in [
        "users/user-1/subscriptions".to_owned(),
        format!("subscriptions/{id}"),
        "stats/subscriptions".to_owned(),
        format!("payments/{payment}/refunds"),
    ] {
        let answer = shop.get(&path).await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
    }
    for path in [
        format!("subscriptions/{id}/cancel"),
        format!("subscriptions/{id}/pause"),
        format!("subscriptions/{id}/resume"),
        format!("subscriptions/{id}/retry"),
        format!("subscriptions/{id}/card-changed"),
        format!("subscriptions/{id}/change-plan"),
        format!("subscriptions/{id}/change-plan/preview"),
        format!("payments/{payment}/refunds"),
    ] {
        let answer = shop.post(&path, "k", "{}").await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
    }
}

/// Each new card makes an attempt at once: so many an hour, by what the database knows, not by what a process remembers.
#[tokio::test]
async fn pu_6_new_cards_are_told_so_often_and_no_more() {
    let shop = Shop::open().await;
    let path = format!("subscriptions/{}/card-changed", shop.subscription);
    for key in ["k-1", "k-2", "k-3"] {
        assert_eq!(shop.post(&path, key, "{}").await.status, 200);
        shop.stage.clock.advance(Duration::from_mins(10));
    }
    let refused = shop.post(&path, "k-4", "{}").await;
    assert_eq!((refused.status, refused.problem()), (429, "too-many-cards"));
    assert_eq!(
        refused.headers["retry-after"], "1800",
        "an hour after the first of the three"
    );
    assert_eq!(refused.body["retryAfterSeconds"], 1800);
    assert_eq!(
        shop.post(&path, "k-3", "{}").await.status,
        200,
        "a repeat is no new card"
    );
    let told = async || {
        let facts = shop.rows("subscription_facts").await;
        facts.iter().filter(|fact| fact["kind"] == "card_changed").count()
    };
    assert_eq!(told().await, 3);
    shop.stage.clock.advance(Duration::from_mins(30));
    assert_eq!(shop.post(&path, "k-4", "{}").await.status, 200);
    assert_eq!(shop.post(&path, "k-5", "{}").await.status, 429);
    assert_eq!(told().await, 4);
}
