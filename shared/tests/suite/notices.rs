//! What a verified notice means: tables of fields and the fact they make.

use tollgate_shared::event::{Event, Fact};
use tollgate_shared::money::Money;
use tollgate_shared::provider::{Provider, Refusal, Unverified};

use crate::fixtures::{
    NOW, Pairs, WEBHOOK_SECRET, WEBHOOK_SECRET_BEFORE, ecpay, ecpay_atm_code, ecpay_body, ecpay_paid,
    ecpay_period, pairs, payuni, payuni_body, payuni_body_under, payuni_paid, payuni_period, read, sources,
    standard_headers, stripe_headers, with, without,
};

fn from_ecpay(notice: &str, fields: &Pairs) -> Result<Event, Refusal> {
    read(&ecpay(), notice, &ecpay_body(fields))
}

fn from_payuni(inner: &Pairs) -> Result<Event, Refusal> {
    read(&payuni(), "payment", &payuni_body(inner))
}

/// One word for a fact, so that tables stay readable.
fn word(fact: &Fact) -> String {
    match fact {
        Fact::Paid(charge) => format!("paid {}", charge.money),
        Fact::PaymentFailed(decline) => format!("failed {}", decline.code),
        Fact::PaymentCanceled(decline) => format!("canceled {}", decline.code),
        Fact::CodeIssued(code) => format!("code {}", code.code_parts.join("/")),
        Fact::PaymentHeld(decline) => format!("held {}", decline.code),
        Fact::Refunded(charge) => format!("refunded {}", charge.money),
        Fact::CardBound(binding) => format!("bound {}", binding.money),
        Fact::PeriodPaid(charge, period) => format!("period {} {:?}", charge.money, period.number),
        Fact::PeriodFailed(decline, period) => format!("period failed {} {:?}", decline.code, period.number),
        Fact::Foreign { event_type, .. } => format!("foreign {event_type}"),
        Fact::Acknowledged { .. } => "acknowledged".to_owned(),
    }
}

fn told(result: Result<Event, Refusal>) -> String {
    match result {
        Ok(event) => format!(
            "{} [{}]{}",
            word(&event.fact),
            event.key,
            if event.test { " test" } else { "" }
        ),
        Err(refusal) => format!("refused: {refusal}"),
    }
}

fn ecpay_payment(changes: &[(&str, &str)], expected: &str) {
    let fields = changes
        .iter()
        .fold(ecpay_paid(), |fields, (key, value)| with(fields, key, value));
    assert_eq!(told(from_ecpay("payment", &fields)), expected, "{changes:?}");
}

#[test]
fn pm_4_ecpay_payment_notices() {
    for (changes, expected) in [
        (
            &[][..],
            "paid TWD 300 [ecpay:3002607:payment:T2026110100001:2611010930001234:paid]",
        ),
        (
            &[("RtnMsg", "paid")],
            "paid TWD 300 [ecpay:3002607:payment:T2026110100001:2611010930001234:paid]",
        ),
        (
            &[("RtnCode", "10100058")],
            "failed 10100058 [ecpay:3002607:payment:T2026110100001:2611010930001234:failed:10100058]",
        ),
        (
            &[("RtnCode", "10100248"), ("TradeNo", "")],
            "failed 10100248 [ecpay:3002607:payment:T2026110100001:none:failed:10100248]",
        ),
        (
            &[("RtnCode", "2")],
            "held 2 [ecpay:3002607:payment:T2026110100001:2611010930001234:held:2]",
        ),
        (
            &[("RtnCode", "10100073")],
            "held 10100073 [ecpay:3002607:payment:T2026110100001:2611010930001234:held:10100073]",
        ),
        (
            &[("SimulatePaid", "1")],
            "paid TWD 300 [ecpay:3002607:payment:T2026110100001:2611010930001234:simulated:paid] test",
        ),
    ] {
        ecpay_payment(changes, expected);
    }
    let paid = from_ecpay("payment", &ecpay_paid()).unwrap();
    assert_eq!(paid.occurred_at.unwrap().to_string(), "2026-11-01T01:31:02Z");
    let Fact::Paid(charge) = paid.fact else { panic!() };
    assert_eq!(charge.money, Money::twd(300));
    assert_eq!(charge.method.as_deref(), Some("Credit_CreditCard"));
}

