//! Notices of the fake ECPay: fields, acknowledgement to the byte, re-sends, codes, periods (PM-4, PM-8).

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_sandbox::Config;

use crate::stage::{Stage, is_genuine, patient, with};

#[tokio::test]
async fn pm_8_paying_sends_the_documented_fields_and_ends_with_the_acknowledgement() {
    let stage = Stage::ecpay().await;
    stage
        .open(with(
            stage.order("N1"),
            &[("CustomField1", "u-1"), ("StoreID", "s1")],
        ))
        .await;
    let trade = stage.act("ecpay/N1", "pay", json!({})).await;
    assert_eq!(trade["status"], "paid");
    let got = stage.shop.got();
    let notice = got[0].fields();
    assert_eq!((got.len(), got[0].path.as_str()), (1, "/notice"));
    assert_eq!(
        got[0].headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert!(is_genuine(&notice), "{notice:?}");
    let names: Vec<&str> = notice.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "CheckMacValue",
            "CustomField1",
            "CustomField2",
            "CustomField3",
            "CustomField4",
            "MerchantID",
            "MerchantTradeNo",
            "PaymentDate",
            "PaymentType",
            "PaymentTypeChargeFee",
            "PlatformID",
            "RtnCode",
            "RtnMsg",
            "SimulatePaid",
            "StoreID",
            "TradeAmt",
            "TradeDate",
            "TradeNo",
        ]
    );
    for (name, value) in [
        ("RtnCode", "1"),
        ("RtnMsg", "交易成功"),
        ("TradeAmt", "300"),
        ("SimulatePaid", "0"),
        ("StoreID", "s1"),
        ("CustomField1", "u-1"),
        ("PaymentType", "Credit_CreditCard"),
    ] {
        assert_eq!(notice[name], value, "{name}");
    }
    assert_eq!(trade["notices"][0]["acknowledged"], true);
    // Acknowledged is the end of it, however much time passes.
    stage.advance(86_400).await;
    let recorded = stage.get("/control/v1/notices?order=N1").await.json();
    assert_eq!(recorded["notices"].as_array().unwrap().len(), 1);
    assert_eq!(recorded["notices"][0]["noticeState"], "acknowledged");
}

#[tokio::test]
async fn need_extra_paid_info_adds_the_recorded_fields() {
    let stage = Stage::ecpay().await;
    stage
        .open(with(stage.order("E1"), &[("NeedExtraPaidInfo", "Y")]))
        .await;
    stage.act("ecpay/E1", "pay", json!({})).await;
    let notice = stage.shop.got()[0].fields();
    // The field set of the real callback in vectors/ecpay.json, `recorded.returnurl_need_extra_paid_info`.
    for name in "AlipayID AlipayTradeNo amount ATMAccBank ATMAccNo auth_code card4no card6no eci ExecTimes Frequency gwsr PayFrom PaymentNo PeriodAmount PeriodType process_date red_dan red_de_amt red_ok_amt red_yet staed stage stast TenpayTradeNo TotalSuccessAmount TotalSuccessTimes WebATMAccBank WebATMAccNo WebATMBankName".split(' ') {
        assert!(notice.contains_key(name), "{name} is missing");
    }
    assert_eq!(
        (
            notice["amount"].as_str(),
            notice["PeriodType"].as_str(),
            notice["card4no"].as_str()
        ),
        ("300", "", "2222")
    );
    assert!(is_genuine(&notice));
}

#[tokio::test]
async fn pm_8_a_repeat_says_paid_under_another_mac_and_the_schedule_ends_after_four() {
    let stage = Stage::ecpay().await;
    stage.shop.answer_next([
        (200, "1|OK\n"),
        (200, "0|busy"),
        (500, "1|OK"),
        (201, "1|OK"),
        (200, "\"1|OK\""),
    ]);
    stage.open(stage.order("S1")).await;
    stage.act("ecpay/S1", "pay", json!({})).await;
    for delivery in 2..=5 {
        stage
            .recorded("S1", |notices| {
                notices.len() == delivery - 1 && notices.iter().all(|notice| !notice["status"].is_null())
            })
            .await;
        stage.advance(3600).await;
        stage.shop.wait(delivery).await;
    }
    let got = stage.shop.got();
    assert_eq!(got[0].field("RtnMsg"), "交易成功");
    for repeat in &got[1..] {
        assert_eq!(repeat.field("RtnMsg"), "paid");
        assert_ne!(repeat.field("CheckMacValue"), got[0].field("CheckMacValue"));
        assert_eq!(repeat.field("TradeNo"), got[0].field("TradeNo"));
        assert!(is_genuine(&repeat.fields()));
    }
    let recorded = stage
        .recorded("S1", |notices| {
            notices.iter().all(|notice| notice["noticeState"] == "given_up")
        })
        .await;
    assert_eq!(recorded.len(), 5, "one delivery and four re-sends");
    assert!(recorded.iter().all(|notice| notice["acknowledged"] == false));
    // Given up: the clock brings no sixth. A forced one still can, and it is acknowledged.
    stage.advance(86_400).await;
    let forced = stage
        .control("trades/ecpay/S1/notices/resend", json!({}))
        .await
        .json();
    assert_eq!(
        (stage.shop.got().len(), &forced["notices"][0]["acknowledged"]),
        (6, &Value::Bool(true))
    );
}

