//! A checkout is a person's at our page: X-CSRF-Token and Turnstile.
//!
//! Proves PU-2 and its part of ED-6 over the built worker; Turnstile is the sandbox's.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use xtask::stack::{Stack, StackOptions};

use crate::callers::{Answer, ECPAY, checkout, checkout_with, csrf_token, token};

/// A visitor with a session and its CSRF token.
struct Visitor<'a> {
    stack: &'a Stack,
    token: String,
    csrf_token: String,
}

impl<'a> Visitor<'a> {
    async fn of(stack: &'a Stack, subject: &str) -> Result<Self> {
        let token = token(stack, subject).await?;
        let csrf_token = csrf_token(&stack.http, &stack.worker.base_url(), &token).await?;
        Ok(Self {
            stack,
            token,
            csrf_token: csrf_token.context("no CSRF token")?,
        })
    }

    /// Calls a checkout route with a token of the widget.
    async fn buy(&self, route: &str, key: &str, plan: &str, turnstile_token: &str) -> Result<Answer> {
        let url = format!("{}{route}", self.stack.worker.base_url());
        let body = json!({ "planId": plan, "provider": "ecpay", "turnstileToken": turnstile_token });
        let headers = (
            Some(self.token.as_str()),
            Some(key),
            Some(self.csrf_token.as_str()),
        );
        checkout_with(&self.stack.http, &url, headers, &body.to_string()).await
    }
}

/// A token as the widget gives it.
async fn widget(stack: &Stack, wanted: Value) -> Result<String> {
    let url = format!("{}/control/v1/turnstile", stack.sandbox.base_url());
    let answer: Value = stack.http.post(url).json(&wanted).send().await?.json().await?;
    let token = answer.pointer("/token").and_then(Value::as_str);
    Ok(token.context("no token")?.to_owned())
}

async fn payments(stack: &Stack) -> Result<usize> {
    let client = stack.database.client().await?;
    Ok(client.query("select 1 from tollgate.payments", &[]).await?.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pu_2_ed_6_a_checkout_needs_the_csrf_token_of_its_session() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let (visitor, other) = (
        Visitor::of(&stack, "visitor").await?,
        Visitor::of(&stack, "other").await?,
    );
    for route in [
        "/api/payments/checkout",
        "/create-payment",
        "/create-subscription",
    ] {
        let url = format!("{}{route}", stack.worker.base_url());
        for csrf_token in [None, Some(""), Some("x.y"), Some(other.csrf_token.as_str())] {
            let headers = (Some(visitor.token.as_str()), Some("k"), csrf_token);
            let answer = checkout_with(&stack.http, &url, headers, ECPAY).await?;
            assert_eq!(answer.status, 403, "{route} {csrf_token:?} {answer:?}");
            assert!(answer.body.contains("csrf-refused"), "{answer:?}");
        }
    }
    let no_session = stack.http.get(format!("{}/csrf-token", stack.worker.base_url()));
    assert_eq!(no_session.send().await?.status().as_u16(), 401);
    assert_eq!(payments(&stack).await?, 0);
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pu_2_ed_6_a_checkout_needs_a_visitor_that_turnstile_vouches_for() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let visitor = Visitor::of(&stack, "visitor").await?;
    let elsewhere = widget(&stack, json!({ "hostname": "evil.example" })).await?;
    let other_action = widget(&stack, json!({ "action": "login" })).await?;
    let old = widget(&stack, json!({ "ageSeconds": 310 })).await?;
    for (number, wrong) in ["", "invented", &elsewhere, &other_action, &old]
        .into_iter()
        .enumerate()
    {
        let key = format!("wrong-{number}");
        let answer = visitor.buy("/create-payment", &key, "pro-month", wrong).await?;
        assert_eq!(answer.status, 403, "{wrong} {answer:?}");
        assert!(answer.body.contains("turnstile-refused"), "{answer:?}");
    }
    assert_eq!(payments(&stack).await?, 0);

    let good = widget(&stack, json!({})).await?;
    let first = visitor
        .buy("/create-payment", "wrong-0", "pro-month", &good)
        .await?;
    assert_eq!(
        (first.status, first.replayed),
        (201, false),
        "a refusal is not pinned to the key: {first:?}"
    );
    let again = visitor
        .buy("/create-payment", "wrong-0", "pro-month", &good)
        .await?;
    assert_eq!(
        (again.status, again.replayed),
        (201, true),
        "a repeat needs no new token: {again:?}"
    );
    let spent = visitor
        .buy("/create-payment", "another", "basic-month", &good)
        .await?;
    assert_eq!(spent.status, 403, "a token buys once: {spent:?}");
    assert_eq!(payments(&stack).await?, 1);
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pu_2_ed_6_without_a_verdict_nothing_is_sold_unless_turnstile_is_switched_off() -> Result<()> {
    for (name, value, expected, slug) in [
        (
            "TURNSTILE_VERIFY_URL",
            "http://127.0.0.1:1/",
            503,
            "turnstile-unavailable",
        ),
        (
            "TURNSTILE_SECRET_KEY",
            "0x4AAAAAAA-unknown",
            503,
            "turnstile-unavailable",
        ),
        ("TURNSTILE_SECRET_KEY", "", 503, "turnstile-not-configured"),
        ("CSRF_SECRET", "", 503, "csrf-not-configured"),
        ("TURNSTILE", "off", 201, ""),
    ] {
        let stack = Stack::start(StackOptions {
            edge_settings: BTreeMap::from([(name.to_owned(), value.to_owned())]),
            ..StackOptions::default()
        })
        .await?;
        let token = token(&stack, "visitor").await?;
        let answer = checkout(
            &stack.http,
            &stack.worker.base_url(),
            Some(&token),
            Some("k"),
            ECPAY,
        )
        .await?;
        assert_eq!(answer.status, expected, "{name}={value}: {answer:?}");
        assert!(answer.body.contains(slug), "{name}={value}: {answer:?}");
        assert_eq!(payments(&stack).await?, usize::from(expected == 201));
        stack.stop().await?;
    }
    Ok(())
}
