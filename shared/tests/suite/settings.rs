//! Settings of sources: names, stand-ins, faults. OP-1, PM-7.

use std::collections::BTreeMap;

use tollgate_shared::provider::{SourceState, Sources};

use crate::fixtures::{ECPAY_IV, ECPAY_KEY, PAYUNI_IV, PAYUNI_KEY, WEBHOOK_SECRET};

fn sources(settings: &[(&str, &str)]) -> Sources {
    Sources::from_lookup(&|name| {
        settings
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

/// Source → `ready`, `absent`, or its faults.
fn states(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
    let word = |state: SourceState| match state {
        SourceState::Ready => "ready".to_owned(),
        SourceState::Absent => "absent".to_owned(),
        SourceState::Invalid(faults) => faults
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; "),
    };
    sources(settings)
        .states()
        .into_iter()
        .map(|(source, state)| (source.to_string(), word(state)))
        .collect()
}

#[test]
fn op_1_nothing_configured_is_absent() {
    let states = states(&[]);
    assert_eq!(
        states.values().map(String::as_str).collect::<Vec<_>>(),
        ["absent"; 3]
    );
    assert!(sources(&[]).default_provider().is_none());
}

#[test]
fn op_1_every_fault_is_named_and_no_value_shown() {
    let states = states(&[
        ("ECPAY_MERCHANT_ID", "30-02607"),
        ("ECPAY_HASH_KEY", "tooshort"),
        ("ECPAY_EXEC_TIMES", "all"),
        ("PAYUNI_MERCHANT_ID", "KAT0001"),
        ("PAYUNI_HASH_KEY", PAYUNI_KEY),
        ("PAYUNI_HASH_IV", PAYUNI_IV),
        ("PAYUNI_HASH_KEY_PREVIOUS", PAYUNI_KEY),
        (
            "WEBHOOK_SOURCES",
            "crm:standard, crm:stripe, x:y, Bad:stripe, ecpay:stripe, old:standard",
        ),
        ("WEBHOOK_SECRET_CRM", "whsec_!!"),
        ("WEBHOOK_TOLERANCE_SECONDS", "5m"),
        ("PAYMENT_PROVIDER", "paypal"),
    ]);
    assert_eq!(
        states["ecpay"],
        "ECPAY_MERCHANT_ID: 1 to 20 letters or digits; ECPAY_HASH_KEY: must be 16 bytes, has 8; \
         ECPAY_HASH_IV: is not set; ECPAY_EXEC_TIMES: must be conservative or wide"
    );
    assert_eq!(
        states["payuni"],
        "PAYUNI_HASH_IV_PREVIOUS: is not set, but its key is"
    );
    assert_eq!(
        states["crm"],
        "WEBHOOK_TOLERANCE_SECONDS: must be a whole number of seconds; \
         WEBHOOK_SECRET_CRM: must be whsec_ followed by base64"
    );
    assert!(states["old"].contains("WEBHOOK_SECRET_OLD: is not set"));
    assert!(states["webhook-sources"].starts_with("WEBHOOK_SOURCES: "));
    assert_eq!(
        states["payment-provider"],
        "PAYMENT_PROVIDER: must be ecpay, payuni or mock"
    );
}

#[test]
fn pm_7_general_names_stand_in_for_the_default_provider_only() {
    let general = [
        ("PAYMENT_MERCHANT_ID", "3002607"),
        ("PAYMENT_API_KEY", ECPAY_KEY),
        ("PAYMENT_API_SECRET", ECPAY_IV),
    ];
    let with = |more: &[(&'static str, &'static str)]| states(&[&general[..], more].concat());
    assert_eq!(with(&[("PAYMENT_PROVIDER", "ecpay")])["ecpay"], "ready");
    assert_eq!(with(&[("PAYMENT_PROVIDER", "ecpay")])["payuni"], "absent");
    assert_eq!(with(&[])["ecpay"], "absent");
    // An own setting wins, a blank one does not.
    assert_eq!(
        with(&[("PAYMENT_PROVIDER", "ecpay"), ("ECPAY_HASH_KEY", " ")])["ecpay"],
        "ready"
    );
    assert!(
        with(&[("PAYMENT_PROVIDER", "ecpay"), ("ECPAY_HASH_KEY", "short")])["ecpay"].contains("16 bytes")
    );
    assert_eq!(
        states(&[("PAYMENT_PROVIDER", "payuni")])["payuni"]
            .matches("is not set")
            .count(),
        3
    );
}

#[test]
fn pm_7_the_mock_is_off_where_a_real_provider_is_configured() {
    let mock = [
        ("PAYMENT_PROVIDER", "mock"),
        ("PAYMENT_WEBHOOK_SECRET", WEBHOOK_SECRET),
    ];
    assert_eq!(states(&mock)["mock"], "ready");
    assert_eq!(
        states(&[("PAYMENT_WEBHOOK_SECRET", WEBHOOK_SECRET)])["mock"],
        "ready"
    );
    // A half-configured real provider counts as well.
    let both = [&mock[..], &[("ECPAY_MERCHANT_ID", "3002607")]].concat();
    assert!(
        states(&both)["mock"].contains("must not be mock"),
        "{:?}",
        states(&both)
    );
    assert!(sources(&both).mock().is_none());
    let real = [
        ("PAYMENT_PROVIDER", "ecpay"),
        ("PAYMENT_WEBHOOK_SECRET", WEBHOOK_SECRET),
    ];
    assert_eq!(states(&real)["mock"], "absent");
    assert_eq!(sources(&mock).default_provider().unwrap().as_str(), "mock");
    assert!(sources(&mock).ecpay().is_none() && sources(&mock).payuni().is_none());
}

#[test]
fn op_1_keys_are_trimmed_and_secrets_do_not_print() {
    let settings = [
        ("ECPAY_MERCHANT_ID", "3002607"),
        ("ECPAY_HASH_KEY", "pwFHCqoQZGmho4w6\n"),
        ("ECPAY_HASH_IV", " EkRm7iFT261dpevs"),
    ];
    let sources = sources(&settings);
    let printed = format!("{:?}", sources.ecpay().unwrap());
    assert!(
        !printed.contains("pwFH") && !printed.contains("EkRm"),
        "{printed}"
    );
}
