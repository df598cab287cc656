//! A worker that lacks a setting refuses, and says why; a limited one says when to come back.
//!
//! Proves ED-1 (fail closed), ED-2 over the built worker.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;
use xtask::stack::{Stack, StackOptions};

use crate::notices::{Notice, post};

fn without(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), String::new())])
}

async fn health(stack: &Stack) -> Result<Value> {
    let url = format!("{}/api/webhooks/health", stack.worker.base_url());
    Ok(stack.http.get(url).send().await?.json().await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_1_a_missing_secret_closes_the_route_and_health_says_which() -> Result<()> {
    let stack = Stack::start(StackOptions {
        edge_settings: without("ECPAY_HASH_KEY"),
        ..StackOptions::default()
    })
    .await?;
    let notice = Notice::paid("T0000000000000000000", "2611201744000001");
    let (status, body) = post(&stack, "/api/webhooks/ecpay/payment", notice.body()).await?;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("source-not-configured"), "{body}");

    let health = health(&stack).await?;
    assert_eq!(
        health.pointer("/sources/ecpay/state").and_then(Value::as_str),
        Some("invalid")
    );
    let faults = health
        .pointer("/sources/ecpay/faults")
        .context("no faults")?
        .to_string();
    assert!(faults.contains("ECPAY_HASH_KEY"), "{faults}");
    assert!(
        !health.to_string().contains("EkRm7iFT261dpevs"),
        "health shows a secret: {health}"
    );
    assert_eq!(
        health.pointer("/sources/payuni/state").and_then(Value::as_str),
        Some("ready")
    );
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_5_a_missing_hand_off_key_keeps_events_and_health_says_why() -> Result<()> {
    let stack = Stack::start(StackOptions {
        edge_settings: without("HANDOFF_KEY"),
        ..StackOptions::default()
    })
    .await?;
    let notice = Notice::paid("T0000000000000000000", "2611201744000001");
    let (status, body) = post(&stack, "/api/webhooks/ecpay/payment", notice.body()).await?;
    let health = health(&stack).await?;
    // Either is safe: kept and acknowledged, or refused. What may not be is an acknowledgement of something lost.
    let kept = health.pointer("/inbox/pending").and_then(Value::as_i64);
    assert_eq!(
        (status == 200, kept == Some(1)),
        (true, true),
        "{status} {body} {health}"
    );
    assert_eq!(health.pointer("/status").and_then(Value::as_str), Some("failing"));
    assert!(health.to_string().contains("HANDOFF_KEY"), "{health}");
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_2_an_address_that_calls_too_often_is_told_when_to_come_back() -> Result<()> {
    let stack = Stack::start(StackOptions {
        rate_limit: Some(5),
        ..StackOptions::default()
    })
    .await?;
    let url = format!("{}/api/webhooks/ecpay/payment", stack.worker.base_url());
    let mut statuses = Vec::new();
    for _ in 0..8 {
        let asked = stack
            .http
            .post(&url)
            .header("cf-connecting-ip", "203.0.113.9")
            .body("a=1");
        let answer = asked.send().await?;
        if answer.status() == 429 {
            assert!(answer.headers().contains_key("retry-after"));
        }
        statuses.push(answer.status().as_u16());
    }
    assert_eq!(statuses, [400, 400, 400, 400, 400, 429, 429, 429]);
    let other = stack
        .http
        .post(&url)
        .header("cf-connecting-ip", "203.0.113.10")
        .body("a=1");
    assert_eq!(
        other.send().await?.status().as_u16(),
        400,
        "another address is not limited"
    );
    stack.stop().await
}
