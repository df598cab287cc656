//! What is fuzzed: one function a parser, each taking any bytes and checking what must hold of any result.
//!
//! `fuzz_targets/*` (libFuzzer) and the smoke test of the shared crate (seeded, always run) call the same ones.
//!
//! Invariant: no input panics, and what parses keeps its promises (reads back the same, stays bounded).

use tollgate_shared::envelope::Envelope;
use tollgate_shared::event::{Event, Fact};
use tollgate_shared::form::{self, FIELDS_MAX, Form};
use tollgate_shared::handoff::{self, HandoffKey};
use tollgate_shared::money::{Minor, Money};
use tollgate_shared::provider::ecpay::mac::{Algorithm, check_mac_value};
use tollgate_shared::provider::ecpay::{
    aes_json, do_action, observe, period_action, period_info, query, settlement_file,
};
use tollgate_shared::provider::payuni::credit::StoredCharge;
use tollgate_shared::provider::payuni::{
    cipher, credit, observe as payuni_observe, period_calls, reply, trade_calls,
};
use tollgate_shared::provider::{
    CHARGE_BY_HAND, CHARGE_REPLY, OBSERVED_PAYMENT, OBSERVED_PERIOD, Observation, Sources, Unverified,
};
use tollgate_shared::secret::{Rotating, Secret};
use tollgate_shared::session::{self, SessionRules};
use tollgate_shared::time::Timestamp;

/// A parser under test.
pub type Entry = fn(&[u8]);

/// Every parser by the name of its fuzz target.
pub const ENTRIES: [(&str, Entry); 10] = [
    ("form", form_body),
    ("ecpay_notice", ecpay_notice),
    ("ecpay_answers", ecpay_answers),
    ("ecpay_settlement_file", ecpay_settlement_file),
    ("ecpay_envelope", ecpay_envelope),
    ("payuni_notice", payuni_notice),
    ("payuni_reply", payuni_reply),
    ("hmac_source", hmac_source),
    ("session_token", session_token),
    ("hop", hop),
];

const OBSERVED: [&str; 4] = [OBSERVED_PAYMENT, OBSERVED_PERIOD, CHARGE_REPLY, CHARGE_BY_HAND];
const KEY: &str = "pwFHCqoQZGmho4w6";
const IV: &str = "EkRm7iFT261dpevs";
const PAYUNI_KEY: &str = "RustKatKey0123456789abcdefABCDEF";
const PAYUNI_IV: &str = "RustKatIV0123456";
const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW: Timestamp = Timestamp::from_unix_seconds(1_793_500_000);

/// A form that parses is bounded and reads back the same from what is written of it.
pub fn form_body(data: &[u8]) {
    for parsed in [Form::parse(data), Form::parse_raw(data)].into_iter().flatten() {
        assert!(parsed.fields().count() <= FIELDS_MAX);
        let written = form::encode(parsed.fields());
        assert_eq!(Form::parse(written.as_bytes()).as_ref(), Ok(&parsed));
    }
}

/// A notice is refused, or is an event of ECPay's.
pub fn ecpay_notice(data: &[u8]) {
    for notice in ["payment", "code", "period"] {
        read("ecpay", notice, &[], data);
    }
    // Behind the signature: the fuzzer cannot make a MAC, so sign what it made.
    if let Ok(parsed) = Form::parse(data) {
        let mac = check_mac_value(parsed.fields(), KEY, IV, Algorithm::Sha256);
        let fields = parsed.fields().filter(|(key, _)| *key != "CheckMacValue");
        let signed = form::encode(fields.chain([("CheckMacValue", mac.as_str())]));
        for notice in ["payment", "code", "period"] {
            read("ecpay", notice, &[], signed.as_bytes());
        }
    }
}

/// Answers of ECPay's queries, and what they tell.
pub fn ecpay_answers(data: &[u8]) {
    drop(period_info::read(data));
    if let Some(ecpay) = sources().ecpay() {
        drop(query::trade_info(ecpay, data));
        drop(query::payment_info(ecpay, data));
        if let Ok(order) = "T2026110100001".parse() {
            drop(period_action::reply(ecpay, &order, data));
            drop(do_action::reply(ecpay, &order, data));
        }
    }
    for notice in OBSERVED {
        read_observed("ecpay", notice, data);
    }
    observe_period(data);
}

