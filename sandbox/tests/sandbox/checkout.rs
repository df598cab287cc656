//! `AioCheckOut` V5: every refusal of the fake ECPay, as a table, and what the pages hold.

use reqwest::StatusCode;
use tollgate_sandbox::Config;

use crate::stage::{Stage, encode, fields, patient, signed, with, without};

/// A name, a change to a good periodic order, and the code that must come back.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

const REFUSED: &[Case] = &[
    ("unknown parameter", &[("Colour", "red")], "10100050"),
    (
        "unknown parameter in another case",
        &[("itemname", "x")],
        "10100050",
    ),
    (
        "order number with a dash",
        &[("MerchantTradeNo", "A-1")],
        "10200052",
    ),
    (
        "order number with an underscore",
        &[("MerchantTradeNo", "A_1")],
        "10200052",
    ),
    (
        "order number of 21",
        &[("MerchantTradeNo", "A12345678901234567890")],
        "10200052",
    ),
    ("empty order number", &[("MerchantTradeNo", "")], "10200052"),
    (
        "date with dashes",
        &[("MerchantTradeDate", "2026-11-21 10:00:00")],
        "10100050",
    ),
    (
        "date that does not exist",
        &[("MerchantTradeDate", "2026/02/30 10:00:00")],
        "10100050",
    ),
    ("payment type", &[("PaymentType", "card")], "10100050"),
    (
        "amount 0",
        &[("TotalAmount", "0"), ("PeriodAmount", "0")],
        "10100050",
    ),
    (
        "negative amount",
        &[("TotalAmount", "-300"), ("PeriodAmount", "-300")],
        "10100050",
    ),
    (
        "amount with decimals",
        &[("TotalAmount", "300.00"), ("PeriodAmount", "300.00")],
        "10100050",
    ),
    (
        "amount with a leading zero",
        &[("TotalAmount", "0300"), ("PeriodAmount", "0300")],
        "10100050",
    ),
    (
        "amount above every method",
        &[("TotalAmount", "200000"), ("PeriodAmount", "200000")],
        "10300023",
    ),
    (
        "markup in the description",
        &[("TradeDesc", "<b>plan</b>")],
        "10100050",
    ),
    ("framing in the item name", &[("ItemName", "a&b=c")], "10100050"),
    (
        "notice address without scheme",
        &[("ReturnURL", "shop.example.com/notice")],
        "10100050",
    ),
    (
        "notice address with a space in front",
        &[("ReturnURL", " https://shop.example.com/")],
        "10100050",
    ),
    (
        "notice address by ftp",
        &[("ReturnURL", "ftp://shop.example.com/")],
        "10100050",
    ),
    (
        "one address for server and browser",
        &[
            ("ReturnURL", "https://a.example/"),
            ("ClientBackURL", "https://a.example/"),
        ],
        "10100050",
    ),
    ("method", &[("ChoosePayment", "Cash")], "10100050"),
    (
        "method in another case",
        &[("ChoosePayment", "credit")],
        "10100050",
    ),
    ("hash", &[("EncryptType", "0")], "10100050"),
    ("language", &[("Language", "FRA")], "10100050"),
    ("extra info", &[("NeedExtraPaidInfo", "yes")], "10100050"),
    (
        "long custom field",
        &[(
            "CustomField1",
            "012345678901234567890123456789012345678901234567890",
        )],
        "10100050",
    ),
    (
        "ignored method that is none",
        &[("IgnorePayment", "Cash")],
        "10100050",
    ),
    (
        "ignored method that cannot be",
        &[("IgnorePayment", "DigitalPayment")],
        "10100050",
    ),
    ("expiry of 61 days", &[("ExpireDate", "61")], "10100050"),
    ("period amount differs", &[("PeriodAmount", "299")], "10100223"),
    ("period amount missing", &[("PeriodAmount", "")], "10100223"),
    ("period type", &[("PeriodType", "W")], "10100224"),
    ("period type missing", &[("PeriodType", "")], "10100224"),
    ("frequency 0", &[("Frequency", "0")], "10100225"),
    ("13 months", &[("Frequency", "13")], "10100225"),
    (
        "366 days",
        &[("PeriodType", "D"), ("Frequency", "366")],
        "10100225",
    ),
    ("2 years", &[("PeriodType", "Y"), ("Frequency", "2")], "10100225"),
    (
        "one charge, by day",
        &[("PeriodType", "D"), ("ExecTimes", "1")],
        "10100226",
    ),
    (
        "1000 charges, by day",
        &[("PeriodType", "D"), ("ExecTimes", "1000")],
        "10100226",
    ),
    ("one charge, by month", &[("ExecTimes", "1")], "10100227"),
    ("1000 charges, by month", &[("ExecTimes", "1000")], "10100227"),
    (
        "100 charges, by year",
        &[("PeriodType", "Y"), ("ExecTimes", "100")],
        "10100228",
    ),
    (
        "periodic by bank transfer",
        &[("ChoosePayment", "ATM")],
        "10100050",
    ),
    (
        "periodic and instalments",
        &[("CreditInstallment", "3,6")],
        "10100050",
    ),
    ("periodic and bonus points", &[("Redeem", "Y")], "10100050"),
    ("periodic and UnionPay", &[("UnionPay", "1")], "10100050"),
];

