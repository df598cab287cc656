//! Wire formats ever sent: what an older edge wrote, a newer origin must read, and the reverse.
//!
//! A file in `tests/golden` is never changed, only added to.

use tollgate_shared::envelope::{Envelope, EnvelopeError};
use tollgate_shared::provider::Refusal;
use tollgate_shared::time::Timestamp;

const ENVELOPE_V1: &str = include_str!("../golden/envelope-v1.json");
const ENVELOPE_V1_HEADERS: &str = include_str!("../golden/envelope-v1-headers.json");

fn ecpay_envelope() -> Envelope {
    Envelope {
        source: "ecpay".parse().unwrap(),
        notice: "payment".to_owned(),
        key: "ecpay:3002607:payment:T2026110100001:2611010930001234:paid".to_owned(),
        received_at: Timestamp::from_unix_ms(1_793_500_000_123),
        headers: vec![],
        raw: b"RtnCode=1&RtnMsg=%E4%BA%A4%E6%98%93\xff\x00".to_vec(),
    }
}

#[test]
fn ed_4_envelope_v1_is_pinned_both_ways() {
    let with_headers = Envelope {
        source: "crm".parse().unwrap(),
        notice: "event".to_owned(),
        key: "crm:msg_1".to_owned(),
        headers: vec![("webhook-id".to_owned(), "msg_1".to_owned())],
        raw: b"{}".to_vec(),
        ..ecpay_envelope()
    };
    for (golden, envelope) in [
        (ENVELOPE_V1, ecpay_envelope()),
        (ENVELOPE_V1_HEADERS, with_headers),
    ] {
        assert_eq!(Envelope::from_json(golden.trim().as_bytes()).unwrap(), envelope);
        assert_eq!(String::from_utf8(envelope.to_json()).unwrap(), golden.trim());
    }
}

#[test]
fn ed_4_other_envelopes_are_refused() {
    let newer = ENVELOPE_V1.replace(r#""version":1"#, r#""version":2"#);
    assert!(matches!(
        Envelope::from_json(newer.as_bytes()),
        Err(EnvelopeError::UnknownVersion(2))
    ));
    let not_base64 = ENVELOPE_V1.replace(r#""raw_base64":""#, r#""raw_base64":"!"#);
    assert!(matches!(
        Envelope::from_json(not_base64.as_bytes()),
        Err(EnvelopeError::NotBase64)
    ));
    let twice = ENVELOPE_V1.replacen('{', r#"{"key":"x","#, 1);
    assert!(matches!(
        Envelope::from_json(twice.as_bytes()),
        Err(EnvelopeError::Malformed(_))
    ));
    for bad in ["", "{}", "[1]", "null"] {
        assert!(Envelope::from_json(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn ed_1_every_refusal_has_a_problem_of_its_own_type() {
    let refusals = [
        Refusal::UnknownSource,
        Refusal::NotConfigured,
        Refusal::UnknownNotice,
        Refusal::Form(tollgate_shared::form::FormError::Empty),
        Refusal::Field("TradeNo"),
        Refusal::SignatureMismatch {
            hint: "check the key",
        },
        Refusal::Stale,
    ];
    let types: std::collections::BTreeSet<String> = refusals
        .iter()
        .map(|refusal| refusal.problem().type_urn)
        .collect();
    assert_eq!(types.len(), refusals.len());
    insta::assert_json_snapshot!("refusals", refusals.each_ref().map(Refusal::problem));
}
