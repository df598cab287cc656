//! What polling finds is the event that the notice told (DESIGN.md "Event identity"; OP-5, EC-2, PU-5).
//!
//! For each fact: the notice and the observation give one key and one fact. Then what must not pass: unsigned words that
//! add a charge, changed bytes of what is signed, and these notices at the edge's door.

use serde_json::{Value, json};
use tollgate_shared::event::{Event, Fact};
use tollgate_shared::provider::ecpay::observe::{self as ecpay_observe, PeriodObservations};
use tollgate_shared::provider::payuni::credit::StoredCharge;
use tollgate_shared::provider::payuni::observe::{self as payuni_observe, ChargeReply};
use tollgate_shared::provider::payuni::reply::ReplyError;
use tollgate_shared::provider::{
    CHARGE_REPLY, OBSERVED_PAYMENT, OBSERVED_PERIOD, Observation, Provider, Refusal, Unverified, is_observed,
};

use crate::calls::twd;
use crate::fixtures::{
    NOW, Pairs, as_strs, ecpay, ecpay_answer, ecpay_body, ecpay_paid, ecpay_period, pairs, payuni,
    payuni_body, payuni_paid, payuni_period, payuni_reply, read, sources, vectors, with, without,
};

const ORDER: &str = "SUB20261101000001";
const ECPAY: &str = include_str!("../vectors/ecpay.json");

