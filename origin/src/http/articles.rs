//! `POST /internal/v1/articles/generate`: a user wants an article (TB-7).
//!
//! hop → **articles** (parse → `jobs::generate` → render) → the edge → the browser.
//!
//! Invariants: the user is the hop's subject and the key a member of the signed body, as in `checkout`. 202 for a new
//! job, 200 with `Idempotency-Replayed` for a repeat. 402 names what is missing and where to get it, and pins nothing to
//! the key. Not here: how the job ends (`article_report`).

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use tollgate_shared::problem::Problem;

use super::answer::{ProblemAnswer, internal, json, no_company, unavailable};
use super::body::{self, BodyError, CALL_BYTES_MAX};
use super::hop::Hop;
use super::strict::StrictObject;
use crate::Origin;
use crate::db::tokens::TokenError;
use crate::domain::jobs::{ESTIMATE, JobStatus};
use crate::jobs::generate::{Begun, Call, GenerateError, generate as begin};
use crate::telemetry::Chain;

const REPLAYED_HEADER: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY_BYTES_MAX: usize = 255;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    idempotency_key: String,
    input: StrictObject,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    job_id: String,
    status: &'static str,
    tokens_reserved: i64,
}

#[derive(Debug, thiserror::Error)]
enum ArticleError {
    #[error("the hop names no user")]
    NoUser,
    #[error("the idempotency key is not 1 to {KEY_BYTES_MAX} visible ASCII characters")]
    BadKey,
    #[error("the body was refused")]
    Body(#[source] BodyError),
    #[error("the article was refused")]
    Generate(#[source] GenerateError),
}

impl ArticleError {
    fn problem(&self, upgrade_url: &str) -> Problem {
        match self {
            Self::NoUser => Problem::new(401, "session-required", "This call needs a session"),
            Self::BadKey => Problem::new(
                400,
                "idempotency-key-malformed",
                "The idempotency key is unusable",
            )
            .detail("idempotencyKey must be 1 to 255 visible ASCII characters."),
            Self::Body(error) => error.problem(),
            Self::Generate(error) => refused(error, upgrade_url),
        }
    }

    const fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::Generate(GenerateError::Tokens(_) | GenerateError::NotConfigured)
        )
    }
}

fn refused(error: &GenerateError, upgrade_url: &str) -> Problem {
    match error {
        GenerateError::NotConfigured => {
            // Not 503: nobody should come again for what only a setting changes.
            Problem::new(
                501,
                "generator-not-configured",
                "Article generation is not configured",
            )
            .detail("Nothing was reserved. The same call works once the service has a generator.")
        }
        GenerateError::NoCompany => no_company(),
        GenerateError::KeyReused => Problem::new(
            422,
            "idempotency-mismatch",
            "The idempotency key was used for another request",
        )
        .detail("Field input differs from the first request.")
        .with("field", "input"),
        GenerateError::Short { available } => {
            Problem::new(402, "insufficient-balance", "There are not enough tokens")
                .detail(format!(
                    "An article holds {ESTIMATE} tokens; {available} can be spent."
                ))
                .with("required", ESTIMATE)
                .with("available", *available)
                .with("upgradeUrl", upgrade_url)
        }
        GenerateError::Tokens(TokenError::Db(error)) if error.is_passing() => unavailable(),
        GenerateError::Tokens(_) => internal(),
    }
}

/// The route.
pub(super) async fn generate(State(origin): State<Arc<Origin>>, hop: Hop, headers: HeaderMap) -> Response {
    let error = match call(&origin, &hop, &headers).await {
        Ok(begun) => return answer(begun),
        Err(error) => error,
    };
    let chain = Chain(&error);
    if error.is_ours() {
        tracing::error!(delivery.id = %hop.delivery(), error = %chain, "an article was not begun");
    } else {
        tracing::info!(delivery.id = %hop.delivery(), error = %chain, "an article was refused");
    }
    ProblemAnswer(error.problem(origin.config.jobs.upgrade_url.as_str())).into_response()
}

async fn call(origin: &Origin, hop: &Hop, headers: &HeaderMap) -> Result<Begun, ArticleError> {
    let user = hop.subject().cloned().ok_or(ArticleError::NoUser)?;
    let body: Body = body::parse(headers, hop.body(), CALL_BYTES_MAX).map_err(ArticleError::Body)?;
    let visible = body.idempotency_key.bytes().all(|byte| byte.is_ascii_graphic());
    if !visible || !(1..=KEY_BYTES_MAX).contains(&body.idempotency_key.len()) {
        return Err(ArticleError::BadKey);
    }
    let call = Call {
        user,
        key: body.idempotency_key,
        input: body.input.0,
        delivery: hop.delivery(),
        now: hop.received_at(),
    };
    begin(origin, &call).await.map_err(ArticleError::Generate)
}

fn answer(begun: Begun) -> Response {
    let body = Answer {
        job_id: begun.id.to_string(),
        // Of the moment at which the key was first used: a repeat gets the first answer.
        status: JobStatus::Generating.label(),
        tokens_reserved: begun.reserved_tokens,
    };
    if !begun.repeated {
        return json(StatusCode::ACCEPTED, &body);
    }
    let mut answer = json(StatusCode::OK, &body);
    answer
        .headers_mut()
        .insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
    answer
}
