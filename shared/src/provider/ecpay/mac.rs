//! ECPay's CheckMacValue: what it is computed over, byte for byte.
//!
//! `checkout` and `query` sign with it; **`verify`** compares it.
//!
//! The algorithm (ECPay p=2902, reference §1.1): drop the field `CheckMacValue`; sort by key, ignoring case; join as
//! `HashKey=…&k=v&…&HashIV=…`, raw; encode the whole text as .NET's `HttpUtility.UrlEncode` does; lower-case;
//! hash; upper-case hex. Everything is written into one buffer that is hashed once.
//!
//! Invariant: the result depends on nothing but the fields, the keys and the algorithm; the order in which the
//! fields arrive does not matter. What the MAC does *not* protect is listed in `verify`.
//! Not here: comparing (constant time, `crypto`). Nothing here can fail.

use md5::Md5;
use sha2::{Digest as _, Sha256};

/// The field that holds the MAC, and so is not part of it.
pub const FIELD: &str = "CheckMacValue";

/// The hash of a CheckMacValue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `EncryptType=1`: AIO payments and their notices.
    Sha256,
    /// Legacy `EncryptType=0`, domestic logistics, and the e-invoice allowance callback (ECPay p=38242).
    Md5,
}

/// Computes the CheckMacValue of decoded fields, in upper-case hex (64 digits; 32 for MD5).
#[must_use]
pub fn check_mac_value<'a>(
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    hash_key: &str,
    hash_iv: &str,
    algorithm: Algorithm,
) -> String {
    hex::encode_upper(digest(fields, hash_key, hash_iv, algorithm))
}

/// The MAC's bytes, for a comparison in constant time.
pub(super) fn digest<'a>(
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    hash_key: &str,
    hash_iv: &str,
    algorithm: Algorithm,
) -> Vec<u8> {
    let preimage = preimage(fields, hash_key, hash_iv);
    match algorithm {
        Algorithm::Sha256 => Sha256::digest(&preimage).to_vec(),
        Algorithm::Md5 => Md5::digest(&preimage).to_vec(),
    }
}

/// `UPPER(SHA256(lower(phpurlencode(HashKey + json + HashIV))))`: the e-ticket callbacks' formula, which looks
/// alike and is another one (no sorting, no labels, `!*()` stay escaped; ECPay p=32236, reference §1.1.6).
#[must_use]
pub fn ecticket_check_mac_value(json: &str, hash_key: &str, hash_iv: &str) -> String {
    let encoded: String = [hash_key, json, hash_iv]
        .into_iter()
        .map(php_url_encode)
        .collect();
    hex::encode_upper(Sha256::digest(encoded.to_ascii_lowercase()))
}

/// .NET's `HttpUtility.UrlEncode`, lower-cased (reference §1.1.2 has the whole table).
#[must_use]
pub fn url_encode(text: &str) -> String {
    let mut encoded = Vec::with_capacity(text.len());
    encode_into(text.as_bytes(), &mut encoded);
    String::from_utf8(encoded).unwrap_or_default()
}

/// PHP's `urlencode`: as the AES envelopes want it; upper-case hex, and only `-_.` stay unescaped.
#[must_use]
pub fn php_url_encode(text: &str) -> String {
    // WHATWG's serialiser differs from PHP's in one character.
    form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('*', "%2A")
}

fn preimage<'a>(
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    hash_key: &str,
    hash_iv: &str,
) -> Vec<u8> {
    let mut sorted: Vec<(&str, &str)> = fields.into_iter().filter(|(key, _)| *key != FIELD).collect();
    // Case-insensitive: six recorded ECPay messages fail under a byte-wise sort (reference §1.1.3).
    sorted.sort_by(|(left, _), (right, _)| lower(left).cmp(lower(right)));
    let length: usize = sorted
        .iter()
        .map(|(key, value)| key.len().saturating_add(value.len()))
        .sum();
    // Chinese text triples in length, the rest hardly grows.
    let mut bytes = Vec::with_capacity(length.saturating_mul(2).saturating_add(128));
    bytes.extend_from_slice(b"hashkey%3d");
    encode_into(hash_key.as_bytes(), &mut bytes);
    for (key, value) in sorted {
        bytes.extend_from_slice(b"%26");
        encode_into(key.as_bytes(), &mut bytes);
        bytes.extend_from_slice(b"%3d");
        encode_into(value.as_bytes(), &mut bytes);
    }
    bytes.extend_from_slice(b"%26hashiv%3d");
    encode_into(hash_iv.as_bytes(), &mut bytes);
    bytes
}

fn lower(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().map(|byte| byte.to_ascii_lowercase())
}

fn encode_into(text: &[u8], into: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'*' | b'(' | b')' => into.push(*byte),
            b'A'..=b'Z' => into.push(byte.to_ascii_lowercase()),
            b' ' => into.push(b'+'),
            other => into.extend_from_slice(&[b'%', hex_digit(other >> 4), hex_digit(other & 15)]),
        }
    }
}

const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 {
        b'0'.wrapping_add(nibble)
    } else {
        b'a'.wrapping_sub(10).wrapping_add(nibble)
    }
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, check_mac_value, php_url_encode, url_encode};

    #[test]
    fn every_ascii_character_is_encoded_as_dot_net_does() {
        let printable: String = (' '..='~').collect();
        assert_eq!(
            url_encode(&printable),
            "+!%22%23%24%25%26%27()*%2b%2c-.%2f0123456789%3a%3b%3c%3d%3e%3f%40abcdefghijklmnopqrstuvwxyz\
             %5b%5c%5d%5e_%60abcdefghijklmnopqrstuvwxyz%7b%7c%7d%7e"
        );
        assert_eq!(
            url_encode("\t\n\r\0\u{7f}促💰"),
            "%09%0a%0d%00%7f%e4%bf%83%f0%9f%92%b0"
        );
    }

    #[test]
    fn php_escapes_what_dot_net_leaves() {
        assert_eq!(php_url_encode("Tom's Shop!*(~)"), "Tom%27s+Shop%21%2A%28%7E%29");
    }

    #[test]
    fn order_and_the_mac_itself_do_not_matter() {
        let mac = |fields: &[(&str, &str)]| {
            check_mac_value(
                fields.iter().copied(),
                "pwFHCqoQZGmho4w6",
                "EkRm7iFT261dpevs",
                Algorithm::Sha256,
            )
        };
        assert_eq!(
            mac(&[("a", "1"), ("B", "2")]),
            mac(&[("B", "2"), ("CheckMacValue", "x"), ("a", "1")])
        );
        assert_ne!(mac(&[("a", "1"), ("b", "2")]), mac(&[("a", "2"), ("b", "1")]));
        assert_ne!(mac(&[("a", "")]), mac(&[]));
    }
}
