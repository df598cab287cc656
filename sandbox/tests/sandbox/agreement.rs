//! Both sides of the wire: what Tollgate builds the sandbox takes, what the sandbox sends Tollgate reads.
//!
//! The two were written apart from the same reference, so agreement says something about both.

use std::collections::BTreeMap;

use serde_json::json;
use tollgate_sandbox::{
    ECPAY_HASH_IV, ECPAY_HASH_KEY, ECPAY_MERCHANT_ID, MOCK_WEBHOOK_SECRET, PAYUNI_HASH_IV, PAYUNI_HASH_KEY,
    PAYUNI_MERCHANT_ID,
};
use tollgate_shared::event::{Event, Fact};
use tollgate_shared::provider::{SIGNED_HEADERS, Sources, Unverified};
use tollgate_shared::time::Timestamp;

use crate::receiver::Got;
use crate::stage::{Stage, encode, fields, patient, sealed};

fn sources(mock: bool) -> Sources {
    let real = [
        ("PAYMENT_PROVIDER", "ecpay"),
        ("ECPAY_MERCHANT_ID", ECPAY_MERCHANT_ID),
        ("ECPAY_HASH_KEY", ECPAY_HASH_KEY),
        ("ECPAY_HASH_IV", ECPAY_HASH_IV),
        ("PAYUNI_MERCHANT_ID", PAYUNI_MERCHANT_ID),
        ("PAYUNI_HASH_KEY", PAYUNI_HASH_KEY),
        ("PAYUNI_HASH_IV", PAYUNI_HASH_IV),
    ];
    let play = [
        ("PAYMENT_PROVIDER", "mock"),
        ("PAYMENT_MERCHANT_ID", "mock"),
        ("PAYMENT_WEBHOOK_SECRET", MOCK_WEBHOOK_SECRET),
    ];
    let settings: BTreeMap<&str, &str> = if mock { play.into() } else { real.into() };
    Sources::from_lookup(&|name: &str| settings.get(name).map(|value| (*value).to_owned()))
}

/// Reads a delivery the way the edge does.
fn event(source: &str, notice: &str, got: &Got, received_at: Timestamp) -> Event {
    let headers: Vec<(String, String)> = SIGNED_HEADERS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), got.headers.get(*name)?.clone())))
        .collect();
    let unverified = Unverified {
        notice,
        headers: &headers,
        body: got.body.as_bytes(),
        received_at,
    };
    let read = sources(source == "mock").read(&source.parse().unwrap(), &unverified);
    read.unwrap_or_else(|refusal| panic!("{source} {notice}: {refusal}: {}", got.body))
}

fn name(fact: &Fact) -> &'static str {
    match fact {
        Fact::Paid(_) => "paid",
        Fact::PaymentFailed(_) => "failed",
        Fact::CodeIssued(_) => "code",
        Fact::PaymentHeld(_) => "held",
        Fact::Refunded(_) => "refunded",
        Fact::PeriodPaid(..) => "period paid",
        Fact::PeriodFailed(..) => "period failed",
        Fact::Foreign { .. } => "foreign",
        Fact::Acknowledged { .. } => "acknowledged",
    }
}

