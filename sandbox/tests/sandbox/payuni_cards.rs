//! Stored cards at the fake PAYUNi: charged, declined, answered wrongly, removed (EC-2, PM-8).

use serde_json::{Value, json};

use crate::calendar::now;
use crate::payuni_calls::{stage, stamped, told};
use crate::stage::{Stage, encode, fields, sealed, with};

const CREDIT: &str = "credit";

/// Binds a card by a paid order; its hash.
async fn bound(stage: &Stage, order: &str) -> String {
    let stamp = now(stage).await.unix_seconds().to_string();
    let form = fields(&[
        ("MerID", "KAT0001"),
        ("MerTradeNo", order),
        ("TradeAmt", "299"),
        ("Timestamp", &stamp),
        ("ProdDesc", "方案"),
        ("Credit", "1"),
        ("UseTokenType", "1"),
        ("CreditToken", "member-7"),
        ("CreditTokenType", "1"),
        ("NotifyURL", &format!("{}/notice", stage.shop.base_url)),
    ]);
    let page = stage.post("/payuni/api/upp", encode(&sealed("2.0", &form))).await;
    assert_eq!(page.status, 200, "{}", page.body);
    stage.act(&format!("payuni/{order}"), "pay", json!({})).await;
    let notice = told(stage).pop().unwrap();
    assert_eq!(notice["CreditLife"], "1230");
    notice["CreditHash"].clone()
}

fn charge<'a>(hash: &'a str, order: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("CreditHash", hash),
        ("MerTradeNo", order),
        ("TradeAmt", "299"),
        ("ProdDesc", "方案"),
    ]
}

async fn card(stage: &Stage, path: &str, body: Value) -> Value {
    let answered = stage.control(&format!("tokens/payuni/{path}"), body).await;
    assert_eq!(answered.status, 200, "{path}: {}", answered.body);
    answered.json()
}

#[tokio::test]
async fn ec_2_a_stored_card_is_charged_once_per_order_number_and_its_bank_may_decline() {
    let stage = stage().await;
    let hash = bound(&stage, "BIND_1").await;
    let (status, inner) = stamped(&stage, CREDIT, "1.3", &charge(&hash, "C_1")).await;
    assert_eq!(
        (
            status.as_str(),
            inner["TradeStatus"].as_str(),
            inner["TradeAmt"].as_str()
        ),
        ("SUCCESS", "1", "299")
    );
    for (hash, order, status) in [
        (hash.as_str(), "C_1", "CREDIT04001"),
        ("CHNONE", "C_2", "CREDIT02025"),
        ("", "C_2", "CREDIT02011"),
    ] {
        let refused = stamped(&stage, CREDIT, "1.3", &charge(hash, order)).await;
        assert_eq!(refused.0, status);
    }
    assert_eq!(
        stamped(&stage, CREDIT, "1.2", &charge(&hash, "C_2")).await.0,
        "API00001"
    );
    card(
        &stage,
        "member-7/declines",
        json!({ "card": "bad", "code": "54" }),
    )
    .await;
    let (status, inner) = stamped(&stage, CREDIT, "1.3", &charge(&hash, "C_2")).await;
    assert!(status != "SUCCESS", "{status}");
    assert_eq!(
        (inner["TradeStatus"].as_str(), inner["ResCode"].as_str()),
        ("2", "54")
    );
    let other = bound(&stage, "BIND_2").await;
    assert_eq!(
        stamped(&stage, CREDIT, "1.3", &charge(&other, "C_3")).await.0,
        "SUCCESS",
        "another card"
    );
    let view = stage.get("/control/v1/tokens/payuni/BIND_1").await.json();
    let charges: Vec<String> = view["charges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|charge| {
            format!(
                "{} {}",
                charge["orderNumber"].as_str().unwrap(),
                charge["status"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(charges, ["C_1 paid", "C_2 failed"]);
    assert_eq!(
        stage.shop.got().len(),
        2,
        "a charge that was answered is not also told"
    );
}

#[tokio::test]
async fn pm_8_an_answer_is_lost_or_unknown_and_the_charge_was_made() {
    let stage = stage().await;
    let hash = bound(&stage, "BIND_3").await;
    card(&stage, "BIND_3/answers", json!({ "lost": 1, "unknown": 1 })).await;
    let stamp = now(&stage).await.unix_seconds().to_string();
    let form = with(
        fields(&[("MerID", "KAT0001"), ("Timestamp", &stamp)]),
        &charge(&hash, "L_1"),
    );
    let url = format!("{}/payuni/api/credit", stage.sandbox.base_url());
    let request = stage
        .http
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded");
    let lost = match request.body(encode(&sealed("1.3", &form))).send().await {
        Ok(response) => response.bytes().await.is_err(),
        Err(_) => true,
    };
    assert!(lost, "the answer must not arrive");
    assert_eq!(
        stamped(&stage, CREDIT, "1.3", &charge(&hash, "L_1")).await.0,
        "CREDIT04001",
        "not twice"
    );
    let query = async |order: &str| {
        let (_, inner) = stamped(&stage, "trade/query", "2.0", &[("MerTradeNo", order)]).await;
        inner["Result[0][TradeStatus]"].clone()
    };
    assert_eq!(query("L_1").await, "1");
    let notify = format!("{}/credit", stage.shop.base_url);
    let unknown = [&charge(&hash, "U_1")[..], &[("NotifyURL", &notify)]].concat();
    let (status, inner) = stamped(&stage, CREDIT, "1.3", &unknown).await;
    assert_eq!((status.as_str(), inner["TradeStatus"].as_str()), ("UNKNOWN", "0"));
    assert_eq!(query("U_1").await, "0", "nobody knows yet");
    stage.advance(900).await;
    assert_eq!(query("U_1").await, "1");
    let notice = told(&stage).pop().unwrap();
    assert_eq!(
        (notice["MerTradeNo"].as_str(), notice["TradeStatus"].as_str()),
        ("U_1", "1")
    );
}

#[tokio::test]
async fn a_removed_card_is_not_charged() {
    let stage = stage().await;
    let (first, second) = (bound(&stage, "BIND_4").await, bound(&stage, "BIND_5").await);
    let remove = async |kind: &str, value: &str| {
        let more = [
            ("UseTokenType", kind),
            ("BindVal", value),
            ("CreditTokenType", "1"),
        ];
        stamped(&stage, "credit_bind/cancel", "1.0", &more).await.0
    };
    assert_eq!(remove("1", "CHNONE").await, "CANCEL03001");
    assert_eq!(remove("1", &first).await, "SUCCESS");
    assert_eq!(remove("1", &first).await, "CANCEL03001");
    assert_eq!(
        stamped(&stage, CREDIT, "1.3", &charge(&first, "R_1")).await.0,
        "CREDIT02025"
    );
    assert_eq!(
        stamped(&stage, CREDIT, "1.3", &charge(&second, "R_2")).await.0,
        "SUCCESS"
    );
    assert_eq!(remove("2", "member-7").await, "SUCCESS");
    assert_eq!(
        stamped(&stage, CREDIT, "1.3", &charge(&second, "R_3")).await.0,
        "CREDIT02025"
    );
    for (path, status) in [("NONE", 404), ("member-7", 200)] {
        let shown = stage.get(&format!("/control/v1/tokens/payuni/{path}")).await;
        assert_eq!(shown.status.as_u16(), status);
    }
    let bad = stage
        .control("tokens/payuni/member-7/answers", json!({ "lost": -1 }))
        .await;
    assert_eq!(bad.status, 400);
}
