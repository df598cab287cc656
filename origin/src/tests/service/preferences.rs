//! Notice preferences over HTTP: put, read, erased, and every bad input refused (EC-8).

use serde_json::{Value, json};

use super::super::stage::Answer;
use super::Service;
use crate::db::look;

fn path(user: &str) -> String {
    format!("/api/service/v1/users/{user}/notice-preferences")
}

async fn send(service: &Service, method: &str, user: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {}", service.key);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let body = body.as_bytes().to_vec();
    service.stage.send(method, &path(user), &headers, body).await
}

fn wanted() -> Value {
    json!({ "email": "lin@example.tw", "locale": "en", "muted": ["recovered", "paused"] })
}

#[tokio::test]
async fn ec_8_preferences_are_put_whole_and_read_back() {
    let service = Service::start().await;
    let before = send(&service, "GET", "user-1", "").await;
    let unknown = json!({ "user_id": "user-1", "email": null, "locale": "zh-TW", "muted": [] });
    assert_eq!((before.status, before.body), (200, unknown));
    let put = send(&service, "PUT", "user-1", &wanted().to_string()).await;
    let told = json!({
        "user_id": "user-1", "email": "lin@example.tw", "locale": "en", "muted": ["recovered", "paused"],
    });
    assert_eq!((put.status, &put.body), (200, &told));
    assert_eq!(
        send(&service, "PUT", "user-1", &wanted().to_string()).await.body,
        told
    );
    assert_eq!(send(&service, "GET", "user-1", "").await.body, told);
    let whole = json!({ "email": null, "locale": "zh-TW", "muted": [] }).to_string();
    assert_eq!(send(&service, "PUT", "user-1", &whole).await.status, 200);
    assert_eq!(
        send(&service, "GET", "user-1", "").await.body["email"],
        Value::Null
    );
    let odd = send(&service, "PUT", "auth0%7C17", &wanted().to_string()).await;
    assert_eq!((odd.status, &odd.body["user_id"]), (200, &json!("auth0|17")));
}

#[tokio::test]
async fn invariant_8_erasing_leaves_the_address_nowhere() {
    let service = Service::start().await;
    send(&service, "PUT", "user-1", &wanted().to_string()).await;
    for _ in 0..2 {
        let erased = send(&service, "DELETE", "user-1", "").await;
        assert_eq!((erased.status, &erased.body["email"]), (200, &Value::Null));
        assert_eq!(erased.body["locale"], "en", "the rest stays");
    }
    let rows = look::rows(&service.stage.admin, "notice_preferences").await;
    assert_eq!(rows.len(), 1);
    assert!(!format!("{rows:?}").contains("lin@"), "{rows:?}");
    assert_eq!(send(&service, "DELETE", "nobody", "").await.status, 200);
}

/// The wanted body with one member changed.
fn with(member: &str, value: Value) -> String {
    let mut body = wanted();
    body[member] = value;
    body.to_string()
}

fn without(member: &str) -> String {
    let mut body = wanted();
    body.as_object_mut().unwrap().remove(member);
    body.to_string()
}

async fn nothing_is_written(service: &Service) {
    let rows = look::rows(&service.stage.admin, "notice_preferences").await;
    assert!(rows.is_empty(), "{rows:?}");
}

#[tokio::test]
async fn ec_8_members_that_cannot_be_used_are_named_and_nothing_is_written() {
    let service = Service::start().await;
    let fields = [
        ("email", json!("")),
        ("email", json!("lin")),
        ("email", json!("lin@example.tw\r\nBcc: all@example.tw")),
        ("email", json!("lin\u{0}@example.tw")),
        ("email", json!("林@example.tw")),
        ("email", json!(format!("{}@example.tw", "a".repeat(300)))),
        ("locale", json!("")),
        ("locale", json!("zh-CN")),
        ("muted", json!(["first-failure"])),
        ("muted", json!(["paused", "paused"])),
        ("muted", json!([""])),
        ("muted", json!(["paused", "payment_received"])),
        ("muted", json!(["final_warning"])),
    ];
    for (field, value) in fields {
        let answer = send(&service, "PUT", "user-1", &with(field, value.clone())).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (400, "invalid-request"),
            "{field} {value}"
        );
        assert!(
            answer.body["detail"].as_str().unwrap().starts_with(field),
            "{answer:?}"
        );
    }
    for user in ["%20", "a%2Fb", "%FF", &"a".repeat(129), "%E6%9E%97"] {
        let answer = send(&service, "PUT", user, &wanted().to_string()).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (400, "invalid-request"),
            "{user}"
        );
    }
    nothing_is_written(&service).await;
}

#[tokio::test]
async fn ec_8_bodies_that_cannot_be_read_are_refused_and_nothing_is_written() {
    let service = Service::start().await;
    let good = wanted().to_string();
    let inside = &good[1..];
    let unreadable = [
        String::new(),
        "[]".to_owned(),
        without("email"),
        without("locale"),
        without("muted"),
        with("muted", Value::Null),
        with("muted", json!([1])),
        with("email", json!(7)),
        format!("{{\"email\":\"wu@example.tw\",{inside}"),
        format!("{{\"phone\":\"0912\",{inside}"),
    ];
    for body in unreadable {
        let answer = send(&service, "PUT", "user-1", &body).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (400, "malformed-body"),
            "{body}"
        );
    }
    let long = format!("{good}{}", " ".repeat(16 * 1024));
    assert_eq!(
        send(&service, "PUT", "user-1", &long).await.problem(),
        "body-too-long"
    );
    let answer = send(&service, "POST", "user-1", &good).await;
    assert_eq!((answer.status, answer.problem()), (405, "method-not-allowed"));
    nothing_is_written(&service).await;
}
