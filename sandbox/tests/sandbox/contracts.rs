//! Contracts over a jumping clock: schedules, cards that go bad, notices that go wrong (EC-1, EC-9, PU-1, PU-7).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::calendar::{common_year, go_to};
use crate::stage::{Stage, encode, fields, is_genuine, patient, sealed, unsealed, with};

/// An ECPay contract of 12 months that began on 31 January at 15:00; the year.
async fn begun(stage: &Stage, order: &str) -> i64 {
    let year = common_year(stage).await;
    go_to(stage, &format!("{year}-01-31 15:00")).await;
    stage
        .open(with(stage.periodic_order(order), &[("ExecTimes", "12")]))
        .await;
    stage.act(&format!("ecpay/{order}"), "pay", json!({})).await;
    year
}

fn told(stage: &Stage) -> Vec<BTreeMap<String, String>> {
    let got = stage.shop.got();
    let periods = got.iter().filter(|got| got.path == "/period");
    periods.map(crate::receiver::Got::fields).collect()
}

async fn contract(stage: &Stage, order: &str) -> Value {
    stage.get(&format!("/control/v1/contracts/{order}")).await.json()
}

async fn set(stage: &Stage, path: &str, body: Value) -> Value {
    let answered = stage.control(&format!("contracts/{path}"), body).await;
    assert_eq!(answered.status, 200, "{path}: {}", answered.body);
    answered.json()
}

#[tokio::test]
async fn pu_1_a_jump_of_a_year_plays_every_month_in_order_under_its_own_stamp() {
    let stage = Stage::ecpay().await;
    let year = begun(&stage, "YEAR1").await;
    let next = contract(&stage, "ecpay/YEAR1").await["nextPeriodOn"].clone();
    assert_eq!(next, format!("{year}-02-28"));
    go_to(&stage, &format!("{}-01-31 15:00", year + 1)).await;
    let told = told(&stage);
    let days = [
        "02/28", "03/31", "04/30", "05/31", "06/30", "07/31", "08/31", "09/30", "10/31", "11/30", "12/31",
    ];
    let stamps: Vec<&str> = told.iter().map(|notice| notice["ProcessDate"].as_str()).collect();
    let expected: Vec<String> = days.map(|day| format!("{year}/{day} 06:00:00")).to_vec();
    assert_eq!(stamps, expected);
    for (index, notice) in told.iter().enumerate() {
        assert!(is_genuine(notice), "{notice:?}");
        assert_eq!(notice["TotalSuccessTimes"], (index + 2).to_string());
        let name = if index % 2 == 0 { "Gwsr" } else { "gwsr" };
        assert!(notice.contains_key(name), "{name} of period {}", index + 2);
    }
    let contract = contract(&stage, "ecpay/YEAR1").await;
    assert_eq!(
        (
            &contract["state"],
            &contract["timesPaid"],
            &contract["nextDueUnixMs"]
        ),
        (&json!("completed"), &json!(12), &Value::Null)
    );
    let numbers = contract["charges"].as_array().unwrap().iter();
    let lengths: Vec<usize> = numbers
        .map(|charge| charge["tradeNo"].as_str().unwrap().len())
        .collect();
    assert_eq!((lengths[0], lengths[1], lengths[11]), (16, 20, 20));
}

#[tokio::test]
async fn ec_9_a_card_is_bad_from_a_day_until_the_customer_changes_it() {
    let stage = Stage::ecpay().await;
    let year = begun(&stage, "BAD1").await;
    let bad = json!({ "from": format!("{year}-03-01"), "code": "10100248" });
    let view = set(&stage, "ecpay/BAD1/declines", bad).await;
    assert_eq!(
        (&view["card"]["bad"], &view["card"]["code"]),
        (&json!(true), &json!("10100248"))
    );
    go_to(&stage, &format!("{year}-05-01 00:00")).await;
    set(&stage, "ecpay/BAD1/declines", json!({ "card": "good" })).await;
    go_to(&stage, &format!("{year}-06-01 00:00")).await;
    let codes: Vec<String> = told(&stage)
        .iter()
        .map(|notice| notice["RtnCode"].clone())
        .collect();
    assert_eq!(codes, ["1", "10100248", "10100248", "1"]);
    let charges = contract(&stage, "ecpay/BAD1").await["charges"].clone();
    let results: Vec<bool> = charges
        .as_array()
        .unwrap()
        .iter()
        .map(|charge| charge["succeeded"].as_bool().unwrap())
        .collect();
    assert_eq!(results, [true, true, false, false, true]);
    assert_eq!(charges[2]["dueOn"], format!("{year}-03-31"));
}

