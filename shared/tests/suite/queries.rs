//! Server calls: signed requests, and answers that are believed only when they are signed.

use tollgate_shared::form;
use tollgate_shared::money::Minor;
use tollgate_shared::provider::Refusal;
use tollgate_shared::provider::ecpay::aes_json::{self, EnvelopeError};
use tollgate_shared::provider::ecpay::mac::{Algorithm, check_mac_value};
use tollgate_shared::provider::ecpay::period_action::{self, PeriodAction, PeriodActionReply};
use tollgate_shared::provider::ecpay::period_info::{self, ExecStatus};
use tollgate_shared::provider::ecpay::query::{Query, TradeStatus, request, trade_info};
use tollgate_shared::provider::payuni::cipher;
use tollgate_shared::provider::payuni::reply::{self, ReplyError};
use tollgate_shared::provider::payuni::{period_calls, trade_calls};

use crate::fixtures::{
    ECPAY_IV, ECPAY_KEY, NOW, PAYUNI_IV, PAYUNI_KEY, Pairs, as_strs, ecpay, ecpay_answer, pairs, payuni,
    payuni_reply, with, without,
};

fn trade() -> Pairs {
    pairs(&[
        ("ItemName", "專業方案 100%+1"),
        ("MerchantID", "3002607"),
        ("MerchantTradeNo", "SUB20261101000001"),
        ("PaymentDate", "2026/11/01 09:31:02"),
        ("PaymentType", "Credit_CreditCard"),
        ("TotalSuccessAmount", "600"),
        ("TotalSuccessTimes", "2"),
        ("TradeAmt", "300"),
        ("TradeNo", "2611010930001234"),
        ("TradeStatus", "1"),
    ])
}

#[test]
fn op_5_ecpay_requests_are_signed_and_dated() {
    let order = "SUB20261101000001".parse().unwrap();
    for (query, path) in [
        (Query::TradeInfo, "/Cashier/QueryTradeInfo/V5"),
        (Query::PaymentInfo, "/Cashier/QueryPaymentInfo"),
        (Query::PeriodInfo, "/Cashier/QueryCreditCardPeriodInfo"),
    ] {
        let request = request(&ecpay(), "https://payment-stage.ecpay.com.tw", query, &order, NOW);
        assert_eq!(request.url, format!("https://payment-stage.ecpay.com.tw{path}"));
        let mac = check_mac_value(as_strs(&request.fields), ECPAY_KEY, ECPAY_IV, Algorithm::Sha256);
        assert!(request.fields.contains(&("CheckMacValue".to_owned(), mac)));
        assert!(
            request
                .fields
                .contains(&("TimeStamp".to_owned(), "1793500000".to_owned()))
        );
    }
    let cancel = period_action::request(&ecpay(), "https://x.example", PeriodAction::Cancel, &order, NOW);
    assert!(
        cancel
            .fields
            .contains(&("Action".to_owned(), "Cancel".to_owned()))
    );
}

#[test]
fn op_5_ecpay_trade_info_needs_its_mac() {
    let info = trade_info(&ecpay(), &ecpay_answer(&trade())).unwrap();
    assert_eq!(info.status, TradeStatus::Paid);
    assert_eq!(
        (info.total_success_times, info.total_success_amount),
        (Some(2), Some(Minor::new(600)))
    );
    for (code, status) in [
        ("0", TradeStatus::Unpaid),
        ("10200095", TradeStatus::NotCompleted),
        ("10200047", TradeStatus::NotFound),
        ("10200052", TradeStatus::Other("10200052".to_owned())),
    ] {
        assert_eq!(
            trade_info(&ecpay(), &ecpay_answer(&with(trade(), "TradeStatus", code)))
                .unwrap()
                .status,
            status
        );
    }
    let forged = String::from_utf8(ecpay_answer(&with(trade(), "TradeStatus", "0"))).unwrap();
    let forged = forged.replace("TradeStatus=0", "TradeStatus=1");
    assert!(matches!(
        trade_info(&ecpay(), forged.as_bytes()),
        Err(Refusal::SignatureMismatch { .. })
    ));
    let unsigned = String::from_utf8(ecpay_answer(&trade())).unwrap();
    let unsigned = unsigned.split("&CheckMacValue").next().unwrap();
    assert_eq!(
        trade_info(&ecpay(), unsigned.as_bytes()),
        Err(Refusal::Field("CheckMacValue"))
    );
    // Percent signs and pluses are content here: decoding them would break the MAC.
    assert!(trade_info(&ecpay(), form::encode(as_strs(&trade())).as_bytes()).is_err());
}

