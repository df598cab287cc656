//! What ECPay's QueryTradeInfo and ExecLog tell, beside its notices.

use serde_json::{Value, json};
use tollgate_shared::event::Fact;
use tollgate_shared::provider::ecpay::observe::{self as ecpay_observe, PeriodObservations};
use tollgate_shared::provider::{OBSERVED_PAYMENT, OBSERVED_PERIOD, Refusal};

use super::{assert_same, inbox, keys, observed};
use crate::fixtures::{
    Pairs, ecpay, ecpay_answer, ecpay_body, ecpay_paid, ecpay_period, pairs, read, vectors, with, without,
};

const ORDER: &str = "SUB20261101000001";
const ECPAY: &str = include_str!("../../vectors/ecpay.json");

/// The signed answer about a periodic order with so many successful charges of NT$300.
pub(super) fn trade_info(times: u32) -> Pairs {
    pairs(&[
        ("ExecTimes", "12"),
        ("gwsr", "11111111"),
        ("ItemName", "專業方案"),
        ("MerchantID", "3002607"),
        ("MerchantTradeNo", ORDER),
        ("PaymentDate", "2026/11/01 09:31:02"),
        ("PaymentType", "Credit_CreditCard"),
        ("TotalSuccessAmount", &(300 * times).to_string()),
        ("TotalSuccessTimes", &times.to_string()),
        ("TradeAmt", "300"),
        ("TradeDate", "2026/11/01 09:30:00"),
        ("TradeNo", "2611010930001234"),
        ("TradeStatus", "1"),
    ])
}

pub(super) fn first() -> Value {
    json!({"RtnCode": 1, "RtnMsg": "交易成功", "amount": 300, "gwsr": 11_111_111,
        "process_date": "2026/11/01 09:31:02", "auth_code": "777777", "TradeNo": "2611010930001234"})
}

pub(super) fn second() -> Value {
    json!({"RtnCode": 1, "RtnMsg": "交易成功", "amount": 300, "gwsr": "12345678",
        "process_date": "2026/12/01 03:00:11", "auth_code": "777777", "TradeNo": "20261201030011502143"})
}

fn refused() -> Value {
    json!({"RtnCode": "10100252", "RtnMsg": "額度不足", "amount": 300, "gwsr": 22_222_222,
        "process_date": "2027/01/01 03:00:11", "auth_code": "", "TradeNo": ""})
}

fn log(entries: &[Value]) -> Vec<u8> {
    let info = json!({"ExecStatus": "1", "MerchantID": "3002607", "MerchantTradeNo": ORDER,
        "TotalSuccessTimes": 2, "ExecLog": entries});
    info.to_string().into_bytes()
}

pub(super) fn periods(times: u32, entries: &[Value]) -> PeriodObservations {
    ecpay_observe::periods(&ecpay(), &ecpay_answer(&trade_info(times)), &log(entries)).unwrap()
}

#[test]
fn op_5_an_ecpay_payment_is_told_alike_by_notice_and_query() {
    let notice = read(&ecpay(), "payment", &ecpay_body(&ecpay_paid())).unwrap();
    let answer = with(
        without(without(ecpay_paid(), "RtnCode"), "RtnMsg"),
        "TradeStatus",
        "1",
    );
    let found = ecpay_observe::payment(&ecpay(), &ecpay_answer(&answer))
        .unwrap()
        .unwrap();
    assert_eq!(found.notice, OBSERVED_PAYMENT);
    assert_same(&notice, &inbox("ecpay", &found));
    for status in ["0", "10200047", "10200095", "10200163"] {
        let answer = ecpay_answer(&with(answer.clone(), "TradeStatus", status));
        assert_eq!(ecpay_observe::payment(&ecpay(), &answer), Ok(None), "{status}");
        assert!(matches!(
            observed("ecpay", OBSERVED_PAYMENT, &answer),
            Err(Refusal::Malformed(_))
        ));
    }
    let simulated = ecpay_answer(&with(answer, "SimulatePaid", "1"));
    let event = ecpay_observe::payment(&ecpay(), &simulated)
        .unwrap()
        .unwrap()
        .event;
    assert!(
        event.test && event.key.as_str().ends_with(":simulated:paid"),
        "{event:?}"
    );
}

