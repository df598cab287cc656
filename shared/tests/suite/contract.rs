//! The same tests over every provider: what DESIGN.md promises of all of them.
//!
//! A new provider adds one `Case` and gets every test. ED-1, ED-3, PM-4, PM-7.

use tollgate_shared::event::Event;
use tollgate_shared::provider::{Refusal, SourceState, Sources, Unverified};

use crate::fixtures::{
    ECPAY_IV, ECPAY_IV_BEFORE, ECPAY_KEY, ECPAY_KEY_BEFORE, NOW, PAYUNI_IV, PAYUNI_IV_BEFORE, PAYUNI_KEY,
    PAYUNI_KEY_BEFORE, Pairs, WEBHOOK_SECRET, WEBHOOK_SECRET_BEFORE, ecpay_body, ecpay_body_under,
    ecpay_paid, payuni_body, payuni_body_under, payuni_paid, standard_headers, stripe_headers, with,
};

/// One delivery: headers and body.
type Delivery = (Pairs, Vec<u8>);

/// Signs a body under a secret at a time.
type Sign = fn(&str, i64, &[u8]) -> Delivery;

struct Case {
    source: &'static str,
    notice: &'static str,
    settings: &'static [(&'static str, &'static str)],
    /// Without it the source must refuse everything.
    secret: &'static str,
    genuine: Delivery,
    /// The same, signed with the key before.
    previous: Delivery,
    /// The same fact in other bytes, as the provider repeats it.
    repeated: Delivery,
    /// Signed by nobody: the genuine body with other content under the genuine signature.
    forged: Delivery,
    /// A genuine signature over a body in which a name occurs twice.
    duplicated: Delivery,
    /// A body that is not UTF-8, signed where its scheme can sign any bytes.
    not_utf8: Delivery,
    acknowledgement: &'static str,
}

fn replaced(body: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(body).unwrap();
    assert!(text.contains(from), "{text}");
    text.replacen(from, to, 1).into_bytes()
}

fn ecpay_case() -> Case {
    let body = ecpay_body(&ecpay_paid());
    let mut not_utf8 = body.clone();
    not_utf8.extend_from_slice(b"&x=%ff");
    Case {
        source: "ecpay",
        notice: "payment",
        settings: &[
            ("ECPAY_MERCHANT_ID", "3002607"),
            ("ECPAY_HASH_KEY", ECPAY_KEY),
            ("ECPAY_HASH_IV", ECPAY_IV),
            ("ECPAY_HASH_KEY_PREVIOUS", ECPAY_KEY_BEFORE),
            ("ECPAY_HASH_IV_PREVIOUS", ECPAY_IV_BEFORE),
        ],
        secret: "ECPAY_HASH_KEY",
        previous: (
            vec![],
            ecpay_body_under(&ecpay_paid(), ECPAY_KEY_BEFORE, ECPAY_IV_BEFORE),
        ),
        // ECPay's repeat says `paid` instead of 交易成功, so its MAC differs as well.
        repeated: (vec![], ecpay_body(&with(ecpay_paid(), "RtnMsg", "paid"))),
        forged: (vec![], replaced(&body, "TradeAmt=300", "TradeAmt=3")),
        duplicated: (vec![], [&body[..], b"&TradeAmt=3"].concat()),
        not_utf8: (vec![], not_utf8),
        genuine: (vec![], body),
        acknowledgement: "1|OK",
    }
}

fn payuni_case() -> Case {
    let body = payuni_body(&payuni_paid());
    let mut not_utf8 = body.clone();
    not_utf8.extend_from_slice(b"&x=%ff");
    let twice = [payuni_paid(), vec![("TradeAmt".into(), "3".into())]].concat();
    let sealed_at = body.windows(12).position(|part| part == b"EncryptInfo=").unwrap() + 12;
    let mut forged = body.clone();
    forged[sealed_at] = if forged[sealed_at] == b'6' { b'7' } else { b'6' };
    Case {
        source: "payuni",
        notice: "payment",
        settings: &[
            ("PAYUNI_MERCHANT_ID", "KAT0001"),
            ("PAYUNI_HASH_KEY", PAYUNI_KEY),
            ("PAYUNI_HASH_IV", PAYUNI_IV),
            ("PAYUNI_HASH_KEY_PREVIOUS", PAYUNI_KEY_BEFORE),
            ("PAYUNI_HASH_IV_PREVIOUS", PAYUNI_IV_BEFORE),
        ],
        secret: "PAYUNI_HASH_IV",
        previous: (
            vec![],
            payuni_body_under(&payuni_paid(), "KAT0001", PAYUNI_KEY_BEFORE, PAYUNI_IV_BEFORE),
        ),
        repeated: (vec![], payuni_body(&with(payuni_paid(), "Message", "補觸發"))),
        forged: (vec![], forged),
        duplicated: (vec![], payuni_body(&twice)),
        not_utf8: (vec![], not_utf8),
        genuine: (vec![], body),
        acknowledgement: "OK",
    }
}