#[tokio::test]
async fn pm_4_tollgate_reads_every_notice_of_the_fake_ecpay() {
    let stage = Stage::ecpay().await;
    stage.open(stage.periodic_order("AG1")).await;
    stage.act("ecpay/AG1", "fail", json!({})).await;
    stage.act("ecpay/AG1", "simulate", json!({})).await;
    stage.act("ecpay/AG1", "pay", json!({})).await;
    stage.act("ecpay/AG1", "period", json!({ "failed": true })).await;
    stage.act("ecpay/AG1", "period", json!({})).await;
    for (order, method) in [("AG2", "ATM"), ("AG3", "CVS"), ("AG4", "BARCODE")] {
        stage.open(stage.code_order(order, method)).await;
        stage
            .act(&format!("ecpay/{order}"), "issue-code", json!({}))
            .await;
        stage.act(&format!("ecpay/{order}"), "pay-code", json!({})).await;
    }
    let events: Vec<Event> = stage
        .shop
        .got()
        .iter()
        .map(|got| {
            let notice = match got.path.as_str() {
                "/notice" => "payment",
                "/code" => "code",
                _ => "period",
            };
            event("ecpay", notice, got, Timestamp::from_unix_seconds(1_788_000_000))
        })
        .collect();
    let told: Vec<(&str, bool)> = events
        .iter()
        .map(|event| (name(&event.fact), event.test))
        .collect();
    assert_eq!(
        told,
        [
            ("failed", false),
            ("paid", true),
            ("paid", false),
            ("period failed", false),
            ("period paid", false),
            ("code", false),
            ("paid", false),
            ("code", false),
            ("paid", false),
            ("code", false),
            ("paid", false),
        ]
    );
}

#[tokio::test]
async fn ed_5_a_repeat_with_another_mac_is_the_same_event() {
    let stage = Stage::ecpay().await;
    stage.open(stage.order("AG5")).await;
    stage.act("ecpay/AG5", "pay", json!({})).await;
    stage.control("trades/ecpay/AG5/notices/resend", json!({})).await;
    let got = stage.shop.got();
    let at = Timestamp::from_unix_seconds(1_788_000_000);
    assert_ne!(got[0].body, got[1].body);
    assert_eq!(
        event("ecpay", "payment", &got[0], at).key,
        event("ecpay", "payment", &got[1], at).key
    );
}

#[tokio::test]
async fn pu_3_tollgate_reads_every_notice_of_the_fake_payuni() {
    let stage = Stage::with(patient(), "OK").await;
    let order = fields(&[
        ("MerID", PAYUNI_MERCHANT_ID),
        ("MerTradeNo", "AG-6"),
        ("PeriodAmt", "299"),
        ("ProdDesc", "plan"),
        ("PeriodType", "month"),
        ("PeriodDate", "1"),
        ("PeriodTimes", "12"),
        ("FType", "build"),
        ("NotifyURL", &format!("{}/n", stage.shop.base_url)),
    ]);
    assert_eq!(
        stage
            .post("/payuni/api/period/Page", encode(&sealed("1.0", &order)))
            .await
            .status,
        200
    );
    for (action, body) in [
        ("fail", json!({})),
        ("pay", json!({})),
        ("period", json!({ "failed": true })),
        ("period", json!({})),
    ] {
        stage.act("payuni/AG-6", action, body).await;
    }
    let at = Timestamp::from_unix_seconds(1_788_000_000);
    let told: Vec<&str> = stage
        .shop
        .got()
        .iter()
        .map(|got| name(&event("payuni", "period", got, at).fact))
        .collect();
    assert_eq!(
        told,
        ["period failed", "period paid", "period failed", "period paid"]
    );
}

#[tokio::test]
async fn pm_7_tollgate_reads_the_notices_of_the_mock() {
    let stage = Stage::with(patient(), "").await;
    let shop = &stage.shop.base_url;
    let address = format!(
        "/mock/checkout?orderNumber=AG7&amount=300&currency=TWD&notifyUrl={shop}/n&returnUrl={shop}/r"
    );
    assert_eq!(stage.get(&address).await.status, 200);
    stage.act("mock/AG7", "fail", json!({})).await;
    stage.act("mock/AG7", "pay", json!({})).await;
    let got = stage.shop.got();
    let told: Vec<&str> = got
        .iter()
        .map(|got| {
            let stamp = got.headers["webhook-timestamp"].parse().unwrap();
            name(&event("mock", "payment", got, Timestamp::from_unix_seconds(stamp)).fact)
        })
        .collect();
    assert_eq!(told, ["failed", "paid"]);
}
