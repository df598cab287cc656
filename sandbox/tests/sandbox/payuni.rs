//! The fake PAYUNi: envelope, limits, notices (PU-3, PU-7).

use serde_json::json;
use tollgate_sandbox::{PAYUNI_HASH_IV, PAYUNI_HASH_KEY};
use tollgate_shared::provider::payuni::cipher;

use crate::stage::{Answered, Fields, Stage, encode, fields, patient, sealed, unsealed, with, without};

const UPP: &str = "/payuni/api/upp";
const PERIOD: &str = "/payuni/api/period/Page";

/// A page, a change to a good order of it, and the code that must come back.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

async fn stage() -> Stage {
    Stage::with(patient(), "OK").await
}

async fn stamp(stage: &Stage) -> String {
    let now = stage.get("/control/v1/clock").await.json()["unixMs"]
        .as_i64()
        .unwrap();
    (now / 1000).to_string()
}

async fn upp(stage: &Stage, number: &str) -> Fields {
    let (stamp, notify) = (stamp(stage).await, format!("{}/notice", stage.shop.base_url));
    fields(&[
        ("MerID", "KAT0001"),
        ("MerTradeNo", number),
        ("TradeAmt", "1500"),
        ("Timestamp", &stamp),
        ("ProdDesc", "方案"),
        ("NotifyURL", &notify),
    ])
}

fn period(stage: &Stage, number: &str) -> Fields {
    fields(&[
        ("MerID", "KAT0001"),
        ("MerTradeNo", number),
        ("PeriodAmt", "299"),
        ("ProdDesc", "月費訂閱"),
        ("PeriodType", "month"),
        ("PeriodDate", "31"),
        ("PeriodTimes", "3"),
        ("FType", "build"),
        ("FAmt", "99"),
        ("NotifyURL", &format!("{}/period", stage.shop.base_url)),
    ])
}

async fn post(stage: &Stage, path: &str, version: &str, inner: &Fields) -> Answered {
    stage.post(path, encode(&sealed(version, inner))).await
}

#[tokio::test]
async fn the_envelope_is_checked_in_order() {
    let stage = stage().await;
    let good = sealed("2.0", &upp(&stage, "EN-1").await);
    let other_inside = sealed("2.0", &with(upp(&stage, "EN-1").await, &[("MerID", "OTHER")]));
    let garbage_hash = cipher::hash_info("00", PAYUNI_HASH_KEY, PAYUNI_HASH_IV);
    for (case, outer, code) in [
        (
            "unknown merchant",
            with(good.clone(), &[("MerID", "NOBODY")]),
            "DEF01005",
        ),
        ("no version", without(good.clone(), "Version"), "API00003"),
        (
            "wrong version",
            with(good.clone(), &[("Version", "1.3")]),
            "API00001",
        ),
        (
            "wrong hash",
            with(good.clone(), &[("HashInfo", "00")]),
            "DEF01007",
        ),
        (
            "lower-case hash",
            with(good.clone(), &[("HashInfo", &good[3].1.to_lowercase())]),
            "DEF01007",
        ),
        (
            "upper-case text under the old hash",
            with(good.clone(), &[("EncryptInfo", &good[2].1.to_uppercase())]),
            "DEF01007",
        ),
        (
            "sealed garbage",
            with(
                good.clone(),
                &[("EncryptInfo", "00"), ("HashInfo", &garbage_hash)],
            ),
            "DEF01002",
        ),
        ("another merchant inside", other_inside, "DEF01005"),
        (
            "unknown outer field",
            with(good.clone(), &[("Colour", "red")]),
            "SANDBOX01",
        ),
    ] {
        let answered = stage.post(UPP, encode(&outer)).await;
        assert_eq!(
            (answered.status.as_u16(), answered.error_code()),
            (400, Some(code)),
            "{case}"
        );
    }
    assert_eq!(stage.post(UPP, encode(&good)).await.status, 200);
}

