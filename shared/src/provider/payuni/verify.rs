//! Step 2 for PAYUNi: is this notice PAYUNi's?
//!
//! receive → **verify** → normalise. The only maker of PAYUNi's `Verified`.
//!
//! In this order (reference A.1): HashInfo over EncryptInfo exactly as received, in constant time, under the current
//! and then the previous keys; then GCM; then the inner form; then the two merchant ids. HashInfo is what authenticates:
//! PAYUNi's nonce is constant, and a GCM tag under a repeated nonce proves nothing to who has seen two messages. The
//! tag is checked because a hash that matches over text that does not open is a fault.
//! Invariant: the outer `Status` and `MerID` are not signed. Meaning comes from the inner fields only, and an
//! outer MerID that contradicts the inner one is refused, so that nothing may route or log by a forged one.

pub(super) mod observed;

use super::{PayuniKeys, cipher};
use crate::crypto;
use crate::form::Form;
use crate::id::MerchantId;
use crate::provider::{Refusal, Unverified};
use crate::secret::Rotating;

const HINT: &str = "HashInfo does not match: are HashKey and HashIV the stage keys, without a line end?";

/// A notice whose HashInfo and GCM tag were checked.
#[derive(Debug)]
pub struct Verified {
    pub(super) merchant: MerchantId,
    pub(super) inner: Form,
}

pub(super) fn verify(keys: &Rotating<PayuniKeys>, unverified: &Unverified<'_>) -> Result<Verified, Refusal> {
    if !matches!(unverified.notice, "payment" | "period" | "return") {
        return Err(Refusal::UnknownNotice);
    }
    let outer = Form::parse(unverified.body).map_err(Refusal::Form)?;
    let encrypt_info = outer.get("EncryptInfo").ok_or(Refusal::Field("EncryptInfo"))?;
    let hash_info = outer.get("HashInfo").ok_or(Refusal::Field("HashInfo"))?;
    let plaintext = open(keys, encrypt_info, hash_info)?;
    let inner = Form::parse(&plaintext).map_err(Refusal::Form)?;
    // Period notices spell it `MerchantId`, everything else `MerID` (A.6).
    let named = inner
        .get("MerID")
        .or_else(|| inner.get("MerchantId"))
        .and_then(|text| text.parse().ok());
    let merchant: MerchantId = named.ok_or(Refusal::Field("MerID"))?;
    if outer
        .get("MerID")
        .is_some_and(|outer_merchant| outer_merchant != merchant.as_str())
    {
        return Err(Refusal::Malformed("the outer MerID is not the sealed one"));
    }
    Ok(Verified { merchant, inner })
}

/// Compares the hash, then opens. Also for server replies.
pub(super) fn open(
    keys: &Rotating<PayuniKeys>,
    encrypt_info: &str,
    hash_info: &str,
) -> Result<Vec<u8>, Refusal> {
    let mismatch = Refusal::SignatureMismatch { hint: HINT };
    let matching = keys.accepted().find(|keys| {
        let expected = cipher::digest(encrypt_info, keys.hash_key.expose(), keys.hash_iv.expose());
        crypto::equal_hex(&expected, hash_info)
    });
    let keys = matching.ok_or(mismatch)?;
    cipher::open(encrypt_info, keys.hash_key.expose(), keys.hash_iv.expose()).ok_or(Refusal::Malformed(
        "EncryptInfo does not open under the key that its HashInfo matches",
    ))
}