#[test]
fn pm_8_ecpay_unusable_payment_notices_are_refused() {
    for (changes, expected) in [
        (
            &[("SimulatePaid", "2")][..],
            "refused: field SimulatePaid is missing or unusable",
        ),
        (
            &[("RtnCode", "01")],
            "failed 01 [ecpay:3002607:payment:T2026110100001:2611010930001234:failed:01]",
        ),
        (
            &[("RtnCode", "")],
            "refused: field RtnCode is missing or unusable",
        ),
        (
            &[("RtnCode", "1 ")],
            "refused: field RtnCode is missing or unusable",
        ),
        (
            &[("TradeNo", "")],
            "refused: field TradeNo is missing or unusable",
        ),
        (
            &[("TradeAmt", "300.0")],
            "refused: field TradeAmt is missing or unusable",
        ),
        (
            &[("TradeAmt", "0300")],
            "refused: field TradeAmt is missing or unusable",
        ),
        (
            &[("TradeAmt", "-300")],
            "refused: field TradeAmt is missing or unusable",
        ),
        (
            &[("MerchantTradeNo", "T 1")],
            "refused: field MerchantTradeNo is missing or unusable",
        ),
        (
            &[("MerchantID", "9")],
            "paid TWD 300 [ecpay:9:payment:T2026110100001:2611010930001234:paid]",
        ),
        (
            &[("CustomField1", "a&TradeAmt=1")],
            "refused: malformed: a field's value holds &, which CheckMacValue cannot frame",
        ),
    ] {
        ecpay_payment(changes, expected);
    }
}

#[test]
fn pm_8_ecpay_respelt_fields_do_not_hide() {
    // The MAC folds case, so this is a genuine signature over a respelt SimulatePaid: it must still be seen.
    let genuine = ecpay_body(&with(ecpay_paid(), "SimulatePaid", "1"));
    let respelt = String::from_utf8(genuine)
        .unwrap()
        .replace("SimulatePaid=1", "simulatepaid=1");
    let event = read(&ecpay(), "payment", respelt.as_bytes()).unwrap();
    assert!(event.test);
    // And two spellings at once are ambiguous.
    let twice = ecpay_body(&with(ecpay_paid(), "simulatepaid", "1"));
    assert!(matches!(
        read(&ecpay(), "payment", &twice),
        Err(Refusal::Malformed(_))
    ));
    let odd_name = ecpay_body(&with(ecpay_paid(), "a&b", "1"));
    assert!(matches!(
        read(&ecpay(), "payment", &odd_name),
        Err(Refusal::Malformed(_))
    ));
}

#[test]
fn pm_8_ecpay_issued_codes_are_no_money() {
    let cvs = pairs(&[
        ("RtnCode", "10100073"),
        ("PaymentType", "CVS_CVS"),
        ("PaymentNo", "LLL22251222"),
        ("ExpireDate", "2026/11/08 09:30:00"),
    ]);
    let barcode = pairs(&[
        ("RtnCode", "10100073"),
        ("Barcode1", "1105036EA"),
        ("Barcode2", "3453011539919569"),
        ("Barcode3", "042677000001500"),
    ]);
    let base = || without(without(ecpay_atm_code(), "BankCode"), "vAccount");
    let over = |changes: &Pairs| {
        changes
            .iter()
            .fold(base(), |fields, (key, value)| with(fields, key, value))
    };
    let key = "[ecpay:3002607:code:T2026110100001:2611010930001234]";
    assert_eq!(
        told(from_ecpay("code", &ecpay_atm_code())),
        format!("code 812/9103522175887271 {key}")
    );
    assert_eq!(
        told(from_ecpay("code", &over(&cvs))),
        format!("code LLL22251222 {key}")
    );
    assert_eq!(
        told(from_ecpay("code", &over(&barcode))),
        format!("code 1105036EA/3453011539919569/042677000001500 {key}")
    );
    // BNPL: applied for.
    assert_eq!(
        told(from_ecpay("code", &base())),
        "held 2 [ecpay:3002607:code:T2026110100001:2611010930001234:held:2]"
    );
    let none = over(&pairs(&[("RtnCode", "10100073")]));
    assert_eq!(
        told(from_ecpay("code", &none)),
        "refused: field PaymentNo is missing or unusable"
    );
    let failed = with(base(), "RtnCode", "10100058");
    assert_eq!(
        told(from_ecpay("code", &failed)),
        "failed 10100058 [ecpay:3002607:code:T2026110100001:2611010930001234:failed:10100058]"
    );
    // RtnCode 1 is money and so is not what PaymentInfoURL says, whoever posts it there.
    assert!(matches!(
        from_ecpay("code", &ecpay_paid()),
        Err(Refusal::Malformed(_))
    ));
    let Fact::CodeIssued(code) = from_ecpay("code", &ecpay_atm_code()).unwrap().fact else {
        panic!()
    };
    assert_eq!(code.expires_at.unwrap().to_string(), "2026-11-04T15:59:59Z");
}

