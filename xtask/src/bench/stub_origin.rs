//! The stub origin: a tiny HTTP server that accepts every hand-off with 200.
//!
//! worker's Durable Object → **stub** → the answer that lets it mark the notice delivered.
//!
//! Invariant: it costs the machine as little as an HTTP server can, so that what is measured is the worker. It
//! counts what it received, requests and distinct deliveries: a worker that answered without forwarding would show,
//! and a delivery that was sent again after a time-out counts once.
//! Not here: any check of the hand-off. The peer check compares the signed text of both workers instead.
//! Failure: a connection that breaks is dropped; the worker then shows it as a pending notice.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tollgate_shared::handoff::DELIVERY_HEADER;

use crate::clock::Stopwatch;

/// Longer than a worker's alarm takes to come back to a notice that it could not forward at once.
const WAIT_LIMIT: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
const ANSWER_BODY: &str =
    r#"{"outcome":"accepted","applied":true,"eventId":"01997c5e-0000-7000-8000-000000000001"}"#;

/// A running stub; it ends when dropped.
#[derive(Debug)]
pub(super) struct StubOrigin {
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: AtomicUsize,
    deliveries: Mutex<BTreeSet<Vec<u8>>>,
    last: Mutex<Vec<u8>>,
}

impl StubOrigin {
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("bind the stub origin")?;
        let address = listener.local_addr().context("read the stub origin's address")?;
        let seen = Arc::new(Seen::default());
        let accepting = tokio::spawn(accept(listener, Arc::clone(&seen)));
        Ok(Self {
            address,
            seen,
            accepting,
        })
    }

    /// How many requests it has answered.
    pub(super) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// How many deliveries it has seen.
    pub(super) fn deliveries(&self) -> usize {
        locked(&self.seen.deliveries).len()
    }

    /// Waits until it has seen at least so many deliveries.
    pub(super) async fn wait_for(&self, deliveries: usize) -> Result<()> {
        let watch = Stopwatch::start();
        while self.deliveries() < deliveries {
            let seen = self.deliveries();
            ensure!(
                watch.elapsed() < WAIT_LIMIT,
                "the origin has seen {seen} notices instead of {deliveries}"
            );
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// The last request, head and body.
    pub(super) fn last(&self) -> String {
        String::from_utf8_lossy(&locked(&self.seen.last)).into_owned()
    }
}

impl Seen {
    fn note(&self, request: &[u8]) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        locked(&self.deliveries).insert(delivery(request));
        locked(&self.last).clear();
        locked(&self.last).extend_from_slice(request);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of `tollgate-delivery`.
fn delivery(request: &[u8]) -> Vec<u8> {
    let lines = request.split(|byte| *byte == b'\n');
    let mut values = lines.filter_map(|line| {
        let (name, value) = line.split_at_checked(DELIVERY_HEADER.len())?;
        name.eq_ignore_ascii_case(DELIVERY_HEADER.as_bytes())
            .then(|| value.strip_prefix(b":"))?
    });
    values.next().unwrap_or_default().trim_ascii().to_vec()
}

impl Drop for StubOrigin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(stream.set_nodelay(true));
        drop(tokio::spawn(serve(stream, Arc::clone(&seen))));
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>) {
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{ANSWER_BODY}",
        ANSWER_BODY.len()
    );
    let mut buffer = Vec::with_capacity(8 * 1024);
    loop {
        buffer.clear();
        while !is_whole(&buffer) {
            if !matches!(stream.read_buf(&mut buffer).await, Ok(read) if read > 0) {
                return;
            }
        }
        seen.note(&buffer);
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A request with its whole body, by Content-Length or by the last chunk. One request at a time: workerd does
/// not pipeline.
fn is_whole(buffer: &[u8]) -> bool {
    let Some(head_end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let (head, rest) = buffer.split_at(head_end);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let body_bytes = rest.len().saturating_sub(4);
    match head
        .split("content-length:")
        .nth(1)
        .and_then(|text| text.split("\r\n").next())
    {
        Some(length) => length
            .trim()
            .parse()
            .is_ok_and(|length: usize| body_bytes >= length),
        None => rest.ends_with(b"\r\n0\r\n\r\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::{delivery, is_whole};

    #[test]
    fn a_request_is_whole_with_its_last_byte() {
        let counted = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        assert!(is_whole(counted) && !is_whole(&counted[..counted.len() - 1]));
        let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        assert!(is_whole(chunked) && !is_whole(&chunked[..chunked.len() - 1]));
    }

    #[test]
    fn a_delivery_is_known_by_its_header_in_any_case() {
        let request = b"POST / HTTP/1.1\r\nHost: a\r\nTollgate-Delivery: 7\r\n\r\n";
        assert_eq!(delivery(request), b"7");
        assert_eq!(delivery(b"POST / HTTP/1.1\r\n\r\n"), b"");
    }
}
