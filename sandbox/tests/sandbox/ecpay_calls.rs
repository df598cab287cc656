//! What a server asks and orders at the fake ECPay: the log of a contract, `ReAuth` and `Cancel`, refunds, 403 (EC-2, OP-5).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::calendar::{common_year, go_to, now};
use crate::stage::{Answered, Fields, Stage, encode, fields, is_genuine, signed, with};

const INFO: &str = "/ecpay/Cashier/QueryCreditCardPeriodInfo";
const ACTION: &str = "/ecpay/Cashier/CreditCardPeriodAction";
const DO: &str = "/ecpay/CreditDetail/DoAction";

async fn begun(stage: &Stage, order: &str) -> i64 {
    let year = common_year(stage).await;
    go_to(stage, &format!("{year}-01-15 15:00")).await;
    stage
        .open(with(stage.periodic_order(order), &[("ExecTimes", "12")]))
        .await;
    stage.act(&format!("ecpay/{order}"), "pay", json!({})).await;
    year
}

async fn ask(stage: &Stage, path: &str, order: &str, more: &[(&str, &str)]) -> Answered {
    let stamp = now(stage).await.unix_seconds().to_string();
    let question = fields(&[
        ("MerchantID", "3002607"),
        ("MerchantTradeNo", order),
        ("TimeStamp", &stamp),
    ]);
    stage.post(path, encode(&signed(with(question, more)))).await
}

