//! The signed hop to the origin.
//!
//! `inbox::deliver`, `caller`, `status`, `health` → **origin** → the origin's internal routes (ED-4).
//!
//! Invariant: no request leaves without a signature over what leaves (`shared::handoff`), signed at the moment of
//! sending, so that a delivery after hours is not stale. The service binding is preferred; otherwise the base URL.
//! A redirect is not followed: it would carry a signed body elsewhere. Failure: no answer within the budget, or
//! none that can be read, is `Unreachable`; what that means is the caller's to say.

use tollgate_shared::handoff::{
    self, DELIVERY_HEADER, HandoffKey, KEY_ID_HEADER, SIGNATURE_HEADER, SUBJECT_HEADER, TIMESTAMP_HEADER,
};
use tollgate_shared::time::Timestamp;
use worker::Env;

use crate::config::Settings;
use crate::{port, task};

/// How long an origin that is not configured takes not to answer.
const UNCONFIGURED_MS: u32 = 50;

/// What every problem type of ours begins with (`shared::problem`).
const PROBLEM_PREFIX: &str = "urn:tollgate:problem:";

/// What is asked of the origin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// GET or POST.
    pub(crate) method: &'static str,
    /// On the internal side, query included.
    pub(crate) path: &'a str,
    /// Follows the delivery.
    pub(crate) delivery: &'a str,
    /// The verified user, or empty.
    pub(crate) subject: &'a str,
    /// JSON, or empty.
    pub(crate) body: &'a [u8],
    /// How long to wait for the whole answer.
    pub(crate) budget_ms: u32,
}

/// What came back, from the origin or from one of our own Durable Objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// The further headers that the asker wanted, joined by `|`.
    pub(crate) header: String,
    pub(crate) body: String,
}

/// No answer that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreachable;

/// Signs and sends.
pub(crate) async fn ask(
    env: &Env,
    settings: &Settings,
    question: &Question<'_>,
    now: Timestamp,
) -> Result<Reply, Unreachable> {
    let (Ok(key), Ok(base)) = (&settings.handoff, &settings.origin) else {
        // Not at once: what is asked in a row (a backlog) would otherwise run to its end within one event.
        let _slept = task::wait(port::sleep(UNCONFIGURED_MS)).await;
        return Err(Unreachable);
    };
    let lines = header_lines(key, question, now);
    let Question {
        method,
        path,
        body,
        budget_ms,
        ..
    } = *question;
    let promise = port::send(env, base, path, method, &lines, body, budget_ms);
    let packed = task::wait(promise).await.map_err(|_| Unreachable)?;
    packed.as_string().as_deref().and_then(unpack).ok_or(Unreachable)
}

fn header_lines(key: &HandoffKey, question: &Question<'_>, now: Timestamp) -> String {
    let timestamp = now.unix_seconds().to_string();
    let request = handoff::Request {
        method: question.method,
        path_and_query: question.path,
        timestamp: &timestamp,
        delivery: question.delivery,
        subject: question.subject,
        body: question.body,
    };
    let signature = handoff::sign(key, &request);
    let pairs = [
        (KEY_ID_HEADER, key.id.as_str()),
        (TIMESTAMP_HEADER, &timestamp),
        (DELIVERY_HEADER, question.delivery),
        (SUBJECT_HEADER, question.subject),
        (SIGNATURE_HEADER, &signature),
        (
            "content-type",
            if question.body.is_empty() {
                ""
            } else {
                "application/json"
            },
        ),
    ];
    let mut lines = String::with_capacity(384);
    // The subject's header is signed and stays even when it is empty; the rest is left out when empty.
    for (name, value) in pairs
        .into_iter()
        .filter(|(name, value)| !value.is_empty() || *name == SUBJECT_HEADER)
    {
        for part in [name, ": ", value, "\n"] {
            lines.push_str(part);
        }
    }
    lines
}

/// Reads what `packed` of glue.mjs wrote: status, content type, one header, body.
pub(crate) fn unpack(packed: &str) -> Option<Reply> {
    let mut parts = packed.splitn(4, '\n');
    Some(Reply {
        status: parts.next()?.parse().ok()?,
        content_type: parts.next()?.to_owned(),
        header: parts.next()?.to_owned(),
        body: parts.next()?.to_owned(),
    })
}

