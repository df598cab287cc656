//! What a server asks and orders at the fake PAYUNi: contracts and refunds (PU-6, PM-8).

use std::collections::BTreeMap;

use serde_json::json;

use crate::calendar::{common_year, go_to, now};
use crate::stage::{Stage, encode, fields, patient, sealed, unsealed, with};

pub(crate) type Inner = BTreeMap<String, String>;

pub(crate) async fn stage() -> Stage {
    Stage::with(patient(), "OK").await
}

/// A monthly contract on day 31 that began on 15 January; the year and PAYUNi's number of it.
async fn begun(stage: &Stage, order: &str) -> (i64, String) {
    let year = common_year(stage).await;
    go_to(stage, &format!("{year}-01-15 15:00")).await;
    let form = fields(&[
        ("MerID", "KAT0001"),
        ("MerTradeNo", order),
        ("PeriodAmt", "299"),
        ("ProdDesc", "月費訂閱"),
        ("PeriodType", "month"),
        ("PeriodDate", "31"),
        ("PeriodTimes", "5"),
        ("FType", "build"),
        ("NotifyURL", &format!("{}/period", stage.shop.base_url)),
    ]);
    let page = stage
        .post("/payuni/api/period/Page", encode(&sealed("1.0", &form)))
        .await;
    assert_eq!(page.status, 200, "{}", page.body);
    let trade = stage.act(&format!("payuni/{order}"), "pay", json!({})).await;
    (year, trade["plan"]["periodTradeNo"].as_str().unwrap().to_owned())
}

/// A call; the reply's Status, and what was sealed in it.
pub(crate) async fn call(stage: &Stage, path: &str, version: &str, more: &[(&str, &str)]) -> (String, Inner) {
    let inner = with(fields(&[("MerID", "KAT0001")]), more);
    let outer = encode(&sealed(version, &inner));
    let reply = stage.post(&format!("/payuni/api/{path}"), outer).await;
    assert_eq!(reply.status, 200);
    let reply = reply.json();
    let inner = reply["EncryptInfo"].as_str().map(unsealed).unwrap_or_default();
    (reply["Status"].as_str().unwrap().to_owned(), inner)
}

pub(crate) async fn stamped(
    stage: &Stage,
    path: &str,
    version: &str,
    more: &[(&str, &str)],
) -> (String, Inner) {
    let stamp = now(stage).await.unix_seconds().to_string();
    let mut all = vec![("Timestamp", stamp.as_str())];
    all.extend(more);
    call(stage, path, version, &all).await
}

async fn revise(stage: &Stage, number: &str, word: &str, more: &[(&str, &str)]) -> (String, Inner) {
    let mut all = vec![("PeriodTradeNo", number), ("ReviseTradeStatus", word)];
    all.extend(more);
    call(stage, "period/mdfStatus", "1.0", &all).await
}

pub(crate) fn told(stage: &Stage) -> Vec<Inner> {
    let got = stage.shop.got();
    got.iter()
        .map(|got| unsealed(&got.field("EncryptInfo")))
        .collect()
}

