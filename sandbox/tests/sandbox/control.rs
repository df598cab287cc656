//! The control API: bad input, sessions, the sink, the clock; and the cashier's buttons.

use serde_json::{Value, json};
use tollgate_sandbox::SESSION_SECRET;
use tollgate_shared::crypto::hmac_sha256;
use tollgate_shared::secret::{Rotating, Secret};
use tollgate_shared::session::{SessionError, SessionRules, verify};
use tollgate_shared::time::Timestamp;

use crate::stage::{Stage, read, with};

#[tokio::test]
async fn bad_input_is_a_problem_document_and_changes_nothing() {
    let stage = Stage::ecpay().await;
    stage.open(stage.order("BAD1")).await;
    for (path, body, status) in [
        ("trades/ecpay/NONE/pay", "{}", 404),
        ("trades/stripe/BAD1/pay", "{}", 404),
        ("trades/ecpay/BAD1/explode", "{}", 404),
        ("trades/ecpay/BAD1/pay-code", "{}", 409),
        ("trades/ecpay/BAD1/issue-code", "{}", 409),
        ("trades/ecpay/BAD1/period", "{}", 409),
        ("trades/ecpay/BAD1/pay", r#"{"method":"ATM"}"#, 409),
        ("trades/ecpay/BAD1/pay", r#"{"method":"Cash"}"#, 400),
        ("trades/ecpay/BAD1/pay", r#"{"metod":"Credit"}"#, 400),
        ("trades/ecpay/BAD1/pay", r#"{"notify":"no"}"#, 400),
        ("trades/ecpay/BAD1/pay", r#"{"fields":{"a":1}}"#, 400),
        ("trades/ecpay/BAD1/pay", "[", 400),
        ("trades/ecpay/BAD1/pay", "\u{0}", 400),
        ("trades/ecpay/BAD1/notices/resend", r#"{"which":"some"}"#, 400),
        ("sessions", "{}", 400),
        ("sessions", r#"{"sub":""}"#, 400),
        ("sessions", r#"{"sub":"u","sub":"v"}"#, 400),
        ("sessions", r#"{"sub":"u","expiresInSeconds":99999999}"#, 400),
        ("clock", r#"{"advanceSeconds":-1}"#, 400),
        ("clock", r#"{"advanceSeconds":999999999999}"#, 400),
        ("nothing", "{}", 404),
    ] {
        let answered = stage.post(&format!("/control/v1/{path}"), body.to_owned()).await;
        assert_eq!(
            answered.status.as_u16(),
            status,
            "{path} {body}: {}",
            answered.body
        );
        assert_eq!(answered.content_type, "application/problem+json", "{path} {body}");
        assert_eq!(answered.json()["status"], status, "{path} {body}");
    }
    let large = stage
        .post(
            "/control/v1/sessions",
            format!(r#"{{"sub":"{}"}}"#, "u".repeat(70_000)),
        )
        .await;
    assert_eq!(
        (large.status.as_u16(), large.content_type.as_str()),
        (413, "application/problem+json")
    );
    assert_eq!(stage.get("/control/v1/sessions").await.status, 405);
    let trade = stage.get("/control/v1/trades/ecpay/BAD1").await.json();
    assert_eq!(
        (&trade["status"], &trade["notices"]),
        (&json!("open"), &json!([]))
    );
}

fn rules() -> SessionRules {
    SessionRules {
        keys: Rotating {
            current: Secret::new(SESSION_SECRET.into()),
            previous: None,
        },
        issuer: None,
        audience: "authenticated".into(),
    }
}

async fn token(stage: &Stage, body: Value) -> String {
    let answered = stage.control("sessions", body).await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    answered.json()["token"].as_str().unwrap().to_owned()
}

/// The machine's time, as the token's own `iat` tells it.
fn issued_at(token: &str) -> Timestamp {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload)
        .unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    Timestamp::from_unix_seconds(claims["iat"].as_i64().unwrap())
}

const SUBJECT: &str = "8f14e45f-ceea-467f-a0e6-b7a3a1b2c3d4";

#[tokio::test]
async fn pm_3_an_issued_session_passes_tollgates_own_check() {
    let stage = Stage::ecpay().await;
    let token = token(&stage, json!({ "sub": SUBJECT, "email": "a@example.com" })).await;
    let session = verify(&rules(), &token, issued_at(&token)).unwrap();
    assert_eq!(session.user.to_string(), SUBJECT);
    assert_eq!(
        session.expires_at.unix_seconds() - issued_at(&token).unix_seconds(),
        3600
    );
    let later = Timestamp::from_unix_seconds(session.expires_at.unix_seconds() + 60);
    assert_eq!(verify(&rules(), &token, later), Err(SessionError::Expired));
}

#[tokio::test]
async fn pm_3_sessions_that_must_be_refused_can_be_made() {
    let stage = Stage::ecpay().await;
    let now = issued_at(&token(&stage, json!({ "sub": SUBJECT })).await);
    let expired = token(&stage, json!({ "sub": SUBJECT, "expiresInSeconds": -3600 })).await;
    assert_eq!(verify(&rules(), &expired, now), Err(SessionError::Expired));
    let forged = token(&stage, json!({ "sub": SUBJECT, "secret": "another secret" })).await;
    assert_eq!(verify(&rules(), &forged, now), Err(SessionError::Mismatch));
    let elsewhere = token(&stage, json!({ "sub": SUBJECT, "audience": "somewhere" })).await;
    assert_eq!(verify(&rules(), &elsewhere, now), Err(SessionError::NotASession));
}

#[tokio::test]
async fn the_sink_keeps_messages_and_checks_their_signatures() {
    let stage = Stage::ecpay().await;
    let base = stage.sandbox.base_url();
    let secret = "whsec_dGVzdA==";
    let set = stage
        .http
        .put(format!("{base}/control/v1/sink/user-core"))
        .json(&json!({ "secret": secret }));
    assert_eq!(set.send().await.unwrap().status(), 204);
    let post = async |signature: String| {
        let request = stage
            .http
            .post(format!("{base}/sink/user-core"))
            .body(r#"{"type":"purchase_success"}"#);
        let request = request
            .header("webhook-id", "msg_1")
            .header("webhook-timestamp", "1788000000");
        request
            .header("webhook-signature", signature)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let mac = hmac_sha256(b"test", br#"msg_1.1788000000.{"type":"purchase_success"}"#);
    let genuine = format!(
        "v1,{}",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, mac)
    );
    assert_eq!((post(genuine).await, post("v1,AAAA".into()).await), (204, 401));
    let listed = stage.get("/control/v1/sink/user-core").await.json();
    let verdicts: Vec<&Value> = listed["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| &message["verified"])
        .collect();
    assert_eq!(verdicts, [&json!(true), &json!(false)]);
    assert_eq!(listed["messages"][0]["headers"]["webhook-id"], "msg_1");
    let down = stage
        .http
        .put(format!("{base}/control/v1/sink/user-core"))
        .json(&json!({ "status": 503 }));
    assert_eq!(down.send().await.unwrap().status(), 204);
    assert_eq!(post("none".into()).await, 503);
    let cleared = stage
        .http
        .delete(format!("{base}/control/v1/sink/user-core"))
        .send()
        .await
        .unwrap();
    assert_eq!(cleared.status(), 204);
    assert_eq!(
        stage.get("/control/v1/sink/user-core").await.json()["messages"],
        json!([])
    );
    assert_eq!(stage.get("/control/v1/sink/User%20Core").await.status, 400);
    let binary = stage
        .http
        .post(format!("{base}/sink/user-core"))
        .body(vec![0xff, 0xfe])
        .send()
        .await
        .unwrap();
    assert_eq!(read(binary).await.status, 400);
}

#[tokio::test]
async fn the_buttons_of_the_cashier_pay_once_and_show_the_result() {
    let stage = Stage::ecpay().await;
    let shop = stage.shop.base_url.clone();
    let urls = [
        ("ClientBackURL", format!("{shop}/back")),
        ("OrderResultURL", format!("{shop}/result")),
    ];
    let urls: Vec<(&str, &str)> = urls.iter().map(|(name, url)| (*name, url.as_str())).collect();
    stage.open(with(stage.order("BTN1"), &urls)).await;
    let trade = stage.get("/control/v1/trades/ecpay/BTN1").await.json();
    let cashier = trade["cashierPath"].as_str().unwrap().to_owned();
    let closed = stage.post(&format!("{cashier}/close"), String::new()).await;
    assert_eq!(closed.status, 303);
    assert!(stage.get(&cashier).await.body.contains("You left the cashier"));
    assert_eq!(
        stage
            .post(&format!("{cashier}/pay"), "method=Credit".into())
            .await
            .status,
        303
    );
    stage.shop.wait(1).await;
    let again = stage
        .post(&format!("{cashier}/pay"), "method=Credit".into())
        .await;
    assert_eq!(again.status, 409);
    assert!(again.body.contains("already paid"), "{}", again.body);
    let page = stage.get(&cashier).await.body;
    assert!(
        page.contains(r#"data-status="paid""#) && page.contains(&format!(r#"id="back" href="{shop}/back""#)),
        "{page}"
    );
    assert!(
        page.contains(&format!(r#"action="{shop}/result""#))
            && page.contains(r#"name="RtnMsg" value="Succeeded""#)
    );
    assert_eq!(stage.shop.got().len(), 1, "one payment, one notice");
    for unknown in ["/ecpay/cashier/1", "/stripe/cashier/1"] {
        assert_eq!(stage.get(unknown).await.status, 404);
    }
    assert_eq!(
        stage.post("/ecpay/cashier/1/pay", String::new()).await.status,
        404
    );
    assert_eq!(
        stage
            .post(&format!("{cashier}/explode"), String::new())
            .await
            .status,
        404
    );
}