/// The fuzzer cannot sign TradeInfo, so it makes the log: what is told reads back, and no more than is signed.
fn observe_period(log: &[u8]) {
    let signed = "MerchantID=3002607&MerchantTradeNo=SUB1&PaymentType=Credit&TotalSuccessAmount=600&TotalSuccessTimes=2\
                  &TradeAmt=300&TradeNo=1&TradeStatus=1";
    let (Ok(form), Some(ecpay)) = (Form::parse_raw(signed.as_bytes()), sources().ecpay().cloned()) else {
        return;
    };
    let mac = check_mac_value(form.fields(), KEY, IV, Algorithm::Sha256);
    let signed = format!("{signed}&CheckMacValue={mac}");
    let Ok(found) = observe::periods(&ecpay, signed.as_bytes(), log) else {
        return;
    };
    let paid = |found: &&Observation| matches!(found.event.fact, Fact::Paid(_) | Fact::PeriodPaid(..));
    assert!(found.told.iter().filter(paid).count() <= 2);
    for told in &found.told {
        assert_eq!(
            read_observed("ecpay", told.notice, &told.body).as_ref(),
            Some(&told.event)
        );
    }
}

/// ECPay's settlement file, as it came and behind a header, where a line is read or refused by its place.
pub fn ecpay_settlement_file(data: &[u8]) {
    drop(settlement_file::read(data));
    let header = "=\"廠商訂單編號\",=\"綠界訂單編號\",=\"交易金額\",=\"付款日期\",=\"交易處理費\"\r\n";
    let file = [header.as_bytes(), data].concat();
    for line in settlement_file::read(&file).into_iter().flatten() {
        assert!(line.line > 1);
        assert!(line.money.amount_minor >= Minor::ZERO);
    }
}

/// ECPay's JSON envelope.
pub fn ecpay_envelope(data: &[u8]) {
    drop(aes_json::open_response(data, KEY, IV));
    if let Ok(text) = std::str::from_utf8(data) {
        drop(aes_json::open_cbc(text, KEY, IV));
        drop(aes_json::open_gcm(text, KEY));
        if let Ok(sealed) = aes_json::seal_cbc(text, KEY, IV)
            && !text.is_empty()
        {
            assert_eq!(aes_json::open_cbc(&sealed, KEY, IV).as_deref(), Ok(text));
        }
    }
}

/// A PAYUNi notice, and the same bytes as the sealed inside of a genuine one.
pub fn payuni_notice(data: &[u8]) {
    read("payuni", "payment", &[], data);
    let Ok(inner) = std::str::from_utf8(data) else {
        return;
    };
    let Some(sealed) = cipher::seal(inner, PAYUNI_KEY, PAYUNI_IV) else {
        return;
    };
    assert_eq!(
        cipher::open(&sealed, PAYUNI_KEY, PAYUNI_IV).as_deref(),
        Some(data)
    );
    let hash = cipher::hash_info(&sealed, PAYUNI_KEY, PAYUNI_IV);
    let body = form::encode([("EncryptInfo", sealed.as_str()), ("HashInfo", &hash)]);
    read("payuni", "period", &[], body.as_bytes());
}

/// PAYUNi's server replies, outside and inside.
pub fn payuni_reply(data: &[u8]) {
    drop(reply::parse(data));
    let Some(payuni) = sources().payuni().cloned() else {
        return;
    };
    // As it came, and as the sealed inside of a genuine reply.
    let sealed = std::str::from_utf8(data).ok().and_then(sealed_reply);
    for json in [Some(data.to_vec()), sealed].into_iter().flatten() {
        drop(reply::read(&payuni, &json));
        drop(period_calls::schedule(&payuni, &json));
        drop(period_calls::change_reply(&payuni, &json));
        drop(period_calls::card_change_page(&payuni, &json));
        drop(trade_calls::trades(&payuni, &json));
        drop(trade_calls::close_reply(&payuni, &json));
        drop(credit::unbind_reply(&payuni, &json));
        for notice in OBSERVED {
            read_observed("payuni", notice, &json);
        }
        let told = [
            payuni_observe::trades(&payuni, &json),
            payuni_observe::periods(&payuni, &json),
        ];
        for told in told.into_iter().flatten().flatten() {
            assert_eq!(
                read_observed("payuni", told.notice, &told.body).as_ref(),
                Some(&told.event)
            );
        }
        if let Ok(number) = "ORD_20260901-7".parse() {
            let (money, description) = (Money::twd(299), String::new());
            let charge = StoredCharge {
                number,
                money,
                description,
                notify_url: None,
            };
            drop(payuni_observe::charge(&payuni, &charge, &json));
        }
    }
}