#[test]
fn op_5_ecpay_periods_are_told_alike_by_notice_and_log() {
    let found = periods(2, &[first(), second(), refused()]);
    assert_eq!(found.unvouched, 0);
    assert_eq!(
        keys(&found.told),
        [
            format!("payment:{ORDER}:2611010930001234:paid"),
            format!("period:{ORDER}:12345678:paid"),
            format!("period:{ORDER}:22222222:failed:10100252"),
        ]
    );
    let of_order = with(ecpay_paid(), "MerchantTradeNo", ORDER);
    let notices = [
        read(&ecpay(), "payment", &ecpay_body(&of_order)).unwrap(),
        read(&ecpay(), "period", &ecpay_body(&ecpay_period())).unwrap(),
        read(
            &ecpay(),
            "period",
            &ecpay_body(
                &[
                    ("RtnCode", "10100252"),
                    ("RtnMsg", "額度不足"),
                    ("Gwsr", "22222222"),
                    ("ProcessDate", "2027/01/01 03:00:11"),
                ]
                .iter()
                .fold(ecpay_period(), |fields, (name, value)| with(fields, name, value)),
            ),
        )
        .unwrap(),
    ];
    for (notice, found) in notices.iter().zip(&found.told) {
        assert_same(notice, &inbox("ecpay", found));
    }
}

#[test]
fn ec_2_the_log_may_be_as_odd_as_it_is_known_to_be() {
    let failed = |code: Value, gwsr: Value, date: &str| json!({"RtnCode": code, "amount": "", "gwsr": gwsr, "process_date": date, "auth_code": ""});
    let found = periods(
        2,
        &[
            first(),
            // One failure, listed twice: with and without its number.
            failed(json!("0"), json!(""), "2026/12/01 03:00:11"),
            failed(json!("0"), json!(33_333_333), "2026/12/01 03:00:11"),
            // No code, no number.
            failed(json!(""), json!("0"), "2026/12/02 03:00:11"),
            failed(Value::Null, Value::Null, "2026/12/03 03:00:11"),
            failed(json!("error_Stop"), json!("x:y"), "2026/12/04 03:00:11"),
            // Neither number nor date: nothing can name it. A success without a number is none; one to be confirmed is open.
            failed(json!("0"), json!("0"), ""),
            json!({"RtnCode": 1, "amount": 300, "gwsr": "", "process_date": "2026/12/05 03:00:11"}),
            failed(json!(10_300_066), json!(44_444_444), "2026/12/06 03:00:11"),
            json!({}),
            second(),
            second(),
        ],
    );
    assert_eq!(
        keys(&found.told)[1..],
        [
            format!("period:{ORDER}:33333333:failed:0"),
            format!("period:{ORDER}:20261202030011:failed:0"),
            format!("period:{ORDER}:20261203030011:failed:0"),
            format!("period:{ORDER}:20261204030011:failed:0"),
            format!("period:{ORDER}:12345678:paid"),
        ]
    );
    for found in &found.told {
        inbox("ecpay", found);
    }
}

#[test]
fn op_5_an_unsigned_log_adds_no_charge() {
    let third = json!({"RtnCode": 1, "amount": 300, "gwsr": 99, "process_date": "2027/01/01 03:00:11"});
    // Signed: two of 600 in all. The log claims three, or a dearer second one, or a second one without an amount.
    let found = periods(2, &[first(), second(), third.clone()]);
    assert_eq!((found.told.len(), found.unvouched), (2, 1));
    let mut dear = second();
    dear["amount"] = json!(301);
    let mut cheap = second();
    cheap["amount"] = json!(299);
    let mut none = second();
    none["amount"] = json!(null);
    for odd in [dear, cheap, none] {
        let found = periods(2, &[first(), odd.clone()]);
        assert_eq!((found.told.len(), found.unvouched), (1, 1), "{odd}");
    }
    // A charge that came between the two answers waits for the next poll, those before it do not.
    let found = periods(3, &[first(), second()]);
    assert_eq!((found.told.len(), found.unvouched), (2, 0));
    // Without totals nothing but the first charge is vouched for; refusals need no voucher.
    let answer = ecpay_answer(&without(trade_info(2), "TotalSuccessTimes"));
    let found = ecpay_observe::periods(&ecpay(), &answer, &log(&[first(), second(), refused()])).unwrap();
    assert_eq!((found.told.len(), found.unvouched), (2, 1));
    // The first charge is known by its signed numbers, so a log without it loses nothing; without numbers it is the first
    // that is paid.
    assert_eq!(periods(2, &[second()]).told.len(), 2);
    let unnumbered = |mut entry: Value| {
        entry["TradeNo"] = json!(null);
        entry
    };
    let bare = ecpay_answer(&without(trade_info(2), "gwsr"));
    let mut at_checkout = refused();
    at_checkout["process_date"] = json!("2026/11/01 09:30:40");
    let entries = [at_checkout, first(), second()].map(unnumbered);
    let found = ecpay_observe::periods(&ecpay(), &bare, &log(&entries)).unwrap();
    assert_eq!(keys(&found.told)[1..], [format!("period:{ORDER}:12345678:paid")]);
}