#[tokio::test]
async fn inner_fields_are_checked() {
    let stage = stage().await;
    let (one_off, periodic) = (upp(&stage, "IN-1").await, period(&stage, "IN-2"));
    let expired = (one_off[3].1.parse::<i64>().unwrap() - 601).to_string();
    let refused: &[Case<'_>] = &[
        (UPP, &[("MerTradeNo", "a b")], "SANDBOX01"),
        (UPP, &[("MerTradeNo", "12345678901234567890123456")], "SANDBOX01"),
        (UPP, &[("TradeAmt", "0")], "SANDBOX01"),
        (UPP, &[("TradeAmt", "200000")], "SANDBOX01"),
        (UPP, &[("TradeAmt", "14"), ("ATM", "1")], "SANDBOX01"),
        (UPP, &[("TradeAmt", "20001"), ("CVS", "1")], "SANDBOX01"),
        (UPP, &[("Timestamp", "")], "SANDBOX01"),
        (UPP, &[("Timestamp", &expired)], "UPP02010"),
        (UPP, &[("TradeLExpireSec", "59")], "SANDBOX01"),
        (UPP, &[("NotifyURL", "notice")], "SANDBOX01"),
        (UPP, &[("Colour", "red")], "SANDBOX01"),
        (PERIOD, &[("MerTradeNo", "a_b")], "SANDBOX01"),
        (PERIOD, &[("PeriodAmt", "1")], "SANDBOX01"),
        (PERIOD, &[("PeriodTimes", "901")], "SANDBOX01"),
        (PERIOD, &[("PeriodTimes", "")], "SANDBOX01"),
        (PERIOD, &[("PeriodType", "day")], "SANDBOX01"),
        (
            PERIOD,
            &[("PeriodType", "week"), ("PeriodDate", "8")],
            "SANDBOX01",
        ),
        (PERIOD, &[("PeriodDate", "32")], "SANDBOX01"),
        (PERIOD, &[("FType", "date")], "SANDBOX01"),
        (PERIOD, &[("FType", "date"), ("FDate", "2026-02-30")], "SANDBOX01"),
        (PERIOD, &[("FAmt", "1")], "SANDBOX01"),
        (PERIOD, &[("Date", "2026-12-01,2027-01-01")], "SANDBOX01"),
        (PERIOD, &[("Timestamp", "1788000000")], "SANDBOX01"),
    ];
    for (path, changes, code) in refused {
        let (version, good) = if *path == UPP {
            ("2.0", &one_off)
        } else {
            ("1.0", &periodic)
        };
        let answered = post(&stage, path, version, &with(good.clone(), changes)).await;
        assert_eq!(
            answered.error_code(),
            Some(*code),
            "{changes:?}: {}",
            answered.body
        );
    }
    assert_eq!(
        post(&stage, PERIOD, "2.0", &periodic).await.error_code(),
        Some("API00001"),
        "period pages are 1.0 only"
    );
    assert_eq!(post(&stage, UPP, "2.0", &one_off).await.status, 200);
    assert_eq!(post(&stage, PERIOD, "1.0", &periodic).await.status, 200);
}

