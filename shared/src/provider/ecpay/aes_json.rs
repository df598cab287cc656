//! The JSON envelope of ECPay's newer products (embedded checkout, back-end authorisation, e-invoice).
//!
//! `Data` is base64 of AES over the `urlencode`d JSON text, phpurlencoded (§1.9): AES-128-CBC with HashKey and
//! HashIV for most; AES-128-GCM, IV ‖ ciphertext ‖ tag, for the e-receipt where switched on.
//!
//! Invariant: what opens is UTF-8 JSON text; every failure is one error. CBC proves nothing about the sender,
//! so an envelope's content is a hint to query, never money by itself; no notice of Tollgate is read from it.
//! Not here: the products' fields, and making the nonce for GCM (it must never repeat; the caller owns randomness).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::mac::php_url_encode;
use crate::crypto::cipher::{self, Aes128Gcm12};
use crate::form::Form;
use crate::time::Timestamp;

/// Bytes of the nonce in front of a GCM ciphertext.
pub const GCM_NONCE_LENGTH: usize = 12;

/// Why an envelope cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// HashKey or HashIV does not have 16 bytes.
    #[error("HashKey and HashIV must have 16 bytes each")]
    Keys,
    /// The data does not open: wrong keys, or damaged.
    #[error("Data does not open with these keys")]
    Sealed,
    /// Not the JSON of a response envelope.
    #[error("not a response envelope")]
    Malformed,
    /// `TransCode` is not 1: the call itself was refused, and `Data` holds nothing.
    #[error("TransCode {code}: {message}")]
    Refused {
        /// `TransCode`
        code: i64,
        /// `TransMsg`
        message: String,
    },
}

/// What is posted to a JSON product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// The merchant.
    #[serde(rename = "MerchantID")]
    pub merchant_id: String,
    /// When it was made; valid for ten minutes.
    #[serde(rename = "RqHeader")]
    pub header: RequestHeader,
    /// The sealed JSON.
    #[serde(rename = "Data")]
    pub data: String,
}

/// `RqHeader`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestHeader {
    /// Unix seconds.
    #[serde(rename = "Timestamp")]
    pub timestamp: i64,
    /// `3.0.0` for B2C e-invoices, absent for the payment products.
    #[serde(rename = "Revision", skip_serializing_if = "Option::is_none")]
    pub revision: Option<&'static str>,
}

#[derive(Deserialize)]
struct Response {
    #[serde(rename = "TransCode")]
    trans_code: i64,
    #[serde(rename = "TransMsg", default)]
    trans_msg: String,
    #[serde(rename = "Data", default)]
    data: String,
}

/// Puts JSON text into a request of the payment products.
pub fn request(
    merchant_id: &str,
    json: &str,
    hash_key: &str,
    hash_iv: &str,
    now: Timestamp,
) -> Result<Request, EnvelopeError> {
    Ok(Request {
        merchant_id: merchant_id.to_owned(),
        header: RequestHeader {
            timestamp: now.unix_seconds(),
            revision: None,
        },
        data: seal_cbc(json, hash_key, hash_iv)?,
    })
}

/// Opens a response's `Data`. The inner `RtnCode` (an integer here) is the caller's to check as well.
pub fn open_response(body: &[u8], hash_key: &str, hash_iv: &str) -> Result<Value, EnvelopeError> {
    let response: Response = serde_json::from_slice(body).map_err(|_| EnvelopeError::Malformed)?;
    if response.trans_code != 1 {
        return Err(EnvelopeError::Refused {
            code: response.trans_code,
            message: response.trans_msg,
        });
    }
    let json = open_cbc(&response.data, hash_key, hash_iv)?;
    serde_json::from_str(&json).map_err(|_| EnvelopeError::Malformed)
}

/// Seals JSON text with AES-128-CBC.
pub fn seal_cbc(json: &str, hash_key: &str, hash_iv: &str) -> Result<String, EnvelopeError> {
    let encoded = php_url_encode(json);
    cipher::seal_aes128_cbc(hash_key.as_bytes(), hash_iv.as_bytes(), encoded.as_bytes())
        .map(|sealed| STANDARD.encode(sealed))
        .ok_or(EnvelopeError::Keys)
}

/// Opens what [`seal_cbc`] seals: JSON text.
pub fn open_cbc(data: &str, hash_key: &str, hash_iv: &str) -> Result<String, EnvelopeError> {
    let sealed = STANDARD.decode(data).map_err(|_| EnvelopeError::Sealed)?;
    let encoded = cipher::open_aes128_cbc(hash_key.as_bytes(), hash_iv.as_bytes(), &sealed);
    decode(&encoded.ok_or(EnvelopeError::Sealed)?)
}

/// Seals JSON text with AES-128-GCM under a nonce that this key has never seen.
pub fn seal_gcm(json: &str, hash_key: &str, nonce: [u8; GCM_NONCE_LENGTH]) -> Result<String, EnvelopeError> {
    let encoded = php_url_encode(json);
    let (ciphertext, tag) = cipher::seal_gcm::<Aes128Gcm12>(hash_key.as_bytes(), &nonce, encoded.as_bytes())
        .ok_or(EnvelopeError::Keys)?;
    Ok(STANDARD.encode([&nonce[..], &ciphertext, &tag].concat()))
}

/// Opens what [`seal_gcm`] seals: JSON text.
pub fn open_gcm(data: &str, hash_key: &str) -> Result<String, EnvelopeError> {
    let sealed = STANDARD.decode(data).map_err(|_| EnvelopeError::Sealed)?;
    let parts = sealed
        .split_at_checked(GCM_NONCE_LENGTH)
        .and_then(|(nonce, rest)| {
            let (ciphertext, tag) = rest.split_at_checked(rest.len().checked_sub(cipher::TAG_LENGTH)?)?;
            cipher::open_gcm::<Aes128Gcm12>(hash_key.as_bytes(), nonce, ciphertext, tag)
        });
    decode(&parts.ok_or(EnvelopeError::Sealed)?)
}

fn decode(encoded: &[u8]) -> Result<String, EnvelopeError> {
    // One value without a name, so `&` and `=` (escaped in a rightly made text) would show a wrong maker.
    let form = Form::parse(encoded).map_err(|_| EnvelopeError::Sealed)?;
    let mut fields = form.fields();
    match (fields.next(), fields.next()) {
        (Some((json, "")), None) => Ok(json.to_owned()),
        _ => Err(EnvelopeError::Sealed),
    }
}
