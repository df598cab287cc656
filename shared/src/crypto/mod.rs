//! Digests, MACs and comparisons, as the provider protocols need them.
//!
//! Thin names over RustCrypto, so that a protocol file reads like the provider's page.
//!
//! Invariant: every comparison of a secret-derived value is in constant time over decoded bytes of equal length.
//! Not here: which bytes are signed (each provider's `verify`). Nothing here can fail on input but `equal_hex`,
//! which answers `false`, and the ciphers (`crypto::cipher`), which answer `None`.

pub mod cipher;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// SHA-256.
#[must_use]
pub fn sha256(message: &[u8]) -> [u8; 32] {
    Sha256::digest(message).into()
}

/// HMAC-SHA256 (RFC 2104) under a key of any length.
///
/// The key block is prepared here, because the ready-made constructor for keys of any length answers a
/// `Result` that cannot fail, and an impossible error needs a panic path.
#[must_use]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        fill(&mut block, &sha256(key));
    } else {
        fill(&mut block, key);
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn fill(block: &mut [u8; 64], bytes: &[u8]) {
    for (slot, byte) in block.iter_mut().zip(bytes) {
        *slot = *byte;
    }
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

#[cfg(test)]
mod tests {
    use super::{equal_hex, hmac_sha256};

    #[test]
    fn hmac_matches_rfc_4231() {
        for (key, message, expected) in [
            (
                vec![0x0b; 20],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                // Case 6: longer than the block, so that the key itself is hashed first.
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex::encode(hmac_sha256(&key, message)), expected);
        }
    }

    #[test]
    fn hex_of_another_length_or_alphabet_is_unequal() {
        assert!(equal_hex(&[0xab, 0xcd], "abCD"));
        for bad in ["", "ab", "abcdef", "abcg", "abcd ", "ａｂｃｄ"] {
            assert!(!equal_hex(&[0xab, 0xcd], bad), "{bad:?}");
        }
    }
}