#[test]
fn pm_4_ecpay_period_notices() {
    let order = "ecpay:3002607:period:SUB20261101000001";
    for (changes, expected) in [
        (&[][..], format!("period TWD 300 Some(2) [{order}:12345678:paid]")),
        (
            &[("RtnMsg", "paid")],
            format!("period TWD 300 Some(2) [{order}:12345678:paid]"),
        ),
        (&[("Gwsr", "")], format!("held 1 [{order}:20261201030011:held:1]")),
        (
            &[("Gwsr", "0")],
            format!("held 1 [{order}:20261201030011:held:1]"),
        ),
        (
            &[("RtnCode", "10100058"), ("Amount", ""), ("Gwsr", "")],
            format!("period failed 10100058 None [{order}:20261201030011:failed:10100058]"),
        ),
        (
            &[("SimulatePaid", "1")],
            format!("period TWD 300 Some(2) [{order}:12345678:simulated:paid] test"),
        ),
        (
            &[("TotalSuccessTimes", "")],
            format!("period TWD 300 None [{order}:12345678:paid]"),
        ),
        (
            &[("ProcessDate", "")],
            format!("period TWD 300 Some(2) [{order}:12345678:paid]"),
        ),
        (
            &[
                ("ProcessDate", ""),
                ("process_date", "2026/12/01 03:00:11"),
                ("Gwsr", ""),
            ],
            format!("held 1 [{order}:20261201030011:held:1]"),
        ),
        (
            &[("Gwsr", "12x")],
            "refused: field Gwsr is missing or unusable".to_owned(),
        ),
        (
            &[("Gwsr", ""), ("ProcessDate", "")],
            "refused: field ProcessDate is missing or unusable".to_owned(),
        ),
        (
            &[("Amount", "")],
            "refused: field Amount is missing or unusable".to_owned(),
        ),
    ] {
        let fields = changes
            .iter()
            .fold(ecpay_period(), |fields, (key, value)| with(fields, key, value));
        assert_eq!(told(from_ecpay("period", &fields)), expected, "{changes:?}");
    }
}

#[test]
fn pm_4_ecpay_period_notices_are_known_by_their_fields() {
    let order = "ecpay:3002607:period:SUB20261101000001";
    // Both spellings are documented; the MAC is the same.
    let lower = with(without(ecpay_period(), "Gwsr"), "gwsr", "12345678");
    assert_eq!(
        told(from_ecpay("period", &lower)),
        format!("period TWD 300 Some(2) [{order}:12345678:paid]")
    );
    let without_date = without(ecpay_period(), "ProcessDate");
    assert_eq!(
        told(from_ecpay("period", &without_date)),
        format!("period TWD 300 Some(2) [{order}:12345678:paid]")
    );
    let respelt = with(without_date, "process_date", "2026/12/01 03:00:11");
    assert_eq!(
        from_ecpay("period", &respelt).unwrap().occurred_at,
        from_ecpay("period", &ecpay_period()).unwrap().occurred_at
    );
    // A signed payment notice posted to the period's path is no period, and the reverse.
    let with_extra_fields = [
        ("Gwsr", "12345678"),
        ("amount", "300"),
        ("process_date", "2026/12/01 03:00:11"),
    ]
    .iter()
    .fold(ecpay_paid(), |fields, (key, value)| with(fields, key, value));
    for payment in [ecpay_paid(), with_extra_fields] {
        let told = told(from_ecpay("period", &payment));
        assert!(told.contains("is this ReturnURL's notice?"), "{told}");
    }
    assert_eq!(
        told(from_ecpay("payment", &ecpay_period())),
        "refused: field TradeNo is missing or unusable"
    );
}