#[tokio::test]
async fn every_refusal_has_its_code() {
    let stage = Stage::ecpay().await;
    for (case, changes, code) in REFUSED {
        let answered = stage.checkout(with(stage.periodic_order("R1"), changes)).await;
        assert_eq!(answered.error_code(), Some(*code), "{case}: {}", answered.body);
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{case}");
    }
    // Nothing of it opened a trade: the good order still has its number free.
    stage.open(stage.periodic_order("R1")).await;
}

#[tokio::test]
async fn every_required_parameter_is_required() {
    let stage = Stage::ecpay().await;
    for (name, code) in [
        ("MerchantID", "10200073"),
        ("MerchantTradeNo", "10200052"),
        ("MerchantTradeDate", "10100050"),
        ("PaymentType", "10100050"),
        ("TotalAmount", "10100050"),
        ("TradeDesc", "10100050"),
        ("ItemName", "10100050"),
        ("ReturnURL", "10100050"),
        ("ChoosePayment", "10100050"),
        ("EncryptType", "10100050"),
    ] {
        let answered = stage.checkout(without(stage.order("Q1"), name)).await;
        assert_eq!(answered.error_code(), Some(code), "{name}: {}", answered.body);
    }
}

#[tokio::test]
async fn lengths_are_counted_in_characters() {
    let stage = Stage::ecpay().await;
    let (longest, longer) = ("專".repeat(400), "專".repeat(401));
    assert_eq!(
        stage
            .checkout(with(stage.order("L1"), &[("ItemName", &longer)]))
            .await
            .error_code(),
        Some("10100050")
    );
    stage
        .open(with(stage.order("L1"), &[("ItemName", &longest)]))
        .await;
    let url = format!("https://shop.example.com/{}", "a".repeat(176));
    assert_eq!(url.len(), 201);
    assert_eq!(
        stage
            .checkout(with(stage.order("L2"), &[("ReturnURL", &url)]))
            .await
            .error_code(),
        Some("10100050")
    );
    stage
        .open(with(stage.order("L2"), &[("ReturnURL", &url[..200])]))
        .await;
}

#[tokio::test]
async fn an_unknown_code_names_the_parameter_as_ecpay_does() {
    let stage = Stage::ecpay().await;
    let answered = stage
        .checkout(with(stage.order("U1"), &[("Colour", "red")]))
        .await;
    assert!(
        answered.body.contains("Parameter Error. Colour Not In Spec"),
        "{}",
        answered.body
    );
    let answered = stage
        .checkout(with(stage.periodic_order("U1"), &[("ExecTimes", "1")]))
        .await;
    assert!(
        answered
            .body
            .contains("PeriodType equal M, ExecTimes between 2 and 999"),
        "{}",
        answered.body
    );
}

#[tokio::test]
async fn the_mac_is_checked_over_every_field() {
    let stage = Stage::ecpay().await;
    let good = signed(stage.order("M1"));
    for index in 0..good.len() {
        let mut changed = good.clone();
        let field = &mut changed[index];
        // "x" rather than another case: ECPay's MAC does not see case (reference §1.1.4).
        field.1.push('x');
        let answered = stage
            .post("/ecpay/Cashier/AioCheckOut/V5", encode(&changed))
            .await;
        assert_eq!(answered.error_code(), Some("10200073"), "{}", good[index].0);
    }
    let missing = without(good.clone(), "CheckMacValue");
    assert_eq!(
        stage
            .post("/ecpay/Cashier/AioCheckOut/V5", encode(&missing))
            .await
            .error_code(),
        Some("10200073")
    );
    let lower: Vec<_> = good
        .iter()
        .map(|(name, value)| {
            (
                name.clone(),
                if name == "CheckMacValue" {
                    value.to_lowercase()
                } else {
                    value.clone()
                },
            )
        })
        .collect();
    assert_eq!(
        stage
            .post("/ecpay/Cashier/AioCheckOut/V5", encode(&lower))
            .await
            .error_code(),
        Some("10200073")
    );
}

