//! Asks the team's backend whether the work of a pending record exists (TB-8).
//!
//! `jobs::reconcile` → **ask** (signed as Standard Webhooks) → `WORK_LOOKUP_URL` → `domain::jobs::Work`.
//!
//! The answer is `{"state": "exists" | "running" | "missing", "tokensUsed": 1200}`, the number optional and only of
//! work that exists. Invariant: only a whole answer of that form decides; a 404, a timeout or a page of a proxy decides
//! nothing, because taking them for "missing" would give away work that was done.
//! Not here: what is done with the answer.

use serde::Deserialize;
use serde_json::json;
use tollgate_shared::time::Timestamp;

use super::user_core::{Client, SendError};
use crate::config::Receiver;
use crate::db::article_jobs::PendingRecord;
use crate::domain::jobs::Work;

/// The answer is a line; what is longer is something else.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// It was not asked, or did not answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Another answer than 200 with the documented JSON.
    #[error("the answer about the work cannot be read")]
    Unreadable,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Answer {
    state: State,
    tokens_used: Option<i64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Exists,
    Running,
    Missing,
}

/// Asks about one record.
pub(crate) async fn ask(
    client: &Client,
    receiver: &Receiver,
    record: &PendingRecord,
    now: Timestamp,
) -> Result<Work, LookupError> {
    let question = json!({
        "type": "work.lookup",
        "timestamp": now.to_string(),
        "data": {
            "idempotencyKey": record.key.as_str(),
            "companyId": record.company.as_str(),
            "articleId": record.article.as_str(),
            "metadata": record.metadata,
            "tokensReserved": record.reserved_tokens,
        },
    });
    // Each question has an id of its own: a receiver that drops repeats would leave the second one unanswered.
    let message_id = format!("lookup_{}_{}", record.id.simple(), now.unix_ms());
    let body = question.to_string().into_bytes();
    let mut answer = client.post(receiver, &message_id, body, now).await?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(SendError::Status(answer.status().as_u16()).into());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|_| LookupError::Unreadable)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(LookupError::Unreadable);
        }
    }
    read(&bytes)
}

fn read(bytes: &[u8]) -> Result<Work, LookupError> {
    let answer: Answer = serde_json::from_slice(bytes).map_err(|_| LookupError::Unreadable)?;
    match (answer.state, answer.tokens_used) {
        (State::Exists, Some(tokens)) if tokens < 0 => Err(LookupError::Unreadable),
        (State::Exists, tokens) => Ok(Work::Exists(tokens)),
        (State::Running, None) => Ok(Work::Running),
        (State::Missing, None) => Ok(Work::Missing),
        (State::Running | State::Missing, Some(_)) => Err(LookupError::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::domain::jobs::Work;

    #[test]
    fn tb_8_only_a_whole_answer_decides() {
        for (answer, work) in [
            (
                r#"{"state":"exists","tokensUsed":1200}"#,
                Some(Work::Exists(Some(1200))),
            ),
            (r#"{"state":"exists"}"#, Some(Work::Exists(None))),
            (r#"{"state":"running"}"#, Some(Work::Running)),
            (r#"{"state":"missing"}"#, Some(Work::Missing)),
            (r#"{"state":"missing","tokensUsed":7}"#, None),
            (r#"{"state":"exists","tokensUsed":-1}"#, None),
            (r#"{"state":"gone"}"#, None),
            (r#"{"state":"missing","state":"exists"}"#, None),
            (r#"{"state":"missing","why":"x"}"#, None),
            ("<html>not found</html>", None),
            ("", None),
        ] {
            assert_eq!(read(answer.as_bytes()).ok(), work, "{answer}");
        }
    }
}
