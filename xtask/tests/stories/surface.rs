//! What the built worker takes in and what it writes down: bodies without a length, our own forms, its log.
//!
//! Proves ED-1, ED-2 and OP-2 (`invariant_8`) over the built worker: an endless body is refused while it comes, a form
//! that we signed for a customer is no notice, and the log is one JSON line a request with nobody's data in it.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xtask::stack::{Stack, StackOptions};

use crate::books::{Books, orders};
use crate::callers::token;
use crate::notices::{Notice, acknowledged, post};

const PAYMENT: &str = "/api/webhooks/ecpay/payment";

/// Sends the start of a request over a connection of its own and waits for the answer with the connection open.
///
/// Nothing is sent that the worker does not read: a server that closes with unread bytes resets the connection, and a
/// client may then never see the answer that was sent before.
async fn send_start(stack: &Stack, length: &str, body: &[u8]) -> Result<String> {
    let address = stack.worker.base_url().replace("http://", "");
    let mut connection = TcpStream::connect(&address).await?;
    let head = format!(
        "POST {PAYMENT} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{length}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(body).await?;
    let mut answer = Vec::new();
    connection
        .read_to_end(&mut answer)
        .await
        .context("read the answer")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Chunks of one byte more than the cap, and no end.
fn endless() -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..4 {
        body.extend_from_slice(b"4000\r\n");
        body.extend_from_slice(&[b'a'; 0x4000]);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"1\r\na\r\n");
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_2_too_large_a_body_is_refused_when_it_is_declared_or_while_it_comes() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    for (length, body) in [
        ("Content-Length: 1048576", Vec::new()),
        ("Content-Length: 65537", Vec::new()),
        ("Transfer-Encoding: chunked", endless()),
    ] {
        let answer = send_start(&stack, length, &body).await?;
        assert!(answer.starts_with("HTTP/1.1 413"), "{length}: {answer}");
        assert!(
            answer.contains("urn:tollgate:problem:body-too-large"),
            "{length}: {answer}"
        );
    }
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_1_our_own_checkout_forms_are_no_notices() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    for (provider, notices) in [
        ("ecpay", &["payment", "code", "period"][..]),
        ("payuni", &["payment", "period"]),
    ] {
        let buyer = stack.buyer(&format!("form-reader-of-{provider}")).await?;
        let checkout = buyer.checkout(provider, "pro-month", "k").await?;
        let fields = checkout.answer.pointer("/form/fields").context("no form")?;
        let fields: Vec<(String, String)> = serde_json::from_value(fields.clone())?;
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&fields)
            .finish();
        for notice in notices {
            let path = format!("/api/webhooks/{provider}/{notice}");
            let (status, answer) = post(&stack, &path, body.clone()).await?;
            assert!((400..500).contains(&status), "{path}: {status} {answer}");
            assert!(answer.contains("urn:tollgate:problem:"), "{path}: {answer}");
        }
    }
    let books = Books::of(&stack).await?;
    assert_eq!(
        books.count("select count(*) from tollgate.inbox_events").await?,
        0
    );
    books.settled(0).await?;
    drop(books);
    stack.stop().await
}

/// Webhook requests of every outcome, from an address that must not be written down; how many.
async fn send_notices(stack: &Stack, order: &str) -> Result<usize> {
    let good = Notice::paid(order, "2611201744000001");
    let bodies = [
        good.body(),
        good.body(),
        good.body().replace("TradeAmt=300", "TradeAmt=301"),
        "RtnCode=1".to_owned(),
        String::new(),
    ];
    let sent = bodies.len();
    for body in bodies {
        let asked = stack
            .http
            .post(format!("{}{PAYMENT}", stack.worker.base_url()))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cf-connecting-ip", "203.0.113.77");
        asked.body(body).send().await?.text().await?;
    }
    Ok(sent)
}

fn check_line(line: &str) -> Result<Value> {
    let said: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
    let event = said.pointer("/event").and_then(Value::as_str).unwrap_or_default();
    ensure!(
        ["request", "delivery"].contains(&event),
        "an unknown event: {line}"
    );
    let delivery = said
        .pointer("/delivery")
        .and_then(Value::as_str)
        .unwrap_or_default();
    ensure!(
        delivery.len() == 36 && delivery.split('-').count() == 5,
        "no delivery id: {line}"
    );
    Ok(said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn op_2_invariant_8_the_log_has_a_line_a_request_and_nobodys_data() -> Result<()> {
    let mut stack = Stack::start(StackOptions::default()).await?;
    let order = orders(&stack, 1).await?.pop().context("one order")?;
    let token = token(&stack, "customer-0").await?;
    let mut sent = send_notices(&stack, &order).await?;
    acknowledged(&stack, &Notice::paid("T0000000000000000000", "2611201744000002")).await?;
    sent += 1;
    let books = Books::of(&stack).await?;
    books.wait_applied(2).await?;
    drop(books);

    stack.worker.stop().await?;
    let log = fs::read_to_string(stack.worker.log())?;
    let lines = log.lines().map(check_line).collect::<Result<Vec<_>>>()?;
    let of_webhooks = lines
        .iter()
        .filter(|line| line.pointer("/route").and_then(Value::as_str) == Some("webhook"));
    assert_eq!(of_webhooks.count(), sent, "{log}");
    for private in [
        "203.0.113.77",
        "127.0.0.1",
        "customer-0",
        "T0000000000000000000",
        "2611201744000001",
        xtask::stack::settings::ECPAY_HASH_KEY,
        xtask::stack::settings::ECPAY_HASH_IV,
        xtask::stack::settings::PAYUNI_HASH_KEY,
        &order,
        &token,
        &stack.keys.handoff,
        &stack.keys.session,
    ] {
        assert!(!log.contains(private), "the log shows {private}");
    }
    stack.worker.restart().await?;
    stack.stop().await
}
