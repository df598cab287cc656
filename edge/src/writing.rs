//! What every writing call of a browser begins with: who writes, under which key, and which bytes.
//!
//! route → receive → session → **writing** → checkout │ article │ subscriptions.
//!
//! Refusals in order: limits and size, session (401), media type (415), Idempotency-Key (400); then the handler's own.
//! Invariant: JSON and an Idempotency-Key are things that no form of another page can send; whatever is answered, the
//! page may read it if its origin is listed. Not here: what the bytes mean.

use tollgate_shared::problem::Problem;
use tollgate_shared::session::Session;

use crate::answer::Answer;
use crate::receive::{self, Callers};
use crate::{Call, cors, port, session};

const HEADERS: &str = "origin\nauthorization\ncontent-type\nidempotency-key\nx-csrf-token";
/// RFC draft "The Idempotency-Key HTTP Header Field" leaves the length open; this is what clients use.
const KEY_LENGTH_MAX: usize = 255;

/// A writing call whose sender and form are checked.
pub(crate) struct Writing<'a> {
    /// Who.
    pub(crate) session: Session,
    /// The caller's name for the effect.
    pub(crate) key: &'a str,
    /// As it came; the routes that need it check it (`csrf`).
    pub(crate) csrf_token: &'a str,
    /// The body as it came.
    pub(crate) bytes: Vec<u8>,
}

/// Reads a call, lets it be handled, and makes the answer readable for the page.
pub(crate) async fn answered(
    call: &Call<'_>,
    handle: impl AsyncFnOnce(Writing<'_>) -> Result<Answer, Answer>,
) -> Answer {
    let headers = port::headers(call.request, HEADERS);
    let (page, rest) = headers.split_once('\n').unwrap_or_default();
    let handled = async {
        let writing = read(call, rest).await?;
        handle(writing).await
    };
    let (Ok(answer) | Err(answer)) = handled.await;
    cors::readable(call.settings, page, answer)
}

async fn read<'a>(call: &Call<'_>, headers: &'a str) -> Result<Writing<'a>, Answer> {
    let mut headers = headers.split('\n');
    let mut header = || headers.next().unwrap_or_default();
    let (authorization, content_type, key, csrf_token) = (header(), header(), header(), header());
    let bytes = receive::body(call.request, call.env, call.head, Callers::Writers).await?;
    let session = session::session(call.settings, authorization, call.head.received_at)?;
    is_json(content_type)?;
    is_key(key)?;
    Ok(Writing {
        session,
        key,
        csrf_token,
        bytes,
    })
}

/// Refuses what is not declared as JSON in UTF-8.
fn is_json(content_type: &str) -> Result<(), Answer> {
    let mut parts = content_type.split(';').map(str::trim);
    let json = parts
        .next()
        .is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.eq_ignore_ascii_case("charset") || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    if json && utf8 {
        return Ok(());
    }
    let problem =
        Problem::new(415, "not-json", "The body is not JSON").detail("Send application/json in UTF-8.");
    Err(Answer::problem(&problem))
}

/// Refuses a missing or unusable Idempotency-Key.
fn is_key(key: &str) -> Result<(), Answer> {
    let visible =
        !key.is_empty() && key.len() <= KEY_LENGTH_MAX && key.bytes().all(|byte| byte.is_ascii_graphic());
    if visible {
        return Ok(());
    }
    let problem = Problem::new(400, "idempotency-key-missing", "An Idempotency-Key is needed").detail(
        "Send 1 to 255 visible ASCII characters, a new one for each purchase, the same for each retry.",
    );
    Err(Answer::problem(&problem))
}

/// The refusal of a body that does not fit its type.
pub(crate) fn malformed(error: &serde_json::Error) -> Answer {
    let what = if error.is_data() {
        "A field is unknown, missing, repeated or not of its type"
    } else {
        "The body is not JSON"
    };
    unusable(&format!(
        "{what} (line {}, column {}).",
        error.line(),
        error.column()
    ))
}

/// The refusal of a body that is JSON of the right form and says what cannot be.
pub(crate) fn unusable(detail: &str) -> Answer {
    Answer::problem(&Problem::new(400, "malformed-body", "The body cannot be read").detail(detail))
}

#[cfg(test)]
mod tests {
    use super::{is_json, is_key};

    #[test]
    fn pm_3_json_in_utf8_and_a_visible_key() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(is_json(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/json; charset=big5",
            "application/jsonp",
            "multipart/form-data",
        ] {
            assert_eq!(is_json(bad).unwrap_err().status, 415, "{bad}");
        }
        assert!(is_key("018bcfe5-6800").is_ok());
        for bad in ["", "a b", "鍵", &"x".repeat(256)] {
            assert_eq!(is_key(bad).unwrap_err().status, 400, "{bad}");
        }
    }
}
