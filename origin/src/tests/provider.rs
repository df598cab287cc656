//! A provider's server as a test scripts it: one answer after the other, or none.
//!
//! The sandbox is the faithful one; this one can lose an answer at a chosen call and shows every form that it got.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tollgate_shared::form::{Form, encode};
use tollgate_shared::provider::ecpay::mac::{Algorithm, check_mac_value};
use tollgate_shared::provider::payuni::cipher;

use super::notices::{ECPAY, PAYUNI};

/// What a call is answered.
#[derive(Debug, Clone)]
pub(crate) enum Scripted {
    /// A status and a body.
    Answer(u16, String),
    /// The connection ends after the request was read.
    Lost,
}

/// A call that came: its path and its fields, PAYUNi's opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) fields: BTreeMap<String, String>,
}

/// The server. Calls beyond the script are answered 500.
pub(crate) struct FakeProvider {
    pub(crate) base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<VecDeque<Scripted>>>,
}

impl FakeProvider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (seen, script) = (Arc::default(), Arc::default());
        tokio::spawn(serve(listener, Arc::clone(&seen), Arc::clone(&script)));
        Self { base, seen, script }
    }

    /// Adds answers.
    pub(crate) fn will(&self, answers: impl IntoIterator<Item = Scripted>) {
        self.script.lock().unwrap().extend(answers);
    }

    /// From now on these answers and no others.
    pub(crate) fn will_only(&self, answers: impl IntoIterator<Item = Scripted>) {
        *self.script.lock().unwrap() = answers.into_iter().collect();
    }

    /// Every call so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The paths of the calls so far.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }
}

async fn serve(listener: TcpListener, seen: Arc<Mutex<Vec<Seen>>>, script: Arc<Mutex<VecDeque<Scripted>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        answer(stream, &seen, &script).await;
    }
}

async fn answer(mut stream: TcpStream, seen: &Mutex<Vec<Seen>>, script: &Mutex<VecDeque<Scripted>>) {
    let Some((path, body)) = read(&mut stream).await else {
        return;
    };
    seen.lock().unwrap().push(Seen {
        path,
        fields: fields(&body),
    });
    let scripted = script.lock().unwrap().pop_front();
    let (status, text) = match scripted {
        Some(Scripted::Answer(status, text)) => (status, text),
        Some(Scripted::Lost) => return,
        None => (500, "beyond the script".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all((head + &text).as_bytes()).await.ok();
}

async fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            })
            .unwrap_or(0_usize);
        let start = head.len() + 4;
        if bytes.len() >= start + length {
            let path = head.split_whitespace().nth(1)?.to_owned();
            return Some((path, bytes[start..start + length].to_vec()));
        }
    }
}

/// The fields of a call or of a form that a browser posts, PAYUNi's opened.
pub(crate) fn fields(body: &[u8]) -> BTreeMap<String, String> {
    let own = |form: &Form| {
        form.fields()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    };
    let form = Form::parse(body).unwrap();
    match form.get("EncryptInfo") {
        Some(sealed) => {
            let inner = cipher::open(sealed, PAYUNI[1], PAYUNI[2]).unwrap();
            own(&Form::parse(&inner).unwrap())
        }
        None => own(&form),
    }
}

/// A sealed reply of PAYUNi.
pub(crate) fn payuni_reply(inner: &[(&str, &str)]) -> Scripted {
    let sealed = cipher::seal(&encode(inner.iter().copied()), PAYUNI[1], PAYUNI[2]).unwrap();
    let hash = cipher::hash_info(&sealed, PAYUNI[1], PAYUNI[2]);
    let reply = json!({
        "Status": inner[0].1, "MerID": PAYUNI[0], "Version": "1.0", "EncryptInfo": sealed, "HashInfo": hash,
    });
    Scripted::Answer(200, reply.to_string())
}

/// ECPay's answer to `QueryTradeInfo`: `k=v` as it is, not percent-encoded, with a MAC (§1.6).
pub(crate) fn trade_info(fields: &[(&str, &str)]) -> Scripted {
    let mut pairs = fields.to_vec();
    pairs.sort_unstable();
    let mac = check_mac_value(pairs.iter().copied(), ECPAY[1], ECPAY[2], Algorithm::Sha256);
    pairs.push(("CheckMacValue", &mac));
    let text: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Scripted::Answer(200, text.join("&"))
}

/// The fields of an order that is paid by card, or not (`status` 1 or 0).
pub(crate) fn trade_fields<'a>(order: &'a str, trade: &'a str, status: &'a str) -> Vec<(&'a str, &'a str)> {
    let paid = status == "1";
    vec![
        ("MerchantID", ECPAY[0]),
        ("MerchantTradeNo", order),
        ("TradeNo", trade),
        ("TradeAmt", "300"),
        ("TradeDate", "2026/11/21 10:00:00"),
        ("PaymentDate", if paid { "2026/11/21 10:05:00" } else { "" }),
        ("PaymentType", "Credit_CreditCard"),
        ("TradeStatus", status),
        ("ItemName", "Plan pro-month"),
    ]
}
