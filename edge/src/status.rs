//! A browser asks how its payment is, while the notice is on its way (PM-5), what it may spend (TB-5), or which
//! provider is configured.
//!
//! route → receive → session → **status** → origin. Nothing is stored here.
//!
//! Invariant: the subject of the hop is the session's user; the origin shows a payment to its owner only and says
//! 404 to everybody else. Failure: 502 when the origin does not answer; the page asks again.

use tollgate_shared::id::{PaymentId, UserId};
use tollgate_shared::problem::Problem;

use crate::answer::Answer;
use crate::caller::promised;
use crate::origin::{self, Question};
use crate::receive::{self, Callers};
use crate::{Call, cors, port, session};

/// A page polls every second or two; an origin that needs longer would only be asked again.
const BUDGET_MS: u32 = 5_000;

/// The status of one payment.
pub(crate) async fn status(call: &Call<'_>, id: &str) -> Answer {
    let headers = port::headers(call.request, "origin\nauthorization");
    let (page, authorization) = headers.split_once('\n').unwrap_or_default();
    let answer = match try_status(call, id, authorization).await {
        Ok(answer) | Err(answer) => answer,
    };
    cors::readable(call.settings, page, answer)
}

async fn try_status(call: &Call<'_>, id: &str, authorization: &str) -> Result<Answer, Answer> {
    receive::body(call.request, call.env, call.head, Callers::Readers).await?;
    let user = session::user(call.settings, authorization, call.head.received_at)?;
    let payment: PaymentId = id.parse().map_err(|_| unknown())?;
    read(call, &user, &format!("/internal/v1/payments/{payment}/status")).await
}

/// What the session's user may spend.
pub(crate) async fn balance(call: &Call<'_>) -> Answer {
    own(call, "/internal/v1/billing/balance").await
}

/// What the origin has for the session's user at a path that names nobody: who is meant, the hop's subject says.
pub(crate) async fn own(call: &Call<'_>, path: &str) -> Answer {
    let headers = port::headers(call.request, "origin\nauthorization");
    let (page, authorization) = headers.split_once('\n').unwrap_or_default();
    let answer = match try_own(call, path, authorization).await {
        Ok(answer) | Err(answer) => answer,
    };
    cors::readable(call.settings, page, answer)
}

async fn try_own(call: &Call<'_>, path: &str, authorization: &str) -> Result<Answer, Answer> {
    receive::body(call.request, call.env, call.head, Callers::Readers).await?;
    let user = session::user(call.settings, authorization, call.head.received_at)?;
    read(call, &user, path).await
}

/// Asks the origin as the user.
async fn read(call: &Call<'_>, user: &UserId, path: &str) -> Result<Answer, Answer> {
    let question = Question {
        method: "GET",
        path,
        delivery: &call.head.delivery.to_string(),
        subject: user.as_str(),
        body: b"",
        budget_ms: BUDGET_MS,
    };
    let reply = origin::ask(call.env, call.settings, &question, call.head.received_at).await;
    promised(reply, &[200, 404])
}

/// The same words as the origin's, so that a malformed id looks like another's payment.
fn unknown() -> Answer {
    Answer::problem(&Problem::new(404, "unknown-payment", "There is no such payment"))
}

/// What a page needs before it can start (PM-7). No secret: the public key is for the page.
pub(crate) async fn config(call: &Call<'_>) -> Answer {
    let page = port::headers(call.request, "origin");
    let answer = match receive::body(call.request, call.env, call.head, Callers::Readers).await {
        Ok(_) => shown(call),
        Err(answer) => answer,
    };
    cors::readable(call.settings, &page, answer)
}

fn shown(call: &Call<'_>) -> Answer {
    let provider = call.settings.sources.default_provider().map(ToString::to_string);
    let body = serde_json::json!({ "provider": provider, "publicKey": call.settings.public_key });
    Answer::json(200, body.to_string(), "answered")
}