#[test]
fn pm_4_payuni_payment_notices() {
    let key = "payuni:KAT0001:payment:ORD_20260901-7:1756691969756516958";
    for (changes, expected) in [
        (&[][..], format!("paid TWD 1500 [{key}:1]")),
        (
            &[
                ("TradeStatus", "0"),
                ("PaymentType", "2"),
                ("BankType", "812"),
                ("PayNo", "9103"),
            ],
            format!("code 812/9103 [{key}:0]"),
        ),
        (
            &[("TradeStatus", "2"), ("Status", "CREDIT02011")],
            format!("failed CREDIT02011 [{key}:2:CREDIT02011]"),
        ),
        (
            &[("TradeStatus", "3")],
            format!("canceled TradeStatus_3 [{key}:3]"),
        ),
        (
            &[("TradeStatus", "3"), ("Status", "CREDIT02011")],
            format!("failed CREDIT02011 [{key}:3:CREDIT02011]"),
        ),
        (&[("TradeStatus", "4")], format!("failed TradeStatus_4 [{key}:4]")),
        (&[("TradeStatus", "5")], format!("refunded TWD 1500 [{key}:5]")),
        (&[("TradeStatus", "6")], format!("failed TradeStatus_6 [{key}:6]")),
        (&[("TradeStatus", "8")], format!("held TradeStatus_8 [{key}:8]")),
        (
            &[("Status", "UNKNOWN")],
            format!("held UNKNOWN [{key}:1:UNKNOWN]"),
        ),
        (
            &[("Status", "Unapproved")],
            format!("held Unapproved [{key}:1:Unapproved]"),
        ),
        // An error that says "paid" contradicts itself: no money, and to be queried.
        (
            &[("Status", "UPP02010")],
            format!("held UPP02010 [{key}:1:UPP02010]"),
        ),
        (
            &[("Status", "")],
            "refused: field Status is missing or unusable".to_owned(),
        ),
        (
            &[("Status", "a:b")],
            "refused: field Status is missing or unusable".to_owned(),
        ),
        (
            &[("TradeStatus", "1:1")],
            "refused: field TradeStatus is missing or unusable".to_owned(),
        ),
        (
            &[("TradeAmt", "1500.00")],
            "refused: field TradeAmt is missing or unusable".to_owned(),
        ),
        (
            &[("TradeNo", "-")],
            "refused: field TradeNo is missing or unusable".to_owned(),
        ),
    ] {
        let inner = changes
            .iter()
            .fold(payuni_paid(), |fields, (key, value)| with(fields, key, value));
        assert_eq!(told(from_payuni(&inner)), expected, "{changes:?}");
    }
}

#[test]
fn pm_4_payuni_times_are_taiwans() {
    assert_eq!(
        from_payuni(&payuni_paid())
            .unwrap()
            .occurred_at
            .unwrap()
            .to_string(),
        "2026-09-01T03:29:29Z"
    );
}

