//! A browser starts a payment.
//!
//! route → receive → session → writing → **checkout** → `caller` (Durable Object) → origin (PM-3).
//!
//! Refusals in order: those of `writing`, CSRF token (403), body (400); then the caller object: other body under the same
//! key (422), in flight (409), bucket (429), Turnstile (403).
//!
//! Invariant: the body that goes on is written anew from fields that were read and checked; unknown and repeated
//! fields are refused, so that edge and origin cannot read the same bytes differently.
//! Not here: whether the plan exists or is covered already (origin).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tollgate_shared::id::{PlanId, SourceId, UserId};
use uuid::Uuid;

use crate::answer::{self, Answer};
use crate::caller::{Asked, Fingerprint, Target, media_type};
use crate::origin::Reply;
use crate::route::Kind;
use crate::turnstile::TOKEN_LENGTH_MAX;
use crate::writing::{self, malformed, unusable};
use crate::{Call, csrf, origin, port, task};

/// What the page sends.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    plan_id: PlanId,
    provider: Option<SourceId>,
    method: Option<String>,
    first_charge_on: Option<String>,
    replaces: Option<Uuid>,
    /// Not the origin's business, and no part of what the key stands for: a repeat may bring a new one.
    #[serde(default)]
    turnstile_token: String,
}

/// What the origin gets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Order<'a> {
    plan_id: &'a PlanId,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a SourceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_charge_on: Option<&'a str>,
    /// The subscription that it takes the place of.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<Uuid>,
    kind: &'a str,
    /// In the body and not in a header, because the body is signed: within the hop's window a header could be
    /// exchanged for another call's.
    idempotency_key: &'a str,
}

/// The answer to the page.
pub(crate) async fn checkout(call: &Call<'_>, kind: Kind) -> Answer {
    writing::answered(call, async |writing| {
        csrf::check(call.settings, &writing.session, writing.csrf_token)?;
        let body = read(&writing.bytes)?;
        let user = &writing.session.user;
        ask_caller(call, user, &asked(call, user, writing.key, kind, body)).await
    })
    .await
}

/// Asks the user's object, which knows the key or asks the origin.
pub(crate) async fn ask_caller(call: &Call<'_>, user: &UserId, asked: &Asked) -> Result<Answer, Answer> {
    let unavailable = || answer::unavailable("caller-unavailable", "The call cannot be recorded now");
    let question = serde_json::to_string(asked).map_err(|_| unavailable())?;
    let packed = task::wait(port::ask_caller(call.env, user.as_str(), &question))
        .await
        .map_err(|_| unavailable())?;
    let reply = packed
        .as_string()
        .as_deref()
        .and_then(origin::unpack)
        .ok_or_else(unavailable)?;
    Ok(shown(reply))
}

/// The caller object's answer; its headers come as `idempotency-replayed|retry-after`.
fn shown(reply: Reply) -> Answer {
    let (replayed, retry_after) = reply.header.split_once('|').unwrap_or_default();
    let refusal = reply.problem_slug();
    let mut answer = Answer::json(
        reply.status,
        reply.body,
        if replayed.is_empty() {
            "answered"
        } else {
            "replayed"
        },
    );
    if answer.status >= 500 && !refusal.is_empty() {
        // Ours to mend, so the log says what.
        answer.outcome = refusal.into();
    }
    answer.lines = format!(
        "content-type: {}\ncache-control: no-store",
        media_type(&reply.content_type)
    );
    if !replayed.is_empty() {
        answer = answer.header("idempotency-replayed", "true");
    }
    match retry_after.parse::<u32>() {
        Ok(seconds) => answer.header("retry-after", &seconds.to_string()),
        Err(_) => answer,
    }
}

fn asked(call: &Call<'_>, user: &UserId, key: &str, kind: Kind, body: Body) -> Asked {
    let order = Order {
        plan_id: &body.plan_id,
        provider: body.provider.as_ref(),
        method: body.method.as_deref(),
        first_charge_on: body.first_charge_on.as_deref(),
        replaces: body.replaces,
        kind: kind.as_str(),
        idempotency_key: key,
    };
    Asked {
        key: key.to_owned(),
        user: user.to_string(),
        target: Target::Checkout,
        delivery: call.head.delivery.to_string(),
        fingerprint: fingerprint(kind, &body),
        // Strings only: this cannot fail to serialise.
        body: serde_json::to_string(&order).unwrap_or_default(),
        turnstile_token: Some(body.turnstile_token),
    }
}

