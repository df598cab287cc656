//! Published, recorded and derived values: every one used must pass, every negative one be refused.
//!
//! Each test counts what it has run, so that an empty or renamed kind cannot pass.

use serde_json::Value;
use tollgate_shared::crypto;
use tollgate_shared::form::Form;
use tollgate_shared::provider::ecpay::mac::{
    Algorithm, check_mac_value, ecticket_check_mac_value, php_url_encode, url_encode,
};
use tollgate_shared::provider::ecpay::{aes_json, period_action, query};
use tollgate_shared::provider::hmac_source::{HmacSource, Scheme};
use tollgate_shared::provider::payuni::{Payuni, PayuniKeys, cipher, reply};
use tollgate_shared::provider::{Provider, Refusal, Unverified};
use tollgate_shared::secret::{Rotating, Secret};
use tollgate_shared::time::Timestamp;

use crate::fixtures::{Pairs, as_strs, ecpay, ecpay_of, pairs, read, vectors, without};

const ECPAY: &str = include_str!("../vectors/ecpay.json");
const PAYUNI: &str = include_str!("../vectors/payuni.json");
const STANDARD_WEBHOOKS: &str = include_str!("../vectors/standard_webhooks.json");
const STRIPE: &str = include_str!("../vectors/stripe.json");

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{pointer} in {value}"))
}

fn of_kind(kind: &str, count: usize) -> Vec<Value> {
    let found: Vec<Value> = vectors(ECPAY, 40)
        .into_iter()
        .filter(|vector| text(vector, "/kind") == kind)
        .collect();
    assert_eq!(found.len(), count, "{kind}");
    found
}

fn inputs(vector: &Value) -> Pairs {
    serde_json::from_value(vector["inputs"].clone()).unwrap()
}

#[test]
fn ecpay_check_mac_values() {
    for vector in of_kind("ecpay_checkmacvalue", 27) {
        let algorithm = match text(&vector, "/algorithm") {
            "sha256" => Algorithm::Sha256,
            "md5" => Algorithm::Md5,
            other => panic!("{other}"),
        };
        let fields = inputs(&vector);
        let (key, iv, expected) = (
            text(&vector, "/key"),
            text(&vector, "/iv"),
            text(&vector, "/expected"),
        );
        assert_eq!(
            check_mac_value(as_strs(&fields), key, iv, algorithm),
            expected,
            "{}",
            vector["name"]
        );
        // And not by accident: one field less is another MAC.
        let less = without(fields.clone(), &fields[0].0);
        assert_ne!(
            check_mac_value(as_strs(&less), key, iv, algorithm),
            expected,
            "{}",
            vector["name"]
        );
    }
}

#[test]
fn ecpay_sort_ignores_case_and_the_vectors_can_tell() {
    let telling: Vec<Value> = of_kind("ecpay_checkmacvalue", 27)
        .into_iter()
        .filter(|vector| vector["distinguishes_case_insensitive_sort"] == Value::Bool(true))
        .collect();
    assert!(telling.len() >= 4, "{}", telling.len());
}

#[test]
fn ecpay_wrong_space_encoding_is_another_mac() {
    // ECPay's skill publishes what comes out when a space is written %20: it must not be accepted.
    let fields = pairs(&[
        ("MerchantID", "3002607"),
        ("ItemName", "My Shop"),
        ("TotalAmount", "100"),
    ]);
    let mac = check_mac_value(
        as_strs(&fields),
        "pwFHCqoQZGmho4w6",
        "EkRm7iFT261dpevs",
        Algorithm::Sha256,
    );
    let escaped = pairs(&[
        ("MerchantID", "3002607"),
        ("ItemName", "My%20Shop"),
        ("TotalAmount", "100"),
    ]);
    assert_ne!(
        mac,
        check_mac_value(
            as_strs(&escaped),
            "pwFHCqoQZGmho4w6",
            "EkRm7iFT261dpevs",
            Algorithm::Sha256
        )
    );
}

#[test]
fn ecpay_url_encodings() {
    for vector in of_kind("ecpay_urlencode", 4) {
        let input = text(&vector, "/inputs");
        assert_eq!(url_encode(input), text(&vector, "/expected/checkmacvalue_encode"));
        assert_eq!(
            php_url_encode(input),
            text(&vector, "/expected/aes_php_urlencode")
        );
    }
}