#[test]
fn pu_3_payuni_period_notices() {
    let key = "payuni:KAT0001:period:SUB-20260901-0001_2:1756691969756516957";
    for (changes, expected) in [
        (&[][..], format!("period TWD 299 Some(2) [{key}:SUCCESS]")),
        (
            &[("Status", "FAILCODE01")],
            format!("period failed FAILCODE01 Some(2) [{key}:FAILCODE01]"),
        ),
        (&[("Status", "UNKNOWN")], format!("held UNKNOWN [{key}:UNKNOWN]")),
        // PU-7: the binding of a card is never a period's money.
        (
            &[("AuthAmt", "1")],
            "bound TWD 1 [payuni:KAT0001:binding:SUB-20260901-0001:1756691969756516957]".to_owned(),
        ),
        (
            &[("AuthAmt", "1"), ("Status", "FAILCODE01")],
            format!("period failed FAILCODE01 Some(2) [{key}:FAILCODE01]"),
        ),
        (
            &[("AuthAmt", "2")],
            format!("period TWD 2 Some(2) [{key}:SUCCESS]"),
        ),
        (
            &[("AuthAmt", "")],
            "refused: field AuthAmt is missing or unusable".to_owned(),
        ),
    ] {
        let inner = changes
            .iter()
            .fold(payuni_period(), |fields, (key, value)| with(fields, key, value));
        assert_eq!(told(from_payuni(&inner)), expected, "{changes:?}");
    }
    // After a change of card MerTradeNo is `original_random`.
    let exchanged = with(
        with(payuni_period(), "MerTradeNo", "SUB-20260901-0001_x9"),
        "OriginalMerTradeNo",
        "SUB-20260901-0001",
    );
    assert_eq!(
        from_payuni(&exchanged).unwrap().order.unwrap().as_str(),
        "SUB-20260901-0001"
    );
}

#[test]
fn pu_3_payuni_other_notices_are_acknowledged() {
    for inner in [
        pairs(&[
            ("MerID", "KAT0001"),
            ("InvoiceNotifyType", "1"),
            ("MerTradeNo", "A1"),
            ("TradeStatus", "1"),
        ]),
        pairs(&[("MerID", "KAT0001"), ("CouponList", "x")]),
        pairs(&[
            ("MerID", "KAT0001"),
            ("ApiType", "ShipStatus"),
            ("MerTradeNo", "A1"),
        ]),
        pairs(&[("MerID", "KAT0001"), ("Something", "new")]),
        // The result of the order page: its first charge has a notice of its own.
        pairs(&[
            ("Status", "SUCCESS"),
            ("MerID", "KAT0001"),
            ("MerTradeNo", "A1"),
            ("PeriodTradeNo", "P1"),
            ("AuthAmt", "299"),
            ("TradeNo", "17"),
        ]),
    ] {
        let event = from_payuni(&inner).unwrap();
        assert!(matches!(event.fact, Fact::Acknowledged { .. }), "{event:?}");
        assert_eq!(event.key, from_payuni(&inner).unwrap().key);
    }
}

#[test]
fn ed_1_payuni_outer_merchant_must_be_the_sealed_one() {
    let body = payuni_body_under(
        &payuni_paid(),
        "OTHER01",
        crate::fixtures::PAYUNI_KEY,
        crate::fixtures::PAYUNI_IV,
    );
    assert!(matches!(
        read(&payuni(), "payment", &body),
        Err(Refusal::Malformed(_))
    ));
    // Another merchant under our keys is a genuine notice: the origin records it as a dispute.
    let inner = with(payuni_paid(), "MerID", "OTHER01");
    let body = payuni_body_under(
        &inner,
        "OTHER01",
        crate::fixtures::PAYUNI_KEY,
        crate::fixtures::PAYUNI_IV,
    );
    assert_eq!(
        read(&payuni(), "payment", &body)
            .unwrap()
            .merchant
            .unwrap()
            .as_str(),
        "OTHER01"
    );
}

fn from_source(source: &str, headers: &Pairs, body: &[u8]) -> Result<Event, Refusal> {
    let unverified = Unverified {
        notice: "event",
        headers,
        body,
        received_at: NOW,
    };
    sources().read(&source.parse().unwrap(), &unverified)
}

