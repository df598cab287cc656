//! Checkout forms: every limit is refused by name, and what passes is what the provider expects.

use std::collections::BTreeMap;

use tollgate_shared::form::{Form, encode};
use tollgate_shared::money::Money;
use tollgate_shared::provider::ecpay::checkout::{CodeOptions, Method, Order, Period, PeriodType, form};
use tollgate_shared::provider::ecpay::mac::{Algorithm, check_mac_value};
use tollgate_shared::provider::ecpay::{Ecpay, ExecTimesLimit};
use tollgate_shared::provider::payuni::checkout::{self as payuni_checkout, FirstCharge, Schedule};
use tollgate_shared::provider::payuni::cipher;
use tollgate_shared::provider::{CheckoutError, CheckoutForm, Unverified, mock};
use tollgate_shared::time::{ECPAY_FORMAT, Timestamp};

use crate::fixtures::{ECPAY_IV, ECPAY_KEY, NOW, PAYUNI_IV, PAYUNI_KEY, ecpay, payuni, sources};

const BASE: &str = "https://payment-stage.ecpay.com.tw/";

fn order() -> Order {
    Order {
        number: "T2026110100001".parse().unwrap(),
        placed_at: Timestamp::from_taipei(ECPAY_FORMAT, "2026/11/01 09:30:00").unwrap(),
        money: Money::twd(300),
        description: "Pro plan".to_owned(),
        item_name: "專業方案一個月#附加項目".to_owned(),
        return_url: "https://edge.example/api/webhooks/ecpay/payment".to_owned(),
        method: Method::Credit,
        period: None,
        client_back_url: Some("https://app.example/back".to_owned()),
        order_result_url: None,
        custom_fields: Default::default(),
        language: None,
    }
}

fn monthly(exec_times: u32) -> Period {
    let return_url = Some("https://edge.example/api/webhooks/ecpay/period".to_owned());
    Period {
        period_type: PeriodType::Month,
        frequency: 1,
        exec_times,
        return_url,
    }
}