impl Reply {
    /// The last word of the problem's type, if the body is one of our problem documents; empty otherwise.
    pub(crate) fn problem_slug(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Typed {
            #[serde(rename = "type")]
            type_urn: String,
        }
        let typed = serde_json::from_str::<Typed>(&self.body).unwrap_or(Typed {
            type_urn: String::new(),
        });
        let slug = typed.type_urn.strip_prefix(PROBLEM_PREFIX).unwrap_or_default();
        if slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
            slug.to_owned()
        } else {
            String::new()
        }
    }

    /// Whether the origin says, in its own words, that it has the event. A status alone is not believed: a
    /// maintenance page, a single-page app or a tunnel answers 200 as well.
    pub(crate) fn takes_event(&self) -> bool {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Taken {
            outcome: String,
            event_id: uuid::Uuid,
        }
        (200..300).contains(&self.status)
            && serde_json::from_str::<Taken>(&self.body).is_ok_and(|taken| {
                matches!(taken.outcome.as_str(), "accepted" | "repeated") && !taken.event_id.is_nil()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::{Question, Reply, header_lines, unpack};
    use tollgate_shared::handoff::{self, HandoffKey};
    use tollgate_shared::secret::{Rotating, Secret};
    use tollgate_shared::time::Timestamp;

    const QUESTION: Question<'_> = Question {
        method: "POST",
        path: "/internal/v1/events",
        delivery: "018bcfe5-6800-7000-8000-000000000000",
        subject: "",
        body: b"{}",
        budget_ms: 2000,
    };

    #[test]
    fn ed_4_the_origin_accepts_what_is_sent() {
        let key = HandoffKey {
            id: "k1".to_owned(),
            secret: Secret::new("0123456789abcdef".to_owned()),
        };
        let now = Timestamp::from_unix_seconds(1_700_000_000);
        let lines = header_lines(&key, &QUESTION, now);
        let value = |name: &str| {
            lines
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .unwrap()
                .to_owned()
        };
        let request = handoff::Request {
            method: "POST",
            path_and_query: QUESTION.path,
            timestamp: &value("tollgate-timestamp"),
            delivery: &value("tollgate-delivery"),
            subject: &value("tollgate-subject"),
            body: QUESTION.body,
        };
        let keys = Rotating {
            current: key,
            previous: None,
        };
        let signature = value("tollgate-signature");
        assert_eq!(
            handoff::verify(&keys, &value("tollgate-key-id"), &request, &signature, now),
            Ok(())
        );
        let unsigned: Vec<&str> = lines
            .lines()
            .filter(|line| !line.starts_with("tollgate-"))
            .collect();
        assert_eq!(
            unsigned,
            ["content-type: application/json"],
            "nothing travels unsigned"
        );
    }

    #[test]
    fn a_reply_keeps_the_line_feeds_of_its_body() {
        let reply = unpack("422\napplication/problem+json\n\n{\n}\n").unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (422, "{\n}\n"));
        assert_eq!(unpack("abc\n\n\n"), None);
    }

    #[test]
    fn ed_5_only_the_origins_own_words_say_that_it_has_the_event() {
        let takes = |status: u16, body: &str| {
            Reply {
                status,
                content_type: String::new(),
                header: String::new(),
                body: body.to_owned(),
            }
            .takes_event()
        };
        let id = r#""eventId":"01997c5e-0000-7000-8000-000000000001""#;
        for outcome in ["accepted", "repeated"] {
            let body = format!(r#"{{"outcome":"{outcome}","applied":true,{id}}}"#);
            assert!(takes(200, &body) && takes(202, &body), "{body}");
            assert!(!takes(500, &body) && !takes(302, &body), "{body}");
        }
        for foreign in [
            "",
            "<!doctype html><title>We are back soon</title>",
            "{}",
            "null",
            r#"{"status":"ok"}"#,
            r#"{"outcome":"accepted"}"#,
            r#"{"outcome":"accepted","eventId":"soon"}"#,
            r#"{"outcome":"accepted","eventId":"00000000-0000-0000-0000-000000000000"}"#,
            &format!(r#"{{"outcome":"maintenance",{id}}}"#),
            &format!(r"{{{id}}}"),
        ] {
            assert!(!takes(200, foreign), "{foreign}");
        }
    }

    #[test]
    fn only_a_plain_slug_is_taken_from_a_problem() {
        let slug = |body: &str| {
            Reply {
                status: 422,
                content_type: String::new(),
                header: String::new(),
                body: body.to_owned(),
            }
            .problem_slug()
        };
        assert_eq!(
            slug(r#"{"type":"urn:tollgate:problem:key-mismatch"}"#),
            "key-mismatch"
        );
        for foreign in [
            r#"{"type":"<script>"}"#,
            r#"{"type":"urn:tollgate:problem:<script>"}"#,
            r#"{"type":"https://proxy.example/problems:malformed-body"}"#,
            r#"{"type":"about:blank"}"#,
        ] {
            assert_eq!(slug(foreign), "", "{foreign}");
        }
        assert_eq!(slug("no JSON"), "");
    }
}
