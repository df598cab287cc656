//! The door of the internal routes, and bad input on every route: a clear 4xx, nothing written, nothing panics.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_shared::handoff::{self, HandoffKey, Request};
use tollgate_shared::secret::Secret;

use super::notices::Ecpay;
use super::stage::{Answer, Call, DELIVERY, KEY, Stage, settings};
use crate::clock::Clock as _;

const EVENTS: &str = "/internal/v1/events";
const CHECKOUT: &str = "/internal/v1/payments/checkout";
const STATUS: &str = "/internal/v1/payments/01997c5e-0000-7000-8000-000000000009/status";
const HEALTH: &str = "/internal/v1/webhooks/health";

/// A signed request whose parts a test changes after signing.
struct Signed {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Signed {
    fn new(stage: &Stage, key: (&str, &str), signed_at_offset: i64, body: &[u8]) -> Self {
        let key = HandoffKey {
            id: key.0.into(),
            secret: Secret::new(key.1.into()),
        };
        let timestamp = (stage.clock.now().unix_seconds() + signed_at_offset).to_string();
        let request = Request {
            method: "POST",
            path_and_query: EVENTS,
            timestamp: &timestamp,
            delivery: DELIVERY,
            subject: "",
            body,
        };
        let signature = handoff::sign(&key, &request);
        let headers = [
            ("content-type", "application/json"),
            (handoff::KEY_ID_HEADER, key.id.as_str()),
            (handoff::TIMESTAMP_HEADER, &timestamp),
            (handoff::DELIVERY_HEADER, DELIVERY),
            (handoff::SUBJECT_HEADER, ""),
            (handoff::SIGNATURE_HEADER, &signature),
        ];
        let headers = headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        Self {
            method: "POST".into(),
            path: EVENTS.into(),
            headers,
            body: body.to_vec(),
        }
    }

    fn set(mut self, name: &str, value: Option<&str>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers
            .extend(value.map(|value| (name.to_owned(), value.to_owned())));
        self
    }

    async fn send(self, stage: &Stage) -> Answer {
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        stage.send(&self.method, &self.path, &headers, self.body).await
    }
}

/// The good call with one header doubled.
fn doubled(mut signed: Signed, name: &str) -> Signed {
    let again = signed
        .headers
        .iter()
        .find(|(known, _)| known == name)
        .unwrap()
        .clone();
    signed.headers.push(again);
    signed
}

/// Calls that the edge's key did not sign as they are.
fn forged(stage: &Stage, body: &[u8]) -> Vec<(&'static str, Signed)> {
    let good = || Signed::new(stage, ("k1", KEY), 0, body);
    let changed_body = [&body[..body.len() - 1], b" }"].concat();
    let other_key = ("k1", "another-key-of-the-hop-for-tests-0002");
    let delivery = Some("01997c5e-0000-7000-8000-000000000002");
    vec![
        ("wrong key", Signed::new(stage, other_key, 0, body)),
        ("unknown key", Signed::new(stage, ("k0", KEY), 0, body)),
        ("stale", Signed::new(stage, ("k1", KEY), -301, body)),
        ("early", Signed::new(stage, ("k1", KEY), 301, body)),
        (
            "other body",
            Signed {
                body: changed_body,
                ..good()
            },
        ),
        (
            "other path",
            Signed {
                path: format!("{EVENTS}?x=1"),
                ..good()
            },
        ),
        (
            "other method",
            Signed {
                method: "PUT".into(),
                ..good()
            },
        ),
        (
            "other subject",
            good().set(handoff::SUBJECT_HEADER, Some("user-1")),
        ),
        ("other delivery", good().set(handoff::DELIVERY_HEADER, delivery)),
        (
            "other timestamp",
            good().set(handoff::TIMESTAMP_HEADER, Some("0")),
        ),
        ("no number", good().set(handoff::TIMESTAMP_HEADER, Some("now"))),
        ("no signature", good().set(handoff::SIGNATURE_HEADER, None)),
        ("empty signature", good().set(handoff::SIGNATURE_HEADER, Some(""))),
        ("no hex", good().set(handoff::SIGNATURE_HEADER, Some("zz"))),
        ("no key id", good().set(handoff::KEY_ID_HEADER, None)),
        ("no subject", good().set(handoff::SUBJECT_HEADER, None)),
        ("no delivery", good().set(handoff::DELIVERY_HEADER, None)),
        ("no timestamp", good().set(handoff::TIMESTAMP_HEADER, None)),
        ("two subjects", doubled(good(), handoff::SUBJECT_HEADER)),
        ("two signatures", doubled(good(), handoff::SIGNATURE_HEADER)),
    ]
}

#[tokio::test]
async fn ed_4_only_what_the_edge_signed_comes_in() {
    let stage = Stage::start().await;
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let before = stage.tally().await;
    let body = stage.envelope(&Ecpay::paid(&order, 300).signed()).to_json();
    for (name, signed) in forged(&stage, &body) {
        let answer = signed.send(&stage).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (401, "handoff-refused"),
            "{name}"
        );
    }
    assert_eq!(stage.tally().await, before);
    let good = || Signed::new(&stage, ("k1", KEY), 0, &body);
    assert_eq!(good().send(&stage).await.status, 200);
    let replayed = good().send(&stage).await;
    assert_eq!(
        (replayed.status, &replayed.body["outcome"]),
        (200, &json!("repeated")),
        "a replay is a repeat"
    );
}

