//! AES in the three modes that the providers use.
//!
//! Thin names over RustCrypto: GCM for PAYUNi ([`Aes256Gcm16`]) and for ECPay's JSON products ([`Aes128Gcm12`]), one code
//! for both as they differ in key and nonce only; AES-128-CBC with PKCS#7 for ECPay's JSON products too.
//!
//! Invariant: opening answers `None` for every failure alike (length, padding, tag), so that no caller can
//! turn the difference into a padding oracle; sealing answers `None` only for a key or nonce of wrong length.
//! Not here: encodings around the bytes (`provider::*`).

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::consts::{U12, U16};
use aes::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use aes::{Aes128, Aes256};
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, AesGcm, KeyInit};

/// Bytes of a GCM tag.
pub const TAG_LENGTH: usize = 16;

/// AES-256-GCM with a nonce of 16 bytes, all of which count: GCM hashes one that is not 12 bytes long.
pub type Aes256Gcm16 = AesGcm<Aes256, U16>;
/// AES-128-GCM with the standard nonce of 12 bytes.
pub type Aes128Gcm12 = AesGcm<Aes128, U12>;

/// Ciphertext and tag of a GCM cipher, without associated data.
#[must_use]
pub fn seal_gcm<C>(key: &[u8], nonce: &[u8], plaintext: &[u8]) -> Option<(Vec<u8>, [u8; TAG_LENGTH])>
where
    C: KeyInit + AeadInOut<TagSize = U16>,
{
    let cipher = C::new_from_slice(key).ok()?;
    let mut buffer = plaintext.to_vec();
    let nonce = nonce.try_into().ok()?;
    let tag = cipher
        .encrypt_inout_detached(nonce, b"", InOutBuf::from(buffer.as_mut_slice()))
        .ok()?;
    Some((buffer, tag.into()))
}

/// Opens what [`seal_gcm`] seals under the same cipher.
#[must_use]
pub fn open_gcm<C>(key: &[u8], nonce: &[u8], ciphertext: &[u8], tag: &[u8]) -> Option<Vec<u8>>
where
    C: KeyInit + AeadInOut<TagSize = U16>,
{
    let cipher = C::new_from_slice(key).ok()?;
    let mut buffer = ciphertext.to_vec();
    let (nonce, tag) = (nonce.try_into().ok()?, tag.try_into().ok()?);
    cipher
        .decrypt_inout_detached(nonce, b"", InOutBuf::from(buffer.as_mut_slice()), tag)
        .ok()?;
    Some(buffer)
}

/// AES-128-CBC with PKCS#7 padding.
#[must_use]
pub fn seal_aes128_cbc(key: &[u8], iv: &[u8], plaintext: &[u8]) -> Option<Vec<u8>> {
    let cipher = cbc::Encryptor::<Aes128>::new_from_slices(key, iv).ok()?;
    Some(cipher.encrypt_padded_vec::<Pkcs7>(plaintext))
}

/// Opens what [`seal_aes128_cbc`] seals. CBC proves nothing about who sealed it.
#[must_use]
pub fn open_aes128_cbc(key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Option<Vec<u8>> {
    let cipher = cbc::Decryptor::<Aes128>::new_from_slices(key, iv).ok()?;
    cipher.decrypt_padded_vec::<Pkcs7>(ciphertext).ok()
}