/// The signed answer about a periodic order with so many successful charges of NT$300.
fn trade_info(times: u32) -> Pairs {
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

fn first() -> Value {
    json!({"RtnCode": 1, "RtnMsg": "交易成功", "amount": 300, "gwsr": 11_111_111,
        "process_date": "2026/11/01 09:31:02", "auth_code": "777777", "TradeNo": "2611010930001234"})
}

fn second() -> Value {
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

fn periods(times: u32, entries: &[Value]) -> PeriodObservations {
    ecpay_observe::periods(&ecpay(), &ecpay_answer(&trade_info(times)), &log(entries)).unwrap()
}

/// The observation as the origin's inbox reads it.
fn inbox(source: &str, observation: &Observation) -> Event {
    let event = observed(source, observation.notice, &observation.body).unwrap();
    assert_eq!(event, observation.event, "the poller and the inbox read alike");
    event
}

fn observed(source: &str, notice: &str, body: &[u8]) -> Result<Event, Refusal> {
    let unverified = Unverified {
        notice,
        headers: &[],
        body,
        received_at: NOW,
    };
    sources().read_observed(&source.parse().unwrap(), &unverified)
}

fn assert_same(notice: &Event, observation: &Event) {
    assert_eq!(notice.key, observation.key);
    assert_eq!(notice.fact, observation.fact);
    assert_eq!(
        (&notice.order, &notice.merchant, notice.test, notice.occurred_at),
        (
            &observation.order,
            &observation.merchant,
            observation.test,
            observation.occurred_at
        )
    );
}

fn keys(observations: &[Observation]) -> Vec<String> {
    let key = |observation: &Observation| {
        let key = observation.event.key.as_str();
        key.strip_prefix("ecpay:3002607:")
            .or_else(|| key.strip_prefix("payuni:KAT0001:"))
            .unwrap()
            .to_owned()
    };
    observations.iter().map(key).collect()
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

/// A row of `/api/trade/query` with the fields of a payment's notice.
fn trade_rows(rows: &[Pairs]) -> Vec<u8> {
    let mut inner = pairs(&[
        ("Status", "SUCCESS"),
        ("Message", "查詢成功"),
        ("MerID", "KAT0001"),
    ]);
    for (index, row) in rows.iter().enumerate() {
        let row = row
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "Status" | "Message" | "MerID"));
        inner.extend(row.map(|(name, value)| (format!("Result[{index}][{name}]"), value.clone())));
    }
    payuni_reply(&tollgate_shared::form::encode(as_strs(&inner)), None).into_bytes()
}

fn changed(changes: &[(&str, &str)]) -> Pairs {
    changes
        .iter()
        .fold(payuni_paid(), |inner, (name, value)| with(inner, name, value))
}

#[test]
fn op_5_a_payuni_payment_is_told_alike_by_notice_and_query() {
    for (changes, kind) in [
        (&[][..], "paid"),
        (&[("TradeStatus", "3")], "canceled"),
        (&[("TradeStatus", "4")], "expired"),
        (
            &[
                ("TradeStatus", "0"),
                ("PaymentType", "2"),
                ("BankType", "812"),
                ("PayNo", "9103"),
            ],
            "code issued",
        ),
        (
            &[
                ("CreditHash", "h/1=="),
                ("CreditLife", "0530"),
                ("Card4No", "0001"),
            ],
            "agreed on",
        ),
    ] {
        // A row has no Message.
        let inner = without(changed(changes), "Message");
        let notice = read(&payuni(), "payment", &payuni_body(&inner)).unwrap();
        let found = payuni_observe::trades(&payuni(), &trade_rows(&[inner])).unwrap();
        assert_eq!(found.len(), 1, "{kind}");
        assert_same(&notice, &inbox("payuni", &found[0]));
    }
}

#[test]
fn op_5_a_payuni_trade_that_is_open_tells_nothing() {
    let open = [
        changed(&[("TradeStatus", "9")]),
        changed(&[("TradeStatus", "8")]),
        changed(&[("TradeStatus", "0")]),
        changed(&[("DataSource", "B")]),
        changed(&[("PeriodOrderNo", "SUB-1_2")]),
        without(payuni_paid(), "TradeStatus"),
    ];
    assert_eq!(payuni_observe::trades(&payuni(), &trade_rows(&open)), Ok(vec![]));
    for row in &open {
        let refused = observed("payuni", OBSERVED_PAYMENT, &trade_rows(std::slice::from_ref(row)));
        assert_eq!(
            refused,
            Err(Refusal::Malformed("the row tells of no payment")),
            "{row:?}"
        );
    }
    // Among others, the one that tells is cut out and sealed by itself.
    let mixed = [
        open[0].clone(),
        payuni_paid(),
        changed(&[("TradeStatus", "2"), ("TradeNo", "18")]),
    ];
    let found = payuni_observe::trades(&payuni(), &trade_rows(&mixed)).unwrap();
    let key = "payment:ORD_20260901-7";
    assert_eq!(
        keys(&found),
        [format!("{key}:1756691969756516958:1"), format!("{key}:18:2")]
    );
    for found in &found {
        inbox("payuni", found);
    }
    let whole = observed("payuni", OBSERVED_PAYMENT, &trade_rows(&mixed));
    assert_eq!(
        whole,
        Err(Refusal::Malformed("not exactly one row: which one is meant?"))
    );
    let refused = payuni_reply("Status=QUERY03001&Message=x", None);
    assert!(matches!(
        payuni_observe::trades(&payuni(), refused.as_bytes()),
        Err(ReplyError::Refused { .. })
    ));
    assert!(observed("payuni", OBSERVED_PAYMENT, refused.as_bytes()).is_err());
}

/// A `/api/period/query` reply; each row is number, TradeNo, AuthCode, words.
fn schedule(rows: &[(u32, &str, &str, &str)]) -> Vec<u8> {
    let mut inner = pairs(&[
        ("Status", "SUCCESS"),
        ("MerID", "KAT0001"),
        ("MerTradeNo", "SUB-20260901-0001"),
        ("PeriodTradeNo", "20260901112904KatPrd"),
        ("PeriodType", "month"),
        ("TotalTimes", "12"),
    ]);
    for (index, (number, trade_no, auth_code, words)) in rows.iter().enumerate() {
        let own = if auth_code.is_empty() {
            String::new()
        } else {
            format!("SUB-20260901-0001_{number}")
        };
        let row = [
            ("Period", number.to_string()),
            ("ExpAuthDT", "2026-09-05 11:29:28".to_owned()),
            ("TradeNo", (*trade_no).to_owned()),
            ("SubPeriodNo", own),
            ("Amt", "299".to_owned()),
            ("AuthCode", (*auth_code).to_owned()),
            ("StatusDesc", (*words).to_owned()),
            ("UpdateTime", "2026-09-05 11:30:00".to_owned()),
        ];
        inner.extend(row.map(|(name, value)| (format!("Result[{index}][{name}]"), value)));
    }
    payuni_reply(&tollgate_shared::form::encode(as_strs(&inner)), None).into_bytes()
}

#[test]
fn pu_5_a_payuni_period_is_told_alike_by_notice_and_schedule() {
    let notice = read(&payuni(), "period", &payuni_body(&payuni_period())).unwrap();
    let charged = (2, "1756691969756516957", "000000", "授權完成");
    let found = payuni_observe::periods(&payuni(), &schedule(&[charged])).unwrap();
    assert_same(&notice, &inbox("payuni", &found[0]));
    let rows = [
        charged,
        (3, "19", "", "授權失敗"),
        (4, "-", "", "授權失敗"),
        (5, "-", "", "暫停"),
        (6, "-", "", "排程中"),
    ];
    let found = payuni_observe::periods(&payuni(), &schedule(&rows)).unwrap();
    let key = "period:SUB-20260901-0001";
    assert_eq!(
        keys(&found),
        [
            format!("{key}_2:1756691969756516957:SUCCESS"),
            format!("{key}_3:19:NOT_AUTHORISED"),
            format!("{key}_4:none:NOT_AUTHORISED"),
        ]
    );
    assert_same(&notice, &inbox("payuni", &found[0]));
    let Fact::PeriodFailed(decline, period) = inbox("payuni", &found[1]).fact else {
        panic!()
    };
    assert_eq!((period.number, period.total), (Some(3), Some(12)));
    assert_eq!(
        (decline.money, decline.provider_payment_id.unwrap().as_str()),
        (Some(twd(299)), "19")
    );
    for open in &rows[3..] {
        let refused = observed("payuni", OBSERVED_PERIOD, &schedule(&[*open]));
        assert_eq!(
            refused,
            Err(Refusal::Malformed("the period was neither charged nor refused"))
        );
    }
}

#[test]
fn pu_5_the_longest_schedule_fits_the_inbox_one_by_one() {
    let rows: Vec<_> = (1..=900)
        .map(|number| (number, "17", "000000", "授權完成"))
        .collect();
    let found = payuni_observe::periods(&payuni(), &schedule(&rows)).unwrap();
    assert_eq!(found.len(), 900);
    assert!(found.iter().all(|found| found.body.len() < 4096));
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

fn charge_reply(inner: &Pairs) -> Vec<u8> {
    payuni_reply(&tollgate_shared::form::encode(as_strs(inner)), None).into_bytes()
}

fn charge_of(number: &str) -> StoredCharge {
    StoredCharge {
        number: number.parse().unwrap(),
        money: twd(299),
        description: "x".into(),
        notify_url: None,
    }
}

fn told(reply: ChargeReply) -> Event {
    let ChargeReply::Told(observation) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(observation.notice, CHARGE_REPLY);
    inbox("payuni", &observation)
}

#[test]
fn pu_6_a_charge_of_a_stored_card_is_told_by_its_reply() {
    let reply = |changes: &[(&str, &str)]| {
        payuni_observe::charge(
            &payuni(),
            &charge_of("ORD_20260901-7"),
            &charge_reply(&changed(changes)),
        )
        .unwrap()
    };
    let paid = told(reply(&[]));
    assert_same(
        &read(&payuni(), "payment", &payuni_body(&payuni_paid())).unwrap(),
        &paid,
    );
    assert!(matches!(paid.fact, Fact::Paid(_)));
    let declined = told(reply(&[
        ("Status", "CREDIT04012"),
        ("TradeStatus", "2"),
        ("ResCode", "51"),
    ]));
    let Fact::PaymentFailed(decline) = declined.fact else {
        panic!()
    };
    assert_eq!(decline.bank_code.as_deref(), Some("51"));
    assert!(matches!(
        told(reply(&[("Status", "UNKNOWN")])).fact,
        Fact::PaymentHeld(_)
    ));
    assert!(
        matches!(told(reply(&[("TradeStatus", "")])).fact, Fact::PaymentHeld(_)),
        "no state, no money"
    );
}

/// A retry's answer must not be taken for the charge's: the first one may have taken the money (reference A.12, lessons).
#[test]
fn pu_6_a_repeated_charge_is_no_refusal() {
    for code in ["UPP01007", "CREDIT04001", "API00009"] {
        let twice = charge_reply(&changed(&[("Status", code), ("TradeStatus", "2")]));
        let charge = charge_of("ORD_20260901-7");
        let reply = payuni_observe::charge(&payuni(), &charge, &twice);
        assert_eq!(reply, Ok(ChargeReply::Duplicate), "{code}");
        assert!(
            observed("payuni", CHARGE_REPLY, &twice).is_err(),
            "{code} says nothing of the charge"
        );
        let notice = changed(&[("Status", code), ("TradeStatus", "2")]);
        let event = read(&payuni(), "payment", &payuni_body(&notice)).unwrap();
        assert!(matches!(event.fact, Fact::PaymentHeld(_)), "{event:?}");
    }
    // A fault inside PAYUNi is no refusal either.
    for code in ["CREDIT00000", "UPP00000"] {
        let inner = changed(&[("Status", code), ("TradeStatus", "2")]);
        let charge = charge_of("ORD_20260901-7");
        let reply = payuni_observe::charge(&payuni(), &charge, &charge_reply(&inner)).unwrap();
        assert!(matches!(told(reply).fact, Fact::PaymentHeld(_)), "{code}");
        let unsealed = format!(r#"{{"Status":"{code}"}}"#);
        assert_eq!(
            payuni_observe::charge(&payuni(), &charge, unsealed.as_bytes()),
            Ok(ChargeReply::Undecided)
        );
    }
    let declined = changed(&[("Status", "CREDIT05002"), ("TradeStatus", "2")]);
    let charge = charge_of("ORD_20260901-7");
    let reply = payuni_observe::charge(&payuni(), &charge, &charge_reply(&declined)).unwrap();
    assert!(
        matches!(told(reply).fact, Fact::PaymentFailed(_)),
        "a refusal is one"
    );
}

#[test]
fn pu_6_a_charge_that_is_not_named_moves_nothing() {
    let charge = charge_of("SUB_20261101-2");
    let reply = |json: &str| payuni_observe::charge(&payuni(), &charge, json.as_bytes());
    let refused = |code: &str| ChargeReply::Refused {
        code: code.to_owned(),
        message: "x".to_owned(),
    };
    assert_eq!(
        reply(r#"{"Status":"CREDIT02025","Message":"x"}"#),
        Ok(refused("CREDIT02025"))
    );
    assert_eq!(
        reply(r#"{"Status":"UPP01007","Message":"x"}"#),
        Ok(ChargeReply::Duplicate)
    );
    assert_eq!(reply(r#"{"Status":"UNKNOWN"}"#), Ok(ChargeReply::Undecided));
    assert_eq!(
        reply(&payuni_reply("Status=CREDIT02025&Message=x", None)),
        Ok(refused("CREDIT02025"))
    );
    assert!(
        reply(r#"{"Status":"SUCCESS"}"#).is_err(),
        "an unsealed success is none"
    );
    assert!(
        reply(&payuni_reply(
            "Status=SUCCESS&TradeStatus=1&TradeNo=1&TradeAmt=1",
            None
        ))
        .is_err()
    );
    assert_eq!(
        reply(&payuni_reply("Status=CREDIT02025&Message=x&MerTradeNo=", None)),
        Ok(refused("CREDIT02025")),
        "an empty number names nothing"
    );
    // Sealed, and of another charge: whether it succeeded or not, this one is as unknown as before.
    for status in ["SUCCESS", "CREDIT04012", "UNKNOWN"] {
        let other = charge_reply(&changed(&[("Status", status)]));
        assert_eq!(
            payuni_observe::charge(&payuni(), &charge, &other),
            Err(ReplyError::Fields(Refusal::Malformed(
                "the reply speaks of another charge"
            )))
        );
    }
    // The caller decides that an unknown card is a refusal of this charge.
    let found = payuni_observe::refused_charge(&payuni(), &charge, "CREDIT02025", "查無 token").unwrap();
    let event = inbox("payuni", &found);
    assert_eq!(
        event.key.as_str(),
        "payuni:KAT0001:payment:SUB_20261101-2:none:none:CREDIT02025"
    );
    let Fact::PaymentFailed(decline) = event.fact else {
        panic!()
    };
    assert_eq!(
        (decline.money, decline.message.as_str()),
        (Some(twd(299)), "查無 token")
    );
    for code in ["SUCCESS", "UPP01007", "", "a b"] {
        assert!(
            payuni_observe::refused_charge(&payuni(), &charge, code, "").is_err(),
            "{code}"
        );
    }
}

#[test]
fn ed_1_the_edge_takes_no_observation() {
    let trade = ecpay_answer(&trade_info(2));
    let bodies = [
        ("ecpay", OBSERVED_PAYMENT, trade),
        (
            "ecpay",
            OBSERVED_PERIOD,
            periods(2, &[first(), second()]).told.remove(1).body,
        ),
        ("payuni", OBSERVED_PAYMENT, trade_rows(&[payuni_paid()])),
        (
            "payuni",
            OBSERVED_PERIOD,
            schedule(&[(2, "17", "000000", "授權完成")]),
        ),
        ("payuni", CHARGE_REPLY, charge_reply(&payuni_paid())),
    ];
    for (source, notice, body) in &bodies {
        assert!(is_observed(notice));
        assert!(observed(source, notice, body).is_ok(), "{source} {notice}");
        let delivery = Unverified {
            notice,
            headers: &[],
            body,
            received_at: NOW,
        };
        let refused = sources().read(&source.parse().unwrap(), &delivery);
        assert_eq!(refused, Err(Refusal::UnknownNotice), "{source} {notice}");
    }
    for notice in ecpay().notices().iter().chain(payuni().notices()) {
        assert!(!is_observed(notice));
        assert_eq!(
            observed("ecpay", notice, &bodies[0].2),
            Err(Refusal::UnknownNotice)
        );
        assert_eq!(
            observed("payuni", notice, &bodies[2].2),
            Err(Refusal::UnknownNotice)
        );
    }
    for source in ["crm", "billing"] {
        assert_eq!(
            observed(source, OBSERVED_PAYMENT, b"{}"),
            Err(Refusal::UnknownNotice)
        );
    }
    assert_eq!(
        observed("ecpay", CHARGE_REPLY, &bodies[0].2),
        Err(Refusal::UnknownNotice)
    );
    assert_eq!(
        observed("mock", OBSERVED_PAYMENT, b"{}"),
        Err(Refusal::NotConfigured)
    );
    assert_eq!(
        observed("nobody", OBSERVED_PAYMENT, b"{}"),
        Err(Refusal::UnknownSource)
    );
}