#[tokio::test]
async fn ec_1_declines_by_date_and_by_count_add_up_and_six_in_a_row_end_the_contract() {
    let stage = Stage::ecpay().await;
    let year = begun(&stage, "SIX1").await;
    let dates = ["02-28", "03-31", "04-30"].map(|day| format!("{year}-{day}"));
    set(&stage, "ecpay/SIX1/declines", json!({ "dates": dates })).await;
    set(&stage, "ecpay/SIX1/declines", json!({ "next": 3 })).await;
    go_to(&stage, &format!("{}-06-01 00:00", year + 1)).await;
    let contract = contract(&stage, "ecpay/SIX1").await;
    assert_eq!(
        (&contract["state"], &contract["charges"].as_array().unwrap().len()),
        (&json!("stopped"), &7)
    );
    assert_eq!(told(&stage).len(), 6, "and nothing after the end");
}

#[tokio::test]
async fn ec_9_notices_are_lost_late_or_wrong_while_the_charge_is_true() {
    let stage = Stage::ecpay().await;
    let year = begun(&stage, "LOST1").await;
    set(&stage, "ecpay/LOST1/notices", json!({ "lose": true, "next": 1 })).await;
    go_to(&stage, &format!("{year}-03-01 00:00")).await;
    assert_eq!(told(&stage).len(), 0, "lost");
    let wrong = json!({ "amount": 1, "dates": [format!("{year}-03-31")] });
    set(&stage, "ecpay/LOST1/notices", wrong).await;
    go_to(&stage, &format!("{year}-04-01 00:00")).await;
    assert_eq!(told(&stage)[0]["Amount"], "1");
    assert!(is_genuine(&told(&stage)[0]));
    set(
        &stage,
        "ecpay/LOST1/notices",
        json!({ "lateSeconds": 172_800, "next": 1 }),
    )
    .await;
    go_to(&stage, &format!("{year}-05-02 05:59")).await;
    assert_eq!(told(&stage).len(), 1, "two days late, so not yet");
    go_to(&stage, &format!("{year}-05-02 06:01")).await;
    assert_eq!(told(&stage)[1]["ProcessDate"], format!("{year}/04/30 06:00:00"));
    set(
        &stage,
        "ecpay/LOST1/notices",
        json!({ "failuresTold": false, "gwsr": "small" }),
    )
    .await;
    set(&stage, "ecpay/LOST1/declines", json!({ "next": 1 })).await;
    go_to(&stage, &format!("{year}-07-01 00:00")).await;
    let told = told(&stage);
    assert_eq!((told.len(), told[2]["RtnCode"].as_str()), (3, "1"));
    assert!(told[2].contains_key("gwsr"));
    let contract = contract(&stage, "ecpay/LOST1").await;
    assert_eq!(
        contract["timesPaid"], 5,
        "what was charged is true whatever was told"
    );
}

#[tokio::test]
async fn two_contracts_are_played_in_order_of_their_due_times() {
    let stage = Stage::ecpay().await;
    let year = begun(&stage, "ORD1").await;
    go_to(&stage, &format!("{year}-02-10 15:00")).await;
    stage.open(stage.periodic_order("ORD2")).await;
    stage.act("ecpay/ORD2", "pay", json!({})).await;
    go_to(&stage, &format!("{year}-04-15 00:00")).await;
    let told: Vec<String> = told(&stage)
        .iter()
        .map(|notice| format!("{} {}", notice["MerchantTradeNo"], &notice["ProcessDate"][5..10]))
        .collect();
    assert_eq!(told, ["ORD1 02/28", "ORD2 03/10", "ORD1 03/31", "ORD2 04/10"]);
}

#[tokio::test]
async fn pu_7_a_payuni_contract_binds_first_and_charges_on_its_days() {
    let stage = Stage::with(patient(), "OK").await;
    let year = common_year(&stage).await;
    go_to(&stage, &format!("{year}-01-20 15:00")).await;
    let order = fields(&[
        ("MerID", "KAT0001"),
        ("MerTradeNo", "PD-1"),
        ("PeriodAmt", "299"),
        ("ProdDesc", "月費訂閱"),
        ("PeriodType", "month"),
        ("PeriodDate", "31"),
        ("PeriodTimes", "4"),
        ("FType", "date"),
        ("FDate", &format!("{year}-02-10")),
        ("FAmt", "99"),
        ("NotifyURL", &format!("{}/period", stage.shop.base_url)),
    ]);
    let page = stage
        .post("/payuni/api/period/Page", encode(&sealed("1.0", &order)))
        .await;
    assert_eq!(page.status, 200, "{}", page.body);
    stage.act("payuni/PD-1", "pay", json!({})).await;
    assert_eq!(stage.shop.got().len(), 0, "NT$1 binds the card and is no period");
    go_to(&stage, &format!("{year}-05-01 00:00")).await;
    let told: Vec<String> = stage
        .shop
        .got()
        .iter()
        .map(|got| unsealed(&got.field("EncryptInfo")))
        .map(|inner| {
            let names = ["PeriodOrderNo", "AuthDay", "AuthTime", "AuthAmt", "NextAuthDate"];
            names.map(|name| inner[name].as_str()).join(" ")
        })
        .collect();
    assert_eq!(
        told,
        [
            format!("PD-1_1 {year}0210 080000 99 {year}-02-28"),
            format!("PD-1_2 {year}0228 080000 299 {year}-03-31"),
            format!("PD-1_3 {year}0331 080000 299 {year}-04-30"),
            format!("PD-1_4 {year}0430 080000 299 "),
        ]
    );
}