#[tokio::test]
async fn what_is_no_form_is_refused() {
    let stage = Stage::ecpay().await;
    let twice = format!("{}&TotalAmount=1", encode(&signed(stage.order("F1"))));
    for body in [String::new(), twice, "MerchantID=%ff".into(), "&".repeat(10)] {
        let answered = stage.post("/ecpay/Cashier/AioCheckOut/V5", body).await;
        assert_eq!(
            (answered.status, answered.error_code()),
            (StatusCode::BAD_REQUEST, Some("10100050"))
        );
    }
    let large = stage
        .post(
            "/ecpay/Cashier/AioCheckOut/V5",
            "a=".to_owned() + &"x".repeat(70_000),
        )
        .await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_order_number_is_used_once_for_ever() {
    let stage = Stage::ecpay().await;
    stage.open(stage.order("O1")).await;
    assert_eq!(
        stage.checkout(stage.order("O1")).await.error_code(),
        Some("10300028")
    );
    stage.act("ecpay/O1", "fail", serde_json::json!({})).await;
    stage.advance(300_000_000).await;
    assert_eq!(
        stage
            .checkout(with(stage.order("O1"), &[("TotalAmount", "301")]))
            .await
            .error_code(),
        Some("10300028")
    );
}

#[tokio::test]
async fn other_ports_and_shell_words_are_refused_where_asked_for() {
    let config = Config {
        standard_ports_only: true,
        refuse_shell_words: true,
        ..patient()
    };
    let stage = Stage::with(config, "1|OK").await;
    assert_eq!(
        stage.checkout(stage.order("P1")).await.error_code(),
        Some("10100050"),
        "the receiver's port is not 80"
    );
    let standard = with(
        stage.order("P1"),
        &[("ReturnURL", "https://shop.example.com/notice")],
    );
    let words = with(standard.clone(), &[("ItemName", "How to Curl")]);
    assert_eq!(stage.checkout(words).await.error_code(), Some("10400011"));
    stage.open(standard).await;
}

#[tokio::test]
async fn the_cashier_offers_what_the_order_allows() {
    let stage = Stage::ecpay().await;
    let all = with(
        stage.order("C1"),
        &[
            ("ChoosePayment", "ALL"),
            ("IgnorePayment", "ATM#CVS"),
            ("TotalAmount", "20001"),
        ],
    );
    let page = stage.open(all).await;
    let offered = |method: &str| page.body.contains(&format!(r#"data-method="{method}""#));
    assert!(offered("Credit") && offered("WebATM") && offered("TWQR"));
    assert!(!offered("ATM") && !offered("CVS"), "ignored");
    assert!(!offered("BARCODE"), "above its limit of 20000");
}

#[tokio::test]
async fn text_of_the_order_cannot_become_markup() {
    let stage = Stage::ecpay().await;
    let order = with(stage.order("X1"), &[("ItemName", "\"><script>alert(1)</script>")]);
    assert_eq!(stage.checkout(order).await.error_code(), Some("10100050"));
    let page = stage
        .open(with(stage.order("X1"), &[("ItemName", "it's \"quoted\"#two")]))
        .await;
    assert!(
        page.body.contains("it&#39;s &quot;quoted&quot;<br>two"),
        "{}",
        page.body
    );
    let page = stage
        .checkout(with(stage.order("X2"), &[("<img src=x>", "1")]))
        .await;
    assert!(!page.body.contains("<img"), "{}", page.body);
}

#[tokio::test]
async fn an_unknown_merchant_and_another_key_are_told_apart_from_nothing() {
    let stage = Stage::ecpay().await;
    let unknown = with(stage.order("K1"), &[("MerchantID", "2000132")]);
    assert_eq!(stage.checkout(unknown).await.error_code(), Some("10200073"));
    let empty = stage
        .post("/ecpay/Cashier/AioCheckOut/V5", encode(&fields(&[("a", "1")])))
        .await;
    assert_eq!(empty.error_code(), Some("10200073"));
}