fn raw(answered: &Answered) -> BTreeMap<String, String> {
    assert_eq!(answered.status, 200);
    let pairs = answered.body.split('&').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

async fn action(stage: &Stage, order: &str, word: &str) -> BTreeMap<String, String> {
    raw(&ask(stage, ACTION, order, &[("Action", word)]).await)
}

async fn info(stage: &Stage, order: &str) -> Value {
    ask(stage, INFO, order, &[]).await.json()
}

async fn control(stage: &Stage, path: &str, body: Value) {
    let answered = stage.control(path, body).await;
    assert_eq!(answered.status, 200, "{path}: {}", answered.body);
}

#[tokio::test]
async fn ec_2_reauth_queues_the_latest_failed_charge_and_its_result_is_told() {
    let stage = Stage::ecpay().await;
    let year = begun(&stage, "RA1").await;
    assert_eq!(
        action(&stage, "RA1", "ReAuth").await["RtnCode"],
        "0",
        "nothing failed"
    );
    control(&stage, "contracts/ecpay/RA1/declines", json!({ "card": "bad" })).await;
    go_to(&stage, &format!("{year}-02-16 09:00")).await;
    let queued = action(&stage, "RA1", "ReAuth").await;
    assert!(is_genuine(&queued), "{queued:?}");
    assert_eq!(queued["RtnCode"], "1");
    assert_eq!(
        action(&stage, "RA1", "ReAuth").await["RtnCode"],
        "0",
        "one at a time"
    );
    assert_eq!(stage.shop.got().len(), 2, "the result comes later");
    stage.advance(60).await;
    control(&stage, "contracts/ecpay/RA1/declines", json!({ "card": "good" })).await;
    assert_eq!(action(&stage, "RA1", "ReAuth").await["RtnCode"], "1");
    stage.advance(60).await;
    let told: Vec<(String, String)> = stage.shop.got()[1..]
        .iter()
        .map(|got| (got.field("RtnCode"), got.field("TotalSuccessTimes")))
        .collect();
    let expected = [("10100058", "1"), ("10100058", "1"), ("1", "2")];
    assert_eq!(
        told,
        expected.map(|(code, times)| (code.to_owned(), times.to_owned()))
    );
    assert_eq!(action(&stage, "RA1", "ReAuth").await["RtnCode"], "0", "paid");
    go_to(&stage, &format!("{year}-03-15 07:00")).await;
    let view = stage.get("/control/v1/contracts/ecpay/RA1").await.json();
    let numbers: Vec<String> = view["charges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|charge| format!("{} {}", charge["number"], charge["cause"]))
        .collect();
    assert_eq!(
        numbers,
        [
            "1 \"scheduled\"",
            "2 \"scheduled\"",
            "2 \"retry\"",
            "2 \"retry\"",
            "3 \"scheduled\""
        ]
    );
}

#[tokio::test]
async fn ec_2_cancel_is_for_ever_and_every_answer_has_its_code() {
    let stage = Stage::ecpay().await;
    let year = begun(&stage, "CA1").await;
    stage.open(stage.periodic_order("CA2")).await;
    let canceled = action(&stage, "CA1", "Cancel").await;
    assert_eq!(
        (canceled["RtnCode"].as_str(), canceled["RtnMsg"].as_str()),
        ("1", "停用成功")
    );
    for (order, word, code) in [
        ("CA1", "Cancel", "100006"),
        ("CA1", "ReAuth", "100006"),
        ("CA2", "Cancel", "90100150"),
        ("NONE", "Cancel", "90100150"),
        ("CA1", "Pause", "10200083"),
    ] {
        let answer = action(&stage, order, word).await;
        assert_eq!(answer["RtnCode"], code, "{order} {word}");
        assert!(is_genuine(&answer));
    }
    let outdated = ask(&stage, ACTION, "CA1", &[("Action", "Cancel"), ("TimeStamp", "1")]).await;
    assert_eq!(
        (
            raw(&outdated)["RtnCode"].as_str(),
            raw(&outdated)["MerchantID"].as_str()
        ),
        ("10200083", "")
    );
    let unsigned = fields(&[("MerchantID", "3002607"), ("Action", "Cancel")]);
    assert_eq!(
        raw(&stage.post(ACTION, encode(&unsigned)).await)["RtnCode"],
        "10200073"
    );
    go_to(&stage, &format!("{year}-06-01 00:00")).await;
    assert_eq!(stage.shop.got().len(), 1, "nothing is charged after the end");
    assert_eq!(info(&stage, "CA1").await["ExecStatus"], "0");
    let query = ask(&stage, "/ecpay/Cashier/QueryTradeInfo/V5", "CA1", &[]).await;
    assert_eq!(raw(&query)["TradeStatus"], "1", "what was paid stays paid");
}

#[tokio::test]
async fn op_5_the_log_shows_every_attempt_in_the_forms_seen_in_production() {
    let stage = Stage::ecpay().await;
    let year = begun(&stage, "LOG1").await;
    control(&stage, "contracts/ecpay/LOG1/declines", json!({ "next": 3 })).await;
    go_to(&stage, &format!("{year}-06-16 00:00")).await;
    let view = info(&stage, "LOG1").await;
    assert_eq!(
        (
            &view["ExecStatus"],
            &view["TotalSuccessTimes"],
            &view["TotalSuccessAmount"]
        ),
        (&json!("1"), &json!(3), &json!(900))
    );
    let log = view["ExecLog"].as_array().unwrap();
    let codes: Vec<&Value> = log.iter().map(|entry| &entry["RtnCode"]).collect();
    assert_eq!(
        codes,
        [
            &json!(1),
            &json!(10_100_058),
            &json!("0"),
            &json!(""),
            &json!(10_100_058),
            &json!(1),
            &json!(1)
        ]
    );
    assert_eq!((&log[2]["gwsr"], &log[3]["gwsr"]), (&json!("0"), &json!("")));
    assert!(log[2].get("RtnMsg").is_none() && log[1]["gwsr"].is_number());
    assert_eq!(
        log[3]["process_date"], log[4]["process_date"],
        "the same failure twice"
    );
    assert_eq!(log[0]["TradeNo"], view["TradeNo"]);
    let later = log[5]["TradeNo"].as_str().unwrap();
    assert!(later.len() == 20 && later.parse::<u64>().is_err(), "{later}");
    let notices = stage.shop.got();
    let spelt = |got: &crate::receiver::Got| {
        let fields = got.fields();
        fields
            .get("Gwsr")
            .or_else(|| fields.get("gwsr"))
            .cloned()
            .unwrap()
    };
    assert_eq!(spelt(&notices[1]), log[1]["gwsr"].to_string());
    assert_eq!(spelt(&notices[2]), "0", "the notice agrees with the log");
    let plain = json!({ "oddLog": false, "ghostInLog": true });
    control(&stage, "contracts/ecpay/LOG1/notices", plain).await;
    let log = info(&stage, "LOG1").await["ExecLog"].clone();
    assert_eq!(log.as_array().unwrap().len(), 7, "six attempts and a ghost");
    assert_eq!((&log[6]["RtnCode"], &log[6]["gwsr"]), (&json!(1), &json!("")));
}

#[tokio::test]
async fn an_order_without_a_contract_is_not_found() {
    let stage = Stage::ecpay().await;
    stage.open(stage.order("PLAIN1")).await;
    stage.act("ecpay/PLAIN1", "pay", json!({})).await;
    stage.open(stage.periodic_order("UNPAID1")).await;
    stage.act("ecpay/UNPAID1", "fail", json!({})).await;
    for order in ["PLAIN1", "UNPAID1", "NONE"] {
        let view = info(&stage, order).await;
        assert_eq!(
            (
                &view["RtnCode"],
                &view["ExecStatus"],
                &view["ExecLog"],
                &view["MerchantID"]
            ),
            (&json!(10_200_047), &Value::Null, &Value::Null, &json!("0")),
            "{order}"
        );
    }
    let unsigned = fields(&[("MerchantID", "3002607"), ("MerchantTradeNo", "PLAIN1")]);
    let refused = stage.post(INFO, encode(&unsigned)).await.json();
    assert_eq!(refused["RtnCode"], 10_200_073);
}

#[tokio::test]
async fn op_5_who_asks_too_often_gets_403_for_half_an_hour() {
    let stage = Stage::ecpay().await;
    begun(&stage, "FAST1").await;
    control(&stage, "limits/ecpay", json!({ "callsMax": 3 })).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ask(&stage, INFO, "FAST1", &[]).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 403]);
    stage.advance(1500).await;
    let elsewhere = ask(&stage, "/ecpay/Cashier/QueryTradeInfo/V5", "FAST1", &[]).await;
    assert_eq!(elsewhere.status, 403, "every call of the merchant");
    stage.advance(301).await;
    assert_eq!(ask(&stage, INFO, "FAST1", &[]).await.status, 200);
    control(&stage, "limits/ecpay", json!({ "refuseSeconds": 60 })).await;
    assert_eq!(ask(&stage, INFO, "FAST1", &[]).await.status, 403, "on demand");
    control(&stage, "limits/ecpay", json!({ "refuseSeconds": 0 })).await;
    assert_eq!(ask(&stage, INFO, "FAST1", &[]).await.status, 200);
}