fn fields(form: &CheckoutForm) -> BTreeMap<&str, &str> {
    form.fields
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

#[test]
fn pm_3_ecpay_form_is_complete_and_signed() {
    let checkout = form(
        &ecpay(),
        BASE,
        &Order {
            period: Some(monthly(12)),
            ..order()
        },
    )
    .unwrap();
    assert_eq!(
        checkout.action,
        "https://payment-stage.ecpay.com.tw/Cashier/AioCheckOut/V5"
    );
    assert_eq!(checkout.method, "POST");
    let fields = fields(&checkout);
    assert_eq!(fields.len(), checkout.fields.len());
    for (key, value) in [
        ("MerchantID", "3002607"),
        ("MerchantTradeDate", "2026/11/01 09:30:00"),
        ("PaymentType", "aio"),
        ("TotalAmount", "300"),
        ("ChoosePayment", "Credit"),
        ("EncryptType", "1"),
        ("PeriodAmount", "300"),
        ("PeriodType", "M"),
        ("Frequency", "1"),
        ("ExecTimes", "12"),
    ] {
        assert_eq!(fields[key], value, "{key}");
    }
    let mac = check_mac_value(
        fields.iter().map(|(key, value)| (*key, *value)),
        ECPAY_KEY,
        ECPAY_IV,
        Algorithm::Sha256,
    );
    assert_eq!(fields["CheckMacValue"], mac);
}

/// Names the variant's field and what it says, for the table below.
fn refusal(order: &Order) -> String {
    form(&ecpay(), BASE, order).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

fn change(change: fn(&mut Order)) -> String {
    let mut changed = order();
    change(&mut changed);
    refusal(&changed)
}

#[test]
fn pm_3_ecpay_limits_are_refused_by_name() {
    for (told, expected) in [
        (change(|_| {}), "accepted"),
        (
            change(|order| order.number = "T_1".parse().unwrap()),
            "MerchantTradeNo must be 1 to 20 letters or digits",
        ),
        (
            change(|order| order.number = "T23456789012345678901".parse().unwrap()),
            "MerchantTradeNo must be 1 to 20 letters or digits",
        ),
        (
            change(|order| order.money = Money::twd(0)),
            "TotalAmount must be between 1 and 2147483647",
        ),
        (
            change(|order| order.money = Money::twd(-1)),
            "TotalAmount must be between 1 and 2147483647",
        ),
        (
            change(|order| order.money = Money::twd(2_147_483_648)),
            "TotalAmount must be between 1 and 2147483647",
        ),
        (
            change(|order| order.description.clear()),
            "TradeDesc must not be empty",
        ),
        (
            change(|order| order.description = "x".repeat(201)),
            "TradeDesc must have at most 200 characters, has 201",
        ),
        (change(|order| order.description = "x".repeat(200)), "accepted"),
        (
            change(|order| order.description = "<b>".into()),
            "TradeDesc must not contain '<'",
        ),
        (change(|order| order.item_name = "字".repeat(400)), "accepted"),
        (
            change(|order| order.item_name = "字".repeat(401)),
            "ItemName must have at most 400 characters, has 401",
        ),
        (
            change(|order| order.item_name = "a&b".into()),
            "ItemName must not contain '&'",
        ),
        (
            change(|order| order.item_name = "a=b".into()),
            "ItemName must not contain '='",
        ),
        (
            change(|order| order.item_name = "a\nb".into()),
            "ItemName must not contain '\\n'",
        ),
    ] {
        assert_eq!(told, expected);
    }
}

#[test]
fn pm_3_ecpay_urls_and_optional_fields_are_limited() {
    for (told, expected) in [
        (
            change(|order| order.return_url = format!("https://e.example/{}", "x".repeat(183))),
            "ReturnURL must have at most 200 characters, has 201",
        ),
        (
            change(|order| order.return_url = format!("https://e.example/{}", "x".repeat(182))),
            "accepted",
        ),
        (
            change(|order| order.return_url = "ftp://e.example/".into()),
            "ReturnURL must be an absolute http or https URL in ASCII",
        ),
        (
            change(|order| order.return_url = "https://".into()),
            "ReturnURL must be an absolute http or https URL in ASCII",
        ),
        (
            change(|order| order.return_url = "https://網址.example/".into()),
            "ReturnURL must be an absolute http or https URL in ASCII",
        ),
        (
            change(|order| order.client_back_url = Some(order.return_url.clone())),
            "ClientBackURL must differ from ReturnURL",
        ),
        (
            change(|order| order.order_result_url = Some("x".repeat(201))),
            "OrderResultURL must have at most 200 characters, has 201",
        ),
        (
            change(|order| order.custom_fields[3] = "x".repeat(51)),
            "CustomField4 must have at most 50 characters, has 51",
        ),
        (
            change(|order| order.custom_fields[0] = "a&b".into()),
            "CustomField1 must not contain '&'",
        ),
        (
            change(|order| order.placed_at = Timestamp::from_unix_ms(i64::MAX)),
            "MerchantTradeDate cannot be written as a Taiwan date",
        ),
    ] {
        assert_eq!(told, expected);
    }
}

#[test]
fn pm_3_ecpay_code_methods_have_limits_of_their_own() {
    let options = |expires_after| CodeOptions {
        expires_after: Some(expires_after),
        payment_info_url: Some("https://edge.example/api/webhooks/ecpay/code".to_owned()),
        client_redirect_url: None,
    };
    for (method, expected) in [
        (Method::Atm(options(1)), "accepted"),
        (Method::Atm(options(60)), "accepted"),
        (
            Method::Atm(options(61)),
            "ExpireDate must be between 1 and 60, is 61",
        ),
        (
            Method::Atm(options(0)),
            "ExpireDate must be between 1 and 60, is 0",
        ),
        (Method::Cvs(options(43_200)), "accepted"),
        (
            Method::Cvs(options(43_201)),
            "StoreExpireDate must be between 1 and 43200, is 43201",
        ),
        (Method::Barcode(options(30)), "accepted"),
        (
            Method::Barcode(options(31)),
            "StoreExpireDate must be between 1 and 30, is 31",
        ),
    ] {
        assert_eq!(
            refusal(&Order {
                method: method.clone(),
                ..order()
            }),
            expected,
            "{method:?}"
        );
        let with_result = Order {
            method,
            order_result_url: Some("https://app.example/r".into()),
            ..order()
        };
        assert!(refusal(&with_result).starts_with("OrderResultURL cannot be used with"));
    }
    let long = CodeOptions {
        payment_info_url: Some("h".repeat(201)),
        ..CodeOptions::default()
    };
    assert_eq!(
        refusal(&Order {
            method: Method::Atm(long),
            ..order()
        }),
        "PaymentInfoURL must have at most 200 characters, has 201"
    );
}

#[test]
fn pm_3_ecpay_periods_are_limited_conservatively_unless_configured() {
    let wide = ecpay().with_exec_times(ExecTimesLimit::Wide);
    for (period_type, frequency_max, times_max, times_max_wide) in [
        (PeriodType::Day, 365, 999, 999),
        (PeriodType::Month, 12, 99, 999),
        (PeriodType::Year, 1, 9, 99),
    ] {
        let ask = |ecpay: &Ecpay, frequency, exec_times| {
            let period = Period {
                period_type,
                frequency,
                exec_times,
                ..monthly(2)
            };
            form(
                ecpay,
                BASE,
                &Order {
                    period: Some(period),
                    ..order()
                },
            )
            .map(|_| ())
        };
        let times = |maximum, found| {
            Err(CheckoutError::OutOfRange {
                field: "ExecTimes",
                minimum: 2,
                maximum,
                found,
            })
        };
        assert_eq!(ask(&ecpay(), frequency_max, times_max), Ok(()));
        assert_eq!(ask(&ecpay(), 1, times_max + 1), times(times_max, times_max + 1));
        assert_eq!(ask(&ecpay(), 1, 1), times(times_max, 1));
        assert_eq!(ask(&wide, 1, times_max_wide), Ok(()));
        assert_eq!(
            ask(&wide, 1, times_max_wide + 1),
            times(times_max_wide, times_max_wide + 1)
        );
        for found in [0, frequency_max + 1] {
            let expected = CheckoutError::OutOfRange {
                field: "Frequency",
                minimum: 1,
                maximum: frequency_max,
                found,
            };
            assert_eq!(ask(&ecpay(), found, 2), Err(expected));
        }
    }
    let with_atm = Order {
        period: Some(monthly(2)),
        method: Method::All,
        ..order()
    };
    assert_eq!(refusal(&with_atm), "PeriodType cannot be used with ALL");
    let long = Period {
        return_url: Some("h".repeat(201)),
        ..monthly(2)
    };
    assert_eq!(
        refusal(&Order {
            period: Some(long),
            ..order()
        }),
        "PeriodReturnURL must have at most 200 characters, has 201"
    );
}

fn upp() -> payuni_checkout::Order {
    payuni_checkout::Order {
        number: "ORD_20260901-7".parse().unwrap(),
        placed_at: Timestamp::from_unix_seconds(1_788_000_000),
        money: Money::twd(1500),
        description: "專業方案".to_owned(),
        notify_url: "https://edge.example/api/webhooks/payuni/payment".to_owned(),
        return_url: None,
        back_url: Some("https://app.example/back".to_owned()),
        methods: vec![payuni_checkout::Method::Credit],
    }
}

fn periodic() -> payuni_checkout::PeriodOrder {
    payuni_checkout::PeriodOrder {
        number: "SUB-20260901-0001".parse().unwrap(),
        money: Money::twd(299),
        first_money: None,
        description: "月費".to_owned(),
        schedule: payuni_checkout::Schedule::Monthly(31),
        period_times: 12,
        first_charge: payuni_checkout::FirstCharge::Build,
        notify_url: "https://edge.example/api/webhooks/payuni/period".to_owned(),
        return_url: None,
        back_url: None,
        payer_email: None,
    }
}

/// Opens a sealed form as PAYUNi would.
fn opened(form: &CheckoutForm) -> Form {
    let outer = fields(form);
    assert_eq!(
        outer["HashInfo"],
        cipher::hash_info(outer["EncryptInfo"], PAYUNI_KEY, PAYUNI_IV)
    );
    Form::parse(&cipher::open(outer["EncryptInfo"], PAYUNI_KEY, PAYUNI_IV).unwrap()).unwrap()
}

#[test]
fn pu_2_payuni_forms_open_to_what_was_asked() {
    let form = payuni_checkout::form(&payuni(), "https://sandbox-api.payuni.com.tw", &upp()).unwrap();
    assert_eq!(form.action, "https://sandbox-api.payuni.com.tw/api/upp");
    assert_eq!(fields(&form)["Version"], "2.0");
    let inner = opened(&form);
    let expected = [
        ("MerID", "KAT0001"),
        ("TradeAmt", "1500"),
        ("Timestamp", "1788000000"),
        ("Credit", "1"),
    ];
    for (key, value) in expected {
        assert_eq!(inner.get(key), Some(value));
    }
    let form =
        payuni_checkout::period_form(&payuni(), "https://sandbox-api.payuni.com.tw", &periodic()).unwrap();
    assert_eq!(form.action, "https://sandbox-api.payuni.com.tw/api/period/Page");
    assert_eq!(fields(&form)["Version"], "1.0");
    let inner = opened(&form);
    let expected = [
        ("PeriodType", "month"),
        ("PeriodDate", "31"),
        ("PeriodTimes", "12"),
        ("FType", "build"),
    ];
    for (key, value) in expected {
        assert_eq!(inner.get(key), Some(value));
    }
    // The period pages list no Timestamp (reference A.3).
    assert_eq!(inner.get("Timestamp"), None);
}

fn once(change: fn(&mut payuni_checkout::Order)) -> String {
    let mut order = upp();
    change(&mut order);
    payuni_checkout::form(&payuni(), BASE, &order)
        .map_or_else(|error| error.to_string(), |_| "accepted".into())
}

fn period(change: fn(&mut payuni_checkout::PeriodOrder)) -> String {
    let mut order = periodic();
    change(&mut order);
    payuni_checkout::period_form(&payuni(), BASE, &order)
        .map_or_else(|error| error.to_string(), |_| "accepted".into())
}

#[test]
fn pu_2_payuni_payment_limits_are_refused_by_name() {
    for (told, expected) in [
        (
            once(|order| order.money = Money::twd(200_000)),
            "TradeAmt must be between 1 and 199999",
        ),
        (
            once(|order| order.methods = vec![payuni_checkout::Method::Credit, payuni_checkout::Method::Atm]),
            "accepted",
        ),
        (
            once(|order| (order.money, order.methods) = (Money::twd(14), vec![payuni_checkout::Method::Atm])),
            "TradeAmt must be between 15 and 49999",
        ),
        (
            once(|order| {
                (order.money, order.methods) = (Money::twd(20_001), vec![payuni_checkout::Method::Cvs]);
            }),
            "TradeAmt must be between 30 and 20000",
        ),
        (
            once(|order| order.description = "x".repeat(551)),
            "ProdDesc must have at most 550 characters, has 551",
        ),
        (
            once(|order| order.notify_url.clear()),
            "NotifyURL must be an absolute http or https URL in ASCII",
        ),
        (
            once(|order| order.back_url = Some(order.notify_url.clone())),
            "BackURL must differ from NotifyURL",
        ),
    ] {
        assert_eq!(told, expected);
    }
}

#[test]
fn pu_2_payuni_period_limits_are_refused_by_name() {
    for (told, expected) in [
        (
            period(|order| order.number = "SUB_1".parse().unwrap()),
            "MerTradeNo must be 1 to 25 letters, digits or - (and _ for a single payment)",
        ),
        (
            period(|order| order.number = "S".repeat(26).parse().unwrap()),
            "MerTradeNo must be 1 to 25 letters, digits or - (and _ for a single payment)",
        ),
        (
            period(|order| order.money = Money::twd(1)),
            "PeriodAmt must be between 2 and 199999",
        ),
        (
            period(|order| order.first_money = Some(Money::twd(1))),
            "FAmt must be between 2 and 199999",
        ),
        (
            period(|order| order.period_times = 901),
            "PeriodTimes must be between 1 and 900, is 901",
        ),
        (
            period(|order| order.period_times = 0),
            "PeriodTimes must be between 1 and 900, is 0",
        ),
        (
            period(|order| order.schedule = Schedule::Weekly(8)),
            "PeriodDate must be between 1 and 7, is 8",
        ),
        (
            period(|order| order.schedule = Schedule::Monthly(32)),
            "PeriodDate must be between 1 and 31, is 32",
        ),
        (
            period(|order| order.schedule = Schedule::Yearly("2026-02-30".into())),
            "PeriodDate must be a date like 2026-12-31",
        ),
        (
            period(|order| order.first_charge = FirstCharge::Date("2026-9-5".into())),
            "FDate must be a date like 2026-12-31",
        ),
        (
            period(|order| order.first_charge = FirstCharge::Date("2026-09-05".into())),
            "accepted",
        ),
        (
            period(|order| order.description = "x".repeat(501)),
            "ProdDesc must have at most 500 characters, has 501",
        ),
    ] {
        assert_eq!(told, expected);
    }
}

#[test]
fn pm_7_mock_checkout_is_a_url() {
    let order = "T1".parse().unwrap();
    assert_eq!(
        mock::checkout_url(
            "http://127.0.0.1:8789/mock/",
            &order,
            Money::twd(300),
            "https://e.example/n",
            "https://a.example/"
        ),
        "http://127.0.0.1:8789/mock/checkout?orderNumber=T1&amount=300&currency=TWD&notifyUrl=https%3A%2F%2Fe.example%2Fn&returnUrl=https%3A%2F%2Fa.example%2F"
    );
}

/// Our own keys signed these, so a customer holds genuine signatures: they must mean nothing on the way back.
#[test]
fn ed_1_our_own_checkout_forms_are_no_notices() {
    let atm = Order {
        method: Method::Atm(CodeOptions::default()),
        ..order()
    };
    let monthly = Order {
        period: Some(monthly(12)),
        ..order()
    };
    let base = "https://sandbox-api.payuni.com.tw";
    let forms = [
        ("ecpay", form(&ecpay(), BASE, &order()).unwrap()),
        ("ecpay", form(&ecpay(), BASE, &atm).unwrap()),
        ("ecpay", form(&ecpay(), BASE, &monthly).unwrap()),
        ("payuni", payuni_checkout::form(&payuni(), base, &upp()).unwrap()),
        (
            "payuni",
            payuni_checkout::period_form(&payuni(), base, &periodic()).unwrap(),
        ),
    ];
    for (source, form) in forms {
        let body = encode(
            form.fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let notices: &[&str] = if source == "ecpay" {
            &["payment", "code", "period"]
        } else {
            &["payment", "period"]
        };
        for notice in notices {
            let unverified = Unverified {
                notice,
                headers: &[],
                body: body.as_bytes(),
                received_at: NOW,
            };
            let read = sources().read(&source.parse().unwrap(), &unverified);
            let refusal = read.expect_err("a form of ours is no notice");
            assert!(
                !refusal.to_string().contains("signature"),
                "{source} {notice}: the signature is genuine, the meaning is not: {refusal}"
            );
        }
    }
}
