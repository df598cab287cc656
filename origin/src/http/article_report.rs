//! `POST /api/service/v1/articles/{job}/report`: the generator says how a job ended (TB-7).
//!
//! generator, or `tollgate tokens report` in its shell → **report** (service key → parse → `jobs::report`).
//!
//! Invariants: only a key with `jobs:report` reports; the job's id is the idempotency key, so a report can be sent again
//! until it is answered. 200 also where the tokens could not be deducted: the report is kept, the job says
//! `pending_token_deduction`, and reconciliation goes on trying; a report that is sent again is one more try.
//! Not here: what the report does (`domain::jobs`).

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use tollgate_shared::problem::Problem;
use uuid::Uuid;

use super::answer::{ProblemAnswer, internal, json, unavailable};
use super::body::{self, BodyError, CALL_BYTES_MAX};
use crate::Origin;
use crate::db::article_jobs::Job;
use crate::db::tokens::{ArticleId, TokenError};
use crate::domain::jobs::{JobStatus, Report};
use crate::domain::tokens::TokenAmount;
use crate::jobs::report::{CHARGE_FAILED, ReportError, report};
use crate::metrics::{Ended, Told};
use crate::service_keys::{self, KeyError, Scope};
use crate::telemetry::Chain;

const REASON_CHARS_MAX: usize = 150;

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
enum Body {
    Succeeded {
        tokens_used: i64,
        article_id: Option<String>,
    },
    Failed {
        reason: String,
    },
}

#[derive(Serialize)]
struct Answer {
    job_id: String,
    status: &'static str,
    tokens_reserved: i64,
    tokens_used: Option<i64>,
    tokens_charged: i64,
    article_id: Option<String>,
    error_message: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum RouteError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the body was refused")]
    Body(#[from] BodyError),
    #[error("{0} is out of its range")]
    Field(&'static str),
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl RouteError {
    fn problem(&self) -> Problem {
        match self {
            Self::Key(error) => error.problem(),
            Self::Body(error) => error.problem(),
            Self::Field(field) => Problem::new(400, "invalid-request", "A member is out of its range")
                .detail(format!("Look at {field}."))
                .with("field", *field),
            Self::Report(error) => refused(error),
        }
    }

    const fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::Report(ReportError::Tokens(_)) | Self::Key(KeyError::Db(_))
        )
    }
}

fn refused(error: &ReportError) -> Problem {
    match error {
        ReportError::UnknownJob => Problem::new(404, "unknown-job", "There is no such job"),
        ReportError::Ended(status) => Problem::new(409, "job-ended", "The job has ended the other way")
            .detail("What it ended as stays.")
            .with("job_status", status.label()),
        ReportError::Differs => Problem::new(422, "report-differs", "The job was reported differently")
            .detail("tokens_used differs from the first report, which stays.")
            .with("field", "tokens_used"),
        ReportError::Tokens(TokenError::Db(error)) if error.is_passing() => unavailable(),
        ReportError::Tokens(_) => internal(),
    }
}

/// The route.
pub(super) async fn post(
    State(origin): State<Arc<Origin>>,
    Path(job): Path<String>,
    request: Request,
) -> Response {
    match take(&origin, &job, request).await {
        Ok(job) => {
            let told = Told(ended(&job));
            let mut answer = json(StatusCode::OK, &answer(job));
            answer.extensions_mut().insert(told);
            answer
        }
        Err(error) => {
            if error.is_ours() {
                tracing::error!(error = %Chain(&error), "a report was not taken");
            } else {
                tracing::info!(error = %Chain(&error), "a report was refused");
            }
            ProblemAnswer(error.problem()).into_response()
        }
    }
}

async fn take(origin: &Origin, job: &str, request: Request) -> Result<Job, RouteError> {
    let (parts, bytes) = request.into_parts();
    service_keys::admit(origin, &parts.headers, Scope::Report).await?;
    let job: Uuid = job.parse().map_err(|_| ReportError::UnknownJob)?;
    let bytes = body::read(&parts.headers, bytes, CALL_BYTES_MAX).await?;
    let body = body::parse(&parts.headers, &bytes, CALL_BYTES_MAX)?;
    Ok(report(origin, job, &checked(body)?, origin.clock.now()).await?)
}

fn checked(body: Body) -> Result<Report, RouteError> {
    match body {
        Body::Succeeded {
            tokens_used,
            article_id,
        } => {
            if !(0..=TokenAmount::MAX).contains(&tokens_used) {
                return Err(RouteError::Field("tokens_used"));
            }
            let article = article_id.map(|id| id.parse::<ArticleId>()).transpose();
            Ok(Report::Succeeded {
                used_tokens: tokens_used,
                article: article.map_err(|_| RouteError::Field("article_id"))?,
            })
        }
        Body::Failed { reason } => {
            let readable = !reason.chars().any(char::is_control);
            if readable && (1..=REASON_CHARS_MAX).contains(&reason.chars().count()) {
                Ok(Report::Failed { reason })
            } else {
                Err(RouteError::Field("reason"))
            }
        }
    }
}

/// How the deduction of a job's tokens ended (TB-10); none was tried for an article that failed.
fn ended(job: &Job) -> Option<Ended> {
    let why_not = job.error_message.as_deref().unwrap_or_default();
    match job.status {
        JobStatus::Completed => Some(Ended::Ok),
        JobStatus::PendingTokenDeduction if why_not == "InsufficientBalance" => Some(Ended::Insufficient),
        JobStatus::PendingTokenDeduction => Some(Ended::Error),
        JobStatus::Generating | JobStatus::Failed => None,
    }
}

fn answer(job: Job) -> Answer {
    let used = job.used_tokens.unwrap_or_default().min(job.reserved_tokens);
    let is_charged = job.status == JobStatus::Completed;
    Answer {
        job_id: job.id.to_string(),
        status: job.status.label(),
        tokens_reserved: job.reserved_tokens,
        tokens_used: job.used_tokens,
        tokens_charged: if is_charged { used } else { 0 },
        article_id: job.article,
        error_message: job.error_message.map(told),
    }
}

/// What the database wrote for a person stays in the table.
fn told(error_message: String) -> String {
    if error_message.starts_with(CHARGE_FAILED) {
        CHARGE_FAILED.to_owned()
    } else {
        error_message
    }
}
