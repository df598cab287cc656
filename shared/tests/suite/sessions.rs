//! Session tokens: Supabase's form, its API keys, and what a forger would try.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tollgate_shared::crypto;
use tollgate_shared::secret::{Rotating, Secret};
use tollgate_shared::session::{Session, SessionError, SessionRules, TOKEN_LENGTH_MAX, verify};
use tollgate_shared::time::Timestamp;

use crate::fixtures::vectors;

const SESSIONS: &str = include_str!("../vectors/sessions.json");
const SECRET: &str = "kat-project-jwt-secret-0123456789abcdef0123456789";
const NOW: i64 = 1_788_221_000;

fn rules(secret: &str) -> SessionRules {
    SessionRules {
        keys: Rotating {
            current: Secret::new(secret.to_owned()),
            previous: None,
        },
        issuer: None,
        audience: "authenticated".to_owned(),
    }
}

fn token(header: &str, payload: &str, secret: &str) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let mac = crypto::hmac_sha256(secret.as_bytes(), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}

fn claims() -> Value {
    json!({"sub": "user-1", "aud": "authenticated", "role": "authenticated", "iat": NOW - 10, "exp": NOW + 3600})
}

fn check(payload: &str) -> Result<Session, SessionError> {
    check_at(payload, NOW)
}

