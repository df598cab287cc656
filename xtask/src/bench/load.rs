//! The load generator: N connections in a closed loop over requests that were made before the clock started.
//!
//! `edge` (which worker, which requests) → **`run`** → a `Round` of latencies → `report`.
//!
//! Invariants: every answer is read whole and compared with what a provider expects, so a worker cannot win by
//! refusing; a round is bounded in requests and in time; no two answers are to one request.
//! Not here: signing (`notices`), statistics (`report`). Raw HTTP/1.1 over kept connections, because a client
//! library would cost more than the worker it measures.
//! Failure: the first answer that is not the expected one ends the round with an error that quotes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::clock::Stopwatch;

/// No answer of these workers is longer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// The bytes by which ECPay knows that its notice arrived.
const ACKNOWLEDGEMENT: &[u8] = b"1|OK";

/// Whole HTTP requests, and how far they have been used up.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    all: Arc<Vec<Vec<u8>>>,
    next: Arc<AtomicUsize>,
}

/// How long a round lasts at most, and over how many connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) time: Duration,
}

/// What one round gave: one latency an answered request.
#[derive(Debug, Clone)]
pub(super) struct Round {
    pub(super) latencies: Vec<Duration>,
    pub(super) elapsed: Duration,
    /// Processor time that the worker used for it, where the system tells.
    pub(super) processor: Option<Duration>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Requests {
    pub(super) fn new(all: Vec<Vec<u8>>) -> Self {
        Self {
            all: Arc::new(all),
            next: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// The same requests from the start.
    pub(super) fn again(&self) -> Self {
        Self {
            all: Arc::clone(&self.all),
            next: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// The next request nobody has sent yet.
    fn take(&self) -> Option<&[u8]> {
        self.all
            .get(self.next.fetch_add(1, Ordering::Relaxed))
            .map(Vec::as_slice)
    }
}

/// Sends requests until a limit is reached or all have been sent.
pub(super) async fn run(address: SocketAddr, requests: &Requests, limits: Limits) -> Result<Round> {
    let mut streams = Vec::with_capacity(limits.connections);
    for _ in 0..limits.connections {
        streams.push(Connection::open(address).await?);
    }
    let watch = Stopwatch::start();
    let mut tasks = JoinSet::new();
    for stream in streams {
        tasks.spawn(drive(stream, requests.clone(), watch, limits.time));
    }
    let mut latencies = Vec::with_capacity(requests.all.len());
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done.context("a connection of the load generator")??);
    }
    Ok(Round {
        latencies,
        elapsed: watch.elapsed(),
        processor: None,
    })
}

/// One connection's closed loop.
async fn drive(
    mut connection: Connection,
    requests: Requests,
    round: Stopwatch,
    time: Duration,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(4096);
    while round.elapsed() < time
        && let Some(request) = requests.take()
    {
        let watch = Stopwatch::start();
        let answer = connection.ask(request).await?;
        latencies.push(watch.elapsed());
        if answer.status != 200 || answer.body != ACKNOWLEDGEMENT {
            bail!(
                "answer {} instead of 1|OK: {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            );
        }
    }
    Ok(latencies)
}

/// A kept HTTP/1.1 connection.
#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self> {
        Ok(Self {
            address,
            stream: connect(address).await?,
            buffer: Vec::with_capacity(1024),
        })
    }

    /// Sends one whole request and reads one whole answer. workerd closes a connection that was idle for 5 s, also
    /// when it was workerd itself that stood still (waiting for the disk): such a request is sent again, once.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        if let Some(answer) = self.try_ask(request).await? {
            return Ok(answer);
        }
        self.stream = connect(self.address).await?;
        self.try_ask(request)
            .await?
            .context("the connection is closed before the answer, twice")
    }

    /// `None`: closed without a byte of an answer.
    async fn try_ask(&mut self, request: &[u8]) -> Result<Option<Answer>> {
        self.stream.write_all(request).await.context("send a request")?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await;
            if self.buffer.is_empty() && matches!(&read, Ok(0) | Err(_)) {
                return Ok(None);
            }
            let read = read.context("read an answer")?;
            if let Some(answer) = parse(&self.buffer)? {
                return Ok(Some(answer));
            }
            if read == 0 || self.buffer.len() > ANSWER_BYTES_MAX {
                bail!(
                    "an answer that is cut off or endless: {}",
                    String::from_utf8_lossy(&self.buffer)
                );
            }
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true).context("set TCP_NODELAY")?;
    Ok(stream)
}

/// The answer, once all of it is there.
fn parse(buffer: &[u8]) -> Result<Option<Answer>> {
    let Some(head_end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, rest) = buffer.split_at(head_end);
    let head = std::str::from_utf8(head).context("an answer's head is not text")?;
    let status = head
        .get(9..12)
        .and_then(|digits| digits.parse().ok())
        .context("an answer without a status")?;
    let length = content_length(head).with_context(|| format!("an answer without Content-Length: {head}"))?;
    let body = rest.get(4..).unwrap_or_default();
    Ok((body.len() >= length).then(|| Answer {
        status,
        body: body.to_vec(),
    }))
}

fn content_length(head: &str) -> Option<usize> {
    let mut lines = head.split("\r\n");
    let value = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    });
    value?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_only_when_it_is_whole() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n1|OK";
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]).unwrap(), None, "{cut}");
        }
        let answer = parse(whole).unwrap().unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"1|OK"[..]));
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_is_taken_once_a_round() {
        let requests = Requests::new(vec![b"a".to_vec(), b"b".to_vec()]);
        let other = requests.clone();
        assert_eq!(
            [requests.take(), other.take(), requests.take()],
            [Some(&b"a"[..]), Some(&b"b"[..]), None]
        );
        assert_eq!(requests.again().take(), Some(&b"a"[..]));
    }
}
