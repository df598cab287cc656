//! How the edge is: what it keeps, and what its settings lack.
//!
//! route → receive (limit) → **health** → every inbox in parallel.
//!
//! Invariant: it answers whatever is wrong, names settings and never their values, and counts without naming an
//! order or a user. `failing`: nothing can be delivered, or an inbox does not answer. `degraded`: something is
//! kept longer than it should be, is parked, or a source is configured by halves. The
//! origin's figures of the last 24 hours (EC-7) are null where it does not answer. Not here: how they are counted.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_shared::config::Fault;
use tollgate_shared::provider::SourceState;
use tollgate_shared::time::Timestamp;

use crate::answer::Answer;
use crate::config::Settings;
use crate::receive::{self, Callers};
use crate::{Call, figures, port, task};

/// A pending event older than this is a sign; the origin is down, or refuses the hop.
const PENDING_AGE_MS: i64 = 60_000;

/// The health document.
pub(crate) async fn health(call: &Call<'_>) -> Answer {
    if let Err(answer) = receive::body(call.request, call.env, call.head, Callers::Readers).await {
        return answer;
    }
    let lines = task::wait(port::figures(call.env, call.settings.shards))
        .await
        .ok()
        .and_then(|lines| lines.as_string());
    let inbox = Inbox::read(lines.as_deref().unwrap_or_default(), call.settings.shards);
    let origin = figures::of_origin(call).await;
    let document = document(call.settings, &inbox, &origin, call.head.received_at);
    Answer::json(200, document.to_string(), "answered")
}

fn document(settings: &Settings, inbox: &Inbox, origin: &Value, now: Timestamp) -> Value {
    let of_origin = |name: &str| origin.get(name).cloned().unwrap_or_default();
    json!({
        "status": worse(verdict(settings, inbox, now), origin),
        "service": "tollgate-edge",
        "success_rate_24h": of_origin("success_rate_24h"),
        "failed_webhooks_24h": of_origin("failed_webhooks_24h"),
        "total_webhooks_24h": of_origin("total_webhooks_24h"),
        "origin_figures": origin,
        "sources": sources(settings),
        "inbox": inbox.shown(),
        "handoff": configured(settings.handoff.as_ref().err()),
        "origin": configured(settings.origin.as_ref().err()),
        "session": configured(settings.session.as_ref().err()),
        "csrf": configured(settings.csrf.as_ref().err()),
        "turnstile": turnstile(settings),
        "limiter": configured(settings.limiter.as_ref().err()),
    })
}

/// What the origin says counts as well; one that does not answer is a sign, and events are kept meanwhile.
fn worse(verdict: &'static str, origin: &Value) -> &'static str {
    let is_well = origin.get("status").is_some_and(|status| status == "ok");
    match verdict {
        "ok" if !is_well => "degraded",
        verdict => verdict,
    }
}

fn verdict(settings: &Settings, inbox: &Inbox, now: Timestamp) -> &'static str {
    if settings.handoff.is_err() || settings.origin.is_err() || inbox.silent > 0 {
        return "failing";
    }
    let stale = inbox
        .oldest_pending_ms
        .is_some_and(|oldest| now.unix_ms().saturating_sub(oldest) > PENDING_AGE_MS);
    let halves = settings
        .sources
        .states()
        .into_values()
        .any(|state| matches!(state, SourceState::Invalid(_)));
    let lacking = settings.session.is_err()
        || settings.limiter.is_err()
        || settings.csrf.is_err()
        || settings.turnstile.is_err();
    if stale || halves || lacking || inbox.parked > 0 {
        "degraded"
    } else {
        "ok"
    }
}

fn sources(settings: &Settings) -> BTreeMap<String, Value> {
    let shown = |state| match state {
        SourceState::Ready => json!({ "state": "ready" }),
        SourceState::Absent => json!({ "state": "absent" }),
        SourceState::Invalid(faults) => json!({ "state": "invalid", "faults": texts(&faults) }),
    };
    settings
        .sources
        .states()
        .into_iter()
        .map(|(name, state)| (name.to_string(), shown(state)))
        .collect()
}

fn configured(faults: Option<&Vec<Fault>>) -> Value {
    match faults {
        None => json!({ "state": "ready" }),
        Some(faults) => json!({ "state": "invalid", "faults": texts(faults) }),
    }
}

fn turnstile(settings: &Settings) -> Value {
    match &settings.turnstile {
        Ok(None) => json!({ "state": "off" }),
        on => configured(on.as_ref().err()),
    }
}

