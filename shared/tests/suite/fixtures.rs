//! Merchants, keys and signed notices for the tests.
//!
//! The keys are ECPay's published stage keys and made-up ones. A notice is built from plain fields, signed as the
//! provider would, and can be changed before or after signing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tollgate_shared::crypto;
use tollgate_shared::event::Event;
use tollgate_shared::form;
use tollgate_shared::provider::ecpay::mac::{Algorithm, check_mac_value};
use tollgate_shared::provider::ecpay::{Ecpay, EcpayKeys};
use tollgate_shared::provider::payuni::{Payuni, PayuniKeys, cipher};
use tollgate_shared::provider::{Provider, Refusal, Sources, Unverified};
use tollgate_shared::secret::{Rotating, Secret};
use tollgate_shared::time::Timestamp;

pub(crate) const ECPAY_KEY: &str = "pwFHCqoQZGmho4w6";
pub(crate) const ECPAY_IV: &str = "EkRm7iFT261dpevs";
pub(crate) const ECPAY_KEY_BEFORE: &str = "5294y06JbISpM5x9";
pub(crate) const ECPAY_IV_BEFORE: &str = "v77hoKGq4kWxNNIS";
pub(crate) const PAYUNI_KEY: &str = "RustKatKey0123456789abcdefABCDEF";
pub(crate) const PAYUNI_IV: &str = "RustKatIV0123456";
pub(crate) const PAYUNI_KEY_BEFORE: &str = "12345678901234567890123456789012";
pub(crate) const PAYUNI_IV_BEFORE: &str = "1234567890123456";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const WEBHOOK_SECRET_BEFORE: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_793_500_000);

/// Fields of a form, in order.
pub(crate) type Pairs = Vec<(String, String)>;