#[tokio::test]
async fn pu_6_a_contract_is_suspended_resumed_and_ended_and_each_refusal_has_its_code() {
    let stage = stage().await;
    let (year, number) = begun(&stage, "MDF-1").await;
    for (number, word, more, status) in [
        ("", "end", &[][..], "PMDF02006"),
        ("NONE", "end", &[], "PMDF02018"),
        (number.as_str(), "end", &[("MerTradeNo", "OTHER")], "PMDF02018"),
        (&number, "stop", &[], "SANDBOX01"),
        (&number, "restart", &[], "SANDBOX01"),
        (&number, "end", &[("PeriodOrderNo", "2")], "SANDBOX01"),
        (&number, "reauth", &[("PeriodOrderNo", "1")], "SANDBOX01"),
        (&number, "reauth", &[("PeriodOrderNo", "MDF-1_1")], "SANDBOX01"),
        (&number, "suspend", &[], "SUCCESS"),
    ] {
        assert_eq!(
            revise(&stage, number, word, more).await.0,
            status,
            "{word} {more:?}"
        );
    }
    assert_eq!(
        call(
            &stage,
            "period/mdfStatus",
            "1.3",
            &[("PeriodTradeNo", &number), ("ReviseTradeStatus", "end")]
        )
        .await
        .0,
        "API00001"
    );
    go_to(&stage, &format!("{year}-02-01 00:00")).await;
    assert_eq!(stage.shop.got().len(), 1, "period 2 was passed over");
    assert_eq!(revise(&stage, &number, "restart", &[]).await.0, "SUCCESS");
    assert_eq!(
        revise(&stage, &number, "suspend", &[("PeriodOrderNo", "3")])
            .await
            .0,
        "SUCCESS"
    );
    go_to(&stage, &format!("{year}-04-01 00:00")).await;
    let orders: Vec<String> = told(&stage)
        .iter()
        .map(|inner| inner["PeriodOrderNo"].clone())
        .collect();
    assert_eq!(orders, ["MDF-1_1", "MDF-1_4"]);
    let (status, inner) = revise(&stage, &number, "end", &[]).await;
    assert_eq!(
        (status.as_str(), inner["MerTradeNo"].as_str()),
        ("SUCCESS", "MDF-1")
    );
    for word in ["end", "restart", "suspend"] {
        assert_eq!(revise(&stage, &number, word, &[]).await.0, "PMDF02013", "{word}");
    }
    go_to(&stage, &format!("{}-04-01 00:00", year + 1)).await;
    assert_eq!(stage.shop.got().len(), 2);
}

#[tokio::test]
async fn ec_2_a_failed_period_is_tried_again_and_its_result_is_also_a_notice() {
    let stage = stage().await;
    let (year, number) = begun(&stage, "RE-1").await;
    let bad = stage
        .control(
            "contracts/payuni/RE-1/declines",
            json!({ "card": "bad", "code": "54" }),
        )
        .await;
    assert_eq!(bad.status, 200);
    go_to(&stage, &format!("{year}-02-02 10:00")).await;
    let failed = &told(&stage)[1];
    assert_eq!(
        (failed["Status"] == "SUCCESS", failed["ResCode"].as_str()),
        (false, "54")
    );
    let period = [("PeriodOrderNo", "2")];
    let (status, inner) = revise(&stage, &number, "reauth", &period).await;
    assert!(status != "SUCCESS" && !inner.contains_key("TradeNo"), "{inner:?}");
    stage
        .control("contracts/payuni/RE-1/declines", json!({ "card": "good" }))
        .await;
    let (status, inner) = revise(&stage, &number, "reauth", &period).await;
    assert_eq!(
        (status.as_str(), inner["PeriodOrderNo"].as_str()),
        ("SUCCESS", "RE-1_2")
    );
    assert_eq!(
        revise(&stage, &number, "reauth", &period).await.0,
        "SANDBOX01",
        "it is paid"
    );
    stage.advance(60).await;
    let told = told(&stage);
    let results: Vec<(&str, bool)> = told
        .iter()
        .map(|inner| (inner["PeriodOrderNo"].as_str(), inner["Status"] == "SUCCESS"))
        .collect();
    assert_eq!(
        results,
        [
            ("RE-1_1", true),
            ("RE-1_2", false),
            ("RE-1_2", false),
            ("RE-1_2", true)
        ]
    );
    assert_eq!(told[3]["TradeNo"], inner["TradeNo"]);
    assert_ne!(
        told[1]["TradeNo"], told[2]["TradeNo"],
        "each attempt has its own number"
    );
}

