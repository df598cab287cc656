//! A browser looks at its user's subscriptions (PU-5), or ends one (PU-6).
//!
//! route → receive → session → writing → **these** → signed hop → `origin::http::subscriptions`.
//!
//! Invariants: the subject of the hop is the session's user; the origin shows and ends their own only. Ending goes without
//! the caller's object, unlike a checkout: the key travels in the signed body, and at the origin a repeat finds the wish.
//! Failure: the origin's refusal, or 502.

use serde::Deserialize;
use tollgate_shared::problem::Problem;
use uuid::Uuid;

use crate::answer::Answer;
use crate::caller::promised;
use crate::origin::{self, Question};
use crate::writing::{self, Writing, malformed};
use crate::{Call, status};

/// How long the origin has. It calls no provider, so this is generous.
const BUDGET_MS: u32 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum When {
    Now,
    PeriodEnd,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    when: When,
}

/// The user's subscriptions.
pub(crate) async fn list(call: &Call<'_>) -> Answer {
    status::own(call, "/internal/v1/subscriptions").await
}

/// Ends one.
pub(crate) async fn cancel(call: &Call<'_>, id: &str) -> Answer {
    writing::answered(call, async |writing| {
        let (id, body) = wish(id, writing.key, &writing.bytes)?;
        let path = format!("/internal/v1/subscriptions/{id}/cancel");
        ask(call, &writing, &path, &body).await
    })
    .await
}

/// Asks the origin about one, as the session's user.
pub(crate) async fn ask(
    call: &Call<'_>,
    writing: &Writing<'_>,
    path: &str,
    body: &str,
) -> Result<Answer, Answer> {
    let question = Question {
        method: "POST",
        path,
        delivery: &call.head.delivery.to_string(),
        subject: writing.session.user.as_str(),
        body: body.as_bytes(),
        budget_ms: BUDGET_MS,
    };
    let reply = origin::ask(call.env, call.settings, &question, call.head.received_at).await;
    promised(reply, &[200, 404, 409])
}

/// The subscription, and what goes to the origin.
fn wish(id: &str, key: &str, bytes: &[u8]) -> Result<(Uuid, String), Answer> {
    let id = subscription(id)?;
    let body: Body = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    let when = match body.when {
        When::Now => "now",
        When::PeriodEnd => "period_end",
    };
    let body = serde_json::json!({ "when": when, "idempotencyKey": key }).to_string();
    Ok((id, body))
}

/// The subscription that a path names.
pub(crate) fn subscription(id: &str) -> Result<Uuid, Answer> {
    // The same words as the origin's, so that a malformed id looks like another's subscription.
    let unknown = || Problem::new(404, "unknown-subscription", "There is no such subscription");
    Uuid::try_parse(id).map_err(|_| Answer::problem(&unknown()))
}

#[cfg(test)]
mod tests {
    use super::wish;

    const ID: &str = "01997c5e-0000-7000-8000-000000000001";

    #[test]
    fn pu_6_a_wish_to_end_is_written_anew_for_the_origin() {
        let (id, body) = wish(ID, "k-1", br#"{"when":"period_end"}"#).unwrap();
        assert_eq!(id.to_string(), ID);
        assert_eq!(body, r#"{"idempotencyKey":"k-1","when":"period_end"}"#);
    }

    #[test]
    fn pu_6_bad_input_is_refused_before_the_hop() {
        for (id, body, status) in [
            ("7", &br#"{"when":"now"}"#[..], 404),
            ("", br#"{"when":"now"}"#, 404),
            (ID, b"", 400),
            (ID, b"{}", 400),
            (ID, b"[]", 400),
            (ID, br#"{"when":"later"}"#, 400),
            (ID, br#"{"when":"now","when":"now"}"#, 400),
            (ID, br#"{"when":"now","user":"another"}"#, 400),
        ] {
            let refused = wish(id, "k", body).unwrap_err().status;
            assert_eq!(refused, status, "{id} {}", String::from_utf8_lossy(body));
        }
    }
}