pub(crate) fn pairs(fields: &[(&str, &str)]) -> Pairs {
    fields
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Replaces a field, or adds it.
pub(crate) fn with(mut fields: Pairs, key: &str, value: &str) -> Pairs {
    match fields.iter_mut().find(|(known, _)| known == key) {
        Some((_, old)) => value.clone_into(old),
        None => fields.push((key.to_owned(), value.to_owned())),
    }
    fields
}

pub(crate) fn without(mut fields: Pairs, key: &str) -> Pairs {
    fields.retain(|(known, _)| known != key);
    fields
}

pub(crate) fn as_strs(fields: &Pairs) -> impl Iterator<Item = (&str, &str)> {
    fields.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}

/// The vectors of a file; an empty file fails here rather than passing every loop.
pub(crate) fn vectors(json: &str, count_min: usize) -> Vec<Value> {
    let entries: Vec<Value> = serde_json::from_str(json).unwrap();
    assert!(
        entries.len() >= count_min,
        "{} entries, expected {count_min}",
        entries.len()
    );
    entries
}

pub(crate) fn ecpay() -> Ecpay {
    ecpay_of("3002607")
}

/// A shop with those keys.
pub(crate) fn ecpay_of(merchant: &str) -> Ecpay {
    let keys = |key: &str, iv: &str| EcpayKeys {
        hash_key: Secret::new(key.into()),
        hash_iv: Secret::new(iv.into()),
    };
    let rotating = Rotating {
        current: keys(ECPAY_KEY, ECPAY_IV),
        previous: Some(keys(ECPAY_KEY_BEFORE, ECPAY_IV_BEFORE)),
    };
    Ecpay::new("ecpay".parse().unwrap(), merchant.parse().unwrap(), rotating)
}

pub(crate) fn payuni() -> Payuni {
    let keys = |key: &str, iv: &str| PayuniKeys {
        hash_key: Secret::new(key.into()),
        hash_iv: Secret::new(iv.into()),
    };
    let rotating = Rotating {
        current: keys(PAYUNI_KEY, PAYUNI_IV),
        previous: Some(keys(PAYUNI_KEY_BEFORE, PAYUNI_IV_BEFORE)),
    };
    Payuni::new("payuni".parse().unwrap(), "KAT0001".parse().unwrap(), rotating)
}

/// Settings with every source in them, the previous keys too.
pub(crate) fn sources() -> Sources {
    Sources::from_lookup(&|name| {
        let value = match name {
            "PAYMENT_PROVIDER" => "ecpay",
            "ECPAY_MERCHANT_ID" => "3002607",
            "ECPAY_HASH_KEY" => ECPAY_KEY,
            "ECPAY_HASH_IV" => ECPAY_IV,
            "ECPAY_HASH_KEY_PREVIOUS" => ECPAY_KEY_BEFORE,
            "ECPAY_HASH_IV_PREVIOUS" => ECPAY_IV_BEFORE,
            "PAYUNI_MERCHANT_ID" => "KAT0001",
            "PAYUNI_HASH_KEY" => PAYUNI_KEY,
            "PAYUNI_HASH_IV" => PAYUNI_IV,
            "PAYUNI_HASH_KEY_PREVIOUS" => PAYUNI_KEY_BEFORE,
            "PAYUNI_HASH_IV_PREVIOUS" => PAYUNI_IV_BEFORE,
            "WEBHOOK_SOURCES" => "crm:standard, billing:stripe",
            "WEBHOOK_SECRET_CRM" | "WEBHOOK_SECRET_BILLING" => WEBHOOK_SECRET,
            "WEBHOOK_SECRET_CRM_PREVIOUS" | "WEBHOOK_SECRET_BILLING_PREVIOUS" => WEBHOOK_SECRET_BEFORE,
            _ => return None,
        };
        Some(value.to_owned())
    })
}

/// ECPay's ReturnURL fields for a paid order.
pub(crate) fn ecpay_paid() -> Pairs {
    pairs(&[
        ("CustomField1", ""),
        ("MerchantID", "3002607"),
        ("MerchantTradeNo", "T2026110100001"),
        ("PaymentDate", "2026/11/01 09:31:02"),
        ("PaymentType", "Credit_CreditCard"),
        ("PaymentTypeChargeFee", "8.25"),
        ("RtnCode", "1"),
        ("RtnMsg", "交易成功"),
        ("SimulatePaid", "0"),
        ("StoreID", ""),
        ("TradeAmt", "300"),
        ("TradeDate", "2026/11/01 09:30:00"),
        ("TradeNo", "2611010930001234"),
    ])
}

/// ECPay's PaymentInfoURL fields for an account to transfer to.
pub(crate) fn ecpay_atm_code() -> Pairs {
    pairs(&[
        ("MerchantID", "3002607"),
        ("MerchantTradeNo", "T2026110100001"),
        ("RtnCode", "2"),
        ("RtnMsg", "Get VirtualAccount Succeeded"),
        ("TradeNo", "2611010930001234"),
        ("TradeAmt", "300"),
        ("PaymentType", "ATM_TAISHIN"),
        ("TradeDate", "2026/11/01 09:30:00"),
        ("BankCode", "812"),
        ("vAccount", "9103522175887271"),
        ("ExpireDate", "2026/11/04"),
    ])
}

/// ECPay's PeriodReturnURL fields for the second charge.
pub(crate) fn ecpay_period() -> Pairs {
    pairs(&[
        ("MerchantID", "3002607"),
        ("MerchantTradeNo", "SUB20261101000001"),
        ("StoreID", ""),
        ("RtnCode", "1"),
        ("RtnMsg", "交易成功"),
        ("PeriodType", "M"),
        ("Frequency", "1"),
        ("ExecTimes", "12"),
        ("Amount", "300"),
        ("Gwsr", "12345678"),
        ("ProcessDate", "2026/12/01 03:00:11"),
        ("AuthCode", "777777"),
        ("FirstAuthAmount", "300"),
        ("TotalSuccessTimes", "2"),
    ])
}

/// A form body with the MAC of the given keys.
pub(crate) fn ecpay_body_under(fields: &Pairs, key: &str, iv: &str) -> Vec<u8> {
    let mac = check_mac_value(as_strs(fields), key, iv, Algorithm::Sha256);
    form::encode(as_strs(&with(fields.clone(), "CheckMacValue", &mac))).into_bytes()
}

pub(crate) fn ecpay_body(fields: &Pairs) -> Vec<u8> {
    ecpay_body_under(fields, ECPAY_KEY, ECPAY_IV)
}

/// PAYUNi's inner fields for a paid card payment.
pub(crate) fn payuni_paid() -> Pairs {
    pairs(&[
        ("Status", "SUCCESS"),
        ("Message", "授權成功"),
        ("MerID", "KAT0001"),
        ("MerTradeNo", "ORD_20260901-7"),
        ("TradeNo", "1756691969756516958"),
        ("TradeAmt", "1500"),
        ("TradeStatus", "1"),
        ("PaymentType", "1"),
        ("AuthDay", "20260901"),
        ("AuthTime", "112929"),
    ])
}

/// PAYUNi's inner fields for a paid period.
pub(crate) fn payuni_period() -> Pairs {
    pairs(&[
        ("Status", "SUCCESS"),
        ("Message", "授權成功"),
        ("MerchantId", "KAT0001"),
        ("AuthTime", "112928"),
        ("AuthDay", "20260905"),
        ("MerTradeNo", "SUB-20260901-0001"),
        ("PeriodTradeNo", "20260901112904KatPrd"),
        ("TradeNo", "1756691969756516957"),
        ("PeriodOrderNo", "SUB-20260901-0001_2"),
        ("AuthAmt", "299"),
        ("TotalTimes", "12"),
        ("ThisPeriod", "2"),
        ("ResCode", "00"),
    ])
}

pub(crate) fn payuni_body_under(inner: &Pairs, outer_merchant: &str, key: &str, iv: &str) -> Vec<u8> {
    let sealed = cipher::seal(&form::encode(as_strs(inner)), key, iv).unwrap();
    let hash = cipher::hash_info(&sealed, key, iv);
    form::encode([
        ("Status", "SUCCESS"),
        ("MerID", outer_merchant),
        ("Version", "1.0"),
        ("EncryptInfo", &sealed),
        ("HashInfo", &hash),
    ])
    .into_bytes()
}

pub(crate) fn payuni_body(inner: &Pairs) -> Vec<u8> {
    payuni_body_under(inner, "KAT0001", PAYUNI_KEY, PAYUNI_IV)
}

/// The three headers of Standard Webhooks.
pub(crate) fn standard_headers(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> Pairs {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    let signature = format!("v1,{}", STANDARD.encode(crypto::hmac_sha256(&key, &signed)));
    pairs(&[
        ("webhook-id", id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", &signature),
    ])
}

/// Stripe's one header.
pub(crate) fn stripe_headers(secret: &str, timestamp: &str, body: &[u8]) -> Pairs {
    let signed = [timestamp.as_bytes(), b".", body].concat();
    let signature = hex::encode(crypto::hmac_sha256(secret.as_bytes(), &signed));
    pairs(&[("stripe-signature", &format!("t={timestamp},v1={signature}"))])
}

pub(crate) fn read<P: Provider>(provider: &P, notice: &str, body: &[u8]) -> Result<Event, Refusal> {
    let unverified = Unverified {
        notice,
        headers: &[],
        body,
        received_at: NOW,
    };
    provider.normalise(provider.verify(&unverified)?)
}

/// ECPay's raw answer: not percent-encoded.
pub(crate) fn ecpay_answer(fields: &Pairs) -> Vec<u8> {
    let mac = check_mac_value(as_strs(fields), ECPAY_KEY, ECPAY_IV, Algorithm::Sha256);
    let fields = with(fields.clone(), "CheckMacValue", &mac);
    let lines: Vec<String> = fields
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    lines.join("&").into_bytes()
}

/// A server's reply around a sealed form; `hash` replaces the genuine HashInfo.
pub(crate) fn payuni_reply(inner: &str, hash: Option<&str>) -> String {
    let sealed = cipher::seal(inner, PAYUNI_KEY, PAYUNI_IV).unwrap();
    let hash = hash.map_or_else(
        || cipher::hash_info(&sealed, PAYUNI_KEY, PAYUNI_IV),
        str::to_owned,
    );
    format!(
        r#"{{"Status":"SUCCESS","MerID":"KAT0001","Version":"1.2","EncryptInfo":"{sealed}","HashInfo":"{hash}"}}"#
    )
}
