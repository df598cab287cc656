//! Turnstile: what siteverify says of a token, as its page documents it (reference D.1).

use serde_json::{Value, json};
use tollgate_sandbox::TURNSTILE_SECRET;
use tollgate_shared::form::encode;

use crate::stage::Stage;

const DUMMY: &str = "XXXX.DUMMY.TOKEN.XXXX";
const FAILS: &str = "2x0000000000000000000000000000000AA";
const SPENT: &str = "3x0000000000000000000000000000000AA";

/// As a form, which is what the edge sends.
async fn verify(stage: &Stage, body: Value) -> Value {
    let members = body.as_object().unwrap().iter();
    let fields: Vec<(&str, &str)> = members
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    stage
        .post("/turnstile/v0/siteverify", encode(fields))
        .await
        .json()
}

async fn token(stage: &Stage, wanted: Value) -> String {
    let answered = stage.post("/control/v1/turnstile", wanted.to_string()).await;
    answered.json()["token"].as_str().unwrap().to_owned()
}

fn codes(answer: &Value) -> String {
    assert_eq!(answer["success"], false, "{answer}");
    answer["error-codes"][0].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn ed_6_a_token_is_good_once_and_the_same_check_may_be_repeated() {
    let stage = Stage::ecpay().await;
    let token = token(
        &stage,
        json!({ "hostname": "shop.example", "action": "checkout" }),
    )
    .await;
    let name = "018bcfe5-6800-8000-8000-000000000001";
    let asked = json!({ "secret": TURNSTILE_SECRET, "response": token, "idempotency_key": name });
    for _ in 0..2 {
        let told = verify(&stage, asked.clone()).await;
        assert_eq!(
            (&told["success"], &told["hostname"], &told["action"]),
            (&json!(true), &json!("shop.example"), &json!("checkout"))
        );
    }
    for other in [
        json!({ "secret": TURNSTILE_SECRET, "response": token }),
        json!({ "secret": TURNSTILE_SECRET, "response": token, "idempotency_key": "018bcfe5-6800-8000-8000-000000000002" }),
    ] {
        assert_eq!(codes(&verify(&stage, other).await), "timeout-or-duplicate");
    }
}

#[tokio::test]
async fn ed_6_a_token_lasts_three_hundred_seconds() {
    let stage = Stage::ecpay().await;
    for (age, passes) in [(290, true), (310, false)] {
        let token = token(&stage, json!({ "ageSeconds": age })).await;
        let told = verify(&stage, json!({ "secret": TURNSTILE_SECRET, "response": token })).await;
        assert_eq!(told["success"], passes, "{age}: {told}");
    }
}

#[tokio::test]
async fn ed_6_the_secrets_for_tests_do_what_they_do_at_cloudflare() {
    let stage = Stage::ecpay().await;
    let told = verify(&stage, json!({ "secret": TURNSTILE_SECRET, "response": DUMMY })).await;
    assert_eq!(
        (&told["success"], &told["action"]),
        (&json!(true), &json!("checkout"))
    );
    for (secret, response, code) in [
        (FAILS, DUMMY, "invalid-input-response"),
        (SPENT, DUMMY, "timeout-or-duplicate"),
        (TURNSTILE_SECRET, "0.sandbox-77", "invalid-input-response"),
        (TURNSTILE_SECRET, "", "missing-input-response"),
        ("", DUMMY, "missing-input-secret"),
        ("0x4AAA", DUMMY, "invalid-input-secret"),
    ] {
        let told = verify(&stage, json!({ "secret": secret, "response": response })).await;
        assert_eq!(codes(&told), code, "{secret} {response}");
    }
    let named = json!({ "secret": TURNSTILE_SECRET, "response": DUMMY, "idempotency_key": "7" });
    assert_eq!(codes(&verify(&stage, named).await), "bad-request");
    let url = format!("{}/turnstile/v0/siteverify", stage.sandbox.base_url());
    let http = reqwest::Client::new();
    let good = json!({ "secret": TURNSTILE_SECRET, "response": DUMMY });
    let as_json: Value = http
        .post(&url)
        .json(&good)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(as_json["success"], true);
    let bare: Value = http
        .post(&url)
        .body("secret=1")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(codes(&bare), "bad-request");
}
