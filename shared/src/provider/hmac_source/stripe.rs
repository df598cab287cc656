//! Stripe's scheme: `stripe-signature: t=…,v1=…` over `t.body`.
//!
//! receive → **stripe** → normalise. Behaviour taken from stripe-node (reference C.4), but with a two-sided
//! tolerance: stripe-node accepts any future timestamp.
//!
//! Invariant: `t` occurs once and is signed as its own text; any `v1` may match (Stripe sends two while a secret
//! is rotated; async-stripe keeps the last only, which breaks that), and `v0` and others never count.
//! The key is the whole secret text, `whsec_` included. The event's id comes out of the verified body.

use super::{HmacSource, Key, UnusableSecret, Verified, event_id, read_payload};
use crate::crypto;
use crate::provider::{Refusal, Unverified};

const HINT: &str = "stripe-signature does not match: is this the endpoint's own signing secret, and does nothing in \
                    between rewrite the body?";

/// More items than Stripe ever sends; bounds the work for a hostile header.
const ITEMS_MAX: usize = 32;

pub(super) fn key(secret: &str) -> Result<Key, UnusableSecret> {
    if secret.is_empty() {
        Err(UnusableSecret("is empty"))
    } else {
        Ok(Key(secret.as_bytes().to_vec()))
    }
}

pub(super) fn verify(source: &HmacSource, unverified: &Unverified<'_>) -> Result<Verified, Refusal> {
    let header = unverified
        .header("stripe-signature")
        .ok_or(Refusal::Field("stripe-signature"))?;
    let timestamp = timestamp(header).ok_or(Refusal::Malformed("stripe-signature holds no single t="))?;
    let signed_at = source.check_age(timestamp, unverified.received_at)?;
    let signed = [timestamp.as_bytes(), b".", unverified.body];
    if !source.any_key_matches(&signed, |expected| any_signature_matches(header, expected)) {
        return Err(Refusal::SignatureMismatch { hint: HINT });
    }
    let (head, payload) = read_payload(unverified.body)?;
    let id = event_id(head.id.as_deref().unwrap_or_default(), "id")?;
    Ok(Verified {
        id,
        signed_at,
        head,
        payload,
    })
}

fn values<'a>(header: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let items = header
        .split(',')
        .take(ITEMS_MAX)
        .filter_map(|item| item.split_once('='));
    items
        .filter(move |(known, _)| *known == name)
        .map(|(_, value)| value)
}

fn timestamp(header: &str) -> Option<&str> {
    let mut found = values(header, "t");
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

fn any_signature_matches(header: &str, expected: &[u8; 32]) -> bool {
    values(header, "v1").fold(false, |found, given| crypto::equal_hex(expected, given) | found)
}
