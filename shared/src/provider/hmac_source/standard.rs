//! Standard Webhooks: `webhook-signature` over `id.timestamp.body`.
//!
//! receive → **standard** → normalise. Specification: standardwebhooks.com; vectors of its own libraries.
//!
//! Invariant: the three headers are there once, the id cannot reach into the timestamp (no `.`), and only
//! `v1` signatures count (`v1a` is asymmetric and not accepted here).
//! The secret is `whsec_` and base64, *decoded* to the key; Stripe's looks the same and is not decoded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{HmacSource, Key, UnusableSecret, Verified, event_id, read_payload};
use crate::crypto;
use crate::provider::{Refusal, Unverified};

const HINT: &str = "webhook-signature does not match: is this the source's current whsec_ secret, and does nothing in \
                    between rewrite the body?";

pub(super) fn key(secret: &str) -> Result<Key, UnusableSecret> {
    let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
    match STANDARD.decode(encoded) {
        Ok(bytes) if bytes.len() >= 16 => Ok(Key(bytes)),
        Ok(_) => Err(UnusableSecret(
            "must hold at least 16 bytes (24 or more are recommended)",
        )),
        Err(_) => Err(UnusableSecret("must be whsec_ followed by base64")),
    }
}

pub(super) fn verify(source: &HmacSource, unverified: &Unverified<'_>) -> Result<Verified, Refusal> {
    let id = unverified
        .header("webhook-id")
        .ok_or(Refusal::Field("webhook-id"))?;
    let timestamp = unverified
        .header("webhook-timestamp")
        .ok_or(Refusal::Field("webhook-timestamp"))?;
    let signatures = unverified
        .header("webhook-signature")
        .ok_or(Refusal::Field("webhook-signature"))?;
    let id = event_id(id, "webhook-id")?;
    let signed_at = source.check_age(timestamp, unverified.received_at)?;
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", unverified.body];
    if !source.any_key_matches(&signed, |expected| any_signature_matches(signatures, expected)) {
        return Err(Refusal::SignatureMismatch { hint: HINT });
    }
    let (head, payload) = read_payload(unverified.body)?;
    Ok(Verified {
        id,
        signed_at,
        head,
        payload,
    })
}

fn any_signature_matches(signatures: &str, expected: &[u8; 32]) -> bool {
    signatures
        .split(' ')
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .filter_map(|encoded| STANDARD.decode(encoded).ok())
        .fold(false, |found, given| crypto::equal(expected, &given) | found)
}