#[tokio::test]
async fn an_order_number_is_free_again_after_ten_minutes() {
    let stage = stage().await;
    let order = upp(&stage, "AGAIN").await;
    assert_eq!(post(&stage, UPP, "2.0", &order).await.status, 200);
    assert_eq!(
        post(&stage, UPP, "2.0", &order).await.error_code(),
        Some("UPP01007")
    );
    stage.advance(600).await;
    let later = (order[3].1.parse::<i64>().unwrap() + 600).to_string();
    assert_eq!(
        post(&stage, UPP, "2.0", &with(order, &[("Timestamp", &later)]))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_payment_notice_carries_the_trade_status() {
    let stage = stage().await;
    for (number, methods, actions, expected) in [
        ("PAY", &[][..], &["pay"][..], &[("SUCCESS", "1")][..]),
        ("FAIL", &[], &["fail"], &[("FAILCODE01", "2")]),
        (
            "ATM",
            &[("ATM", "1")],
            &["issue-code", "pay-code"],
            &[("SUCCESS", "0"), ("SUCCESS", "1")],
        ),
    ] {
        let before = stage.shop.got().len();
        let order = with(upp(&stage, number).await, methods);
        assert_eq!(post(&stage, UPP, "2.0", &order).await.status, 200, "{number}");
        for action in actions {
            stage.act(&format!("payuni/{number}"), action, json!({})).await;
        }
        let got = stage.shop.got().split_off(before);
        let inner: Vec<_> = got
            .iter()
            .map(|got| unsealed(&got.field("EncryptInfo")))
            .collect();
        let statuses: Vec<_> = inner
            .iter()
            .map(|inner| (inner["Status"].as_str(), inner["TradeStatus"].as_str()))
            .collect();
        assert_eq!(statuses, expected, "{number}");
        assert!(
            inner
                .iter()
                .all(|inner| inner["MerID"] == "KAT0001" && inner["TradeAmt"] == "1500")
        );
        let hashes = got.iter().all(|got| {
            got.field("HashInfo")
                == cipher::hash_info(&got.field("EncryptInfo"), PAYUNI_HASH_KEY, PAYUNI_HASH_IV)
        });
        assert!(hashes);
    }
}

#[tokio::test]
async fn pu_3_each_period_has_its_own_order_number_and_is_acknowledged_by_ok_alone() {
    let stage = stage().await;
    stage.shop.answer_next([(200, "SUCCESS")]);
    assert_eq!(
        post(&stage, PERIOD, "1.0", &period(&stage, "SUB-1")).await.status,
        200
    );
    let trade = stage.act("payuni/SUB-1", "pay", json!({})).await;
    assert_eq!(
        trade["notices"][0]["acknowledged"], false,
        "`SUCCESS` is not `OK`"
    );
    stage
        .act("payuni/SUB-1", "period", json!({ "failed": true }))
        .await;
    stage.act("payuni/SUB-1", "period", json!({})).await;
    let inner: Vec<_> = stage
        .shop
        .got()
        .iter()
        .map(|got| unsealed(&got.field("EncryptInfo")))
        .collect();
    let told: Vec<_> = inner
        .iter()
        .map(|inner| {
            (
                inner["PeriodOrderNo"].as_str(),
                inner["AuthAmt"].as_str(),
                inner["Status"] == "SUCCESS",
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("SUB-1_1", "99", true),
            ("SUB-1_2", "299", false),
            ("SUB-1_3", "299", true)
        ]
    );
    assert!(
        inner
            .iter()
            .all(|inner| inner["MerchantId"] == "KAT0001" && !inner.contains_key("MerID"))
    );
    assert_eq!(inner[2]["NextAuthDate"], "", "empty on the last period");
    assert_eq!(
        stage
            .control("trades/payuni/SUB-1/period", json!({}))
            .await
            .status,
        409
    );
}

#[tokio::test]
async fn pu_7_a_first_charge_on_another_day_only_binds_the_card() {
    let stage = stage().await;
    let result_url = format!("{}/result", stage.shop.base_url);
    let later = with(
        period(&stage, "LATER"),
        &[
            ("FType", "date"),
            ("FDate", "2099-01-01"),
            ("ReturnURL", &result_url),
        ],
    );
    assert_eq!(post(&stage, PERIOD, "1.0", &later).await.status, 200);
    let trade = stage.act("payuni/LATER", "pay", json!({})).await;
    assert_eq!(
        (&trade["notices"], &trade["plan"]["charges"]),
        (&json!([]), &json!([])),
        "no period has been charged"
    );
    let page = stage.get(trade["cashierPath"].as_str().unwrap()).await.body;
    let sealed = page
        .split_once(r#"name="EncryptInfo" value=""#)
        .unwrap()
        .1
        .split_once('"')
        .unwrap()
        .0;
    assert_eq!(unsealed(sealed)["AuthAmt"], "1");
    stage.act("payuni/LATER", "period", json!({})).await;
    let inner = unsealed(&stage.shop.got()[0].field("EncryptInfo"));
    assert_eq!(
        (inner["PeriodOrderNo"].as_str(), inner["AuthAmt"].as_str()),
        ("LATER_1", "99")
    );
}

#[tokio::test]
async fn without_a_notify_url_nothing_is_sent() {
    let stage = stage().await;
    let silent = without(upp(&stage, "SILENT").await, "NotifyURL");
    assert_eq!(post(&stage, UPP, "2.0", &silent).await.status, 200);
    let trade = stage.act("payuni/SILENT", "pay", json!({})).await;
    assert_eq!(trade["notices"], json!([]));
}
