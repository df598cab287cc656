//! `QueryTradeInfo/V5` and `/api/trade/query`.

use std::collections::BTreeMap;

use serde_json::json;

use crate::stage::{Stage, encode, fields, is_genuine, sealed, signed, unsealed, with};

async fn now(stage: &Stage) -> i64 {
    stage.get("/control/v1/clock").await.json()["unixMs"]
        .as_i64()
        .unwrap()
        / 1000
}

async fn ask(stage: &Stage, order: &str, stamp: i64) -> BTreeMap<String, String> {
    let question = fields(&[
        ("MerchantID", "3002607"),
        ("MerchantTradeNo", order),
        ("TimeStamp", &stamp.to_string()),
    ]);
    let answered = stage
        .post("/ecpay/Cashier/QueryTradeInfo/V5", encode(&signed(question)))
        .await;
    assert_eq!(answered.status, 200);
    answered
        .body
        .split('&')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

#[tokio::test]
async fn a_query_tells_the_status_raw_and_signed() {
    let stage = Stage::ecpay().await;
    stage
        .open(with(
            stage.periodic_order("QA1"),
            &[("ItemName", "方案 100% + 1")],
        ))
        .await;
    let stamp = now(&stage).await;
    assert_eq!(ask(&stage, "QA1", stamp).await["TradeStatus"], "0");
    stage.act("ecpay/QA1", "pay", json!({})).await;
    stage.act("ecpay/QA1", "period", json!({})).await;
    let paid = ask(&stage, "QA1", stamp).await;
    assert_eq!(
        (paid["TradeStatus"].as_str(), paid["ItemName"].as_str()),
        ("1", "方案 100% + 1"),
        "values are raw"
    );
    assert_eq!(
        (
            paid["TotalSuccessTimes"].as_str(),
            paid["TotalSuccessAmount"].as_str()
        ),
        ("2", "600")
    );
    assert!(is_genuine(&paid));
}

#[tokio::test]
async fn what_cannot_be_answered_has_its_code() {
    let stage = Stage::ecpay().await;
    let stamp = now(&stage).await;
    for (order, stamp, code) in [
        ("nulltrade", stamp, "10200047"),
        ("", stamp, "10200052"),
        ("a-b", stamp, "10200052"),
        ("nulltrade", stamp - 300, "10200083"),
        ("nulltrade", stamp + 300, "10200083"),
    ] {
        let answer = ask(&stage, order, stamp).await;
        assert_eq!(answer["TradeStatus"], code, "{order:?}");
        assert!(is_genuine(&answer) && !answer.contains_key("CustomField1"));
    }
    let unsigned = encode(&fields(&[
        ("MerchantID", "3002607"),
        ("MerchantTradeNo", "X"),
        ("TimeStamp", "1"),
    ]));
    assert_eq!(
        stage
            .post("/ecpay/Cashier/QueryTradeInfo/V5", unsigned)
            .await
            .body,
        "TradeStatus=10200073"
    );
}

#[tokio::test]
async fn payuni_answers_with_a_sealed_result() {
    let stage = Stage::with(crate::stage::patient(), "OK").await;
    let stamp = now(&stage).await.to_string();
    let order = fields(&[
        ("MerID", "KAT0001"),
        ("MerTradeNo", "QP_1"),
        ("TradeAmt", "1500"),
        ("Timestamp", &stamp),
    ]);
    assert_eq!(
        stage
            .post("/payuni/api/upp", encode(&sealed("2.0", &order)))
            .await
            .status,
        200
    );
    stage.act("payuni/QP_1", "pay", json!({})).await;
    let question = fields(&[
        ("MerID", "KAT0001"),
        ("MerTradeNo", "QP_1"),
        ("Timestamp", &stamp),
    ]);
    let reply = stage
        .post("/payuni/api/trade/query", encode(&sealed("2.0", &question)))
        .await
        .json();
    let inner = unsealed(reply["EncryptInfo"].as_str().unwrap());
    assert_eq!(
        (reply["Status"].as_str(), inner["Result[0][TradeStatus]"].as_str()),
        (Some("SUCCESS"), "1")
    );
    assert_eq!(inner["Result[0][TradeAmt]"], "1500");
    let unknown = fields(&[
        ("MerID", "KAT0001"),
        ("MerTradeNo", "none"),
        ("Timestamp", &stamp),
    ]);
    let reply = stage
        .post("/payuni/api/trade/query", encode(&sealed("2.0", &unknown)))
        .await
        .json();
    assert!(
        reply["EncryptInfo"].is_null() && reply["Status"] != "SUCCESS",
        "{reply}"
    );
}
