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
use tollgate_shared::money::Money;
use tollgate_shared::provider::CheckoutForm;
use tollgate_shared::provider::ecpay::checkout as ecpay;
use tollgate_shared::provider::payuni::checkout as payuni;
use tollgate_shared::provider::{SIGNED_HEADERS, Sources, Unverified};
use tollgate_shared::time::Timestamp;

use crate::receiver::Got;
use crate::stage::{Stage, encode, fields, patient, sealed};

pub(crate) fn sources(mock: bool) -> Sources {
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
pub(crate) fn event(source: &str, notice: &str, got: &Got, received_at: Timestamp) -> Event {
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
        Fact::PaymentCanceled(_) => "canceled",
        Fact::Refunded(_) => "refunded",
        Fact::CardBound(_) => "bound",
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

/// Posts a form as a browser would, to the sandbox.
pub(crate) async fn submit(stage: &Stage, form: &CheckoutForm) -> u16 {
    let path = form.action.strip_prefix(&stage.sandbox.base_url()).unwrap();
    let answered = stage.post(path, encode(&form.fields)).await;
    assert_eq!(answered.error_code(), None, "{form:?}");
    answered.status.as_u16()
}

#[tokio::test]
async fn pm_3_the_fake_ecpay_takes_every_kind_of_form_that_tollgate_builds() {
    let stage = Stage::ecpay().await;
    let sources = sources(false);
    let code = ecpay::CodeOptions {
        expires_after: Some(3),
        payment_info_url: Some("https://a.example/code".into()),
        client_redirect_url: None,
    };
    let methods = [
        ecpay::Method::Credit,
        ecpay::Method::All,
        ecpay::Method::Atm(code.clone()),
        ecpay::Method::Cvs(code.clone()),
        ecpay::Method::Barcode(code),
        ecpay::Method::WebAtm,
        ecpay::Method::ApplePay,
        ecpay::Method::Twqr,
        ecpay::Method::Bnpl,
        ecpay::Method::WeiXin,
        ecpay::Method::DigitalPayment,
    ];
    let period = |period_type, frequency| ecpay::Period {
        period_type,
        frequency,
        exec_times: 2,
        return_url: Some("https://a.example/p".into()),
    };
    let periods = [
        None,
        Some(period(ecpay::PeriodType::Day, 365)),
        Some(period(ecpay::PeriodType::Month, 12)),
        Some(period(ecpay::PeriodType::Year, 1)),
    ];
    let pairs = methods
        .into_iter()
        .map(|method| (method, None))
        .chain(periods.map(|period| (ecpay::Method::Credit, period)));
    for (index, (method, period)) in pairs.enumerate() {
        let order = ecpay::Order {
            number: format!("AGF{index}").parse().unwrap(),
            placed_at: Timestamp::from_unix_seconds(1_788_000_000),
            money: Money::twd(300),
            description: "專業版 ~*()!".into(),
            item_name: "專業版 (月繳) x1#加購".into(),
            return_url: "https://a.example/notice?x=1".into(),
            method,
            period,
            client_back_url: Some("https://a.example/~shop/back?x=%20".into()),
            order_result_url: None,
            custom_fields: ["one".into(), String::new(), String::new(), String::new()],
            language: Some(ecpay::Language::English),
        };
        let form = ecpay::form(sources.ecpay().unwrap(), &stage.sandbox.ecpay_url(), &order).unwrap();
        assert_eq!(submit(&stage, &form).await, 200, "{index}");
    }
}

#[tokio::test]
async fn pu_2_the_fake_payuni_takes_every_kind_of_form_that_tollgate_builds() {
    let stage = Stage::with(patient(), "OK").await;
    let (sources, base) = (sources(false), stage.sandbox.payuni_url());
    for (index, methods) in [
        vec![],
        vec![payuni::Method::Credit],
        vec![payuni::Method::Atm, payuni::Method::Cvs],
    ]
    .into_iter()
    .enumerate()
    {
        let order = payuni::Order {
            number: format!("AG_U-{index}").parse().unwrap(),
            placed_at: machine_now(&stage).await,
            money: Money::twd(300),
            description: "專業版;加購".into(),
            notify_url: "https://a.example/n".into(),
            return_url: Some("https://a.example/r".into()),
            back_url: Some("https://a.example/b".into()),
            methods,
        };
        assert_eq!(
            submit(
                &stage,
                &payuni::form(sources.payuni().unwrap(), &base, &order).unwrap()
            )
            .await,
            200
        );
    }
    let schedules = [
        payuni::Schedule::Weekly(7),
        payuni::Schedule::Monthly(31),
        payuni::Schedule::Yearly("2027-01-31".into()),
    ];
    let firsts = [
        payuni::FirstCharge::Build,
        payuni::FirstCharge::Schedule,
        payuni::FirstCharge::Date("2027-01-31".into()),
    ];
    for (index, (schedule, first_charge)) in schedules.into_iter().zip(firsts).enumerate() {
        let order = payuni::PeriodOrder {
            number: format!("AG-P-{index}").parse().unwrap(),
            money: Money::twd(299),
            first_money: Some(Money::twd(99)),
            description: "專業版".into(),
            schedule,
            period_times: 12,
            first_charge,
            notify_url: "https://a.example/n".into(),
            return_url: None,
            back_url: None,
            payer_email: Some("a@example.com".into()),
        };
        assert_eq!(
            submit(
                &stage,
                &payuni::period_form(sources.payuni().unwrap(), &base, &order).unwrap()
            )
            .await,
            200
        );
    }
}

/// The sandbox's time, read off its clock.
async fn machine_now(stage: &Stage) -> Timestamp {
    let now = stage.get("/control/v1/clock").await.json()["unixMs"]
        .as_i64()
        .unwrap();
    Timestamp::from_unix_ms(now)
}