#[test]
fn ec_2_ecpay_period_action_replies() {
    let order = "SUB20261101000001".parse().unwrap();
    let about = |merchant: &str, number: &str, code: &str| {
        let fields = [
            ("MerchantID", merchant),
            ("MerchantTradeNo", number),
            ("RtnCode", code),
            ("RtnMsg", "停用"),
        ];
        period_action::reply(&ecpay(), &order, &ecpay_answer(&pairs(&fields)))
    };
    let reply = |code: &str| about("", "", code);
    assert_eq!(
        about("3002607", "SUB20261101000001", "1"),
        Ok(PeriodActionReply::Done)
    );
    // Signed, and of another order: an old "stopped" stops nothing here.
    for (merchant, number) in [("3002607", "SUB20261101000002"), ("3002608", "SUB20261101000001")] {
        let other = about(merchant, number, "1");
        assert!(matches!(other, Err(Refusal::Malformed(_))), "{merchant} {number}");
    }
    assert_eq!(reply("1"), Ok(PeriodActionReply::Done));
    assert_eq!(reply("100006"), Ok(PeriodActionReply::AlreadyStopped));
    assert_eq!(reply("90100149"), Ok(PeriodActionReply::AlreadyStopped));
    assert_eq!(reply("90100150"), Ok(PeriodActionReply::NotFound));
    let refused = PeriodActionReply::Refused {
        code: "10200083".into(),
        message: "停用".into(),
    };
    assert_eq!(reply("10200083"), Ok(refused));
}

#[test]
fn op_5_ecpay_period_info_is_read_leniently() {
    // Shapes from the recording and from production oddities (reference §1.5, §1.7.1).
    let json = r#"{"ExecStatus":"1","TotalSuccessTimes":3,"ExecLog":[
        {"RtnCode":1,"amount":200,"gwsr":11889130,"process_date":"2021/10/26 17:14:38","TradeNo":"2110261713558708"},
        {"RtnCode":1,"amount":200,"gwsr":"12000001","process_date":"2022/01/25 14:37:28","TradeNo":"20220125143728502143"},
        {"RtnCode":"1","amount":"","gwsr":"","process_date":"2022/04/26 14:34:00"},
        {"RtnCode":"","amount":null,"gwsr":0,"process_date":null,"TradeNo":null},
        {}]}"#;
    let info = period_info::read(json.as_bytes()).unwrap();
    assert_eq!(
        (info.status, info.total_success_times),
        (Some(ExecStatus::Running), Some(3))
    );
    let paid: Vec<bool> = info.attempts.iter().map(|attempt| attempt.paid).collect();
    assert_eq!(
        paid,
        [true, true, false, false, false],
        "a success without a Gwsr is none"
    );
    assert_eq!(
        info.attempts[1].trade_no.as_ref().unwrap().as_str(),
        "20220125143728502143"
    );
    assert_eq!(info.attempts[1].amount, Some(Minor::new(200)));
    let missing =
        period_info::read(br#"{"ExecStatus":null,"MerchantID":"0","RtnCode":10200047,"ExecLog":null}"#)
            .unwrap();
    assert_eq!((missing.status, missing.attempts.len()), (None, 0));
    assert!(period_info::read(b"<html>").is_err());
}