#[tokio::test]
async fn the_clock_tells_what_is_due_next() {
    let stage = Stage::ecpay().await;
    assert_eq!(
        stage.get("/control/v1/clock").await.json()["nextDueUnixMs"],
        Value::Null
    );
    begun(&stage, "NEXT1").await;
    let due = contract(&stage, "ecpay/NEXT1").await["nextDueUnixMs"]
        .as_i64()
        .unwrap();
    let clock = stage.get("/control/v1/clock").await.json();
    assert_eq!(clock["nextDueUnixMs"], due);
    stage.control("clock", json!({ "toUnixMs": due - 1000 })).await;
    assert_eq!(told(&stage).len(), 0);
    stage.control("clock", json!({ "toUnixMs": due })).await;
    assert_eq!(told(&stage).len(), 1);
    let over = stage.get("/control/v1/clock").await.json();
    assert_eq!(over["noticesUnderWay"], 0);
}

#[tokio::test]
async fn bad_input_changes_no_contract() {
    let stage = Stage::ecpay().await;
    begun(&stage, "IN1").await;
    stage.open(stage.order("ONE1")).await;
    let before = contract(&stage, "ecpay/IN1").await;
    for (path, body, status) in [
        ("contracts/ecpay/NONE/declines", "{}", 404),
        ("contracts/ecpay/ONE1/declines", "{}", 404),
        ("contracts/stripe/IN1/declines", "{}", 404),
        ("contracts/ecpay/IN1/declines", r#"{"card":"lost"}"#, 400),
        ("contracts/ecpay/IN1/declines", r#"{"card":"good","next":1}"#, 400),
        ("contracts/ecpay/IN1/declines", r#"{"dates":["2027-02-30"]}"#, 400),
        ("contracts/ecpay/IN1/declines", r#"{"dates":"2027-02-28"}"#, 400),
        ("contracts/ecpay/IN1/declines", r#"{"next":-1}"#, 400),
        ("contracts/ecpay/IN1/declines", r#"{"code":"a&b"}"#, 400),
        ("contracts/ecpay/IN1/declines", r#"{"code":""}"#, 400),
        ("contracts/ecpay/IN1/declines", r#"{"code":"1"}"#, 400),
        ("contracts/ecpay/IN1/declines", r#"{"untill":"2027-02-28"}"#, 400),
        ("contracts/ecpay/IN1/notices", r#"{"lose":1}"#, 400),
        (
            "contracts/ecpay/IN1/notices",
            r#"{"lose":true,"next":1,"dates":["2027-02-28"]}"#,
            400,
        ),
        ("contracts/ecpay/IN1/notices", r#"{"gwsr":"both"}"#, 400),
        ("contracts/ecpay/IN1/notices", "[", 400),
        ("clock", "{}", 400),
        ("clock", r#"{"toUnixMs":0}"#, 400),
        ("clock", r#"{"toUnixMs":9223372036854775807}"#, 400),
        ("clock", r#"{"advanceSeconds":1,"toUnixMs":1}"#, 400),
        ("limits/ecpay", r#"{"callsMax":-1}"#, 400),
        ("limits/payuni", "{}", 404),
    ] {
        let answered = stage.post(&format!("/control/v1/{path}"), body.to_owned()).await;
        assert_eq!(
            answered.status.as_u16(),
            status,
            "{path} {body}: {}",
            answered.body
        );
        assert_eq!(answered.content_type, "application/problem+json", "{path} {body}");
    }
    assert_eq!(contract(&stage, "ecpay/IN1").await, before);
    set(&stage, "ecpay/IN1/declines", json!({ "next": 2 })).await;
    let url = format!(
        "{}/control/v1/contracts/ecpay/IN1/declines",
        stage.sandbox.base_url()
    );
    assert_eq!(stage.http.delete(url).send().await.unwrap().status(), 200);
    assert_eq!(contract(&stage, "ecpay/IN1").await, before, "lifted");
}
