//! Bad input on every route: a clear 4xx, nothing written, nothing panics.

use serde_json::{Value, json};

use super::{Service, deduction};

/// What each route takes, with every member.
fn good(route: &str) -> Value {
    let of_job = |more: Value| {
        let mut body = json!({ "idempotency_key": "k-1", "company_id": "acme" });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    match route {
        "deduct" => deduction("k-1", "acme", 5),
        "reserve" => of_job(json!({ "article_id": "a", "amount": 5, "expires_in_seconds": 60 })),
        "settle" => of_job(json!({ "amount": 5 })),
        "release" => of_job(json!({ "reason": "failed" })),
        "compensate" => of_job(json!({})),
        "grant" => of_job(
            json!({ "kind": "promotional", "amount": 5, "priority": 1, "expires_at": "2026-12-01T00:00:00Z" }),
        ),
        other => panic!("{other}"),
    }
}

const WRITES: [&str; 6] = ["deduct", "reserve", "settle", "release", "compensate", "grant"];

#[tokio::test]
async fn bodies_that_cannot_be_read() {
    let service = Service::start().await;
    for route in WRITES {
        let body = good(route).to_string();
        let inside = &body[1..];
        let cases = [
            (String::new(), 400, "malformed-body"),
            ("{".to_owned(), 400, "malformed-body"),
            ("[]".to_owned(), 400, "malformed-body"),
            ("null".to_owned(), 400, "malformed-body"),
            (format!("{body}{body}"), 400, "malformed-body"),
            (
                format!("{{\"company_id\":\"acme\",{inside}"),
                400,
                "malformed-body",
            ),
            (format!("{{\"unknown\":1,{inside}"), 400, "malformed-body"),
            (format!("{{\"Amount\":1,{inside}"), 400, "malformed-body"),
            (body.replace("\"acme\"", "7"), 400, "malformed-body"),
            (format!("{body}{}", " ".repeat(16 * 1024)), 413, "body-too-long"),
        ];
        for (text, status, problem) in cases {
            let answer = service.post_text(route, &[], text.clone()).await;
            assert_eq!(
                (answer.status, answer.problem()),
                (status, problem),
                "{route} {text:.80}"
            );
        }
    }
    assert_eq!(service.written().await, 0);
}

#[tokio::test]
async fn bytes_and_media_types_that_are_not_utf_8_json() {
    let service = Service::start().await;
    let bearer = format!("Bearer {}", service.key);
    for route in WRITES {
        let path = format!("/api/service/v1/tokens/{route}");
        let mut body = good(route).to_string().into_bytes();
        for media_type in [
            "text/plain",
            "application/json; charset=big5",
            "application/x-www-form-urlencoded",
        ] {
            let headers = [("authorization", bearer.as_str()), ("content-type", media_type)];
            let answer = service.stage.send("POST", &path, &headers, body.clone()).await;
            assert_eq!(
                (answer.status, answer.problem()),
                (415, "unsupported-media-type"),
                "{route} {media_type}"
            );
        }
        body[3] = 0xff;
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let answer = service.stage.send("POST", &path, &headers, body).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (400, "malformed-body"),
            "{route}"
        );
    }
    assert_eq!(service.written().await, 0);
}

#[tokio::test]
async fn members_out_of_their_range_are_named() {
    let service = Service::start().await;
    let long = "x".repeat(161);
    let cases = [
        (&WRITES[..], "idempotency_key", json!("")),
        (&WRITES[..], "idempotency_key", json!(long)),
        (&WRITES[..], "idempotency_key", json!("a b")),
        (&WRITES[..], "idempotency_key", json!("\u{6587}")),
        (&WRITES[..], "company_id", json!("")),
        (&WRITES[..], "company_id", json!("a:b")),
        (&WRITES[..], "company_id", json!("a'; drop table x; --")),
        (&["deduct", "reserve"], "article_id", json!("")),
        (&["deduct", "reserve"], "article_id", json!("a\u{0}b")),
        (&["deduct", "reserve", "settle", "grant"], "amount", json!(0)),
        (&["deduct", "reserve", "settle", "grant"], "amount", json!(-1)),
        (
            &["deduct", "reserve", "settle", "grant"],
            "amount",
            json!(1_000_000_000_000_001_i64),
        ),
        (&["reserve"], "expires_in_seconds", json!(0)),
        (&["reserve"], "expires_in_seconds", json!(604_801)),
        (&["release"], "reason", json!("r".repeat(201))),
        (&["release"], "reason", json!("a\u{0}")),
        (&["grant"], "expires_at", json!("tomorrow")),
        (&["grant"], "expires_at", json!("-009999-01-02T00:00:00Z")),
        (&["grant"], "expires_at", Value::Null),
    ];
    for (routes, member, value) in cases {
        for route in routes {
            let mut body = good(route);
            body[member] = value.clone();
            let answer = service.post(route, body).await;
            assert_eq!(
                (answer.status, answer.problem()),
                (400, "invalid-request"),
                "{route} {member} {value:.20}"
            );
            assert_eq!(answer.body["field"], member, "{route}");
        }
    }
    for (route, member, value) in [
        ("deduct", "amount", json!("5")),
        ("deduct", "amount", json!(1.5)),
        ("deduct", "amount", json!(true)),
        ("deduct", "amount", Value::Null),
        ("deduct", "metadata", json!([])),
        ("deduct", "metadata", json!("text")),
        ("reserve", "expires_in_seconds", json!(-1)),
        ("grant", "kind", json!("free")),
        ("grant", "kind", json!("Purchased")),
        ("grant", "priority", json!(40_000)),
    ] {
        let mut body = good(route);
        body[member] = value.clone();
        let answer = service.post(route, body).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (400, "malformed-body"),
            "{route} {member} {value}"
        );
    }
    assert_eq!(service.written().await, 0);
}