fn check_at(payload: &str, now: i64) -> Result<Session, SessionError> {
    let token = token(r#"{"alg":"HS256","typ":"JWT"}"#, payload, SECRET);
    verify(&rules(SECRET), &token, Timestamp::from_unix_seconds(now))
}

#[test]
fn pm_3_session_vectors() {
    let (mut accepted, mut refused) = (0, 0);
    for vector in vectors(SESSIONS, 11) {
        let Some(jwt) = vector.pointer("/inputs/jwt").and_then(Value::as_str) else {
            continue;
        };
        let name = vector["name"].as_str().unwrap();
        let secret = vector
            .pointer("/keys/jwt_secret_utf8")
            .or_else(|| vector.pointer("/keys/secret"));
        let secret = secret.and_then(Value::as_str).unwrap_or(SECRET);
        let at = |pointer: &str| vector.pointer(pointer).and_then(Value::as_i64);
        let now = at("/inputs/now_valid").unwrap_or(NOW);
        let result = verify(&rules(secret), jwt, Timestamp::from_unix_seconds(now));
        if name == "supabase_user_session_hs256" {
            let sub = vector["expected"]["sub"].as_str().unwrap();
            assert_eq!(result.unwrap().user.as_str(), sub);
            let expired = Timestamp::from_unix_seconds(at("/inputs/now_expired").unwrap() + 30);
            assert_eq!(verify(&rules(secret), jwt, expired), Err(SessionError::Expired));
            accepted += 1;
        } else {
            assert!(result.is_err(), "{name} must be no session: {result:?}");
            refused += 1;
        }
    }
    // Supabase's two API keys, ES256, a cookie cache without sub, alg none, alg confusion.
    assert_eq!((accepted, refused), (1, 6));
}

#[test]
fn ed_6_a_session_is_named_by_its_id_and_else_by_its_person() {
    let mut named = claims();
    named["session_id"] = json!("6f1c2b7a-9d5e-4f60-8000-000000000001");
    assert_eq!(
        check(&named.to_string()).unwrap().id,
        "6f1c2b7a-9d5e-4f60-8000-000000000001"
    );
    assert_eq!(check(&claims().to_string()).unwrap().id, "user-1");
    named["session_id"] = json!(7);
    assert_eq!(check(&named.to_string()), Err(SessionError::Malformed));
}

#[test]
fn pm_3_supabase_api_keys_are_no_sessions_even_with_a_sub() {
    for role in ["anon", "service_role"] {
        let mut claims = claims();
        claims["role"] = json!(role);
        assert_eq!(
            check(&claims.to_string()),
            Err(SessionError::NotASession),
            "{role}"
        );
    }
    let demo_key = vectors(SESSIONS, 11)
        .into_iter()
        .find(|one| one["name"] == "supabase_demo_anon_key_hs256")
        .unwrap();
    let secret = demo_key
        .pointer("/keys/jwt_secret_utf8")
        .unwrap()
        .as_str()
        .unwrap();
    let jwt = demo_key.pointer("/inputs/jwt").unwrap().as_str().unwrap();
    let result = verify(&rules(secret), jwt, Timestamp::from_unix_seconds(1_700_000_000));
    assert_eq!(
        result,
        Err(SessionError::NotASession),
        "the signature is right, the purpose is not"
    );
}

#[test]
fn pm_3_only_hs256_whatever_the_token_says() {
    let payload = claims().to_string();
    for alg in ["none", "None", "NONE", "hs256", "HS512", "RS256", "ES256", ""] {
        let token = token(&format!(r#"{{"alg":"{alg}"}}"#), &payload, SECRET);
        let result = verify(&rules(SECRET), &token, Timestamp::from_unix_seconds(NOW));
        assert_eq!(result, Err(SessionError::Algorithm), "{alg}");
    }
    let now = Timestamp::from_unix_seconds(NOW);
    for header in [
        r#"{"alg":"none","alg":"HS256"}"#,
        "{}",
        "[]",
        r#"{"alg":1}"#,
        r#"{"alg":"HS256","crit":["b64"]}"#,
    ] {
        assert_eq!(
            verify(&rules(SECRET), &token(header, &payload, SECRET), now),
            Err(SessionError::Malformed),
            "{header}"
        );
    }
    let good = token(r#"{"alg":"HS256"}"#, &payload, SECRET);
    let unsigned = good.rsplit_once('.').unwrap().0;
    for broken in [
        unsigned.to_owned(),
        format!("{good}."),
        format!("{good}.x"),
        format!("{good}="),
        String::new(),
        "..".into(),
    ] {
        assert_eq!(
            verify(&rules(SECRET), &broken, now).unwrap_err(),
            SessionError::Malformed,
            "{broken}"
        );
    }
    assert_eq!(
        verify(&rules(SECRET), &format!("{unsigned}."), now),
        Err(SessionError::Mismatch)
    );
    assert_eq!(verify(&rules("another"), &good, now), Err(SessionError::Mismatch));
    let with_empty_secret = token(r#"{"alg":"HS256"}"#, &payload, "");
    assert_eq!(
        verify(&rules(""), &with_empty_secret, now),
        Err(SessionError::Mismatch)
    );
}

#[test]
fn pm_3_claims_are_checked() {
    let changed = |member: &str, value: Value| {
        let mut claims = claims();
        claims[member] = value;
        check(&claims.to_string()).map(|session| session.user.as_str().to_owned())
    };
    let user = || Ok("user-1".to_owned());
    for (result, expected) in [
        (changed("aud", json!(["x", "authenticated"])), user()),
        (changed("aud", json!("other")), Err(SessionError::NotASession)),
        (changed("aud", json!([])), Err(SessionError::NotASession)),
        (changed("aud", Value::Null), Err(SessionError::NotASession)),
        (changed("sub", Value::Null), Err(SessionError::NotASession)),
        (changed("sub", json!("")), Err(SessionError::NotASession)),
        (changed("sub", json!("a\nb")), Err(SessionError::NotASession)),
        (changed("sub", json!(7)), Err(SessionError::Malformed)),
        (changed("exp", Value::Null), Err(SessionError::Expired)),
        (changed("exp", json!("1788224600")), Err(SessionError::Malformed)),
        (changed("exp", json!(i64::MIN)), Err(SessionError::Expired)),
        (changed("exp", json!(i64::MAX)), user()),
        (changed("nbf", json!(NOW + 30)), user()),
        (changed("nbf", json!(NOW + 31)), Err(SessionError::NotYetValid)),
        (changed("iat", json!(NOW + 31)), Err(SessionError::NotYetValid)),
    ] {
        assert_eq!(result, expected);
    }
    for (now, expected) in [(NOW + 3629, true), (NOW + 3630, false)] {
        assert_eq!(
            check_at(&claims().to_string(), now).is_ok(),
            expected,
            "30 s of leeway, {now}"
        );
    }
    let twice = claims().to_string().replacen('{', r#"{"sub":"user-2","#, 1);
    assert_eq!(check(&twice), Err(SessionError::Malformed));
    let unknown_twice = claims().to_string().replacen('{', r#"{"x":1,"x":2,"#, 1);
    assert_eq!(check(&unknown_twice), Err(SessionError::Malformed));
    let long =
        claims()
            .to_string()
            .replacen('{', &format!(r#"{{"x":"{}","#, "x".repeat(TOKEN_LENGTH_MAX)), 1);
    assert_eq!(check(&long), Err(SessionError::Malformed));
}

#[test]
fn pm_3_issuer_and_rotation() {
    let issuer = "https://ref.supabase.co/auth/v1";
    let mut rules = rules("new");
    rules.keys.previous = Some(Secret::new(SECRET.to_owned()));
    rules.issuer = Some(issuer.to_owned());
    let mut claims = claims();
    let now = Timestamp::from_unix_seconds(NOW);
    let signed = |claims: &Value| token(r#"{"alg":"HS256"}"#, &claims.to_string(), SECRET);
    assert_eq!(
        verify(&rules, &signed(&claims), now),
        Err(SessionError::NotASession)
    );
    claims["iss"] = json!(issuer);
    assert!(verify(&rules, &signed(&claims), now).is_ok());
}