#[test]
fn ed_1_hmac_sources_sign_the_received_bytes() {
    let body = br#"{"type":"member.created","id":"evt_9","n":1}"#;
    let event = from_source(
        "crm",
        &standard_headers(WEBHOOK_SECRET, "msg_9", "1793500000", body),
        body,
    )
    .unwrap();
    assert_eq!(told(Ok(event)), "foreign member.created [crm:msg_9]");
    let event = from_source(
        "billing",
        &stripe_headers(WEBHOOK_SECRET, "1793500000", body),
        body,
    )
    .unwrap();
    assert_eq!(told(Ok(event)), "foreign member.created [billing:evt_9]");
    // The same number written otherwise is another message; its own MAC is right, the re-rendered one is not.
    let padded = standard_headers(WEBHOOK_SECRET, "msg_9", "01793500000", body);
    assert!(from_source("crm", &padded, body).is_ok());
    let swapped = with(padded, "webhook-timestamp", "1793500000");
    assert!(matches!(
        from_source("crm", &swapped, body),
        Err(Refusal::SignatureMismatch { .. })
    ));
    // Several signatures: any may match, the secret before as well.
    let before = standard_headers(WEBHOOK_SECRET_BEFORE, "msg_9", "1793500000", body);
    let both = format!("v1,AAAA v1a,xx {}", before[2].1);
    assert!(from_source("crm", &with(before, "webhook-signature", &both), body).is_ok());
}

#[test]
fn ed_1_hmac_sources_refuse_bad_headers() {
    let body = br#"{"type":"x","id":"evt_9"}"#;
    let good = || standard_headers(WEBHOOK_SECRET, "msg_9", "1793500000", body);
    for (headers, expected) in [
        (
            standard_headers(WEBHOOK_SECRET, "msg_9", "1793499699", body),
            "timestamp outside the tolerance",
        ),
        (
            standard_headers(WEBHOOK_SECRET, "msg_9", "1793500301", body),
            "timestamp outside the tolerance",
        ),
        (
            standard_headers(WEBHOOK_SECRET, "msg.9", "1793500000", body),
            "field webhook-id is missing or unusable",
        ),
        (
            standard_headers(WEBHOOK_SECRET, "a:b", "1793500000", body),
            "field webhook-id is missing or unusable",
        ),
        (
            standard_headers(WEBHOOK_SECRET, "msg_9", "+1793500000", body),
            "malformed: the timestamp is not a number",
        ),
        (
            standard_headers(WEBHOOK_SECRET, "msg_9", "", body),
            "malformed: the timestamp is not a number",
        ),
        (
            without(good(), "webhook-signature"),
            "field webhook-signature is missing or unusable",
        ),
        (with(good(), "webhook-id", "msg_8"), "signature does not match"),
    ] {
        let refusal = from_source("crm", &headers, body).unwrap_err().to_string();
        assert!(refusal.starts_with(expected), "{refusal}");
    }
    for body in [
        &b"[1]"[..],
        b"{",
        b"{\"type\":1}",
        b"{\"type\":\"a\",\"type\":\"b\"}",
        b"nothing",
    ] {
        let headers = standard_headers(WEBHOOK_SECRET, "msg_9", "1793500000", body);
        assert!(
            matches!(from_source("crm", &headers, body), Err(Refusal::Malformed(_))),
            "{body:?}"
        );
    }
    let header = stripe_headers(WEBHOOK_SECRET, "1793500000", body)[0].1.clone();
    let twice = pairs(&[("stripe-signature", &format!("{header},t=1793500001"))]);
    assert!(matches!(
        from_source("billing", &twice, body),
        Err(Refusal::Malformed(_))
    ));
    let no_id = b"{\"type\":\"x\"}";
    let headers = stripe_headers(WEBHOOK_SECRET, "1793500000", no_id);
    assert_eq!(from_source("billing", &headers, no_id), Err(Refusal::Field("id")));
}

#[test]
fn ed_1_age_counts_from_the_receipt() {
    // An event that waited at the edge for hours verifies at the origin: `received_at` travels with it.
    let body = br#"{"type":"x"}"#;
    let headers = standard_headers(WEBHOOK_SECRET, "msg_9", "1793500000", body);
    for (seconds, fresh) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
        let received_at =
            tollgate_shared::time::Timestamp::from_unix_ms((1_793_500_000 + seconds) * 1000 + 700);
        let unverified = Unverified {
            notice: "event",
            headers: &headers,
            body,
            received_at,
        };
        let result = sources().read(&"crm".parse().unwrap(), &unverified);
        assert_eq!(result.is_ok(), fresh, "{seconds}: {result:?}");
    }
}

#[test]
fn pm_7_providers_name_their_notices() {
    assert_eq!(ecpay().notices(), ["payment", "code", "period"]);
    assert_eq!(payuni().notices(), ["payment", "period", "return"]);
}
