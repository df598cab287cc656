//! Session tokens in Supabase's form, for local work and tests.
//!
//! `POST /control/v1/sessions` → **`issue`** → the caller's `Authorization: Bearer` at the edge.
//!
//! Invariant: the token is written out here by hand (HS256, RFC 7515), apart from Tollgate's own check of it. It is
//! stamped by the machine's clock, not the sandbox's, because the edge will compare it with its own.
//! Not here: checking tokens (`tollgate_shared::session`). Nothing here fails.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tollgate_shared::crypto::hmac_sha256;
use tollgate_shared::secret::Secret;
use tollgate_shared::time::Timestamp;

/// What a token is to say.
#[derive(Debug, Clone)]
pub(crate) struct Claims<'a> {
    pub(crate) subject: &'a str,
    pub(crate) email: Option<&'a str>,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) audience: &'a str,
    /// Negative makes a token that has already expired.
    pub(crate) expires_in_seconds: i64,
}

/// Writes a token.
pub(crate) fn issue(secret: &Secret, claims: &Claims<'_>, now: Timestamp) -> String {
    let issued_at = now.unix_seconds();
    let mut payload = json!({
        "sub": claims.subject,
        "aud": claims.audience,
        "role": "authenticated",
        "iat": issued_at.min(issued_at.saturating_add(claims.expires_in_seconds)),
        "exp": issued_at.saturating_add(claims.expires_in_seconds),
    });
    if let Some(map) = payload.as_object_mut() {
        map.extend(claims.email.map(|email| ("email".to_owned(), json!(email))));
        map.extend(claims.issuer.map(|issuer| ("iss".to_owned(), json!(issuer))));
    }
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload.to_string()));
    let mac = hmac_sha256(secret.expose().as_bytes(), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}
