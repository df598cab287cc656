//! X-CSRF-Token: a token that is bound to a session by a MAC (PU-2, ED-6).
//!
//! `GET /csrf-token` → **`token`** → the page → `X-CSRF-Token` → **`is_genuine`** → checkout.
//!
//! The form is OWASP's signed double submit (`CheatSheetSeries`, "Cross-Site Request Forgery Prevention", 6b8819da7):
//! `hex(HMAC-SHA256(secret, len(session) ! session ! len(hex) ! hex(random))) . hex(random)`. Its text counts the random value
//! once in bytes and once in hexadecimal digits; the digits are taken, as both sides can count them.
//! Invariants: a token of another session, or of none, is refused in constant time; nothing is stored. The cookie of
//! that form is left out: sessions come in a header, which no other page's form sends (README).
//! Not here: randomness (an argument), whose session it is (`session`).

use crate::crypto;
use crate::secret::{Rotating, Secret};

/// Random bytes in a token.
pub const RANDOM_BYTES: usize = 64;
/// In hexadecimal digits.
const RANDOM_LENGTH: usize = RANDOM_BYTES * 2;

/// A new token of a session.
#[must_use]
pub fn token(secret: &Secret, session: &str, random: &[u8; RANDOM_BYTES]) -> String {
    let random = hex::encode(random);
    format!("{}.{random}", hex::encode(mac(secret, session, &random)))
}

/// Whether a token was made for this session, with one of the accepted secrets.
#[must_use]
pub fn is_genuine(secrets: &Rotating<Secret>, session: &str, token: &str) -> bool {
    let Some((given, random)) = token.split_once('.') else {
        return false;
    };
    if random.len() != RANDOM_LENGTH || !random.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return false;
    }
    // Every secret is tried, so that the time does not tell which fits.
    let fits = |secret| crypto::equal_hex(&mac(secret, session, random), given);
    secrets.accepted().fold(false, |any, secret| fits(secret) | any)
}

fn mac(secret: &Secret, session: &str, random: &str) -> [u8; 32] {
    let message = format!("{}!{session}!{}!{random}", session.len(), random.len());
    crypto::hmac_sha256(secret.expose().as_bytes(), message.as_bytes())
}
