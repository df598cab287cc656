//! Session tokens of browsers: HS256 JWTs in Supabase's form.
//!
//! browser call → **session** → idempotency → forward. The verified `sub` becomes the hop's subject.
//!
//! Invariants: the algorithm is ours, never the token's (`none` and every other one are refused before the MAC is
//! looked at); nothing of the payload is read before the MAC is checked; a member that occurs twice is refused, because
//! two readers may see two different tokens. An API key (`anon`, `service_role`) is a genuine JWT of the same
//! secret and no session: it has no `sub` (reference E.1). Not here: JWKS and ES256 (a later issue), cookies.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::crypto;
use crate::id::UserId;
use crate::secret::{Rotating, Secret};
use crate::time::Timestamp;

/// Longest token that is looked at; Supabase's are around 1 KiB.
pub const TOKEN_LENGTH_MAX: usize = 8192;

/// How far our clock and the issuer's may be apart.
pub const LEEWAY_SECONDS: i64 = 30;

/// What a token must say besides being genuine.
#[derive(Debug, Clone)]
pub struct SessionRules {
    /// HS256 keys, current and previous: the secret's text as bytes, not base64-decoded.
    pub keys: Rotating<Secret>,
    /// Required `iss`, where configured.
    pub issuer: Option<String>,
    /// Required `aud` (Supabase: `authenticated`).
    pub audience: String,
}

/// A verified session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The person.
    pub user: UserId,
    /// Names the session: Supabase's `session_id`, which outlives the refresh of a token; else the person's `sub`.
    pub id: String,
    /// When the token ends.
    pub expires_at: Timestamp,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Not three base64url parts of JSON, or a member occurs twice, or too long.
    #[error("not a JWT")]
    Malformed,
    /// Another algorithm than HS256 (`none` included).
    #[error("algorithm is not HS256")]
    Algorithm,
    /// The MAC does not match.
    #[error("signature does not match")]
    Mismatch,
    /// `exp` has passed, or is missing.
    #[error("expired")]
    Expired,
    /// `nbf` or `iat` lies ahead.
    #[error("not valid yet")]
    NotYetValid,
    /// Another issuer or audience, or no usable `sub` (an API key is no session).
    #[error("not a session of this service")]
    NotASession,
}

/// Checks a bearer token.
pub fn verify(rules: &SessionRules, token: &str, now: Timestamp) -> Result<Session, SessionError> {
    if token.len() > TOKEN_LENGTH_MAX {
        return Err(SessionError::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(SessionError::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(SessionError::Malformed)?;
    if payload.contains('.') {
        return Err(SessionError::Malformed);
    }
    let header: Header = part(header)?;
    if header.alg != "HS256" {
        return Err(SessionError::Algorithm);
    }
    if header.crit.is_some() {
        return Err(SessionError::Malformed);
    }
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| SessionError::Malformed)?;
    if !genuine(&rules.keys, signed, &signature) {
        return Err(SessionError::Mismatch);
    }
    let claims: Claims = part(payload)?;
    check_times(&claims, now)?;
    check_purpose(rules, claims)
}

fn genuine(keys: &Rotating<Secret>, signed: &str, signature: &[u8]) -> bool {
    keys.accepted().any(|key| {
        // An empty secret would make every visitor an issuer.
        let key = key.expose().as_bytes();
        !key.is_empty() && crypto::equal(&crypto::hmac_sha256(key, signed.as_bytes()), signature)
    })
}

fn check_times(claims: &Claims, now: Timestamp) -> Result<(), SessionError> {
    let now = now.unix_seconds();
    let expires_at = claims.exp.ok_or(SessionError::Expired)?;
    if now >= expires_at.saturating_add(LEEWAY_SECONDS) {
        return Err(SessionError::Expired);
    }
    let ahead =
        |instant: Option<i64>| instant.is_some_and(|instant| instant > now.saturating_add(LEEWAY_SECONDS));
    if ahead(claims.nbf) || ahead(claims.iat) {
        Err(SessionError::NotYetValid)
    } else {
        Ok(())
    }
}

fn check_purpose(rules: &SessionRules, claims: Claims) -> Result<Session, SessionError> {
    let issuer_fits = rules
        .issuer
        .as_ref()
        .is_none_or(|issuer| claims.iss.as_ref() == Some(issuer));
    let audience_fits = claims.aud.is_some_and(|audience| audience.holds(&rules.audience));
    // Supabase writes a role; an API key's role is no person's.
    let is_api_key = matches!(claims.role.as_deref(), Some("anon" | "service_role"));
    if !issuer_fits || !audience_fits || is_api_key {
        return Err(SessionError::NotASession);
    }
    let user: UserId = claims
        .sub
        .and_then(|sub| sub.parse().ok())
        .ok_or(SessionError::NotASession)?;
    let expires_at = Timestamp::from_unix_seconds(claims.exp.ok_or(SessionError::Expired)?);
    let id = claims.session_id.unwrap_or_else(|| user.to_string());
    Ok(Session { user, id, expires_at })
}

fn part<T: DeserializeOwned>(encoded: &str) -> Result<T, SessionError> {
    let json = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| SessionError::Malformed)?;
    let _: UniqueMembers = serde_json::from_slice(&json).map_err(|_| SessionError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| SessionError::Malformed)
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Extensions that a reader must understand (RFC 7515 §4.1.11); we know none.
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    iss: Option<String>,
    aud: Option<Audience>,
    exp: Option<i64>,
    nbf: Option<i64>,
    iat: Option<i64>,
    role: Option<String>,
    session_id: Option<String>,
}

/// RFC 7519 §4.1.3: one text or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn holds(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

/// An object whose members have different names. serde refuses only repeats of members that it knows.
struct UniqueMembers;

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueMembersVisitor)
    }
}

struct UniqueMembersVisitor;

impl<'de> Visitor<'de> for UniqueMembersVisitor {
    type Value = UniqueMembers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object whose members have different names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueMembers, A::Error> {
        let mut names = std::collections::BTreeSet::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            if !names.insert(name) {
                return Err(serde::de::Error::custom("a member occurs twice"));
            }
        }
        Ok(UniqueMembers)
    }
}