#[tokio::test]
async fn ed_4_the_previous_key_is_accepted_while_a_rotation_lasts() {
    let mut rotating = settings();
    rotating.insert("HANDOFF_KEY_ID".into(), "k2".into());
    rotating.insert(
        "HANDOFF_KEY".into(),
        "the-next-key-of-the-hop-for-tests-02".into(),
    );
    rotating.insert("HANDOFF_KEY_ID_PREVIOUS".into(), "k1".into());
    rotating.insert("HANDOFF_KEY_PREVIOUS".into(), KEY.into());
    let stage = Stage::start_with(rotating).await;
    for key in [("k1", KEY), ("k2", "the-next-key-of-the-hop-for-tests-02")] {
        let answer = Signed::new(&stage, key, 0, b"{}").send(&stage).await;
        assert_eq!(answer.problem(), "malformed-body", "past the door with {key:?}");
    }
}

#[tokio::test]
async fn ed_4_internal_routes_that_do_not_exist_are_behind_the_door_too() {
    let stage = Stage::start().await;
    for path in [
        "/internal/v1/none",
        "/internal/v1/test-clock/advance",
        "/internal/v1/events/x",
        EVENTS,
        CHECKOUT,
        STATUS,
        HEALTH,
    ] {
        for method in ["GET", "POST", "DELETE", "PATCH"] {
            let unsigned = stage.send(method, path, &[], Vec::new()).await;
            assert_eq!(
                (unsigned.status, unsigned.problem()),
                (401, "handoff-refused"),
                "{method} {path}"
            );
        }
    }
    for path in ["/internal/v1/none", "/internal/v1/test-clock/advance"] {
        let signed = stage
            .call(call("POST", path, "", json!({}).to_string().as_bytes()))
            .await;
        assert_eq!(
            (signed.status, signed.problem()),
            (404, "unknown-route"),
            "{path}"
        );
    }
}

fn call<'a>(method: &'a str, path: &'a str, subject: &'a str, body: &[u8]) -> Call<'a> {
    Call {
        method,
        path,
        subject,
        headers: vec![("content-type", "application/json")],
        body: body.to_vec(),
    }
}

#[tokio::test]
async fn ed_7_wrong_methods_and_unknown_routes_are_problems() {
    let stage = Stage::start().await;
    for (method, path, allow) in [
        ("GET", EVENTS, "POST"),
        ("DELETE", EVENTS, "POST"),
        ("PUT", CHECKOUT, "POST"),
        ("POST", STATUS, "GET, HEAD"),
        ("POST", HEALTH, "GET, HEAD"),
    ] {
        let answer = stage.call(call(method, path, "user-1", b"")).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (405, "method-not-allowed"),
            "{method} {path}"
        );
        assert_eq!(answer.headers["allow"], allow);
    }
    for (method, path, status) in [
        ("POST", "/health/live", 405),
        ("GET", "/", 404),
        ("GET", "/internal", 404),
        ("GET", "/health", 404),
    ] {
        let answer = stage.send(method, path, &[], Vec::new()).await;
        assert_eq!(answer.status, status, "{method} {path}");
        answer.problem();
    }
}

/// An envelope with one member changed.
fn with(good: &Value, name: &str, value: Value) -> Vec<u8> {
    let mut envelope = good.clone();
    envelope[name] = value;
    envelope.to_string().into_bytes()
}