#[tokio::test]
async fn pu_5_the_schedule_is_told_period_by_period() {
    let stage = stage().await;
    let (year, number) = begun(&stage, "QU-1").await;
    stage
        .control("contracts/payuni/QU-1/declines", json!({ "next": 1 }))
        .await;
    go_to(&stage, &format!("{year}-02-10 10:00")).await;
    let (status, inner) = call(&stage, "period/query", "1.0", &[("PeriodTradeNo", &number)]).await;
    assert_eq!(status, "SUCCESS");
    assert_eq!(
        ["PeriodType", "PeriodDate", "TotalTimes", "AlreadyTimes"].map(|name| inner[name].as_str()),
        ["month", "31", "5", "1"]
    );
    let row = |index: usize| {
        let names = [
            "Period",
            "ExpAuthDT",
            "TradeNo",
            "SubPeriodNo",
            "Amt",
            "AuthCode",
            "StatusDesc",
        ];
        names.map(|name| inner[&format!("Result[{index}][{name}]")].clone())
    };
    let first = row(0);
    assert_eq!(
        (first[3].as_str(), first[5].as_str(), first[6].as_str()),
        ("QU-1_1", "000000", "授權完成")
    );
    assert_eq!(first[2].len(), 19);
    let texts = |row: [String; 7]| row.join("|");
    assert_eq!(texts(row(1)), format!("2|{year}-01-31 08:00:00|-||299||授權失敗"));
    assert_eq!(texts(row(2)), format!("3|{year}-02-28 00:00:00|-||299||排程中"));
    let suspended = revise(&stage, &number, "suspend", &[("PeriodOrderNo", "4")]).await;
    assert_eq!(suspended.0, "SUCCESS");
    let (_, after) = call(&stage, "period/query", "1.0", &[("PeriodTradeNo", &number)]).await;
    assert_eq!(
        [2, 3].map(|index| after[&format!("Result[{index}][StatusDesc]")].as_str()),
        ["排程中", "暫停"]
    );
    assert!(!inner.contains_key("Result[5][Period]"));
    assert_eq!(call(&stage, "period/query", "1.0", &[]).await.0, "PMDF02006");
    assert_eq!(
        call(&stage, "period/query", "1.0", &[("PeriodTradeNo", "X")])
            .await
            .0,
        "PMDF02018"
    );
}

#[tokio::test]
async fn amount_and_schedule_of_what_lies_ahead_can_be_changed() {
    let stage = stage().await;
    let (year, number) = begun(&stage, "MO-1").await;
    let modify = async |more: &[(&str, &str)]| {
        let mut all = vec![("PeriodTradeNo", number.as_str())];
        all.extend(more);
        call(&stage, "period/Modify", "1.0", &all).await.0
    };
    go_to(&stage, &format!("{year}-01-19 10:00")).await;
    for refused in [
        &[("PeriodAmt", "1")][..],
        &[("PeriodTimes", "1")],
        &[("PeriodType", "month"), ("PeriodDate", "32")],
        &[("DateList", "2099-01-01")],
    ] {
        assert_eq!(modify(refused).await, "SANDBOX01", "{refused:?}");
    }
    let change = [
        ("PeriodAmt", "399"),
        ("PeriodType", "month"),
        ("PeriodDate", "19"),
        ("PeriodTimes", "3"),
    ];
    assert_eq!(modify(&change).await, "SUCCESS");
    go_to(&stage, &format!("{year}-12-31 00:00")).await;
    let charged: Vec<String> = told(&stage)
        .iter()
        .map(|inner| {
            format!(
                "{} {} {}",
                inner["ThisPeriod"], inner["AuthDay"], inner["AuthAmt"]
            )
        })
        .collect();
    assert_eq!(
        charged,
        [
            format!("1 {year}0115 299"),
            format!("2 {year}0219 399"),
            format!("3 {year}0319 399")
        ],
        "the day of the change is not charged"
    );
}

