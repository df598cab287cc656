//! Digests, MACs and comparisons, as the provider protocols need them.
//!
//! Thin names over RustCrypto, so that a protocol file reads like the provider's page.
//!
//! Invariant: every comparison of a secret-derived value is in constant time over decoded bytes of equal length.
//! Not here: which bytes are signed (each provider's `verify`). Nothing here can fail on input but `equal_hex`,
//! which answers `false`.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// SHA-256.
#[must_use]
pub fn sha256(message: &[u8]) -> [u8; 32] {
    Sha256::digest(message).into()
}

/// HMAC-SHA256 (RFC 2104) under a key of any length.
#[must_use]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes a key of any length (RFC 2104 §2)")
    };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Whether `hex` (either case) is the expected digest.
#[must_use]
pub fn equal_hex(expected: &[u8], hex: &str) -> bool {
    hex::decode(hex).is_ok_and(|given| equal(expected, &given))
}

/// Constant-time equality; different lengths are unequal.
#[must_use]
pub fn equal(expected: &[u8], given: &[u8]) -> bool {
    expected.ct_eq(given).into()
}