/// Bodies that are no envelope: name, status, problem, body.
fn bad_envelopes(good: &Value) -> Vec<(&'static str, u16, &'static str, Vec<u8>)> {
    let text = good.to_string();
    let malformed: [(&str, Vec<u8>); 14] = [
        ("empty", Vec::new()),
        ("no JSON", b"MerchantID=1".to_vec()),
        ("cut off", text.as_bytes()[..text.len() - 1].to_vec()),
        ("array", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("no members", b"{}".to_vec()),
        (
            "duplicate key",
            text.replacen('{', "{\"notice\":\"code\",", 1).into_bytes(),
        ),
        (
            "duplicate version",
            text.replacen('{', "{\"version\":1,", 1).into_bytes(),
        ),
        ("not UTF-8", [text.as_bytes(), b"\xff"].concat()),
        ("wrong type", with(good, "received_at_ms", json!("now"))),
        ("a fraction", with(good, "received_at_ms", json!(1.5))),
        ("a bad source", with(good, "source", json!("ECPay!"))),
        (
            "headers of another shape",
            with(good, "headers", json!({ "a": 1 })),
        ),
        ("no base64", with(good, "raw_base64", json!("***"))),
    ];
    let nested = [b"[".repeat(5_000), b"]".repeat(5_000)].concat();
    let malformed = malformed.map(|(name, body)| (name, 400, "malformed-body", body));
    let others = [
        (
            "an unknown notice",
            503,
            "unknown-notice",
            with(good, "notice", json!("\u{fffd}")),
        ),
        (
            "a version to come",
            503,
            "unknown-envelope-version",
            with(good, "version", json!(2)),
        ),
        ("deeply nested", 400, "malformed-body", nested),
        ("oversize", 413, "body-too-long", vec![b' '; 128 * 1024 + 1]),
    ];
    malformed.into_iter().chain(others).collect()
}

#[tokio::test]
async fn ed_3_bad_envelopes_are_refused_and_write_nothing() {
    let stage = Stage::start().await;
    let good: Value =
        serde_json::from_slice(&stage.envelope(&Ecpay::paid("T1", 300).signed()).to_json()).unwrap();
    let before = stage.tally().await;
    for (name, status, problem, body) in bad_envelopes(&good) {
        let answer = stage.post_event(body).await;
        assert_eq!((answer.status, answer.problem()), (status, problem), "{name}");
    }
    assert_eq!(stage.tally().await, before);
}

#[tokio::test]
async fn ed_3_other_media_types_are_refused() {
    let stage = Stage::start().await;
    let before = stage.tally().await;
    for path in [EVENTS, CHECKOUT] {
        for declared in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=big5",
            "multipart/form-data",
        ] {
            let mut call = call("POST", path, "user-1", b"{}");
            call.headers = vec![("content-type", declared)];
            let answer = stage.call(call).await;
            assert_eq!(
                (answer.status, answer.problem()),
                (415, "unsupported-media-type"),
                "{path} {declared}"
            );
        }
    }
    assert_eq!(stage.tally().await, before);
}

/// A checkout call that is refused.
struct BadCheckout {
    name: &'static str,
    refusal: (u16, &'static str),
    subject: &'static str,
    body: Vec<u8>,
}

fn bad_checkouts() -> Vec<BadCheckout> {
    let good = br#"{"idempotencyKey":"k","planId":"pro-month"}"#;
    let bad = |name, refusal, body: &[u8]| BadCheckout {
        name,
        refusal,
        subject: "user-1",
        body: body.to_vec(),
    };
    let with_key = |key: &str| format!(r#"{{"idempotencyKey":"{key}","planId":"pro-month"}}"#).into_bytes();
    let (malformed_key, malformed_body) = ((400, "idempotency-key-malformed"), (400, "malformed-body"));
    let oversize = [good.as_slice(), " ".repeat(16 * 1024).as_bytes()].concat();
    vec![
        BadCheckout {
            subject: "",
            ..bad("no session", (401, "session-required"), good)
        },
        BadCheckout {
            subject: "user/1",
            ..bad("a bad user", (401, "handoff-refused"), good)
        },
        bad(
            "no key",
            (400, "idempotency-key-missing"),
            br#"{"planId":"pro-month"}"#,
        ),
        bad("empty key", malformed_key, &with_key("")),
        bad("a space", malformed_key, &with_key("a b")),
        bad("a long key", malformed_key, &with_key(&"k".repeat(256))),
        bad(
            "a key of another type",
            malformed_body,
            br#"{"idempotencyKey":7,"planId":"pro-month"}"#,
        ),
        bad(
            "two keys",
            malformed_body,
            br#"{"idempotencyKey":"a","idempotencyKey":"b","planId":"pro-month"}"#,
        ),
        bad("oversize", (413, "body-too-long"), &oversize),
        bad(
            "twice",
            malformed_body,
            br#"{"idempotencyKey":"k","planId":"pro-month","planId":"basic-month"}"#,
        ),
        bad(
            "an unknown member",
            malformed_body,
            br#"{"idempotencyKey":"k","planId":"pro-month","amount":1}"#,
        ),
        bad(
            "not UTF-8",
            malformed_body,
            b"{\"idempotencyKey\":\"k\",\"planId\":\"\xff\"}",
        ),
    ]
}

#[tokio::test]
async fn pm_3_bad_checkout_calls_are_refused_and_write_nothing() {
    let stage = Stage::start().await;
    let before = stage.tally().await;
    for bad in bad_checkouts() {
        let call = Call {
            method: "POST",
            path: CHECKOUT,
            subject: bad.subject,
            // Nobody signed the second header, so it stands in for nothing.
            headers: vec![("content-type", "application/json"), ("idempotency-key", "k")],
            body: bad.body,
        };
        let answer = stage.call(call).await;
        assert_eq!((answer.status, answer.problem()), bad.refusal, "{}", bad.name);
    }
    assert_eq!(stage.tally().await, before);
}

#[tokio::test]
async fn ed_4_the_window_moves_with_the_clock() {
    let stage = Stage::start().await;
    let signed = Signed::new(&stage, ("k1", KEY), 0, b"{}");
    stage.clock.advance(Duration::from_secs(301));
    assert_eq!(signed.send(&stage).await.status, 401);
}
