//! Whether a person is at the page: Cloudflare Turnstile's verdict on the token of a checkout (PU-2, ED-6).
//!
//! checkout → `caller` (a key that is new) → **check** → siteverify → origin.
//!
//! A token is good once and for 300 s (developers.cloudflare.com, Turnstile, "Validate the token"), so it is asked about only
//! when the call really goes to the origin: a repeat of a key that has its answer needs none. A call that is asked about
//! again (our answer was lost) names itself by the same `idempotency_key`, and gets the same verdict.
//! Invariants: without the setting nothing is sold; success counts only with our action, on a page of ours; no verdict is
//! no success. The visitor's address is not sent: it is not needed. Failure: 403; 503 without a verdict.

use serde::Deserialize;
use tollgate_shared::problem::Problem;
use tollgate_shared::{crypto, form};
use uuid::{Builder, Uuid};

use crate::answer::{self, Answer};
use crate::caller::Asked;
use crate::config::{Settings, Turnstile};
use crate::origin::unpack;
use crate::{log, port, task};

/// Cloudflare's limit of a token.
pub(crate) const TOKEN_LENGTH_MAX: usize = 2048;
/// What the widget on the page is told: `action: "checkout"`.
const ACTION: &str = "checkout";
/// A customer waits for it.
const BUDGET_MS: u32 = 5_000;
/// The verdict is on us, not on the visitor.
const OUR_FAULTS: [&str; 4] = [
    "missing-input-secret",
    "invalid-input-secret",
    "bad-request",
    "internal-error",
];

/// What siteverify answers.
#[derive(Debug, Default, Deserialize)]
struct Verdict {
    #[serde(default)]
    success: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    action: String,
    #[serde(default, rename = "error-codes")]
    error_codes: Vec<String>,
}

/// Refuses a call whose visitor is not vouched for.
pub(crate) async fn check(settings: &Settings, asked: &Asked) -> Result<(), Answer> {
    let Some(token) = &asked.turnstile_token else {
        return Ok(());
    };
    let turnstile = match &settings.turnstile {
        Ok(Some(turnstile)) => turnstile,
        Ok(None) => return Ok(()),
        Err(_) => {
            return Err(answer::not_configured(
                "turnstile-not-configured",
                "Turnstile is not configured",
            ));
        }
    };
    if token.is_empty() {
        return Err(refused());
    }
    let verdict = ask(turnstile, asked, token).await.ok_or_else(no_verdict)?;
    match judge(turnstile, &verdict) {
        Judgement::Vouched => Ok(()),
        Judgement::Refused => Err(refused()),
        Judgement::Elsewhere => {
            log::broken(
                "turnstile",
                "a token of another page or action: see TURNSTILE_HOSTNAMES",
            );
            Err(refused())
        }
        Judgement::OurFault => {
            log::broken("turnstile", &verdict.error_codes.join(" "));
            Err(no_verdict())
        }
    }
}

async fn ask(turnstile: &Turnstile, asked: &Asked, token: &str) -> Option<Verdict> {
    let name = attempt(asked, token).to_string();
    let fields = [
        ("secret", turnstile.secret.expose()),
        ("response", token),
        ("idempotency_key", &name),
    ];
    let promise = port::post_form(&turnstile.url, &form::encode(fields), BUDGET_MS);
    let packed = task::wait(promise).await.ok()?.as_string()?;
    // Cloudflare answers refusals with 200 or 4xx, always as JSON.
    serde_json::from_str(&unpack(&packed)?.body).ok()
}

/// Names the call and its token: the same for a repeat, another for everything else.
fn attempt(asked: &Asked, token: &str) -> Uuid {
    let text = format!("{}\n{}\n{token}", asked.user, asked.key);
    let digest = crypto::sha256(text.as_bytes());
    let bytes = digest.first_chunk().copied().unwrap_or_default();
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// What a verdict comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    Vouched,
    Refused,
    /// Vouched for, but not for a checkout of ours.
    Elsewhere,
    /// No verdict: a setting of ours, or Cloudflare itself.
    OurFault,
}

fn judge(turnstile: &Turnstile, verdict: &Verdict) -> Judgement {
    let is_ours = verdict.action == ACTION && turnstile.hostnames.contains(&verdict.hostname);
    let faulty = |code: &String| OUR_FAULTS.contains(&code.as_str());
    match verdict.success {
        true if is_ours => Judgement::Vouched,
        true => Judgement::Elsewhere,
        false if verdict.error_codes.iter().any(faulty) => Judgement::OurFault,
        false => Judgement::Refused,
    }
}

fn refused() -> Answer {
    let problem = Problem::new(403, "turnstile-refused", "The visitor is not vouched for").detail(
        "Send turnstileToken, new from the page's widget (action \"checkout\"); each is good once and for five minutes.",
    );
    Answer::problem(&problem)
}

fn no_verdict() -> Answer {
    answer::unavailable("turnstile-unavailable", "Turnstile gives no verdict now")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Judgement, Verdict, attempt, judge};
    use crate::caller::{Asked, Fingerprint, Target};
    use crate::config::tests::settings_of;

    /// The judgement, and what siteverify answered.
    const VERDICTS: &str = r#"
Vouched   {"success":true,"hostname":"shop.example","action":"checkout","error-codes":[]}
Elsewhere {"success":true,"hostname":"evil.example","action":"checkout"}
Elsewhere {"success":true,"hostname":"shop.example.evil","action":"checkout"}
Elsewhere {"success":true,"hostname":"shop.example","action":"login"}
Elsewhere {"success":true,"hostname":"shop.example"}
Elsewhere {"success":true}
Refused   {}
Refused   {"success":false,"error-codes":["timeout-or-duplicate"]}
Refused   {"success":false,"error-codes":["invalid-input-response"]}
Refused   {"success":false,"hostname":"shop.example","action":"checkout"}
OurFault  {"success":false,"error-codes":["invalid-input-secret"]}
OurFault  {"success":false,"error-codes":["internal-error"]}
"#;

    #[test]
    fn pu_2_ed_6_only_our_action_on_our_page_counts() {
        let settings = settings_of("TURNSTILE_SECRET_KEY=0x4AAAAAAA\nTURNSTILE_HOSTNAMES=shop.example");
        let turnstile = settings.turnstile.unwrap().unwrap();
        for line in VERDICTS.lines().filter(|line| !line.is_empty()) {
            let (expected, reply) = line.split_once(' ').unwrap();
            let verdict: Verdict = serde_json::from_str(reply).unwrap();
            let judgement: Judgement = judge(&turnstile, &verdict);
            assert_eq!(format!("{judgement:?}"), expected, "{reply}");
        }
    }

    #[test]
    fn pu_2_a_repeat_names_itself_alike_and_nothing_else_does() {
        let asked = |user: &str, key: &str| Asked {
            key: key.to_owned(),
            user: user.to_owned(),
            target: Target::Checkout,
            delivery: "another each time".to_owned(),
            fingerprint: Fingerprint(BTreeMap::new()),
            turnstile_token: None,
            body: String::new(),
        };
        let name = attempt(&asked("u1", "k1"), "t1");
        assert_eq!(name, attempt(&asked("u1", "k1"), "t1"));
        assert_eq!(name.get_version_num(), 8);
        for other in [
            attempt(&asked("u2", "k1"), "t1"),
            attempt(&asked("u1", "k2"), "t1"),
            attempt(&asked("u1", "k1"), "t2"),
        ] {
            assert_ne!(name, other);
        }
    }
}