/// Headers and body of the generic sources; a line end divides them.
pub fn hmac_source(data: &[u8]) {
    let (head, body) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let head = String::from_utf8_lossy(head).into_owned();
    let headers = [
        ("webhook-id".to_owned(), "msg_1".to_owned()),
        ("webhook-timestamp".to_owned(), "1793500000".to_owned()),
        ("webhook-signature".to_owned(), head.clone()),
        ("stripe-signature".to_owned(), head),
    ];
    read("crm", "event", &headers, body);
    read("billing", "event", &headers, body);
}

/// A bearer token.
pub fn session_token(data: &[u8]) {
    let rules = SessionRules {
        keys: Rotating {
            current: Secret::new("secret".to_owned()),
            previous: None,
        },
        issuer: None,
        audience: "authenticated".to_owned(),
    };
    if let Ok(token) = std::str::from_utf8(data) {
        drop(session::verify(&rules, token, NOW));
    }
}

/// The hop from edge to origin: its envelope and its signature header.
pub fn hop(data: &[u8]) {
    if let Ok(envelope) = Envelope::from_json(data) {
        assert_eq!(Envelope::from_json(&envelope.to_json()).ok(), Some(envelope));
    }
    let text = String::from_utf8_lossy(data);
    let key = HandoffKey {
        id: "k".to_owned(),
        secret: Secret::new("secret".to_owned()),
    };
    let request = handoff::Request {
        method: "POST",
        path_and_query: "/internal/v1/events",
        timestamp: &text,
        delivery: "",
        subject: "",
        body: data,
    };
    let keys = Rotating {
        current: key,
        previous: None,
    };
    assert!(handoff::verify(&keys, "k", &request, &text, NOW).is_err());
}

fn sealed_reply(inner: &str) -> Option<Vec<u8>> {
    let sealed = cipher::seal(inner, PAYUNI_KEY, PAYUNI_IV)?;
    let hash = cipher::hash_info(&sealed, PAYUNI_KEY, PAYUNI_IV);
    Some(format!(r#"{{"Status":"SUCCESS","EncryptInfo":"{sealed}","HashInfo":"{hash}"}}"#).into_bytes())
}

fn read(source: &str, notice: &str, headers: &[(String, String)], body: &[u8]) {
    let Ok(source) = source.parse() else { return };
    if let Ok(event) = sources().read(
        &source,
        &Unverified {
            notice,
            headers,
            body,
            received_at: NOW,
        },
    ) {
        assert!(event.key.as_str().len() <= 250, "{}", event.key);
        assert_eq!(event.source, source);
    }
}

fn read_observed(source: &str, notice: &str, body: &[u8]) -> Option<Event> {
    let unverified = Unverified {
        notice,
        headers: &[],
        body,
        received_at: NOW,
    };
    let event = sources().read_observed(&source.parse().ok()?, &unverified).ok()?;
    assert!(event.key.as_str().len() <= 250, "{}", event.key);
    Some(event)
}

fn sources() -> Sources {
    Sources::from_lookup(&|name| {
        let value = match name {
            "ECPAY_MERCHANT_ID" => "3002607",
            "ECPAY_HASH_KEY" => KEY,
            "ECPAY_HASH_IV" => IV,
            "PAYUNI_MERCHANT_ID" => "KAT0001",
            "PAYUNI_HASH_KEY" => PAYUNI_KEY,
            "PAYUNI_HASH_IV" => PAYUNI_IV,
            "WEBHOOK_SOURCES" => "crm:standard,billing:stripe",
            "WEBHOOK_SECRET_CRM" | "WEBHOOK_SECRET_BILLING" => WEBHOOK_SECRET,
            _ => return None,
        };
        Some(value.to_owned())
    })
}