#[test]
fn ecpay_ecticket_formula() {
    for vector in of_kind("ecpay_ecticket_cmv", 1) {
        let mac = ecticket_check_mac_value(
            text(&vector, "/inputs"),
            text(&vector, "/key"),
            text(&vector, "/iv"),
        );
        assert_eq!(mac, text(&vector, "/expected"));
    }
}

#[test]
fn ecpay_aes_cbc_both_ways() {
    for vector in of_kind("ecpay_aes128cbc_encrypt", 4) {
        let (key, iv) = (text(&vector, "/key"), text(&vector, "/iv"));
        let (json, sealed) = (text(&vector, "/inputs"), text(&vector, "/expected"));
        assert_eq!(
            aes_json::seal_cbc(json, key, iv).unwrap(),
            sealed,
            "{}",
            vector["name"]
        );
        assert_eq!(aes_json::open_cbc(sealed, key, iv).unwrap(), json);
    }
    for vector in of_kind("ecpay_aes128cbc_decrypt", 1) {
        let json = aes_json::open_cbc(
            text(&vector, "/inputs"),
            text(&vector, "/key"),
            text(&vector, "/iv"),
        )
        .unwrap();
        assert_eq!(php_url_encode(&json), text(&vector, "/expected"));
    }
}

#[test]
fn ecpay_aes_gcm_both_ways() {
    for vector in of_kind("ecpay_aes128gcm_encrypt", 2) {
        let nonce = hex::decode(text(&vector, "/iv").strip_prefix("hex:").unwrap())
            .unwrap()
            .try_into()
            .unwrap();
        let (key, json, sealed) = (
            text(&vector, "/key"),
            text(&vector, "/inputs"),
            text(&vector, "/expected"),
        );
        assert_eq!(
            aes_json::seal_gcm(json, key, nonce).unwrap(),
            sealed,
            "{}",
            vector["name"]
        );
        assert_eq!(aes_json::open_gcm(sealed, key).unwrap(), json);
        assert_eq!(
            aes_json::open_gcm(sealed, "ejCk326UnaZWKish"),
            Err(aes_json::EnvelopeError::Sealed)
        );
    }
    for vector in of_kind("ecpay_aes128gcm_decrypt", 1) {
        let json = aes_json::open_gcm(text(&vector, "/inputs"), text(&vector, "/key")).unwrap();
        assert_eq!(php_url_encode(&json), text(&vector, "/expected"));
    }
}

