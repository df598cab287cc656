//! Invariant 5: one moved clock moves everything, in the order in which time would, and the stack follows.
//!
//! The hop is signed with the machine's clock, which nobody moves; a stand-in plays the sandbox and the edge.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::notices::Ecpay;
use super::stage::{Answer, Call, Stage, settings};
use crate::db::look;

const ADVANCE: &str = "/internal/v1/test-clock/advance";
const DAY_SECONDS: u64 = 24 * 3_600;

async fn advance(stage: &Stage, body: &str) -> Answer {
    stage
        .call(Call {
            method: "POST",
            path: ADVANCE,
            subject: "",
            headers: vec![("content-type", "application/json")],
            body: body.as_bytes().to_vec(),
        })
        .await
}

async fn by_days(stage: &Stage, days: u64) -> Value {
    let body = json!({ "advanceSeconds": days * DAY_SECONDS }).to_string();
    let answer = advance(stage, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[tokio::test]
async fn invariant_5_what_falls_due_on_the_way_happens_at_its_own_time() {
    let stage = Stage::start_movable(settings()).await;
    let (payment, _) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let moved = by_days(&stage, 3).await;
    assert_eq!(moved["now"], "2026-11-24T02:00:00Z");
    let log = look::row(&stage.admin, "event_log", "event_type", "purchase_failed").await;
    assert_eq!(
        log["recorded_at"], "2026-11-21T03:00:00+00:00",
        "an hour after the checkout, not three days"
    );
    assert_eq!(stage.payment(&payment).await["status"], "canceled");
    let ran = |queue: &str| moved["ran"][queue].as_u64().unwrap();
    assert_eq!(
        (ran("payments"), ran("jobs")),
        (1, 3 * (24 + 12 + 4 + 1)),
        "each hour, every two and every six, and each night"
    );
}

#[tokio::test]
async fn invariant_5_a_year_later_the_edge_is_still_heard_and_its_notices_are_of_today() {
    let stage = Stage::start_movable(settings()).await;
    by_days(&stage, 366).await;
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    assert_eq!(stage.payment(&payment).await["status"], "active");
    let log = look::row(&stage.admin, "event_log", "event_type", "purchase_success").await;
    assert_eq!(log["recorded_at"], "2027-11-22T02:00:00+00:00");
}

#[tokio::test]
async fn ed_4_a_wish_that_cannot_be_is_refused_and_the_clock_stays() {
    let stage = Stage::start_movable(settings()).await;
    let before = stage.origin.clock.now();
    for (body, problem) in [
        ("", "malformed-body"),
        ("[]", "malformed-body"),
        ("{}", "invalid-request"),
        (r#"{"advanceSeconds": -1}"#, "malformed-body"),
        (r#"{"advanceSeconds": 1.5}"#, "malformed-body"),
        (r#"{"advanceSeconds": 1, "more": 1}"#, "malformed-body"),
        (
            r#"{"advanceSeconds": 1, "to": "2027-01-01T00:00:00Z"}"#,
            "invalid-request",
        ),
        (r#"{"advanceSeconds": 63331201}"#, "invalid-request"),
        (r#"{"to": "2026-11-21T01:59:59Z"}"#, "invalid-request"),
        (r#"{"to": "2029-01-01T00:00:00Z"}"#, "invalid-request"),
        (r#"{"to": "tomorrow"}"#, "invalid-request"),
        (r#"{"to": 1798700000}"#, "malformed-body"),
    ] {
        let answer = advance(&stage, body).await;
        assert_eq!((answer.status, answer.problem()), (400, problem), "{body}");
    }
    let unsigned = stage.send("POST", ADVANCE, &[], b"{}".to_vec()).await;
    assert_eq!((unsigned.status, unsigned.problem()), (401, "handoff-refused"));
    assert_eq!(stage.origin.clock.now(), before);
}

/// The sandbox and the edge, as far as the clock knows them.
#[derive(Clone, Default)]
struct StandIn(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    now_ms: i64,
    next_due_ms: Vec<i64>,
    advanced_seconds: Vec<i64>,
    /// What the next looks at the edge's backlog find.
    edge_pending: Vec<i64>,
}

impl StandIn {
    async fn start(now_ms: i64) -> (Self, String) {
        let stand_in = Self::default();
        stand_in.0.lock().unwrap().now_ms = now_ms;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/control/v1/clock", get(clock).post(move_clock))
            .route("/api/webhooks/health", get(health))
            .with_state(stand_in.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (stand_in, url)
    }
}

async fn clock(State(stand_in): State<StandIn>) -> String {
    let seen = stand_in.0.lock().unwrap();
    let next = seen.next_due_ms.iter().find(|due| **due > seen.now_ms);
    json!({ "unixMs": seen.now_ms, "nextDueUnixMs": next, "noticesUnderWay": 0 }).to_string()
}

async fn move_clock(state: State<StandIn>, body: String) -> String {
    let wish: Value = serde_json::from_str(&body).unwrap();
    let seconds = wish["advanceSeconds"].as_i64().unwrap();
    {
        let mut seen = state.0.0.lock().unwrap();
        seen.now_ms += seconds * 1_000;
        seen.advanced_seconds.push(seconds);
    }
    clock(state).await
}

async fn health(State(stand_in): State<StandIn>) -> String {
    let pending = stand_in.0.lock().unwrap().edge_pending.pop().unwrap_or_default();
    json!({ "status": "ok", "inbox": { "pending": pending } }).to_string()
}

fn following(sandbox: &str, edge: &str) -> std::collections::BTreeMap<String, String> {
    let mut settings = settings();
    settings.insert("TEST_CLOCK".into(), "on".into());
    settings.insert("SANDBOX_CONTROL_URL".into(), sandbox.into());
    settings.insert("PUBLIC_EDGE_URL".into(), edge.into());
    settings
}

#[tokio::test]
async fn invariant_5_the_sandbox_follows_step_by_step_and_the_edge_is_waited_for() {
    let start_ms = super::stage::taipei("2026/11/21 10:00:00").unix_ms();
    let (stand_in, url) = StandIn::start(start_ms).await;
    let stage = Stage::start_movable(following(&url, &url)).await;
    let charge_ms = start_ms + 90 * 60_000;
    {
        let mut seen = stand_in.0.lock().unwrap();
        seen.next_due_ms = vec![charge_ms];
        seen.edge_pending = vec![0, 1, 1, 0];
    }
    let answer = advance(&stage, r#"{"advanceSeconds": 7200}"#).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = stand_in.0.lock().unwrap();
    assert_eq!(
        seen.advanced_seconds,
        [1_800, 1_800, 1_800, 1_800],
        "our jobs at 10:30 and 11:00, its charge at 11:30, our jobs at 12:00"
    );
    assert!(seen.edge_pending.is_empty(), "the charge's notice was waited for");
    assert_eq!(seen.now_ms, stage.origin.clock.now().unix_ms());
}

#[tokio::test]
async fn invariant_5_a_sandbox_that_does_not_answer_stops_the_clock_and_is_named() {
    let stage = Stage::start_movable(following("http://127.0.0.1:1/", "http://127.0.0.1:1/")).await;
    let answer = advance(&stage, r#"{"advanceSeconds": 60}"#).await;
    assert_eq!((answer.status, answer.problem()), (409, "clock-stopped"));
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("the sandbox gave no answer"), "{detail}");
}