#[tokio::test]
async fn a_short_interval_repeats_without_a_moved_clock() {
    let config = Config {
        resend_interval: Duration::from_millis(20),
        ..patient()
    };
    let stage = Stage::with(config, "1|OK").await;
    stage.shop.answer_next([(503, ""), (503, "")]);
    stage.open(stage.order("I1")).await;
    stage.act("ecpay/I1", "pay", json!({})).await;
    stage.shop.wait(3).await;
    stage
        .recorded("I1", |notices| {
            notices.len() == 3
                && notices
                    .iter()
                    .all(|notice| notice["noticeState"] == "acknowledged")
        })
        .await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let stage = Stage::ecpay().await;
    stage
        .shop
        .redirect_next(&format!("{}/elsewhere", stage.shop.base_url));
    stage.open(stage.order("D1")).await;
    let trade = stage.act("ecpay/D1", "pay", json!({})).await;
    assert_eq!(stage.shop.got().len(), 1);
    assert_eq!(
        (
            &trade["notices"][0]["status"],
            &trade["notices"][0]["acknowledged"]
        ),
        (&json!(307), &json!(false))
    );
}

#[tokio::test]
async fn a_server_that_is_down_is_recorded_with_the_reason() {
    let stage = Stage::ecpay().await;
    // Port 1 of the loopback address answers nothing.
    stage
        .open(with(
            stage.order("T1"),
            &[("ReturnURL", "http://127.0.0.1:1/notice")],
        ))
        .await;
    let trade = stage.act("ecpay/T1", "pay", json!({})).await;
    assert_eq!(trade["notices"][0]["error"], "no connection");
    assert_eq!(
        trade["status"], "paid",
        "the acknowledgement does not influence the payment"
    );
}

#[tokio::test]
async fn pm_8_forcing_a_repeat_of_an_acknowledged_notice_changes_its_text_and_mac() {
    let stage = Stage::ecpay().await;
    stage.open(stage.order("A1")).await;
    stage.act("ecpay/A1", "pay", json!({})).await;
    stage.shop.answer_next([(500, "")]);
    stage
        .control("trades/ecpay/A1/notices/resend", json!({ "which": "all" }))
        .await;
    let got = stage.shop.got();
    assert_eq!((got.len(), got[1].field("RtnMsg").as_str()), (2, "paid"));
    assert_ne!(got[0].body, got[1].body);
    let none = stage
        .control(
            "trades/ecpay/A1/notices/resend",
            json!({ "which": "unacknowledged" }),
        )
        .await
        .json();
    assert_eq!(
        none["notices"],
        json!([]),
        "once acknowledged, a refused repeat does not undo it"
    );
}

#[tokio::test]
async fn pm_8_code_issued_then_paid() {
    for (method, code, message, part) in [
        ("ATM", "2", "Get VirtualAccount Succeeded", "vAccount"),
        ("CVS", "10100073", "Get CVS Code Succeeded.", "PaymentNo"),
        ("BARCODE", "10100073", "Get CVS Code Succeeded.", "Barcode3"),
    ] {
        let stage = Stage::ecpay().await;
        stage.open(stage.code_order("B1", method)).await;
        assert_eq!(
            stage.act("ecpay/B1", "issue-code", json!({})).await["status"],
            "code_issued"
        );
        assert_eq!(
            stage.act("ecpay/B1", "pay-code", json!({})).await["status"],
            "paid"
        );
        let got = stage.shop.got();
        assert_eq!(
            got.iter().map(|got| got.path.as_str()).collect::<Vec<_>>(),
            ["/code", "/notice"],
            "{method}"
        );
        assert_eq!(
            (got[0].field("RtnCode"), got[0].field("RtnMsg")),
            (code.to_owned(), message.to_owned())
        );
        assert!(!got[0].field(part).is_empty() && !got[0].field("ExpireDate").is_empty());
        assert_eq!(
            (got[1].field("RtnCode").as_str(), got[1].field("TradeNo")),
            ("1", got[0].field("TradeNo"))
        );
        assert!(got.iter().all(|got| is_genuine(&got.fields())));
    }
}

