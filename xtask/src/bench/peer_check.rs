//! Before anything is measured: the peer and ours give the same answers to the same notices.
//!
//! `edge` → **`check`** → only then `load`. A peer that did less, or a worker that refused quickly, would make the
//! ratios worthless.
//!
//! Invariant: status and problem type are equal case by case, a new notice is forwarded exactly once, a repeat and
//! a forgery not at all, and the hand-off of both is genuine under `shared::handoff`.
//! Not here: the edge's whole behaviour (the stories of xtask/tests). Failure: the case and both answers.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tollgate_shared::envelope::Envelope;
use tollgate_shared::handoff::{self, HandoffKey};
use tollgate_shared::secret::{Rotating, Secret};
use tollgate_shared::time::Timestamp;

use super::load::Connection;
use super::notices::{self, VERIFY_PATH, WEBHOOK_PATH};
use super::stub_origin::StubOrigin;
use super::workers::{HANDOFF_KEY, HANDOFF_KEY_ID, Running};

/// What a worker answered: the status, and the body of a success or the type of a problem.
type Told = (u16, String);

/// A case: its name, its request, and how many forwards it must cause.
type Case = (&'static str, Vec<u8>, usize);

/// Fails unless both workers behave alike on every case. Uses the notices from number `first` on.
pub(super) async fn check(
    peer: &Running,
    ours: &Running,
    origin: &StubOrigin,
    first: usize,
) -> Result<usize> {
    let cases = cases(first);
    let mut answers = Vec::with_capacity(2);
    let before = origin.requests();
    let forwards: usize = cases.iter().map(|(_, _, forwards)| forwards).sum();
    for (worker, expected) in [(peer, forwards), (ours, forwards.saturating_mul(2))] {
        let mut told = Vec::with_capacity(cases.len());
        for (name, request, _) in &cases {
            told.push(
                ask(worker, request)
                    .await
                    .with_context(|| format!("{name}: {}", worker.name))?,
            );
        }
        origin.wait_for(before.saturating_add(expected)).await?;
        let seen = origin.requests().saturating_sub(before);
        ensure!(
            seen == expected,
            "{} has forwarded {seen} notices instead of {expected}",
            worker.name
        );
        check_handoff(&origin.last()).with_context(|| format!("the hand-off of {}", worker.name))?;
        answers.push(told);
    }
    let [peers, own] = answers.as_slice() else {
        anyhow::bail!("two workers were asked")
    };
    for (index, (name, ..)) in cases.iter().enumerate() {
        let pair = (peers.get(index), own.get(index));
        ensure!(
            pair.0 == pair.1,
            "{name}: the peer answers {:?}, ours {:?}",
            pair.0,
            pair.1
        );
    }
    Ok(cases.len())
}

fn cases(first: usize) -> Vec<Case> {
    let good = notices::body(first);
    let duplicate_key = [good.as_slice(), b"&TradeAmt=300"].concat();
    let broken_escape = [good.as_slice(), b"&x=%4"].concat();
    let not_utf8 = [good.as_slice(), b"&x=%ff"].concat();
    let no_mac = good
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.starts_with(b"CheckMacValue"));
    let no_mac = no_mac.collect::<Vec<_>>().join(&b'&');
    let verify = |body: &[u8]| notices::request(VERIFY_PATH, body);
    let whole = |body: &[u8]| notices::request(WEBHOOK_PATH, body);
    vec![
        ("verify good", verify(&good), 0),
        ("verify forged", verify(&notices::forged_body(first)), 0),
        (
            "verify another merchant",
            verify(&notices::other_merchant_body(first)),
            0,
        ),
        ("good", whole(&good), 1),
        ("repeated with the same bytes", whole(&good), 0),
        (
            "repeated with another RtnMsg",
            whole(&notices::repeated_body(first)),
            0,
        ),
        ("another order", whole(&notices::body(first.saturating_add(1))), 1),
        ("forged", whole(&notices::forged_body(first)), 0),
        ("another merchant", whole(&notices::other_merchant_body(first)), 1),
        ("a key twice", whole(&duplicate_key), 0),
        ("a broken escape", whole(&broken_escape), 0),
        ("not UTF-8", whole(&not_utf8), 0),
        ("no CheckMacValue", whole(&no_mac), 0),
        ("empty", whole(b""), 0),
        ("too large", whole(&vec![b'a'; 70_000]), 0),
        (
            "GET",
            format!("GET {WEBHOOK_PATH} HTTP/1.1\r\nHost: bench.invalid\r\n\r\n").into_bytes(),
            0,
        ),
        ("an unknown route", notices::request("/nowhere", b""), 0),
    ]
}

async fn ask(worker: &Running, request: &[u8]) -> Result<Told> {
    let answer = Connection::open(worker.address).await?.ask(request).await?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.status == 200 {
        return Ok((answer.status, body));
    }
    let problem: Value = serde_json::from_str(&body).with_context(|| format!("not problem+json: {body}"))?;
    Ok((
        answer.status,
        problem
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
    ))
}

/// The stub's last request, checked as the origin would. Its own timestamp stands for the clock: the window is not
/// what is compared here.
fn check_handoff(request: &str) -> Result<()> {
    let (head, body) = request
        .split_once("\r\n\r\n")
        .context("the origin saw no whole request")?;
    let fields: Vec<(&str, &str)> = head
        .split("\r\n")
        .filter_map(|line| line.split_once(": "))
        .collect();
    let header = |wanted: &str| {
        let mut found = fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found
            .next()
            .map(|(_, value)| value.trim())
            .with_context(|| format!("no header {wanted}: {head}"))
    };
    let timestamp = header(handoff::TIMESTAMP_HEADER)?;
    let signed_at = Timestamp::from_unix_seconds(timestamp.parse().context("the hand-off's timestamp")?);
    let key = HandoffKey {
        id: HANDOFF_KEY_ID.to_owned(),
        secret: Secret::new(HANDOFF_KEY.to_owned()),
    };
    let hop = handoff::Request {
        method: "POST",
        path_and_query: head.split(' ').nth(1).context("the hand-off's path")?,
        timestamp,
        delivery: header(handoff::DELIVERY_HEADER)?,
        subject: header(handoff::SUBJECT_HEADER).unwrap_or_default(),
        body: body.as_bytes(),
    };
    let keys = Rotating {
        current: key,
        previous: None,
    };
    let signature = header(handoff::SIGNATURE_HEADER)?;
    handoff::verify(&keys, header(handoff::KEY_ID_HEADER)?, &hop, signature, signed_at)?;
    let envelope = Envelope::from_json(body.as_bytes()).context("the hand-off's body")?;
    ensure!(
        envelope.key.starts_with("ecpay:"),
        "the hand-off's event key is {}",
        envelope.key
    );
    Ok(())
}
