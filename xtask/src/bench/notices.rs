//! ECPay payment notices, signed before any clock starts.
//!
//! `edge` → **`Notices`** → whole HTTP requests for `load` and for the peer check.
//!
//! Invariant: numbered, not random: notice 7 of a run is the same bytes for every worker, and no two numbers share
//! an order. The fields are those of a real `ReturnURL` body, with a Chinese `RtnMsg`.
//! Not here: sending. The merchant and its keys are ECPay's published staging ones.

use std::fmt::Write as _;

use tollgate_shared::provider::ecpay::mac::{Algorithm, check_mac_value};

pub(super) const MERCHANT_ID: &str = "3002607";
pub(super) const HASH_KEY: &str = "pwFHCqoQZGmho4w6";
pub(super) const HASH_IV: &str = "EkRm7iFT261dpevs";

/// The route that verifies and does nothing else; only in builds for the benchmark.
pub(super) const VERIFY_PATH: &str = "/bench/verify";
/// The route of the whole way: verify, keep, forward, mark delivered.
pub(super) const WEBHOOK_PATH: &str = "/api/webhooks/ecpay/payment";

/// The notice of that number as a form body.
pub(super) fn body(number: usize) -> Vec<u8> {
    encode(&signed(number, MERCHANT_ID, "交易成功"))
}

/// The same fact with another `RtnMsg`, so another MAC: how ECPay repeats a notice.
pub(super) fn repeated_body(number: usize) -> Vec<u8> {
    encode(&signed(number, MERCHANT_ID, "交易成功(重送)"))
}

/// The notice with an amount that was changed after signing.
pub(super) fn forged_body(number: usize) -> Vec<u8> {
    let mut fields = signed(number, MERCHANT_ID, "交易成功");
    for (name, value) in &mut fields {
        if *name == "TradeAmt" {
            "1".clone_into(value);
        }
    }
    encode(&fields)
}

/// A notice that names another shop, under our keys.
pub(super) fn other_merchant_body(number: usize) -> Vec<u8> {
    encode(&signed(number, "3002599", "交易成功"))
}

/// A POST of `body` as one piece of HTTP/1.1, with the header by which Cloudflare names the sender's address.
pub(super) fn request(path: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nHost: bench.invalid\r\nCF-Connecting-IP: 203.0.113.7\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn signed(number: usize, merchant: &str, message: &str) -> Vec<(&'static str, String)> {
    let mut fields: Vec<(&'static str, String)> = [
        ("CustomField1", ""),
        ("CustomField2", ""),
        ("CustomField3", ""),
        ("CustomField4", ""),
        ("MerchantID", merchant),
        ("MerchantTradeNo", &format!("B{number:012}")),
        ("PaymentDate", "2026/11/20 17:45:12"),
        ("PaymentType", "Credit_CreditCard"),
        ("PaymentTypeChargeFee", "8"),
        ("RtnCode", "1"),
        ("RtnMsg", message),
        ("SimulatePaid", "0"),
        ("StoreID", ""),
        ("TradeAmt", "300"),
        ("TradeDate", "2026/11/20 17:44:01"),
        ("TradeNo", &format!("2611201744{number:010}")),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    let mac = check_mac_value(
        fields.iter().map(|(name, value)| (*name, value.as_str())),
        HASH_KEY,
        HASH_IV,
        Algorithm::Sha256,
    );
    fields.push(("CheckMacValue", mac));
    fields
}

fn encode(fields: &[(&str, String)]) -> Vec<u8> {
    let mut text = String::with_capacity(512);
    for (name, value) in fields {
        let separator = if text.is_empty() { "" } else { "&" };
        let _infallible = write!(text, "{separator}{name}=");
        text.extend(form_urlencoded::byte_serialize(value.as_bytes()));
    }
    text.into_bytes()
}