fn fingerprint(kind: Kind, body: &Body) -> Fingerprint {
    let mut fields = BTreeMap::from([
        ("kind".to_owned(), kind.as_str().to_owned()),
        ("planId".to_owned(), body.plan_id.to_string()),
    ]);
    fields.extend(
        body.provider
            .as_ref()
            .map(|provider| ("provider".to_owned(), provider.to_string())),
    );
    fields.extend(body.method.clone().map(|method| ("method".to_owned(), method)));
    let first_charge_on = body.first_charge_on.clone();
    fields.extend(first_charge_on.map(|day| ("firstChargeOn".to_owned(), day)));
    fields.extend(body.replaces.map(|id| ("replaces".to_owned(), id.to_string())));
    Fingerprint(fields)
}

fn read(bytes: &[u8]) -> Result<Body, Answer> {
    let body: Body = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    let usable = body.method.as_ref().is_none_or(|method| {
        (1..=40).contains(&method.len())
            && method
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    if !usable {
        return Err(unusable("Field method is not a payment method's name."));
    }
    if body.turnstile_token.len() > TOKEN_LENGTH_MAX {
        return Err(unusable("Field turnstileToken is longer than a token."));
    }
    if body
        .first_charge_on
        .as_deref()
        .is_some_and(|day| !looks_like_a_day(day))
    {
        return Err(unusable("Field firstChargeOn is not a day like 2026-12-31."));
    }
    Ok(body)
}

/// Whether the calendar has it, and the plan lets it be chosen, the origin knows.
fn looks_like_a_day(text: &str) -> bool {
    let is_at = |at: usize, byte: u8| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10 && text.bytes().enumerate().all(|(at, byte)| is_at(at, byte))
}

#[cfg(test)]
mod tests {
    use super::{Body, fingerprint, read};
    use crate::origin::Reply;
    use crate::route::Kind;

    #[test]
    fn pm_3_only_known_fields_once_each_of_their_type() {
        assert!(read(br#"{"planId":"pro-month","provider":"ecpay","method":"Credit"}"#).is_ok());
        assert!(read(br#"{"planId":"later","firstChargeOn":"2026-12-31"}"#).is_ok());
        let replacing = br#"{"planId":"max","replaces":"01997c5e-0000-7000-8000-000000000001"}"#;
        assert!(read(replacing).unwrap().replaces.is_some());
        for bad in [
            &b""[..],
            b"[]",
            b"null",
            b"{}",
            br#"{"planId":7}"#,
            br#"{"planId":"Pro Month"}"#,
            br#"{"planId":"a","planId":"b"}"#,
            br#"{"planId":"a","amount":1}"#,
            br#"{"planId":"a","method":"Credit&x=1"}"#,
            br#"{"planId":"a","firstChargeOn":""}"#,
            br#"{"planId":"a","firstChargeOn":"2026-1-01"}"#,
            br#"{"planId":"a","firstChargeOn":"2026/12/31"}"#,
            br#"{"planId":"a","firstChargeOn":"2026-12-31T00:00"}"#,
            br#"{"planId":"a","firstChargeOn":20261231}"#,
            br#"{"planId":"a","replaces":"7"}"#,
            br#"{"planId":"a"} x"#,
            b"{\"planId\":\"\xe9\"}",
            br#"{"planId":"a","turnstileToken":7}"#,
            format!(r#"{{"planId":"a","turnstileToken":"{}"}}"#, "x".repeat(2049)).as_bytes(),
        ] {
            assert_eq!(
                read(bad).unwrap_err().status,
                400,
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
    }

    #[test]
    fn ed_2_a_refusal_says_when_to_come_again() {
        let shown = |header: &str| {
            let reply = Reply {
                status: 429,
                content_type: String::new(),
                header: header.to_owned(),
                body: "{}".to_owned(),
            };
            super::shown(reply).lines
        };
        assert!(shown("|6").ends_with("\nretry-after: 6"));
        assert!(shown("true|").ends_with("\nidempotency-replayed: true"));
        assert!(shown("|6; x").ends_with("no-store"));
    }

    #[test]
    fn ed_3_pu_7_the_route_and_the_day_are_part_of_what_a_key_stands_for() {
        let body = Body {
            plan_id: "pro".parse().unwrap(),
            provider: None,
            method: None,
            replaces: None,
            turnstile_token: String::new(),
            first_charge_on: None,
        };
        let difference = fingerprint(Kind::OneTime, &body).difference(&fingerprint(Kind::Any, &body));
        assert_eq!(difference.as_deref(), Some("kind"));
        let another = Body {
            first_charge_on: Some("2026-12-31".to_owned()),
            ..body
        };
        let without = Body {
            plan_id: "pro".parse().unwrap(),
            provider: None,
            method: None,
            replaces: None,
            turnstile_token: String::new(),
            first_charge_on: None,
        };
        let difference = fingerprint(Kind::Any, &another).difference(&fingerprint(Kind::Any, &without));
        assert_eq!(
            difference.as_deref(),
            Some("firstChargeOn"),
            "PU-7: another day is another purchase"
        );
    }
}
