//! The Standard Webhooks signature, written apart from Tollgate's own.
//!
//! `mock` signs with it, `sink` checks what Tollgate sends with it.
//!
//! Invariant: HMAC-SHA256 over `id.timestamp.body` under the base64 bytes behind `whsec_` (Standard Webhooks §
//! "Signature scheme"); the received bytes are signed, never a re-rendering of them.
//! Not here: tolerance of old stamps; the sink shows the stamp. Failure: a secret that is not base64 signs nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tollgate_shared::crypto::hmac_sha256;
use tollgate_shared::secret::Secret;

/// The value of `webhook-signature`; `None` where the secret is not a `whsec_` one.
pub(crate) fn sign(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> Option<String> {
    let key = STANDARD.decode(secret.expose().strip_prefix("whsec_")?).ok()?;
    let mut message = format!("{id}.{timestamp}.").into_bytes();
    message.extend_from_slice(body);
    Some(format!("v1,{}", STANDARD.encode(hmac_sha256(&key, &message))))
}

/// Whether one of the space-separated signatures is ours.
pub(crate) fn verify(secret: &Secret, id: &str, timestamp: &str, body: &[u8], signatures: &str) -> bool {
    let expected = sign(secret, id, timestamp, body);
    expected.is_some_and(|expected| signatures.split(' ').any(|given| given == expected))
}

#[cfg(test)]
mod tests {
    use super::{sign, verify};
    use tollgate_shared::secret::Secret;

    /// The published vector of the Standard Webhooks libraries (b2fa7b8).
    #[test]
    fn the_published_vector_passes() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into());
        let (id, stamp, body) = (
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(&secret, id, stamp, body).as_deref(), Some(signature));
        assert!(verify(&secret, id, stamp, body, &format!("v1,AAAA {signature}")));
        assert!(!verify(&secret, id, stamp, b"{}", signature));
        assert_eq!(sign(&Secret::new("no prefix".into()), id, stamp, body), None);
    }
}