fn texts(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

/// The figures of all shards together.
#[derive(Debug, Default)]
struct Inbox {
    pending: i64,
    parked: i64,
    oldest_pending_ms: Option<i64>,
    /// Shards that did not answer.
    silent: u32,
    shards: Vec<Value>,
}

impl Inbox {
    /// Reads one line a shard; a line that is missing or no JSON is a silent shard.
    fn read(lines: &str, shards: u32) -> Self {
        let mut inbox = Self::default();
        let mut lines = lines.split('\n');
        for shard in 0..shards {
            let figures = lines
                .next()
                .and_then(|line| serde_json::from_str::<Value>(line).ok());
            inbox.add(shard, figures);
        }
        inbox
    }

    fn add(&mut self, shard: u32, figures: Option<Value>) {
        let Some(mut figures) = figures.filter(Value::is_object) else {
            self.silent = self.silent.saturating_add(1);
            self.shards.push(json!({ "shard": shard, "state": "silent" }));
            return;
        };
        let count = |name: &str| figures.get(name).and_then(Value::as_i64);
        self.pending = self.pending.saturating_add(count("pending").unwrap_or_default());
        self.parked = self.parked.saturating_add(count("parked").unwrap_or_default());
        let oldest = count("oldestPendingMs");
        self.oldest_pending_ms = self.oldest_pending_ms.into_iter().chain(oldest).min();
        if let Some(figures) = figures.as_object_mut() {
            figures.insert("shard".to_owned(), shard.into());
        }
        self.shards.push(figures);
    }

    fn shown(&self) -> Value {
        let oldest = self
            .oldest_pending_ms
            .map(|ms| Timestamp::from_unix_ms(ms).to_string());
        json!({
            "pending": self.pending,
            "parked": self.parked,
            "oldestPendingAt": oldest,
            "shards": self.shards,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Inbox, document, verdict, worse};
    use crate::config::tests::settings_of;
    use serde_json::{Value, json};
    use tollgate_shared::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_100_000);

    #[test]
    fn ed_5_shards_are_summed_and_a_silent_one_is_failing() {
        let lines = "{\"pending\":2,\"parked\":0,\"oldestPendingMs\":1700000000000}\n\n{\"pending\":1,\"parked\":3,\"oldestPendingMs\":1700000090000}";
        let inbox = Inbox::read(lines, 3);
        assert_eq!((inbox.pending, inbox.parked, inbox.silent), (3, 3, 1));
        let settings = settings_of(
            "HANDOFF_KEY_ID=k\nHANDOFF_KEY=0123456789abcdef0123456789abcdef\nORIGIN_BASE_URL=http://o",
        );
        assert_eq!(verdict(&settings, &inbox, NOW), "failing");
        assert_eq!(inbox.shown()["oldestPendingAt"], "2023-11-14T22:13:20Z");
        assert_eq!(inbox.shown()["shards"][2]["shard"], 2);
    }

    #[test]
    fn ec_7_the_origins_figures_are_shown_and_its_silence_is_a_sign() {
        let origin = json!({ "status": "ok", "success_rate_24h": 99.5, "failed_webhooks_24h": 1, "total_webhooks_24h": 200 });
        let shown = document(&settings_of(""), &Inbox::read("{}", 1), &origin, NOW);
        assert_eq!(
            (
                &shown["success_rate_24h"],
                &shown["failed_webhooks_24h"],
                &shown["total_webhooks_24h"]
            ),
            (&json!(99.5), &json!(1), &json!(200))
        );
        let silent = document(&settings_of(""), &Inbox::read("{}", 1), &Value::Null, NOW);
        assert_eq!(silent["total_webhooks_24h"], Value::Null);
        for (ours, theirs, expected) in [
            ("ok", "ok", "ok"),
            ("ok", "degraded", "degraded"),
            ("ok", "", "degraded"),
            ("degraded", "ok", "degraded"),
            ("failing", "ok", "failing"),
        ] {
            assert_eq!(
                worse(ours, &json!({ "status": theirs })),
                expected,
                "{ours} {theirs}"
            );
        }
    }

    #[test]
    fn health_names_what_is_missing_and_no_value() {
        let settings = settings_of("HANDOFF_KEY=very-secret\nECPAY_MERCHANT_ID=3002607");
        let text = document(&settings, &Inbox::read("{}", 1), &Value::Null, NOW).to_string();
        for name in [
            "HANDOFF_KEY_ID: is not set",
            "SESSION_HS256_SECRET",
            "CSRF_SECRET",
            "TURNSTILE_SECRET_KEY",
            "ORIGIN_BASE_URL",
            "ECPAY_HASH_KEY",
            "RL_ADDRESS",
        ] {
            assert!(text.contains(name), "{name} in {text}");
        }
        assert!(!text.contains("very-secret"));
        assert!(text.contains("\"status\":\"failing\""));
    }
}
