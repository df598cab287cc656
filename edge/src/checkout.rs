//! A browser starts a payment.
//!
//! route → receive → session → **checkout** → `caller` (Durable Object) → origin (PM-3).
//!
//! Refusals in order: limits and size, session (401), media type (415), Idempotency-Key (400), body (400); then
//! the caller object: other body under the same key (422), in flight (409), bucket (429).
//!
//! Invariant: the body that goes on is written anew from fields that were read and checked; unknown and repeated
//! fields are refused, so that edge and origin cannot read the same bytes differently.
//! Not here: whether the plan exists or is covered already (origin).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tollgate_shared::id::{PlanId, SourceId, UserId};
use tollgate_shared::problem::Problem;

use crate::answer::{self, Answer};
use crate::caller::{Asked, Fingerprint, Target, media_type};
use crate::origin::Reply;
use crate::receive::{self, Callers};
use crate::route::Kind;
use crate::{Call, cors, origin, port, session, task};

/// What a route needs to know of a browser's writing call.
pub(crate) const HEADERS: &str = "origin\nauthorization\ncontent-type\nidempotency-key";
/// RFC draft "The Idempotency-Key HTTP Header Field" leaves the length open; this is what clients use.
const KEY_LENGTH_MAX: usize = 255;

/// What the page sends.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    plan_id: PlanId,
    provider: Option<SourceId>,
    method: Option<String>,
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
    kind: &'a str,
    /// In the body and not in a header, because the body is signed: within the hop's window a header could be
    /// exchanged for another call's.
    idempotency_key: &'a str,
}

/// The answer to the page.
pub(crate) async fn checkout(call: &Call<'_>, kind: Kind) -> Answer {
    let headers = port::headers(call.request, HEADERS);
    let page = headers.split('\n').next().unwrap_or_default();
    let answer = match try_checkout(call, kind, &headers).await {
        Ok(answer) | Err(answer) => answer,
    };
    cors::readable(call.settings, page, answer)
}

async fn try_checkout(call: &Call<'_>, kind: Kind, headers: &str) -> Result<Answer, Answer> {
    let mut headers = headers.split('\n').skip(1);
    let mut header = || headers.next().unwrap_or_default();
    let (authorization, content_type, key) = (header(), header(), header());
    let bytes = receive::body(call.request, call.env, call.head, Callers::Writers).await?;
    let user = session::user(call.settings, authorization, call.head.received_at)?;
    is_json(content_type)?;
    is_key(key)?;
    let body = read(&bytes)?;
    let asked = asked(call, &user, key, kind, &body);
    ask_caller(call, &user, &asked).await
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

fn asked(call: &Call<'_>, user: &UserId, key: &str, kind: Kind, body: &Body) -> Asked {
    let order = Order {
        plan_id: &body.plan_id,
        provider: body.provider.as_ref(),
        method: body.method.as_deref(),
        kind: kind.as_str(),
        idempotency_key: key,
    };
    Asked {
        key: key.to_owned(),
        user: user.to_string(),
        target: Target::Checkout,
        delivery: call.head.delivery.to_string(),
        fingerprint: fingerprint(kind, body),
        // Strings only: this cannot fail to serialise.
        body: serde_json::to_string(&order).unwrap_or_default(),
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
    Fingerprint(fields)
}

/// Refuses what is not declared as JSON in UTF-8.
pub(crate) fn is_json(content_type: &str) -> Result<(), Answer> {
    let mut parts = content_type.split(';').map(str::trim);
    let json = parts
        .next()
        .is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.eq_ignore_ascii_case("charset") || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    if json && utf8 {
        return Ok(());
    }
    let problem =
        Problem::new(415, "not-json", "The body is not JSON").detail("Send application/json in UTF-8.");
    Err(Answer::problem(&problem))
}

/// Refuses a missing or unusable Idempotency-Key.
pub(crate) fn is_key(key: &str) -> Result<(), Answer> {
    let visible =
        !key.is_empty() && key.len() <= KEY_LENGTH_MAX && key.bytes().all(|byte| byte.is_ascii_graphic());
    if visible {
        return Ok(());
    }
    let problem = Problem::new(400, "idempotency-key-missing", "An Idempotency-Key is needed").detail(
        "Send 1 to 255 visible ASCII characters, a new one for each purchase, the same for each retry.",
    );
    Err(Answer::problem(&problem))
}

fn read(bytes: &[u8]) -> Result<Body, Answer> {
    let body: Body = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    let usable = body.method.as_ref().is_none_or(|method| {
        (1..=40).contains(&method.len())
            && method
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    if usable {
        Ok(body)
    } else {
        Err(unusable("Field method is not a payment method's name."))
    }
}

/// The refusal of a body that does not fit its type.
pub(crate) fn malformed(error: &serde_json::Error) -> Answer {
    let what = if error.is_data() {
        "A field is unknown, missing, repeated or not of its type"
    } else {
        "The body is not JSON"
    };
    unusable(&format!(
        "{what} (line {}, column {}).",
        error.line(),
        error.column()
    ))
}

pub(crate) fn unusable(detail: &str) -> Answer {
    Answer::problem(&Problem::new(400, "malformed-body", "The body cannot be read").detail(detail))
}

#[cfg(test)]
mod tests {
    use super::{Body, fingerprint, is_json, is_key, read};
    use crate::origin::Reply;
    use crate::route::Kind;

    #[test]
    fn pm_3_only_known_fields_once_each_of_their_type() {
        assert!(read(br#"{"planId":"pro-month","provider":"ecpay","method":"Credit"}"#).is_ok());
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
            br#"{"planId":"a"} x"#,
            b"{\"planId\":\"\xe9\"}",
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
    fn pm_3_json_in_utf8_and_a_visible_key() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(is_json(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/json; charset=big5",
            "application/jsonp",
            "multipart/form-data",
        ] {
            assert_eq!(is_json(bad).unwrap_err().status, 415, "{bad}");
        }
        assert!(is_key("018bcfe5-6800").is_ok());
        for bad in ["", "a b", "鍵", &"x".repeat(256)] {
            assert_eq!(is_key(bad).unwrap_err().status, 400, "{bad}");
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
    fn ed_3_the_route_is_part_of_what_a_key_stands_for() {
        let body = Body {
            plan_id: "pro".parse().unwrap(),
            provider: None,
            method: None,
        };
        let difference = fingerprint(Kind::OneTime, &body).difference(&fingerprint(Kind::Any, &body));
        assert_eq!(difference.as_deref(), Some("kind"));
    }
}
