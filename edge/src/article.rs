//! A browser asks for an article, which costs tokens (TB-7).
//!
//! route → receive → session → writing → **article** → `caller` (Durable Object) → origin.
//!
//! Refusals in the order of `checkout`. Of the origin's refusals 402 is the page's to see (`upgradeUrl`) and is not
//! pinned to the key.
//! Invariant: the body that goes on is written anew; `input` is parsed and written again, so that a member that came
//! twice is gone before anybody behind us can read it another way.
//! Not here: what the input means (the generator), what the user may spend (origin).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tollgate_shared::id::UserId;

use crate::Call;
use crate::answer::Answer;
use crate::caller::{Asked, Fingerprint, Target};
use crate::checkout::ask_caller;
use crate::writing::{self, malformed, unusable};

/// What the page sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    input: Map<String, Value>,
}

/// What the origin gets; the key in the body because the body is signed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Order<'a> {
    idempotency_key: &'a str,
    input: &'a Map<String, Value>,
}

/// The answer to the page.
pub(crate) async fn generate(call: &Call<'_>) -> Answer {
    writing::answered(call, async |writing| {
        let body = read(&writing.bytes)?;
        let delivery = call.head.delivery.to_string();
        let asked = asked(&writing.session.user, writing.key, delivery, &body);
        ask_caller(call, &writing.session.user, &asked).await
    })
    .await
}

fn read(bytes: &[u8]) -> Result<Body, Answer> {
    let body: Body = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    if body
        .input
        .iter()
        .any(|(key, value)| key.contains('\0') || holds_nul(value))
    {
        return Err(unusable("input holds U+0000, which cannot be kept."));
    }
    Ok(body)
}

/// JSON has U+0000, Postgres' jsonb does not. The depth is `serde_json`'s limit of 128.
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members
            .iter()
            .any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn asked(user: &UserId, key: &str, delivery: String, body: &Body) -> Asked {
    let order = Order {
        idempotency_key: key,
        input: &body.input,
    };
    // Members of an object are kept sorted, so that their order on the way in makes no difference.
    let input = Value::Object(body.input.clone()).to_string();
    Asked {
        key: key.to_owned(),
        user: user.to_string(),
        target: Target::Article,
        delivery,
        fingerprint: Fingerprint(BTreeMap::from([
            ("kind".to_owned(), "article".to_owned()),
            ("input".to_owned(), input),
        ])),
        // What was parsed from JSON can be written as JSON.
        body: serde_json::to_string(&order).unwrap_or_default(),
        turnstile_token: None,
    }
}

#[cfg(test)]
mod tests {
    use super::{asked, read};

    #[test]
    fn tb_7_only_an_object_as_input() {
        assert!(read(br#"{"input":{"title":"Oolong","tags":[1,null]}}"#).is_ok());
        for bad in [
            &b""[..],
            b"{}",
            b"[]",
            br#"{"input":null}"#,
            br#"{"input":"x"}"#,
            br#"{"input":{},"amount":1}"#,
            br#"{"input":{},"input":{}}"#,
            br#"{"input":{"a":[{"b":"\u0000"}]}}"#,
            br#"{"input":{"a":{"\u0000":1}}}"#,
            br#"{"input":{"\u0000":1}}"#,
            b"{\"input\":{\"a\":\"\xe9\"}}",
        ] {
            let refused = read(bad).unwrap_err().status;
            assert_eq!(refused, 400, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn tb_7_the_order_of_members_makes_no_difference_and_their_values_do() {
        let user = "user-1".parse().unwrap();
        let of = |body: &str| asked(&user, "k", String::new(), &read(body.as_bytes()).unwrap());
        let first = of(r#"{"input":{"a":1,"b":2}}"#);
        assert_eq!(first.body, r#"{"idempotencyKey":"k","input":{"a":1,"b":2}}"#);
        let again = of(r#"{"input":{"b":2,"a":1}}"#);
        assert_eq!(first.fingerprint.difference(&again.fingerprint), None);
        let other = of(r#"{"input":{"a":1,"b":3}}"#);
        assert_eq!(
            first.fingerprint.difference(&other.fingerprint).as_deref(),
            Some("input")
        );
    }
}