#[test]
fn op_5_a_log_in_another_order_loses_no_charge() {
    let all = [first(), second(), refused()];
    let told = periods(2, &all);
    for entries in [[2, 1, 0], [1, 0, 2], [0, 2, 1]].map(|places| places.map(|place| all[place].clone())) {
        assert_eq!(periods(2, &entries), told);
    }
    // Where a time cannot be read the order stands, and a charge before the first one counts.
    let mut undated = second();
    undated["process_date"] = json!("");
    let found = periods(2, &[undated, first()]);
    assert_eq!(keys(&found.told)[1..], [format!("period:{ORDER}:12345678:paid")]);
}

#[test]
fn ec_2_a_refusal_is_told_after_a_charge_that_is_not() {
    let mut unpriced = second();
    unpriced["amount"] = json!("");
    let found = periods(2, &[first(), unpriced, refused()]);
    assert_eq!(
        keys(&found.told)[1..],
        [format!("period:{ORDER}:22222222:failed:10100252")]
    );
    assert_eq!(found.unvouched, 1);
}

#[test]
fn pm_4_periods_of_a_simulated_payment_are_no_money() {
    let answer = ecpay_answer(&with(trade_info(2), "SimulatePaid", "1"));
    let found = ecpay_observe::periods(&ecpay(), &answer, &log(&[first(), second()])).unwrap();
    assert_eq!(found.told.len(), 2);
    for found in &found.told {
        let event = inbox("ecpay", found);
        assert!(
            event.test && event.key.as_str().contains(":simulated:"),
            "{event:?}"
        );
    }
}

#[test]
fn op_5_answers_about_different_orders_are_not_paired() {
    let signed = ecpay_answer(&trade_info(2));
    for (name, value) in [("MerchantTradeNo", "SUB2"), ("MerchantID", "3002608")] {
        let mut other: Value = serde_json::from_slice(&log(&[first(), second()])).unwrap();
        other[name] = json!(value);
        let refused = ecpay_observe::periods(&ecpay(), &signed, other.to_string().as_bytes());
        assert_eq!(
            refused,
            Err(Refusal::Malformed("the two answers speak of different orders"))
        );
    }
    let unpaid = ecpay_answer(&with(trade_info(0), "TradeStatus", "10200095"));
    let nothing = ecpay_observe::periods(&ecpay(), &unpaid, &log(&[first(), second(), refused()])).unwrap();
    assert_eq!((nothing.told.len(), nothing.unvouched), (0, 0));
    assert!(ecpay_observe::periods(&ecpay(), &signed, b"<html>").is_err());
}

