//! The origin's figures of webhooks, for everybody who may look (EC-7).
//!
//! health → **[`of_origin`]**, route → **[`stats`]** → signed hop → `origin::http::health`.
//!
//! These are counts, nobody's data; who does not want them public refuses the paths before the worker.
//! Invariant: an answer is kept for five seconds in this isolate, so that a monitor, or many, cost the database one question.
//! Failure: an origin that does not answer is null in health, and 502 in the stats.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::Value;
use tollgate_shared::time::Timestamp;

use crate::Call;
use crate::answer::Answer;
use crate::caller::unreachable_origin;
use crate::origin::{self, Question};
use crate::receive::{self, Callers};

/// A monitor that waits longer takes the edge for dead.
const BUDGET_MS: u32 = 2_000;
const KEPT: Duration = Duration::from_secs(5);
const HEALTH: &str = "/internal/v1/webhooks/health";
const STATS: &str = "/internal/v1/webhooks/stats";

/// What was answered, and when. Plain text: objects of JavaScript belong to a request.
type Kept = RefCell<Option<(Timestamp, String)>>;

thread_local! {
    static OF_HEALTH: Kept = const { RefCell::new(None) };
    static OF_STATS: Kept = const { RefCell::new(None) };
}

/// The origin's part of the health document; null where it does not answer.
pub(crate) async fn of_origin(call: &Call<'_>) -> Value {
    let kept = OF_HEALTH.with(|kept| fresh(kept, call.head.received_at));
    let text = match kept {
        Some(text) => Some(text),
        None => ask(call, HEALTH).await.inspect(|text| {
            OF_HEALTH.with(|kept| kept.replace(Some((call.head.received_at, text.clone()))));
        }),
    };
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

/// `GET /api/webhooks/webhook-stats`.
pub(crate) async fn stats(call: &Call<'_>) -> Answer {
    if let Err(answer) = receive::body(call.request, call.env, call.head, Callers::Readers).await {
        return answer;
    }
    let kept = OF_STATS.with(|kept| fresh(kept, call.head.received_at));
    let text = match kept {
        Some(text) => Some(text),
        None => ask(call, STATS).await.inspect(|text| {
            OF_STATS.with(|kept| kept.replace(Some((call.head.received_at, text.clone()))));
        }),
    };
    text.map_or_else(unreachable_origin, |text| Answer::json(200, text, "answered"))
}

fn fresh(kept: &Kept, now: Timestamp) -> Option<String> {
    let kept = kept.borrow();
    let (at, text) = kept.as_ref()?;
    (at.plus(KEPT) > now).then(|| text.clone())
}

async fn ask(call: &Call<'_>, path: &str) -> Option<String> {
    let question = Question {
        method: "GET",
        path,
        delivery: &call.head.delivery.to_string(),
        subject: "",
        body: b"",
        budget_ms: BUDGET_MS,
    };
    let reply = origin::ask(call.env, call.settings, &question, call.head.received_at).await;
    let reply = reply.ok().filter(|reply| reply.status == 200)?;
    let is_object = serde_json::from_str::<Value>(&reply.body).is_ok_and(|body| body.is_object());
    is_object.then_some(reply.body)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tollgate_shared::time::Timestamp;

    use super::fresh;

    #[test]
    fn ec_7_an_answer_is_kept_for_five_seconds() {
        let kept = RefCell::new(Some((Timestamp::from_unix_ms(0), "{}".to_owned())));
        assert!(fresh(&kept, Timestamp::from_unix_ms(4_999)).is_some());
        assert!(fresh(&kept, Timestamp::from_unix_ms(5_000)).is_none());
    }
}
