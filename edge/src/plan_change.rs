//! A browser changes the plan of its user's subscription, or looks what that would cost (issue 4, PM-8).
//!
//! route → receive → session → writing → **these** → signed hop → `origin::http::plan_change`.
//!
//! Invariants: the subject of the hop is the session's user; the body that goes on is written anew from fields that were
//! read and checked. Both go without the caller's object: a preview books nothing, and a change's key travels in the signed
//! body, by which a repeat finds the wish. A change may charge a card, so it shows a CSRF token. One that takes a new
//! contract goes through `checkout`, with `replaces`.
//! Failure: the origin's refusal, or 502.

use serde::Deserialize;
use serde_json::json;
use tollgate_shared::id::PlanId;
use uuid::Uuid;

use crate::answer::Answer;
use crate::subscriptions::{ask, subscription};
use crate::writing::{self, malformed};
use crate::{Call, csrf};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Looked {
    plan_id: PlanId,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wished {
    plan_id: PlanId,
    due_minor: Option<i64>,
}

/// What a change would be.
pub(crate) async fn preview(call: &Call<'_>, id: &str) -> Answer {
    writing::answered(call, async |writing| {
        let (id, body) = looked(id, &writing.bytes)?;
        let path = format!("/internal/v1/subscriptions/{id}/change-plan/preview");
        ask(call, &writing, &path, &body).await
    })
    .await
}

/// Asks the origin for the other plan, under the call's key.
pub(crate) async fn change(call: &Call<'_>, id: &str) -> Answer {
    writing::answered(call, async |writing| {
        // A card may be charged for it, as at checkout.
        csrf::check(call.settings, &writing.session, writing.csrf_token)?;
        let (id, body) = wished(id, writing.key, &writing.bytes)?;
        let path = format!("/internal/v1/subscriptions/{id}/change-plan");
        ask(call, &writing, &path, &body).await
    })
    .await
}

fn looked(id: &str, bytes: &[u8]) -> Result<(Uuid, String), Answer> {
    let id = subscription(id)?;
    let body: Looked = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    Ok((id, json!({ "planId": body.plan_id }).to_string()))
}

fn wished(id: &str, key: &str, bytes: &[u8]) -> Result<(Uuid, String), Answer> {
    let id = subscription(id)?;
    let body: Wished = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    let mut wish = json!({ "planId": body.plan_id, "idempotencyKey": key });
    if let (Some(members), Some(due_minor)) = (wish.as_object_mut(), body.due_minor) {
        members.insert("dueMinor".to_owned(), json!(due_minor));
    }
    Ok((id, wish.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{looked, wished};

    const ID: &str = "01997c5e-0000-7000-8000-000000000001";

    #[test]
    fn pm_8_a_change_of_plan_is_written_anew_for_the_origin() {
        let (id, body) = wished(ID, "k-1", br#"{"planId":"max","dueMinor":280}"#).unwrap();
        assert_eq!(id.to_string(), ID);
        assert_eq!(body, r#"{"dueMinor":280,"idempotencyKey":"k-1","planId":"max"}"#);
        let (_, body) = wished(ID, "k-1", br#"{"planId":"max"}"#).unwrap();
        assert_eq!(body, r#"{"idempotencyKey":"k-1","planId":"max"}"#);
        let (_, body) = looked(ID, br#"{"planId":"max"}"#).unwrap();
        assert_eq!(body, r#"{"planId":"max"}"#);
    }

    #[test]
    fn pm_8_bad_input_is_refused_before_the_hop() {
        for (id, body, status) in [
            ("7", &br#"{"planId":"max"}"#[..], 404),
            (ID, b"", 400),
            (ID, b"{}", 400),
            (ID, b"[]", 400),
            (ID, br#"{"planId":7}"#, 400),
            (ID, br#"{"planId":"Max Plan"}"#, 400),
            (ID, br#"{"planId":"max","planId":"pro"}"#, 400),
            (ID, br#"{"planId":"max","user":"another"}"#, 400),
            (ID, br#"{"planId":"max","dueMinor":"280"}"#, 400),
            (ID, br#"{"planId":"max","dueMinor":2.5}"#, 400),
        ] {
            let words = String::from_utf8_lossy(body);
            assert_eq!(wished(id, "k", body).unwrap_err().status, status, "{id} {words}");
            assert_eq!(looked(id, body).unwrap_err().status, status, "{id} {words}");
        }
        assert!(looked(ID, br#"{"planId":"max","dueMinor":280}"#).is_err());
    }
}