/// The bodies that a thief of the inbox, or a fault, might leave there.
#[test]
fn ed_1_a_composed_body_is_checked_again_when_it_is_read() {
    let found = periods(2, &[first(), second(), refused()]);
    let body: Value = serde_json::from_slice(&found.told[1].body).unwrap();
    let changed = |path: &str, value: Value| {
        let mut body = body.clone();
        *body.pointer_mut(path).unwrap() = value;
        observed("ecpay", OBSERVED_PERIOD, body.to_string().as_bytes())
    };
    assert!(
        changed("/attempt/RtnMsg", json!("paid")).is_ok(),
        "no part of the fact's identity"
    );
    for (path, value) in [
        ("/paidBefore/times", json!(0)),
        ("/paidBefore/times", json!(2)),
        ("/paidBefore/times", json!(u32::MAX)),
        ("/paidBefore/amount", json!(-1)),
        ("/paidBefore/amount", json!(301)),
        ("/paidBefore/amount", json!(i64::MAX)),
        ("/attempt/amount", json!("301")),
        ("/attempt/amount", json!("")),
        ("/attempt/gwsr", json!("")),
        ("/attempt/gwsr", json!("11111111")),
        ("/attempt/TradeNo", json!("2611010930001234")),
        ("/tradeInfo", json!("")),
    ] {
        assert!(changed(path, value.clone()).is_err(), "{path} {value}");
    }
    let signed = body["tradeInfo"].as_str().unwrap();
    let forged = signed.replace("TotalSuccessTimes=2", "TotalSuccessTimes=9");
    assert!(matches!(
        changed("/tradeInfo", json!(forged)),
        Err(Refusal::SignatureMismatch { .. })
    ));
    let unpaid = ecpay_answer(&with(trade_info(2), "TradeStatus", "0"));
    assert!(changed("/tradeInfo", json!(String::from_utf8(unpaid).unwrap())).is_err());
    let mut more = body.clone();
    more["more"] = json!(1);
    for bad in [more.to_string(), "[]".to_owned(), String::new()] {
        assert!(
            observed("ecpay", OBSERVED_PERIOD, bad.as_bytes()).is_err(),
            "{bad}"
        );
    }
    assert!(
        observed("ecpay", OBSERVED_PERIOD, &log(&[first(), second()])).is_err(),
        "the log alone"
    );
}

#[test]
fn op_5_a_recorded_answer_vouches_for_its_charges() {
    // Signed by ECPay's stage in 2021: 3 charges of 600 in all. The log is the recorded one's shape (reference §1.7.1).
    let vector = vectors(ECPAY, 40)
        .into_iter()
        .find(|vector| vector["name"] == "ecpay.recorded.TradeInfoQuery.3.20211026001969730")
        .unwrap();
    let fields = vector["inputs"].as_array().unwrap().iter();
    let fields = fields.map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
    let signed: Vec<String> = fields
        .chain([("CheckMacValue", vector["expected"].as_str().unwrap())])
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let entry = |gwsr: u32, date: &str, trade_no: &str| json!({"RtnCode": 1, "RtnMsg": "成功", "amount": 200, "gwsr": gwsr, "process_date": date, "TradeNo": trade_no});
    let log = json!({"ExecStatus": "1", "MerchantID": "2000132", "MerchantTradeNo": "20211026001969730", "ExecLog": [
        entry(11_718_189, "2021/10/26 17:14:27", "2110261713558708"),
        entry(11_944_645, "2022/01/25 14:37:28", "20220125143728502143"),
        entry(12_161_906, "2022/04/26 14:34:04", "20220426143404802147"),
    ]});
    let found =
        ecpay_observe::periods(&ecpay(), signed.join("&").as_bytes(), log.to_string().as_bytes()).unwrap();
    assert_eq!((found.told.len(), found.unvouched), (3, 0));
    let numbers = found.told.iter().map(|found| {
        if let Fact::PeriodPaid(charge, period) = &found.event.fact {
            (
                charge.provider_payment_id.to_string(),
                period.number,
                period.total,
            )
        } else if let Fact::Paid(charge) = &found.event.fact {
            (charge.provider_payment_id.to_string(), None, None)
        } else {
            panic!("{found:?}")
        }
    });
    assert_eq!(
        numbers.collect::<Vec<_>>(),
        [
            ("2110261713558708".to_owned(), None, None),
            ("11944645".to_owned(), Some(2), Some(999)),
            ("12161906".to_owned(), Some(3), Some(999)),
        ]
    );
}

#[test]
fn op_5_the_longest_log_fits_the_inbox_one_by_one() {
    let entries: Vec<Value> = (1..=999_u32)
        .map(|number| {
            let mut entry = second();
            entry["gwsr"] = json!(number);
            entry
        })
        .collect();
    let entries = [vec![first()], entries].concat();
    let found = periods(1000, &entries);
    assert_eq!((found.told.len(), found.unvouched), (1000, 0));
    assert!(found.told.iter().all(|found| found.body.len() < 4096));
}
