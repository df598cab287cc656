//! The mock provider: one address, one signed notice.

use serde_json::{Value, json};
use tollgate_sandbox::MOCK_WEBHOOK_SECRET;
use tollgate_shared::crypto::hmac_sha256;

use crate::stage::{Stage, patient};

fn address(stage: &Stage, amount: &str, notify: &str) -> String {
    let shop = &stage.shop.base_url;
    format!(
        "/mock/checkout?orderNumber=M1&amount={amount}&currency=TWD&notifyUrl={shop}{notify}&returnUrl={shop}/back"
    )
}

#[tokio::test]
async fn a_notice_is_signed_anew_for_every_delivery_under_one_id() {
    let stage = Stage::with(patient(), "").await;
    stage.shop.answer_next([(500, "")]);
    let page = stage.get(&address(&stage, "300", "/notice")).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("/back"), "the link back");
    stage.act("mock/M1", "pay", json!({})).await;
    stage.advance(3600).await;
    let got = stage.shop.wait(2).await;
    for delivery in &got {
        let (id, stamp) = (
            &delivery.headers["webhook-id"],
            &delivery.headers["webhook-timestamp"],
        );
        let key = base64_decoded(MOCK_WEBHOOK_SECRET.strip_prefix("whsec_").unwrap());
        let expected = hmac_sha256(&key, format!("{id}.{stamp}.{}", delivery.body).as_bytes());
        assert_eq!(
            delivery.headers["webhook-signature"],
            format!("v1,{}", base64_encoded(&expected))
        );
    }
    assert_eq!(got[0].headers["webhook-id"], got[1].headers["webhook-id"]);
    assert_ne!(
        got[0].headers["webhook-timestamp"],
        got[1].headers["webhook-timestamp"]
    );
    let body: Value = serde_json::from_str(&got[0].body).unwrap();
    assert_eq!(
        (
            &body["type"],
            &body["data"]["amount"],
            &body["data"]["orderNumber"]
        ),
        (&json!("payment.paid"), &json!(300), &json!("M1"))
    );
}

#[tokio::test]
async fn opening_the_address_again_shows_the_same_trade_and_another_order_is_refused() {
    let stage = Stage::with(patient(), "").await;
    let first = stage.get(&address(&stage, "300", "/notice")).await;
    let again = stage.get(&address(&stage, "300", "/notice")).await;
    assert_eq!(first.body, again.body);
    assert_eq!(stage.get(&address(&stage, "301", "/notice")).await.status, 400);
}

#[tokio::test]
async fn bad_addresses_are_refused() {
    let stage = Stage::with(patient(), "").await;
    let good = address(&stage, "300", "/notice");
    for bad in [
        "/mock/checkout".to_owned(),
        good.replace("amount=300", "amount=0"),
        good.replace("amount=300", "amount=1.5"),
        good.replace("TWD", "USD"),
        good.replace("orderNumber=M1", "orderNumber="),
        good.replace("notifyUrl=http", "notifyUrl=javascript"),
        format!("{good}&colour=red"),
        format!("{good}&amount=1"),
    ] {
        assert_eq!(stage.get(&bad).await.status, 400, "{bad}");
    }
}

fn base64_decoded(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn base64_encoded(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
