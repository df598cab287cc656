//! `tollgate tokens …`: a client of the service API for shells and CI jobs (TB-6).
//!
//! main → **client** (settings → call → retries) → the origin's `/api/service/v1/` → one JSON line on standard output.
//!
//! Invariants: every call names its effect by a key, so a repeat after a lost answer changes nothing; what the origin
//! refused is not asked again; the key is in no log line, argument or error. Not here: what a call means there.
//! Failure: [`ClientError`], printed by `main`.

pub(crate) mod retry;
#[cfg(test)]
mod tests;

use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};
use tollgate_shared::config::{Fault, Lookup, Reader};
use tollgate_shared::secret::Secret;
use uuid::Uuid;

use self::retry::{Tried, with_retries};
use crate::domain::tokens::{ArticleId, CompanyId, TokenAmount, TokenKey};
use crate::http::metrics::ATTEMPT_HEADER;

/// Longer than the origin's own limit for a call (20 s), so that its answer is heard.
const TIME_MAX: Duration = Duration::from_secs(25);

/// Why a call did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The origin refused; asking again changes nothing.
    #[error("refused with {status} {problem}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The last part of the problem's type.
        problem: String,
        /// What to do about it.
        detail: String,
    },
    /// Every try failed in passing; whether the effect happened is not known, and the same key makes another run safe.
    #[error("gave up after {tries} tries: {reason}")]
    GaveUp {
        /// How often it was tried.
        tries: u32,
        /// What the last one met.
        reason: String,
    },
    /// No HTTP client can be made.
    #[error("outbound calls cannot be made")]
    Client(#[from] reqwest::Error),
}

/// Where the origin is, and who asks.
pub struct Settings {
    /// `TOLLGATE_URL`.
    pub url: Url,
    /// `TOLLGATE_SERVICE_KEY`.
    pub service_key: Secret,
}

impl Settings {
    /// Reads both settings, or names every fault.
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader::new(lookup);
        let url = reader.required("TOLLGATE_URL").and_then(|text| {
            let url = Url::parse(&text).ok().filter(Url::has_host);
            if url.is_none() {
                reader.fault("TOLLGATE_URL", "must be an absolute http(s) URL");
            }
            url
        });
        let key = reader.required("TOLLGATE_SERVICE_KEY").map(Secret::new);
        let settings = url.zip(key).map(|(url, service_key)| Self { url, service_key });
        reader.finish(settings)
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Deduct tokens.
    Deduct {
        /// Names the effect.
        key: TokenKey,
        /// Whose tokens.
        company: CompanyId,
        /// What they are spent on.
        article: ArticleId,
        /// How many.
        amount: TokenAmount,
    },
    /// A metered job has its article.
    Succeeded {
        /// Of the trigger's `jobId`.
        job: Uuid,
        /// What it cost.
        tokens_used: u32,
        /// The article's name.
        article: Option<ArticleId>,
    },
    /// A metered job ended without one.
    Failed {
        /// Of the trigger's `jobId`.
        job: Uuid,
        /// Why, for people.
        reason: String,
    },
}

impl Ask {
    fn path(&self) -> String {
        match self {
            Self::Deduct { .. } => "/api/service/v1/tokens/deduct".to_owned(),
            Self::Succeeded { job, .. } | Self::Failed { job, .. } => {
                format!("/api/service/v1/articles/{job}/report")
            }
        }
    }

    fn body(&self) -> Value {
        match self {
            Self::Deduct {
                key,
                company,
                article,
                amount,
            } => json!({
                "idempotency_key": key.as_str(),
                "company_id": company.as_str(),
                "article_id": article.as_str(),
                "amount": amount.get(),
            }),
            Self::Succeeded {
                tokens_used, article, ..
            } => json!({
                "outcome": "succeeded",
                "tokens_used": tokens_used,
                "article_id": article.as_ref().map(ArticleId::as_str),
            }),
            Self::Failed { reason, .. } => json!({ "outcome": "failed", "reason": reason }),
        }
    }
}

/// Asks, up to three times, and gives the origin's answer.
pub async fn ask(settings: &Settings, ask: &Ask) -> Result<Value, ClientError> {
    ask_with(settings, ask, tokio::time::sleep).await
}

async fn ask_with<S: Future<Output = ()>>(
    settings: &Settings,
    ask: &Ask,
    pause: impl Fn(Duration) -> S,
) -> Result<Value, ClientError> {
    let client = reqwest::Client::builder()
        .timeout(TIME_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent("tollgate")
        .build()?;
    let url = format!("{}{}", settings.url.as_str().trim_end_matches('/'), ask.path());
    let body = ask.body();
    with_retries(
        |attempt| {
            let request = client
                .post(&url)
                .bearer_auth(settings.service_key.expose())
                .header(ATTEMPT_HEADER, attempt)
                .json(&body);
            once(request)
        },
        pause,
    )
    .await
}

async fn once(request: reqwest::RequestBuilder) -> Tried {
    // reqwest's own text holds the URL; the kind is enough.
    let Ok(answer) = request.send().await else {
        return Tried::InPassing("no answer".to_owned());
    };
    let status = answer.status();
    let Ok(body) = answer.bytes().await else {
        return Tried::InPassing(format!("the answer {status} broke off"));
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let problem = text("type").rsplit(':').next().unwrap_or_default();
    match status.as_u16() {
        200..=299 => Tried::Done(body),
        500..=599 | 408 | 429 => Tried::InPassing(format!("{status} {problem}")),
        status => Tried::Refused(ClientError::Refused {
            status,
            problem: problem.to_owned(),
            detail: text("detail").to_owned(),
        }),
    }
}