#[tokio::test]
async fn pm_8_a_simulated_payment_is_marked_and_moves_no_money() {
    let stage = Stage::ecpay().await;
    stage.open(stage.order("Z1")).await;
    let trade = stage.act("ecpay/Z1", "simulate", json!({})).await;
    assert_eq!(trade["status"], "open");
    let notice = stage.shop.got()[0].fields();
    assert_eq!(
        (notice["SimulatePaid"].as_str(), notice["RtnCode"].as_str()),
        ("1", "1")
    );
    assert_eq!(stage.act("ecpay/Z1", "pay", json!({})).await["status"], "paid");
}

#[tokio::test]
async fn pm_8_declined_then_paid_with_another_card() {
    let stage = Stage::ecpay().await;
    stage.open(stage.order("F1")).await;
    stage.act("ecpay/F1", "fail", json!({})).await;
    stage.act("ecpay/F1", "pay", json!({})).await;
    let codes: Vec<String> = stage.shop.got().iter().map(|got| got.field("RtnCode")).collect();
    assert_eq!(codes, ["10100058", "1"]);
}

#[tokio::test]
async fn periods_are_charged_until_the_contract_ends() {
    let stage = Stage::ecpay().await;
    stage.open(stage.periodic_order("PD1")).await;
    let early = stage.control("trades/ecpay/PD1/period", json!({})).await;
    assert_eq!(early.status, 409, "{}", early.body);
    stage.act("ecpay/PD1", "pay", json!({})).await;
    stage.act("ecpay/PD1", "period", json!({ "failed": true })).await;
    let trade = stage.act("ecpay/PD1", "period", json!({})).await;
    assert_eq!(
        stage.control("trades/ecpay/PD1/period", json!({})).await.status,
        409,
        "three of three are done"
    );
    let got = stage.shop.got();
    assert_eq!(
        got.iter().map(|got| got.path.as_str()).collect::<Vec<_>>(),
        ["/notice", "/period", "/period"]
    );
    let first = got[0].fields();
    assert_eq!(
        (
            first["TotalSuccessTimes"].as_str(),
            first["TotalSuccessAmount"].as_str(),
            first["PeriodAmount"].as_str()
        ),
        ("1", "300", "300")
    );
    let (failed, paid) = (got[1].fields(), got[2].fields());
    assert_eq!(
        (failed["RtnCode"].as_str(), failed["TotalSuccessTimes"].as_str()),
        ("10100058", "1")
    );
    assert_eq!(
        (
            paid["RtnCode"].as_str(),
            paid["TotalSuccessTimes"].as_str(),
            paid["Amount"].as_str()
        ),
        ("1", "2", "300")
    );
    assert_ne!(failed["Gwsr"], paid["gwsr"], "two spellings, two numbers");
    assert!(
        !paid.contains_key("TradeNo") && !paid.contains_key("PeriodAmount"),
        "absent there (reference §1.4.3)"
    );
    assert!(got.iter().all(|got| is_genuine(&got.fields())));
    let number = trade["plan"]["charges"][2]["tradeNo"].as_str().unwrap();
    assert_eq!(number.len(), 20, "longer than a u64: {number}");
}

#[tokio::test]
async fn six_failures_in_a_row_end_a_contract() {
    let stage = Stage::ecpay().await;
    stage
        .open(with(stage.periodic_order("PE1"), &[("ExecTimes", "99")]))
        .await;
    stage.act("ecpay/PE1", "pay", json!({})).await;
    for _ in 0..6 {
        stage.act("ecpay/PE1", "period", json!({ "failed": true })).await;
    }
    let refused = stage.control("trades/ecpay/PE1/period", json!({})).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["detail"].as_str()),
        (409, Some("the contract has ended"))
    );
}

#[tokio::test]
async fn replaced_fields_are_signed_and_a_lost_notice_is_never_sent() {
    let stage = Stage::ecpay().await;
    stage.open(stage.order("W1")).await;
    stage
        .act(
            "ecpay/W1",
            "pay",
            json!({ "fields": { "TradeAmt": "1", "MerchantTradeNo": "OTHER" } }),
        )
        .await;
    let notice = stage.shop.got()[0].fields();
    assert_eq!(
        (notice["TradeAmt"].as_str(), notice["MerchantTradeNo"].as_str()),
        ("1", "OTHER")
    );
    assert!(is_genuine(&notice));
    stage.open(stage.order("W2")).await;
    let trade = stage.act("ecpay/W2", "pay", json!({ "notify": false })).await;
    assert_eq!(
        (&trade["status"], &trade["notices"]),
        (&json!("paid"), &json!([]))
    );
    assert_eq!(stage.shop.got().len(), 1);
}

#[tokio::test]
async fn an_answer_after_the_limit_is_none() {
    let config = Config {
        answer_limit: Duration::from_millis(50),
        ..patient()
    };
    let stage = Stage::with(config, "1|OK").await;
    stage.shop.fall_silent();
    stage.open(stage.order("SL1")).await;
    let trade = stage.act("ecpay/SL1", "pay", json!({})).await;
    assert_eq!(trade["notices"][0]["error"], "no answer in time");
}