#[tokio::test]
async fn a_grant_that_contradicts_itself_is_refused() {
    let service = Service::start().await;
    for (kind, expires_at) in [
        ("purchased", "2026-12-01T00:00:00Z"),
        ("promotional", "2026-11-21T02:00:00Z"),
    ] {
        let mut body = good("grant");
        body["kind"] = json!(kind);
        body["expires_at"] = json!(expires_at);
        let answer = service.post("grant", body).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (400, "invalid-request"),
            "{kind}"
        );
    }
    assert_eq!(service.written().await, 0);
}

#[tokio::test]
async fn metadata_that_parsers_read_differently_is_refused() {
    let service = Service::start().await;
    for metadata in [r#"{"a":1,"a":2}"#, r#"{"a":{"b":1,"b":1}}"#, r#"{"a":"\u0000"}"#] {
        for route in ["deduct", "reserve"] {
            let body = good(route).to_string();
            let body = format!("{{\"metadata\":{metadata},{}", &body[1..]);
            let answer = service.post_text(route, &[], body).await;
            assert_eq!(
                (answer.status, answer.problem()),
                (400, "malformed-body"),
                "{route} {metadata}"
            );
        }
    }
    assert_eq!(service.written().await, 0);
}

#[tokio::test]
async fn every_call_that_writes_has_one_idempotency_key() {
    let service = Service::start().await;
    for route in WRITES {
        let mut without = good(route);
        without.as_object_mut().unwrap().remove("idempotency_key");
        let answer = service.post(route, without.clone()).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (400, "idempotency-key-missing"),
            "{route}"
        );
        let text = good(route).to_string();
        for headers in [
            &[("idempotency-key", "k-2")][..],
            &[("idempotency-key", "k-1"), ("idempotency-key", "k-1")],
        ] {
            let answer = service.post_text(route, headers, text.clone()).await;
            assert_eq!(
                (answer.status, answer.problem()),
                (400, "idempotency-key-malformed"),
                "{route}"
            );
        }
    }
    assert_eq!(service.written().await, 0);
}

#[tokio::test]
async fn queries_that_cannot_be_read() {
    let service = Service::start().await;
    let cursor = "1760000000000_00000000000000000000000000000000";
    for (path, problem) in [
        ("balance".to_owned(), "malformed-query"),
        ("balance?company=acme".to_owned(), "malformed-query"),
        (
            "balance?company_id=acme&company_id=b".to_owned(),
            "malformed-query",
        ),
        ("balance?company_id=acme&page=1".to_owned(), "malformed-query"),
        ("balance?company_id=a%20b".to_owned(), "invalid-request"),
        (
            "balance?company_id=acme&at=yesterday".to_owned(),
            "invalid-request",
        ),
        (
            "balance?company_id=acme&at=2026-11-22T00:00:00Z".to_owned(),
            "invalid-request",
        ),
        ("history?company_id=acme&limit=0".to_owned(), "invalid-request"),
        ("history?company_id=acme&limit=501".to_owned(), "invalid-request"),
        ("history?company_id=acme&limit=ten".to_owned(), "malformed-query"),
        (
            format!("history?company_id=acme&cursor=x{cursor}"),
            "invalid-request",
        ),
        (
            format!("history?company_id=acme&cursor=-{cursor}"),
            "invalid-request",
        ),
        (
            format!("history?company_id=acme&cursor=9{cursor}999"),
            "invalid-request",
        ),
        ("records/k".to_owned(), "malformed-query"),
        ("records/a%20b?company_id=acme".to_owned(), "invalid-request"),
        ("records/%ff?company_id=acme".to_owned(), "invalid-request"),
    ] {
        let answer = service.get(&path).await;
        assert_eq!((answer.status, answer.problem()), (400, problem), "{path}");
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_problems_too() {
    let service = Service::start().await;
    for (method, path, status, problem) in [
        ("GET", "deduct", 405, "method-not-allowed"),
        ("DELETE", "records/k", 405, "method-not-allowed"),
        ("POST", "balance", 405, "method-not-allowed"),
        ("GET", "unknown", 404, "unknown-route"),
        ("POST", "deduct/more", 404, "unknown-route"),
    ] {
        let path = format!("/api/service/v1/tokens/{path}");
        let answer = service.stage.send(method, &path, &[], Vec::new()).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (status, problem),
            "{method} {path}"
        );
    }
}
