//! Cloudflare Turnstile: siteverify, and the tokens that a widget would have given (reference D.1).
//!
//! `POST /control/v1/turnstile` (in the widget's place) → **[`Visitors`]** → `POST /turnstile/v0/siteverify` → `{"success", …}`.
//!
//! Invariants: a token is good once and for 300 s; the same check may be repeated under its `idempotency_key`. Cloudflare's
//! secrets for tests do what they do there: one lets the dummy token pass and nothing else, one refuses everything, one
//! calls every token spent. Requests come as a form or as JSON.
//! Our guess where its page says nothing: the dummy token vouches for `checkout` on `localhost`, so that a page under
//! development passes. Not here: the widget itself. Nothing here fails.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use crate::app::App;
use crate::clock::machine_now;
use crate::{answer, form};

/// Cloudflare's secrets for tests: dummy token passes, nothing passes, everything is spent.
pub(crate) const SECRET_PASSES: &str = "1x0000000000000000000000000000000AA";
const SECRET_FAILS: &str = "2x0000000000000000000000000000000AA";
const SECRET_SPENT: &str = "3x0000000000000000000000000000000AA";
const DUMMY_TOKEN: &str = "XXXX.DUMMY.TOKEN.XXXX";
const TOKEN_LENGTH_MAX: usize = 2048;
const VALID: Duration = Duration::from_mins(5);
/// Tokens in one run; beyond it the oldest are forgotten, as if their time had passed.
const TOKENS_MAX: usize = 10_000;

/// For whom a token vouches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) hostname: String,
    pub(crate) action: String,
    pub(crate) solved_at: Timestamp,
}

#[derive(Debug)]
struct Issued {
    visit: Visit,
    /// The check that spent it; empty where that one had no name.
    spent_by: Option<String>,
}

/// The tokens that were given out.
#[derive(Debug, Default)]
pub(crate) struct Visitors {
    issued: BTreeMap<u64, Issued>,
    drawn: u64,
}

impl Visitors {
    /// A new token.
    pub(crate) fn issue(&mut self, visit: Visit) -> String {
        if self.issued.len() >= TOKENS_MAX {
            self.issued.pop_first();
        }
        self.drawn = self.drawn.saturating_add(1);
        let issued = Issued {
            visit,
            spent_by: None,
        };
        self.issued.insert(self.drawn, issued);
        format!("0.sandbox-{}", self.drawn)
    }

    /// Checks a token, which spends it.
    fn spend(&mut self, token: &str, check: &str, now: Timestamp) -> Result<Visit, &'static str> {
        let number = token
            .strip_prefix("0.sandbox-")
            .and_then(|number| number.parse().ok());
        let issued = number.and_then(|number: u64| self.issued.get_mut(&number));
        let issued = issued.ok_or("invalid-input-response")?;
        let repeats = issued
            .spent_by
            .as_ref()
            .is_some_and(|by| !by.is_empty() && by == check);
        let is_old = issued.visit.solved_at.plus(VALID) < now;
        if is_old || (issued.spent_by.is_some() && !repeats) {
            return Err("timeout-or-duplicate");
        }
        issued.spent_by = Some(check.to_owned());
        Ok(issued.visit.clone())
    }
}

/// `POST /turnstile/v0/siteverify`.
pub(crate) async fn siteverify(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Response {
    let now = machine_now();
    let checked = fields(&headers, &body)
        .ok_or("bad-request")
        .and_then(|fields| check(&app, &fields, now));
    answer::json(StatusCode::OK, &shown(checked))
}

fn check(app: &App, fields: &BTreeMap<String, String>, now: Timestamp) -> Result<Visit, &'static str> {
    let field = |name: &str| {
        fields
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    };
    let secret = field("secret").ok_or("missing-input-secret")?;
    let is_ours = app.config.turnstile_secret.expose() == secret;
    if !is_ours && ![SECRET_PASSES, SECRET_FAILS, SECRET_SPENT].contains(&secret) {
        return Err("invalid-input-secret");
    }
    let token = field("response").ok_or("missing-input-response")?;
    let name = field("idempotency_key").unwrap_or_default();
    if !name.is_empty() && Uuid::try_parse(name).is_err() {
        return Err("bad-request");
    }
    match secret {
        SECRET_FAILS => Err("invalid-input-response"),
        SECRET_SPENT => Err("timeout-or-duplicate"),
        _ if token.len() > TOKEN_LENGTH_MAX => Err("invalid-input-response"),
        SECRET_PASSES if token == DUMMY_TOKEN => Ok(Visit {
            hostname: "localhost".to_owned(),
            action: "checkout".to_owned(),
            solved_at: now,
        }),
        _ if is_ours => app.world.with(|world| world.visitors.spend(token, name, now)),
        _ => Err("invalid-input-response"),
    }
}

/// The fields of a form or of a flat JSON object of texts.
fn fields(headers: &HeaderMap, body: &[u8]) -> Option<BTreeMap<String, String>> {
    let media = headers
        .get(header::CONTENT_TYPE)
        .and_then(|media| media.to_str().ok());
    let media = media.unwrap_or_default();
    if media.starts_with("application/json") {
        return serde_json::from_slice(body).ok();
    }
    let is_form = media.starts_with("application/x-www-form-urlencoded");
    let fields = form::parse(body).ok().filter(|_| is_form)?;
    Some(fields.into_map())
}

fn shown(checked: Result<Visit, &'static str>) -> Value {
    match checked {
        Ok(visit) => json!({
            "success": true, "error-codes": [], "challenge_ts": visit.solved_at.to_string(),
            "hostname": visit.hostname, "action": visit.action, "cdata": "",
        }),
        Err(code) => json!({ "success": false, "error-codes": [code] }),
    }
}
