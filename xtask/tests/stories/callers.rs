//! Who may start a payment and who may look at it: sessions, idempotency keys, owners.
//!
//! Proves PM-3, PM-5, ED-3 and the session part of ED-6 over the built worker and the real origin.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::stack::{Stack, StackOptions};

pub(crate) const ECPAY: &str =
    r#"{"planId":"pro-month","provider":"ecpay","turnstileToken":"XXXX.DUMMY.TOKEN.XXXX"}"#;
const PAYUNI: &str = r#"{"planId":"pro-month","provider":"payuni","turnstileToken":"XXXX.DUMMY.TOKEN.XXXX"}"#;

/// What a checkout call was answered.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) replayed: bool,
    /// Empty if absent.
    pub(crate) retry_after: String,
    pub(crate) body: String,
}

/// A session of `subject`.
pub(crate) async fn token(stack: &Stack, subject: &str) -> Result<String> {
    let url = format!("{}/control/v1/sessions", stack.sandbox.base_url());
    let asked = stack.http.post(url).json(&json!({ "sub": subject }));
    let answer: Value = asked.send().await?.json().await?;
    let token = answer.pointer("/token").and_then(Value::as_str);
    Ok(token.context("no token")?.to_owned())
}

/// The CSRF token of a session; `None` where the edge gives none.
pub(crate) async fn csrf_token(http: &reqwest::Client, edge: &str, token: &str) -> Result<Option<String>> {
    let asked = http.get(format!("{edge}/csrf-token")).bearer_auth(token);
    let answer: Value = asked.send().await?.json().await?;
    let token = answer.pointer("/csrfToken").and_then(Value::as_str);
    Ok(token.map(str::to_owned))
}

/// Calls checkout at `edge` as a page does, with or without a session and a key.
pub(crate) async fn checkout(
    http: &reqwest::Client,
    edge: &str,
    token: Option<&str>,
    key: Option<&str>,
    body: &str,
) -> Result<Answer> {
    let csrf_token = match token {
        Some(token) => csrf_token(http, edge, token).await?,
        None => None,
    };
    let csrf_token = csrf_token.as_deref();
    checkout_with(
        http,
        &format!("{edge}/api/payments/checkout"),
        (token, key, csrf_token),
        body,
    )
    .await
}

/// Calls a checkout route with these headers.
pub(crate) async fn checkout_with(
    http: &reqwest::Client,
    url: &str,
    (token, key, csrf_token): (Option<&str>, Option<&str>, Option<&str>),
    body: &str,
) -> Result<Answer> {
    let mut asked = http
        .post(url)
        .header("content-type", "application/json")
        .body(body.to_owned());
    if let Some(token) = token {
        asked = asked.bearer_auth(token);
    }
    for (name, value) in [("idempotency-key", key), ("x-csrf-token", csrf_token)] {
        if let Some(value) = value {
            asked = asked.header(name, value);
        }
    }
    let answer = asked.send().await?;
    let retry_after = answer
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok());
    Ok(Answer {
        status: answer.status().as_u16(),
        retry_after: retry_after.unwrap_or_default().to_owned(),
        replayed: answer.headers().contains_key("idempotency-replayed"),
        body: answer.text().await?,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pm_3_bad_checkout_calls_are_refused_before_anything_is_written() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let token = token(&stack, "careless").await?;
    let twice = r#"{"planId":"pro-month","planId":"pro-month"}"#;
    for (token, key, body, status) in [
        (None, Some("k"), ECPAY, 401),
        (Some("not.a.token"), Some("k"), ECPAY, 401),
        (Some(token.as_str()), None, ECPAY, 400),
        (Some(token.as_str()), Some("bad"), "{", 400),
        (Some(token.as_str()), Some("twice"), twice, 400),
        (
            Some(token.as_str()),
            Some("none"),
            r#"{"planId":"no-such-plan","turnstileToken":"XXXX.DUMMY.TOKEN.XXXX"}"#,
            404,
        ),
    ] {
        let answer = checkout(&stack.http, &stack.worker.base_url(), token, key, body).await?;
        assert_eq!(answer.status, status, "{body} {answer:?}");
        assert!(answer.body.contains("urn:tollgate:problem:"), "{answer:?}");
    }
    let client = stack.database.client().await?;
    let payments = client.query("select 1 from tollgate.payments", &[]).await?;
    assert!(payments.is_empty());
    drop(client);
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_3_an_idempotency_key_is_one_checkout_with_one_answer() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let token = token(&stack, "careful").await?;
    let (http, edge) = (&stack.http, stack.worker.base_url());
    let first = checkout(http, &edge, Some(&token), Some("k"), ECPAY).await?;
    let again = checkout(http, &edge, Some(&token), Some("k"), ECPAY).await?;
    assert_eq!((first.status, first.replayed), (201, false), "{first:?}");
    assert_eq!((again.status, again.replayed), (201, true), "{again:?}");
    assert_eq!(first.body, again.body, "a repeat gets the first answer");

    let other = checkout(http, &edge, Some(&token), Some("k"), PAYUNI).await?;
    assert_eq!(other.status, 422, "{other:?}");
    assert!(
        other.body.contains("provider"),
        "the differing field is named: {other:?}"
    );
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pm_5_only_the_owner_reads_a_status() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let owner = stack.buyer("owner").await?;
    let payment = owner.checkout("ecpay", "pro-month", "k").await?.payment_id;
    ensure!(owner.status(&payment).await? == "pending", "the owner reads it");
    let stranger = stack.buyer("stranger").await?;
    let denied = stranger
        .status(&payment)
        .await
        .err()
        .context("a stranger read the status")?;
    assert!(format!("{denied:#}").contains("404"), "{denied:#}");
    stack.stop().await
}