/// `DoAction` carries no `TimeStamp`.
async fn settle(
    stage: &Stage,
    order: &str,
    trade_no: &str,
    word: &str,
    amount: &str,
) -> BTreeMap<String, String> {
    let form: Fields = fields(&[
        ("MerchantID", "3002607"),
        ("MerchantTradeNo", order),
        ("TradeNo", trade_no),
        ("Action", word),
        ("TotalAmount", amount),
    ]);
    raw(&stage.post(DO, encode(&signed(form))).await)
}

#[tokio::test]
async fn pm_8_a_charge_is_refunded_by_its_own_number_where_its_money_stands() {
    let stage = Stage::ecpay().await;
    let year = begun(&stage, "DO1").await;
    go_to(&stage, &format!("{year}-02-15 10:00")).await;
    let view = stage.get("/control/v1/contracts/ecpay/DO1").await.json();
    let number = |index: usize| view["charges"][index]["tradeNo"].as_str().unwrap().to_owned();
    let (first, second) = (number(0), number(1));
    for (trade_no, word, amount, code) in [
        (second.as_str(), "N", "300", "0"),
        (&second, "R", "300", "0"),
        (&second, "E", "299", "0"),
        (&second, "E", "300", "1"),
        (&second, "N", "300", "1"),
        (&second, "R", "1", "0"),
        (&first, "E", "300", "0"),
        (&first, "R", "301", "0"),
        (&first, "R", "100", "1"),
        (&first, "R", "200", "1"),
        (&first, "R", "1", "0"),
        (&first, "X", "1", "0"),
        (&first, "R", "1.5", "0"),
        ("1", "R", "1", "10200047"),
    ] {
        let answer = settle(&stage, "DO1", trade_no, word, amount).await;
        assert_eq!(answer["RtnCode"], code, "{word} {amount}: {answer:?}");
        assert_eq!(answer["TradeNo"], trade_no);
    }
    let view = stage.get("/control/v1/contracts/ecpay/DO1").await.json();
    assert_eq!(
        (&view["charges"][0]["refunded"], &view["charges"][1]["standing"]),
        (&json!(300), &json!("given_up"))
    );
    stage.open(stage.order("DO2")).await;
    stage.act("ecpay/DO2", "pay", json!({})).await;
    let trade = stage.get("/control/v1/trades/ecpay/DO2").await.json();
    let number = trade["tradeNo"].as_str().unwrap();
    go_to(&stage, &format!("{year}-02-15 20:20")).await;
    let refused = settle(&stage, "DO2", number, "R", "300").await;
    assert_eq!(refused["RtnCode"], "0", "the daily capture runs");
    go_to(&stage, &format!("{year}-02-15 20:30")).await;
    assert_eq!(settle(&stage, "DO2", number, "R", "300").await["RtnCode"], "1");
}