/// A Standard Webhooks delivery with the id `msg_1`.
fn standard(secret: &str, timestamp: i64, body: &[u8]) -> Delivery {
    (
        standard_headers(secret, "msg_1", &timestamp.to_string(), body),
        body.to_vec(),
    )
}

fn stripe(secret: &str, timestamp: i64, body: &[u8]) -> Delivery {
    (
        stripe_headers(secret, &timestamp.to_string(), body),
        body.to_vec(),
    )
}

fn signed_case(
    source: &'static str,
    notice: &'static str,
    settings: &'static [(&'static str, &'static str)],
    secret: &'static str,
    (sign, body): (Sign, &'static str),
) -> Case {
    let now = NOW.unix_seconds();
    let genuine = sign(WEBHOOK_SECRET, now, body.as_bytes());
    let twice = format!("{},\"type\":\"payment.paid\"}}", body.strip_suffix('}').unwrap());
    Case {
        source,
        notice,
        settings,
        secret,
        previous: sign(WEBHOOK_SECRET_BEFORE, now, body.as_bytes()),
        repeated: sign(WEBHOOK_SECRET, now - 60, body.as_bytes()),
        forged: (genuine.0.clone(), replaced(&genuine.1, "300", "3")),
        duplicated: sign(WEBHOOK_SECRET, now, twice.as_bytes()),
        not_utf8: sign(WEBHOOK_SECRET, now, b"{\"type\":\"\xff\"}"),
        genuine,
        acknowledgement: "OK",
    }
}

const PAYMENT: &str =
    r#"{"type":"payment.paid","id":"evt_1","data":{"orderNumber":"T1","amount":300,"tradeNo":"M1"}}"#;

fn cases() -> Vec<Case> {
    vec![
        ecpay_case(),
        payuni_case(),
        signed_case(
            "crm",
            "event",
            &[
                ("WEBHOOK_SOURCES", "crm:standard"),
                ("WEBHOOK_SECRET_CRM", WEBHOOK_SECRET),
                ("WEBHOOK_SECRET_CRM_PREVIOUS", WEBHOOK_SECRET_BEFORE),
            ],
            "WEBHOOK_SECRET_CRM",
            (standard, PAYMENT),
        ),
        signed_case(
            "billing",
            "event",
            &[
                ("WEBHOOK_SOURCES", "billing:stripe"),
                ("WEBHOOK_SECRET_BILLING", WEBHOOK_SECRET),
                ("WEBHOOK_SECRET_BILLING_PREVIOUS", WEBHOOK_SECRET_BEFORE),
            ],
            "WEBHOOK_SECRET_BILLING",
            (stripe, PAYMENT),
        ),
        signed_case(
            "mock",
            "payment",
            &[
                ("PAYMENT_PROVIDER", "mock"),
                ("PAYMENT_WEBHOOK_SECRET", WEBHOOK_SECRET),
                ("PAYMENT_WEBHOOK_SECRET_PREVIOUS", WEBHOOK_SECRET_BEFORE),
            ],
            "PAYMENT_WEBHOOK_SECRET",
            (standard, PAYMENT),
        ),
    ]
}

fn sources(case: &Case, without: Option<&str>) -> Sources {
    Sources::from_lookup(&|name| {
        let found = case
            .settings
            .iter()
            .find(|(known, _)| *known == name && Some(name) != without);
        found.map(|(_, value)| (*value).to_owned())
    })
}

fn read(case: &Case, sources: &Sources, notice: &str, (headers, body): &Delivery) -> Result<Event, Refusal> {
    let unverified = Unverified {
        notice,
        headers,
        body,
        received_at: NOW,
    };
    sources.read(&case.source.parse().unwrap(), &unverified)
}

#[test]
fn ed_1_genuine_is_read_and_forged_is_refused() {
    for case in cases() {
        let sources = sources(&case, None);
        assert!(
            read(&case, &sources, case.notice, &case.genuine).is_ok(),
            "{}",
            case.source
        );
        let refusal = read(&case, &sources, case.notice, &case.forged).unwrap_err();
        assert!(
            matches!(refusal, Refusal::SignatureMismatch { .. }),
            "{}: {refusal:?}",
            case.source
        );
        assert_eq!(refusal.problem().status, 403);
    }
}

#[test]
fn ed_1_without_a_signature_nothing_is_read() {
    for case in cases() {
        let bare = if case.genuine.0.is_empty() {
            (vec![], b"MerchantID=3002607&RtnCode=1&MerID=KAT0001".to_vec())
        } else {
            (vec![], case.genuine.1.clone())
        };
        let refusal = read(&case, &sources(&case, None), case.notice, &bare).unwrap_err();
        assert!(
            matches!(refusal, Refusal::Field(_)),
            "{}: {refusal:?}",
            case.source
        );
    }
}

#[test]
fn ed_1_the_previous_key_is_accepted_until_it_is_removed() {
    for case in cases() {
        let with_previous = sources(&case, None);
        let event = read(&case, &with_previous, case.notice, &case.previous).unwrap();
        assert_eq!(
            event,
            read(&case, &with_previous, case.notice, &case.genuine).unwrap(),
            "{}",
            case.source
        );
        let ended = Sources::from_lookup(&|name| {
            let found = case
                .settings
                .iter()
                .find(|(known, _)| *known == name && !name.ends_with("_PREVIOUS"));
            found.map(|(_, value)| (*value).to_owned())
        });
        let refusal = read(&case, &ended, case.notice, &case.previous).unwrap_err();
        assert!(
            matches!(refusal, Refusal::SignatureMismatch { .. }),
            "{}: {refusal:?}",
            case.source
        );
    }
}

#[test]
fn ed_3_a_repeat_has_the_same_key() {
    for case in cases() {
        let sources = sources(&case, None);
        let first = read(&case, &sources, case.notice, &case.genuine).unwrap();
        let again = read(&case, &sources, case.notice, &case.repeated).unwrap();
        assert_ne!(
            case.genuine, case.repeated,
            "{}: the repeat must have other bytes",
            case.source
        );
        assert_eq!(first.key, again.key, "{}", case.source);
        assert!(first.key.as_str().len() <= 250);
    }
}

#[test]
fn ed_1_a_missing_secret_fails_closed_and_is_named() {
    for case in cases() {
        let sources = sources(&case, Some(case.secret));
        assert_eq!(
            read(&case, &sources, case.notice, &case.genuine),
            Err(Refusal::NotConfigured),
            "{}",
            case.source
        );
        assert_eq!(
            sources.acknowledgement(&case.source.parse().unwrap()),
            Err(Refusal::NotConfigured)
        );
        let states = sources.states();
        let SourceState::Invalid(faults) = &states[&case.source.parse().unwrap()] else {
            panic!("{}: {states:?}", case.source)
        };
        assert!(
            faults.iter().any(|fault| fault.setting == case.secret),
            "{}: {faults:?}",
            case.source
        );
    }
}

#[test]
fn ed_1_ambiguous_or_unreadable_bodies_are_refused() {
    for case in cases() {
        let sources = sources(&case, None);
        for bad in [&case.duplicated, &case.not_utf8] {
            let refusal = read(&case, &sources, case.notice, bad).unwrap_err();
            assert!(
                matches!(refusal, Refusal::Form(_) | Refusal::Malformed(_)),
                "{}: {refusal:?}",
                case.source
            );
            assert_eq!(refusal.problem().status, 400);
        }
    }
}

#[test]
fn ed_1_other_notices_and_sources_do_not_exist() {
    for case in cases() {
        let sources = sources(&case, None);
        for notice in ["", "refund", "Payment", "payment/"] {
            let refusal = read(&case, &sources, notice, &case.genuine).unwrap_err();
            assert_eq!(refusal, Refusal::UnknownNotice, "{} {notice}", case.source);
        }
        let unverified = Unverified {
            notice: case.notice,
            headers: &[],
            body: b"",
            received_at: NOW,
        };
        assert_eq!(
            sources.read(&"nobody".parse().unwrap(), &unverified),
            Err(Refusal::UnknownSource)
        );
        assert!(
            sources.read(&case.source.parse().unwrap(), &unverified).is_err(),
            "{}: an empty body",
            case.source
        );
    }
}

#[test]
fn pm_4_acknowledgements_are_exact() {
    for case in cases() {
        let acknowledgement = sources(&case, None)
            .acknowledgement(&case.source.parse().unwrap())
            .unwrap();
        assert_eq!(acknowledgement.body, case.acknowledgement, "{}", case.source);
        assert_eq!(acknowledgement.content_type, "text/plain");
    }
}
