//! PAYUNi's envelope: AES-256-GCM, and a hash over what travels.
//!
//! `checkout` and the sandbox **seal**; `verify` and `reply` **open**, always after the hash was compared.
//!
//! EncryptInfo is lower-case hex of the ASCII text `base64(ciphertext):::base64(tag)`; HashInfo is upper-case hex
//! of SHA-256 over HashKey, EncryptInfo and HashIV (reference A.1; official samples #/7/312, #/7/343).
//! The nonce is all 16 bytes of HashIV, the same for every message: that is how PAYUNi works and cannot be
//! avoided here, so the scheme is weak against somebody who sees many messages; money decisions also rest
//! on TLS and on querying back. Every failure to open is one `None`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::crypto;
use crate::crypto::cipher::{self, Aes256Gcm16};

const SEPARATOR: &str = ":::";

/// Seals a form body. `None`: the key has not 32 bytes, or the IV not 16.
#[must_use]
pub fn seal(plaintext: &str, hash_key: &str, hash_iv: &str) -> Option<String> {
    let (ciphertext, tag) =
        cipher::seal_gcm::<Aes256Gcm16>(hash_key.as_bytes(), hash_iv.as_bytes(), plaintext.as_bytes())?;
    Some(hex::encode(
        [STANDARD.encode(ciphertext), STANDARD.encode(tag)].join(SEPARATOR),
    ))
}

/// Opens an EncryptInfo to its bytes: a form body when PAYUNi sealed it.
#[must_use]
pub fn open(encrypt_info: &str, hash_key: &str, hash_iv: &str) -> Option<Vec<u8>> {
    let joined = String::from_utf8(hex::decode(encrypt_info).ok()?).ok()?;
    let (ciphertext, tag) = joined.split_once(SEPARATOR)?;
    let (ciphertext, tag) = (STANDARD.decode(ciphertext).ok()?, STANDARD.decode(tag).ok()?);
    cipher::open_gcm::<Aes256Gcm16>(hash_key.as_bytes(), hash_iv.as_bytes(), &ciphertext, &tag)
}

/// The HashInfo of an EncryptInfo, over its text exactly as it travels.
#[must_use]
pub fn hash_info(encrypt_info: &str, hash_key: &str, hash_iv: &str) -> String {
    hex::encode_upper(digest(encrypt_info, hash_key, hash_iv))
}

/// The hash's bytes, for a comparison in constant time.
pub(super) fn digest(encrypt_info: &str, hash_key: &str, hash_iv: &str) -> [u8; 32] {
    crypto::sha256([hash_key, encrypt_info, hash_iv].concat().as_bytes())
}
