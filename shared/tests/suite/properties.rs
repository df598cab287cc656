//! Properties over generated notices: what a signature protects, and exactly what it does not.
//!
//! ECPay's MAC does not see: the letter case of ASCII letters in names and values, the order of fields, how a
//! character is escaped (`+` or `%20`, `%e4` or `%E4`, `A` or `%41`), empty pairs (`&&`), `name` for `name=`, and the
//! letter case of the MAC's own hex. Nothing else. PAYUNi's envelope sees every byte of EncryptInfo, and not the
//! unsigned outer fields nor the letter case of HashInfo's hex.

use std::collections::BTreeMap;

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use tollgate_shared::event::Event;
use tollgate_shared::form::{self, Form};
use tollgate_shared::provider::ecpay::mac::{Algorithm, check_mac_value};
use tollgate_shared::provider::{OBSERVED_PAYMENT, Refusal, Unverified};

use crate::fixtures::{
    ECPAY_IV, ECPAY_KEY, NOW, Pairs, WEBHOOK_SECRET, as_strs, ecpay, ecpay_answer, ecpay_body, ecpay_paid,
    ecpay_period, payuni, payuni_body, payuni_paid, payuni_reply, read, sources, standard_headers,
    stripe_headers, with, without,
};

/// Text as customers type it, with the characters that encoders disagree about.
fn value() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![
            prop::char::range(' ', '~'),
            prop::char::range('一', '龥'),
            prop::sample::select(vec!['~', '\'', '"', '\\', '💰', 'é', '\n', '+', '%'])
        ],
        0..24,
    )
    .prop_map(|characters| {
        characters
            .into_iter()
            .filter(|character| *character != '&')
            .collect()
    })
}

/// The content that the MAC protects: names and values, ignoring case and order.
fn content(body: &[u8]) -> Option<BTreeMap<String, String>> {
    let form = Form::parse(body).ok()?;
    let fields = form
        .fields()
        .map(|(key, value)| (key.to_ascii_lowercase(), value.to_ascii_lowercase()));
    Some(fields.collect())
}