#[test]
fn ecpay_json_envelope() {
    let request = aes_json::request("3002607", r#"{"a":"~ 中"}"#, ECPAY_KEY, ECPAY_IV, NOW).unwrap();
    let sent = serde_json::to_value(&request).unwrap();
    assert_eq!(sent["RqHeader"], serde_json::json!({"Timestamp": 1_793_500_000}));
    let answer = |code: i64, data: &str| {
        format!(r#"{{"MerchantID":3002607,"TransCode":{code},"TransMsg":"m","Data":"{data}"}}"#)
    };
    let opened = aes_json::open_response(answer(1, &request.data).as_bytes(), ECPAY_KEY, ECPAY_IV).unwrap();
    assert_eq!(opened, serde_json::json!({"a": "~ 中"}));
    let refused = aes_json::open_response(answer(128, "").as_bytes(), ECPAY_KEY, ECPAY_IV);
    assert_eq!(
        refused,
        Err(EnvelopeError::Refused {
            code: 128,
            message: "m".into()
        })
    );
    assert_eq!(
        aes_json::seal_cbc("{}", "short", ECPAY_IV),
        Err(EnvelopeError::Keys)
    );
    for bad in ["", "AAAA", "not base64", &request.data[..24]] {
        let result = aes_json::open_response(answer(1, bad).as_bytes(), ECPAY_KEY, ECPAY_IV);
        assert_eq!(result, Err(EnvelopeError::Sealed), "{bad}");
    }
    assert_eq!(
        aes_json::open_response(b"[]", ECPAY_KEY, ECPAY_IV),
        Err(EnvelopeError::Malformed)
    );
}

#[test]
fn op_5_payuni_replies() {
    let inner = "Status=SUCCESS&Message=ok&Result[10][TradeStatus]=1&Result[2][TradeStatus]=0&Result%5B2%5D%5BAmt%5D=5";
    let read = reply::read(&payuni(), payuni_reply(inner, None).as_bytes()).unwrap();
    assert_eq!(read.status, "SUCCESS");
    assert_eq!(read.results.len(), 2);
    assert_eq!(
        (
            read.results[0]["TradeStatus"].as_str(),
            read.results[0]["Amt"].as_str()
        ),
        ("0", "5")
    );
    assert_eq!(read.results[1]["TradeStatus"], "1");
    let wrong_hash = payuni_reply(inner, Some(&"0".repeat(64)));
    assert!(matches!(
        reply::read(&payuni(), wrong_hash.as_bytes()),
        Err(ReplyError::Envelope(Refusal::SignatureMismatch { .. }))
    ));
    let refused = reply::read(&payuni(), br#"{"Status":"API00001","Message":"no such version"}"#);
    assert_eq!(
        refused,
        Err(ReplyError::Refused {
            status: "API00001".into(),
            message: "no such version".into()
        })
    );
    assert_eq!(
        reply::read(&payuni(), b"<!doctype html>"),
        Err(ReplyError::NotAReply)
    );
    assert!(reply::parse(b"Result[0][a]=1&Result[00][a]=2").is_err());
    assert_eq!(
        reply::parse(b"Result[x][a]=1&Result[]=2&Status=S")
            .unwrap()
            .results
            .len(),
        0
    );
}

#[test]
fn op_5_payuni_queries_are_sealed() {
    let request = trade_calls::query_request(
        &payuni(),
        "https://x.example/",
        &"ORD_20260901-7".parse().unwrap(),
        NOW,
    )
    .unwrap();
    assert_eq!(request.url, "https://x.example/api/trade/query");
    let sealed = &request
        .fields
        .iter()
        .find(|(key, _)| key == "EncryptInfo")
        .unwrap()
        .1;
    let inner = cipher::open(sealed, PAYUNI_KEY, PAYUNI_IV).unwrap();
    assert_eq!(
        inner,
        b"MerID=KAT0001&MerTradeNo=ORD_20260901-7&Timestamp=1793500000"
    );
    let request =
        period_calls::query_request(&payuni(), "https://x.example/", &"2026P".parse().unwrap()).unwrap();
    assert_eq!(request.url, "https://x.example/api/period/query");
    assert!(without(request.fields.clone(), "Version").len() < request.fields.len());
}