#[test]
fn ecpay_recorded_answers_are_read_as_they_came() {
    // Raw `k=v&k=v`, as the recordings were before they were taken apart. Keys of 2000132 are the "previous" ones.
    let mut read = 0;
    for vector in of_kind("ecpay_checkmacvalue", 27) {
        let name = text(&vector, "/name").to_owned();
        let mut fields = inputs(&vector);
        fields.push(("CheckMacValue".to_owned(), text(&vector, "/expected").to_owned()));
        let body: Vec<String> = fields
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let body = body.join("&");
        assert!(Form::parse_raw(body.as_bytes()).is_ok(), "{name}");
        if name.contains("TradeInfoQuery") || name.contains("QUERY_") || name.contains("querytradeinfo") {
            query::trade_info(&ecpay(), body.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
            read += 1;
        } else if name.contains("PaymentInfoQuery") {
            let code = query::payment_info(&ecpay(), body.as_bytes()).unwrap().unwrap();
            assert!(!code.code_parts.is_empty(), "{name}");
            read += 1;
        } else if name.contains("CreditCardPeriodAction") {
            let order = "20211026001969730".parse().unwrap();
            period_action::reply(&ecpay_of("2000132"), &order, body.as_bytes()).unwrap();
            read += 1;
        }
    }
    assert!(read >= 10, "{read}");
}

#[test]
fn ecpay_recorded_and_derived_notices_are_events() {
    let mut notices = 0;
    for (name, notice) in [
        ("ecpay.recorded.returnurl_need_extra_paid_info", "payment"),
        ("ecpay.skill.callback", "payment"),
        ("derived.period_return_success_Gwsr", "period"),
        ("derived.period_return_failed", "period"),
    ] {
        let vector = of_kind("ecpay_checkmacvalue", 27)
            .into_iter()
            .find(|one| text(one, "/name") == name)
            .unwrap();
        let mut fields = inputs(&vector);
        fields.push(("CheckMacValue".to_owned(), text(&vector, "/expected").to_owned()));
        let body = tollgate_shared::form::encode(as_strs(&fields));
        read(&ecpay(), notice, body.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        notices += 1;
    }
    assert_eq!(notices, 4);
}

fn payuni_keys(vector: &Value) -> (&str, &str) {
    (text(vector, "/keys/HashKey"), text(vector, "/keys/HashIV"))
}

#[test]
fn payuni_sealing_and_hashing() {
    let mut sealed_count = 0;
    for vector in vectors(PAYUNI, 18) {
        let name = text(&vector, "/name");
        let Some(expected) = vector.pointer("/expected/EncryptInfo").and_then(Value::as_str) else {
            continue;
        };
        let plaintext = vector
            .pointer("/inputs/plaintext")
            .or_else(|| vector.pointer("/expected/plaintext"));
        let plaintext = plaintext.and_then(Value::as_str).unwrap();
        let (key, iv) = payuni_keys(&vector);
        // Settings are trimmed when they are read; this entry shows what an untrimmed hash would be.
        let untrimmed = name == "payuni_php_sdk_key_with_trailing_newline";
        let expected_hash = text(
            &vector,
            if untrimmed {
                "/expected/HashInfo_with_trimmed_secrets"
            } else {
                "/expected/HashInfo"
            },
        );
        let (key, iv) = (key.trim(), iv.trim());
        assert_eq!(
            cipher::seal(plaintext, key, iv).as_deref(),
            Some(expected),
            "{name}"
        );
        assert_eq!(
            cipher::open(expected, key, iv).unwrap(),
            plaintext.as_bytes(),
            "{name}"
        );
        assert_eq!(cipher::hash_info(expected, key, iv), expected_hash, "{name}");
        sealed_count += 1;
    }
    assert!(sealed_count >= 12, "{sealed_count}");
}

#[test]
fn payuni_inner_fields_are_those_that_the_sdk_reads() {
    let mut compared = 0;
    for vector in vectors(PAYUNI, 18) {
        let Some(decrypted) = vector
            .pointer("/expected/decrypted_by_sdk")
            .and_then(Value::as_object)
        else {
            continue;
        };
        let form = Form::parse(text(&vector, "/expected/plaintext").as_bytes()).unwrap();
        for (name, value) in decrypted.iter().filter(|(_, value)| value.is_string()) {
            assert_eq!(form.get(name), value.as_str(), "{}: {name}", vector["name"]);
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared}");
}

#[test]
fn payuni_nested_replies_escaped_or_not() {
    for (name, plaintext, expected) in [
        (
            "payuni_docs_period_query_plaintext_first_two_rows",
            "/inputs/decrypted_plaintext",
            "/expected/parsed",
        ),
        (
            "payuni_php_sdk_period_query_reply_nested",
            "/expected/plaintext",
            "/inputs/fields",
        ),
    ] {
        let vector = vectors(PAYUNI, 18)
            .into_iter()
            .find(|one| text(one, "/name") == name)
            .unwrap();
        let read = reply::parse(text(&vector, plaintext).as_bytes()).unwrap();
        let expected = vector.pointer(expected).unwrap();
        assert_eq!(
            serde_json::to_value(&read.results).unwrap(),
            expected["Result"],
            "{name}"
        );
        assert_eq!(read.status, "SUCCESS");
        assert_eq!(read.fields["PeriodTradeNo"], text(expected, "/PeriodTradeNo"));
        assert_eq!(read.results.len(), 2);
    }
}

#[test]
fn payuni_notices_and_negatives() {
    let mut refused = 0;
    for vector in vectors(PAYUNI, 18) {
        let name = text(&vector, "/name").to_owned();
        let body = if name == "payuni_period_notify_http_body" {
            text(&vector, "/inputs/body").to_owned()
        } else if text(&vector, "/kind") == "derived-negative" {
            tollgate_shared::form::encode([
                ("MerID", "KAT0001"),
                ("EncryptInfo", text(&vector, "/inputs/EncryptInfo")),
                ("HashInfo", text(&vector, "/inputs/HashInfo")),
            ])
        } else {
            continue;
        };
        let (key, iv) = payuni_keys(&vector);
        let current = PayuniKeys {
            hash_key: Secret::new(key.into()),
            hash_iv: Secret::new(iv.into()),
        };
        let keys = Rotating {
            current,
            previous: None,
        };
        let payuni = Payuni::new("payuni".parse().unwrap(), "KAT0001".parse().unwrap(), keys);
        let result = read(&payuni, "period", body.as_bytes());
        match name.as_str() {
            "payuni_period_notify_http_body" => {
                let key = "payuni:KAT0001:period:SUB-20260901-0001_1:1756691969756516957:SUCCESS";
                assert_eq!(result.unwrap().key.as_str(), key);
            }
            "payuni_neg_hash_flipped" | "payuni_neg_encryptinfo_uppercased" => {
                assert!(
                    matches!(result, Err(Refusal::SignatureMismatch { .. })),
                    "{name}: {result:?}"
                );
                refused += 1;
            }
            _ => {
                assert!(matches!(result, Err(Refusal::Malformed(_))), "{name}: {result:?}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 4);
}

fn source(scheme: Scheme, secret: &str) -> HmacSource {
    let secrets = [Secret::new(secret.to_owned())];
    HmacSource::new(
        "crm".parse().unwrap(),
        scheme,
        &secrets,
        std::time::Duration::from_mins(5),
    )
    .unwrap()
}

fn verifies(source: &HmacSource, headers: &Pairs, payload: &str, now: i64) -> Result<(), Refusal> {
    let received_at = Timestamp::from_unix_seconds(now);
    let unverified = Unverified {
        notice: "event",
        headers,
        body: payload.as_bytes(),
        received_at,
    };
    source.verify(&unverified).map(|_| ())
}

#[test]
fn standard_webhooks_accept_and_refuse_as_the_libraries_do() {
    let (mut accepted, mut refused) = (0, 0);
    for vector in vectors(STANDARD_WEBHOOKS, 9) {
        let number = |pointer: &str| vector.pointer(pointer).and_then(Value::as_i64);
        let timestamp = number("/inputs/timestamp").unwrap();
        let signature = vector
            .pointer("/inputs/webhook-signature")
            .or(vector.pointer("/expected/webhook-signature"));
        let headers = pairs(&[
            ("webhook-id", text(&vector, "/inputs/id")),
            ("webhook-timestamp", &timestamp.to_string()),
            ("webhook-signature", signature.and_then(Value::as_str).unwrap()),
        ]);
        let source = source(Scheme::Standard, text(&vector, "/keys/secret"));
        let now = number("/inputs/now").unwrap_or(timestamp);
        let result = verifies(&source, &headers, text(&vector, "/inputs/payload"), now);
        let accept = vector
            .pointer("/expected/accept")
            .and_then(Value::as_bool)
            .unwrap_or(true);
        assert_eq!(result.is_ok(), accept, "{}: {result:?}", vector["name"]);
        if accept { accepted += 1 } else { refused += 1 }
    }
    assert!(accepted >= 3 && refused >= 6, "{accepted} {refused}");
}

#[test]
fn stripe_accepts_and_refuses_as_stripe_node_does() {
    let (mut accepted, mut refused) = (0, 0);
    for vector in vectors(STRIPE, 10) {
        let name = text(&vector, "/name").to_owned();
        let secret = text(&vector, "/keys/secret");
        if let Some(message) = vector.pointer("/inputs/message").and_then(Value::as_str) {
            let mac = crypto::hmac_sha256(secret.as_bytes(), message.as_bytes());
            assert_eq!(hex::encode(mac), text(&vector, "/expected/hex"), "{name}");
            accepted += 1;
            continue;
        }
        let header = vector
            .pointer("/inputs/header")
            .or(vector.pointer("/expected/header"))
            .and_then(Value::as_str);
        let now = vector
            .pointer("/inputs/now")
            .or(vector.pointer("/inputs/timestamp"))
            .and_then(Value::as_i64);
        let headers = pairs(&[("stripe-signature", header.unwrap())]);
        let result = verifies(
            &source(Scheme::Stripe, secret),
            &headers,
            text(&vector, "/inputs/payload"),
            now.unwrap(),
        );
        let accept = vector
            .pointer("/expected/accept")
            .and_then(Value::as_bool)
            .unwrap_or(true);
        assert_eq!(result.is_ok(), accept, "{name}: {result:?}");
        if accept { accepted += 1 } else { refused += 1 }
    }
    assert!(accepted >= 5 && refused >= 4, "{accepted} {refused}");
}