proptest! {
    #[test]
    fn ed_1_any_flipped_byte_of_an_ecpay_notice_is_refused_or_invisible(
        free in value(),
        index in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
        period in any::<bool>(),
    ) {
        let (notice, fields) = if period { ("period", ecpay_period()) } else { ("payment", ecpay_paid()) };
        let body = ecpay_body(&with(fields, "CustomField1", &free));
        prop_assert!(read(&ecpay(), notice, &body).is_ok());
        let mut flipped = body.clone();
        let at = index.index(flipped.len());
        flipped[at] ^= flip;
        // Accepted only where the decoded content is the same but for letter case.
        if read(&ecpay(), notice, &flipped).is_ok() {
            prop_assert_eq!(content(&flipped), content(&body));
        }
    }

    #[test]
    fn ed_1_any_changed_value_of_an_ecpay_notice_is_refused(index in 0_usize..13, changed in value()) {
        let mut fields = ecpay_paid();
        let body = ecpay_body(&fields);
        let mac = Form::parse(&body).unwrap().get("CheckMacValue").unwrap().to_owned();
        let (_, old) = &mut fields[index];
        if !old.eq_ignore_ascii_case(&changed) {
            *old = changed;
            let forged = form::encode(as_strs(&with(fields, "CheckMacValue", &mac)));
            let refused = matches!(read(&ecpay(), "payment", forged.as_bytes()), Err(Refusal::SignatureMismatch { .. }));
            prop_assert!(refused);
        }
    }

    #[test]
    fn ed_1_what_the_ecpay_mac_does_not_see(order in any::<prop::sample::Index>(), free in value()) {
        let fields = with(ecpay_paid(), "CustomField1", &free);
        let mac = |fields: &Pairs| check_mac_value(as_strs(fields), ECPAY_KEY, ECPAY_IV, Algorithm::Sha256);
        let mut rotated = fields.clone();
        rotated.rotate_left(order.index(fields.len()));
        prop_assert_eq!(mac(&fields), mac(&rotated));
        let upper = |text: &String| text.to_ascii_uppercase();
        let folded: Pairs = fields.iter().map(|(key, value)| (upper(key), upper(value))).collect();
        prop_assert_eq!(mac(&fields), mac(&folded));
    }

    #[test]
    fn ed_1_any_flipped_byte_of_a_payuni_notice_is_refused_or_invisible(
        index in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let body = payuni_body(&payuni_paid());
        let genuine = read(&payuni(), "payment", &body).unwrap();
        let mut flipped = body.clone();
        let at = index.index(flipped.len());
        flipped[at] ^= flip;
        if let Ok(event) = read(&payuni(), "payment", &flipped) {
            // Accepted: then what is sealed is untouched, and so is the event.
            prop_assert_eq!(event, genuine);
            let sealed = |body: &[u8]| Form::parse(body).unwrap().get("EncryptInfo").unwrap().to_owned();
            prop_assert_eq!(sealed(&flipped), sealed(&body));
        }
    }

    #[test]
    fn ed_1_any_flipped_byte_of_a_signed_body_is_refused(
        payload in value(),
        index in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let body = serde_json::json!({"type": "x", "id": "evt_1", "text": payload}).to_string().into_bytes();
        let mut flipped = body.clone();
        let at = index.index(flipped.len());
        flipped[at] ^= flip;
        for (source, headers) in [
            ("crm", standard_headers(WEBHOOK_SECRET, "msg_1", "1793500000", &body)),
            ("billing", stripe_headers(WEBHOOK_SECRET, "1793500000", &body)),
        ] {
            let read = |body: &[u8]| {
                let unverified = Unverified { notice: "event", headers: &headers, body, received_at: NOW };
                sources().read(&source.parse().unwrap(), &unverified)
            };
            prop_assert!(read(&body).is_ok());
            let refused = matches!(read(&flipped), Err(Refusal::SignatureMismatch { .. }));
            prop_assert!(refused);
        }
    }

    #[test]
    fn a_form_that_parses_reads_back_the_same(fields in prop::collection::btree_map(value(), value(), 1..20)) {
        let body = form::encode(fields.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let parsed = Form::parse(body.as_bytes()).unwrap();
        prop_assert!(parsed.fields().eq(fields.iter().map(|(key, value)| (key.as_str(), value.as_str()))));
        let again = form::encode(parsed.fields());
        prop_assert_eq!(again, body);
    }

    #[test]
    fn ed_1_any_flipped_byte_of_a_signed_observation_is_refused_or_invisible(
        index in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let answer = with(without(without(ecpay_paid(), "RtnCode"), "RtnMsg"), "TradeStatus", "1");
        let payuni_row = "Status=SUCCESS&Result[0][MerTradeNo]=A1&Result[0][TradeNo]=17&Result[0][TradeAmt]=1500\
                          &Result[0][TradeStatus]=1";
        for (source, body) in [
            ("ecpay", ecpay_answer(&answer)),
            ("payuni", payuni_reply(payuni_row, None).into_bytes()),
        ] {
            let observed = |body: &[u8]| {
                let unverified = Unverified { notice: OBSERVED_PAYMENT, headers: &[], body, received_at: NOW };
                sources().read_observed(&source.parse().unwrap(), &unverified)
            };
            let genuine = observed(&body).unwrap();
            let mut flipped = body.clone();
            let at = index.index(flipped.len());
            flipped[at] ^= flip;
            // Accepted only where what is signed is the same, but for the letter case that ECPay's MAC does not see.
            if let Ok(event) = observed(&flipped) {
                let folded = |event: &Event| event.key.as_str().to_ascii_lowercase();
                prop_assert_eq!(folded(&event), folded(&genuine));
                let lower = |body: &[u8]| String::from_utf8_lossy(body).to_ascii_lowercase();
                prop_assert!(source == "payuni" || lower(&flipped) == lower(&body));
            }
        }
    }
}