#[tokio::test]
async fn a_customer_gives_a_new_card_on_a_page_that_works_once() {
    let stage = stage().await;
    let (_, number) = begun(&stage, "EX-1").await;
    stage
        .control("contracts/payuni/EX-1/declines", json!({ "card": "bad" }))
        .await;
    let ask = [("PeriodTradeNo", number.as_str()), ("APIType", "1")];
    let (status, inner) = call(&stage, "period/exchange", "1.0", &ask).await;
    assert_eq!(status, "SUCCESS");
    let path = inner["URL"]
        .strip_prefix(&stage.sandbox.base_url())
        .unwrap()
        .to_owned();
    assert!(stage.get(&path).await.body.contains(r#"data-action="exchange""#));
    assert_eq!(stage.post(&path, String::new()).await.status, 200);
    let view = stage.get("/control/v1/contracts/payuni/EX-1").await.json();
    assert_eq!(view["card"]["bad"], false);
    assert_eq!(stage.post(&path, String::new()).await.status, 404, "once");
    let (_, inner) = call(&stage, "period/exchange", "1.0", &ask).await;
    let path = inner["URL"]
        .strip_prefix(&stage.sandbox.base_url())
        .unwrap()
        .to_owned();
    stage.advance(3600).await;
    assert_eq!(stage.get(&path).await.status, 404, "for an hour");
    let raw_card = [("PeriodTradeNo", number.as_str()), ("CardNo", "4147631000000001")];
    assert_eq!(
        call(&stage, "period/exchange", "1.0", &raw_card).await.0,
        "SANDBOX01"
    );
}

#[tokio::test]
async fn pm_8_a_charge_is_given_up_before_the_capture_and_refunded_after_it() {
    let stage = stage().await;
    let (year, _) = begun(&stage, "CL-1").await;
    go_to(&stage, &format!("{year}-01-31 09:00")).await;
    let number = |index: usize| told(&stage)[index]["TradeNo"].clone();
    let (first, second) = (number(0), number(1));
    for (path, trade_no, more, status) in [
        (
            "trade/close",
            second.as_str(),
            &[("CloseType", "2"), ("TradeAmt", "1")][..],
            "SANDBOX01",
        ),
        ("trade/cancel", &first, &[], "SANDBOX01"),
        ("trade/cancel", &second, &[], "SUCCESS"),
        ("trade/cancel", &second, &[], "SANDBOX01"),
        ("trade/close", &first, &[("CloseType", "2")], "SANDBOX01"),
        (
            "trade/close",
            &first,
            &[("CloseType", "2"), ("TradeAmt", "300")],
            "SANDBOX01",
        ),
        (
            "trade/close",
            &first,
            &[("CloseType", "2"), ("TradeAmt", "100")],
            "SUCCESS",
        ),
        ("trade/close", &first, &[("CloseType", "-2")], "SUCCESS"),
        ("trade/close", &first, &[("CloseType", "-2")], "SANDBOX01"),
        (
            "trade/close",
            &first,
            &[("CloseType", "2"), ("TradeAmt", "99")],
            "SUCCESS",
        ),
        ("trade/close", &first, &[("CloseType", "-1")], "SANDBOX01"),
        (
            "trade/close",
            "1",
            &[("CloseType", "2"), ("TradeAmt", "1")],
            "SANDBOX01",
        ),
    ] {
        let mut all = vec![("TradeNo", trade_no)];
        all.extend(more);
        assert_eq!(
            stamped(&stage, path, "1.0", &all).await.0,
            status,
            "{path} {more:?}"
        );
    }
    let (_, inner) = stamped(&stage, "trade/query", "2.0", &[("TradeNo", &first)]).await;
    let said = [
        "MerTradeNo",
        "TradeStatus",
        "CloseStatus",
        "RefundStatus",
        "RefundAmt",
        "RemainAmt",
    ]
    .map(|name| inner[&format!("Result[0][{name}]")].as_str());
    assert_eq!(said, ["CL-1_1", "1", "2", "2", "99", "200"]);
    let (_, inner) = stamped(&stage, "trade/query", "2.0", &[("TradeNo", &second)]).await;
    assert_eq!(inner["Result[0][TradeStatus]"], "3", "given up");
}

#[tokio::test]
async fn pm_8_a_charge_of_half_a_year_ago_is_not_refunded() {
    let stage = stage().await;
    let (year, _) = begun(&stage, "OLD-1").await;
    let number = told(&stage)[0]["TradeNo"].clone();
    for (day, status) in [("07-13", "SUCCESS"), ("08-01", "SANDBOX01")] {
        go_to(&stage, &format!("{year}-{day} 09:00")).await;
        let one = [
            ("TradeNo", number.as_str()),
            ("CloseType", "2"),
            ("TradeAmt", "1"),
        ];
        assert_eq!(
            stamped(&stage, "trade/close", "1.0", &one).await.0,
            status,
            "{day}"
        );
    }
}
