//! Delivery to user-core: signed, in order, repeated with growing delays, dead with a reason.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tollgate_shared::crypto;
use tollgate_shared::envelope::Envelope;
use tollgate_shared::provider::Unverified;

use super::notices::Ecpay;
use super::stage::{Stage, settings};
use crate::clock::Clock as _;
use crate::db::look;

pub(super) const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver that answers from a list (200 when it is empty) and keeps what it got.
#[derive(Clone, Default)]
pub(super) struct Receiver {
    answers: Arc<Mutex<VecDeque<u16>>>,
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Receiver {
    pub(super) async fn start() -> (Self, String) {
        let receiver = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (receiver, url)
    }

    /// The `webhook-timestamp` of every message, in seconds.
    pub(super) fn timestamps(&self) -> Vec<i64> {
        let got = self.got.lock().unwrap();
        let told = |(headers, _): &(HeaderMap, Bytes)| headers["webhook-timestamp"].to_str().unwrap().parse();
        got.iter().map(told).collect::<Result<_, _>>().unwrap()
    }

    pub(super) fn will_answer(&self, statuses: &[u16]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    /// Every message whose signature is right: (id, body). A wrong signature fails the test.
    pub(super) fn checked(&self) -> Vec<(String, Value)> {
        let got = self.got.lock().unwrap();
        let check = |(headers, body): &(HeaderMap, Bytes)| {
            let header = |name: &str| headers[name].to_str().unwrap().to_owned();
            let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
            let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
            let mac = crypto::hmac_sha256(&STANDARD.decode(SECRET).unwrap(), &signed);
            assert_eq!(
                header("webhook-signature"),
                format!("v1,{}", STANDARD.encode(mac))
            );
            (id, serde_json::from_slice(body).unwrap())
        };
        got.iter().map(check).collect()
    }
}

/// Every answer names another place, which a client that follows redirects would go to.
async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    receiver.got.lock().unwrap().push((headers, body));
    let status = receiver.answers.lock().unwrap().pop_front().unwrap_or(200);
    (
        StatusCode::from_u16(status).unwrap(),
        [("location", "/elsewhere")],
    )
}

async fn stage_with_receiver() -> (Stage, Receiver) {
    let (receiver, url) = Receiver::start().await;
    let mut settings = settings();
    settings.insert("USER_CORE_WEBHOOK_URL".into(), url);
    settings.insert("USER_CORE_WEBHOOK_SECRET".into(), format!("whsec_{SECRET}"));
    (Stage::start_with(settings).await, receiver)
}

/// An envelope of a Standard Webhooks source, signed with [`SECRET`].
pub(super) fn standard_envelope(stage: &Stage, source: &str, body: &[u8]) -> Envelope {
    let (source, received_at) = (source.parse().unwrap(), stage.clock.now());
    let timestamp = received_at.unix_seconds().to_string();
    let signed = [format!("msg_1.{timestamp}.").as_bytes(), body].concat();
    let mac = STANDARD.encode(crypto::hmac_sha256(&STANDARD.decode(SECRET).unwrap(), &signed));
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", &timestamp),
        ("webhook-signature", &format!("v1,{mac}")),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let unverified = Unverified {
        notice: "event",
        headers: &headers,
        body,
        received_at,
    };
    let key = stage
        .origin
        .config
        .sources
        .read(&source, &unverified)
        .unwrap()
        .key
        .to_string();
    Envelope {
        source,
        notice: "event".into(),
        key,
        received_at,
        headers,
        raw: body.to_vec(),
    }
}

#[tokio::test]
async fn pm_6_user_core_gets_every_event_signed_and_in_order() {
    let (stage, receiver) = stage_with_receiver().await;
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage
        .apply(&Ecpay::failed(&order, "10100058", "no", "2026/11/21 10:01:00").signed())
        .await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    stage
        .apply(&Ecpay::paid(&order, 300).with("SimulatePaid", "1").signed())
        .await;
    stage.drain().await;
    let got = receiver.checked();
    let types: Vec<&str> = got
        .iter()
        .map(|(_, body)| body["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        ["purchase_initiated", "purchase_failed", "purchase_success"]
    );
    let data = &got[2].1["data"];
    assert_eq!(data["userId"], "user-1");
    assert_eq!(
        (&data["planId"], &data["amount"], &data["currency"]),
        (&json!("pro-month"), &json!(300), &json!("TWD"))
    );
    assert_eq!(
        (&data["paymentId"], &data["provider"]),
        (&json!(payment), &json!("ecpay"))
    );
    assert_eq!(got[1].1["data"]["reason"], "10100058: no");
    assert_eq!(got[2].1["timestamp"], "2026-11-21T02:05:00Z");
    assert_eq!(stage.count("outbox done").await, 3);
}

#[tokio::test]
async fn pm_6_user_core_does_not_hear_of_a_failure_after_the_success() {
    let (stage, receiver) = stage_with_receiver().await;
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    stage
        .apply(&Ecpay::failed(&order, "10100058", "no", "2026/11/21 10:01:00").signed())
        .await;
    stage.drain().await;
    let got = receiver.checked();
    let types: Vec<&str> = got
        .iter()
        .map(|(_, body)| body["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["purchase_initiated", "purchase_success"]);
    assert_eq!(
        stage.count("log purchase_failed").await,
        1,
        "the attempt is on record"
    );
}

#[tokio::test]
async fn ed_5_an_event_behind_one_that_is_not_applied_waits_and_both_are_applied_in_order() {
    let (stage, receiver) = stage_with_receiver().await;
    let (payment, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let (_, other_order) = stage.buy("user-2", json!({ "planId": "pro-month" })).await;
    look::break_table(&stage.admin, "event_log").await;
    let declined = Ecpay::failed(&order, "10100058", "no", "2026/11/21 10:01:00").signed();
    assert_eq!(stage.forward(&declined).await.body["applied"], false);
    look::mend_table(&stage.admin, "event_log").await;
    let paid = stage.forward(&Ecpay::paid(&order, 300).signed()).await;
    assert_eq!(
        (paid.status, &paid.body["outcome"], &paid.body["applied"]),
        (200, &json!("accepted"), &json!(false))
    );
    stage.apply(&Ecpay::paid(&other_order, 300).signed()).await;
    stage.drain().await;
    assert_eq!(
        stage.count("inbox pending").await,
        2,
        "what is behind is due, but not before what is ahead"
    );
    stage.after(Duration::from_secs(2)).await;
    assert_eq!(stage.count("inbox applied").await, 3);
    assert_eq!(stage.payment(&payment).await["status"], "active");
    let of_user = |body: &Value| body["data"]["userId"] == "user-1";
    let got = receiver.checked();
    let types: Vec<&str> = got
        .iter()
        .filter(|(_, body)| of_user(body))
        .map(|(_, body)| body["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        ["purchase_initiated", "purchase_failed", "purchase_success"]
    );
}

#[tokio::test]
async fn pm_6_a_receiver_that_fails_is_asked_again_later_under_the_same_id() {
    let (stage, receiver) = stage_with_receiver().await;
    receiver.will_answer(&[500, 307]);
    stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.buy("user-1", json!({ "planId": "basic-month" })).await;
    stage.drain().await;
    assert_eq!(
        receiver.checked().len(),
        1,
        "the second of a user waits for the first"
    );
    let row = &look::rows(&stage.admin, "outbox").await;
    assert!(
        row.iter()
            .any(|row| row["last_error"] == "the receiver answered 500" && row["attempts"] == 1),
        "{row:?}"
    );
    stage.after(Duration::from_secs(3)).await;
    assert_eq!(
        receiver.checked().len(),
        1,
        "not before the delay, which is 3.75 to 5 s"
    );
    stage.after(Duration::from_secs(2)).await;
    assert_eq!(
        receiver.checked().len(),
        2,
        "a redirect is no success and is not followed"
    );
    stage.after(Duration::from_secs(10)).await;
    let got = receiver.checked();
    assert_eq!(got.len(), 4);
    assert!(
        got[0].0 == got[1].0 && got[1].0 == got[2].0 && got[2].0 != got[3].0,
        "{got:?}"
    );
    assert_eq!(stage.count("outbox done").await, 2);
}

#[tokio::test]
async fn invariant_7_an_event_that_nobody_takes_ends_dead_and_lets_the_next_go() {
    let (stage, receiver) = stage_with_receiver().await;
    receiver.will_answer(&[503; 25]);
    stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    for _ in 0..25 {
        stage.after(Duration::from_hours(2)).await;
    }
    let dead = look::row(&stage.admin, "outbox", "status", "dead").await;
    assert_eq!(
        (&dead["attempts"], &dead["last_error"]),
        (&json!(25), &json!("the receiver answered 503"))
    );
    let receiver_got = receiver.checked().len();
    stage.buy("user-1", json!({ "planId": "basic-month" })).await;
    stage.drain().await;
    assert!(receiver.checked().len() > receiver_got);
}

#[tokio::test]
async fn invariant_6_no_transaction_is_open_while_a_receiver_hangs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    settings.insert("USER_CORE_WEBHOOK_URL".into(), url);
    settings.insert("USER_CORE_WEBHOOK_SECRET".into(), format!("whsec_{SECRET}"));
    let stage = Stage::start_with(settings).await;
    stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let origin = Arc::clone(&stage.origin);
    let sending = tokio::spawn(async move {
        let client = crate::gateway::user_core::Client::new().unwrap();
        crate::work::outbox::round(&origin, &client, crate::work::outbox::Lane::Calls).await
    });
    let (hanging, _) = listener.accept().await.unwrap();
    assert_eq!(look::open_transactions(&stage.admin).await, 0);
    let claimed = look::row(&stage.admin, "outbox", "status", "pending").await;
    assert_ne!(claimed["lease_token"], json!(null), "the call is under way");
    drop((hanging, listener));
    sending.await.unwrap().unwrap();
    assert_eq!(stage.count("outbox pending").await, 1);
}

#[tokio::test]
async fn pm_6_a_receiver_that_is_gone_is_not_asked_again() {
    let (stage, receiver) = stage_with_receiver().await;
    receiver.will_answer(&[410]);
    stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.drain().await;
    let dead = look::row(&stage.admin, "outbox", "status", "dead").await;
    assert_eq!(dead["last_error"], "the receiver answered 410 Gone");
}

#[tokio::test]
async fn pm_6_without_a_receiver_nothing_is_queued() {
    let stage = Stage::start().await;
    stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    assert_eq!(
        (
            stage.count("log purchase_initiated").await,
            stage.count("outbox pending").await
        ),
        (1, 0)
    );
}

#[tokio::test]
async fn pm_6_the_running_loops_deliver_and_end_when_told() {
    let (stage, receiver) = stage_with_receiver().await;
    let (stop, stopped) = watch::channel(false);
    let working = tokio::spawn(crate::work::run(Arc::clone(&stage.origin), stopped));
    stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    let deadline = tokio::time::timeout(Duration::from_secs(30), async {
        while stage.count("outbox done").await == 0 {
            tokio::task::yield_now().await;
        }
    });
    deadline.await.unwrap();
    assert_eq!(receiver.checked().len(), 1);
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(30), working)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
