//! Something else that answers at the origin's address: a maintenance page, a proxy, an origin with a fault.
//!
//! The worker's deliveries → **`StandIn`** → the same answer for each, until the story sets another.
//!
//! Invariant: it answers a whole request only, and closes the connection, so that the origin can have its address
//! back. Not here: the benchmark's stub (`xtask::bench`), which must be fast.
//! Failure: a connection that breaks is dropped; the worker then has no answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it says, and how often it has said that.
#[derive(Debug, Default)]
struct Said {
    answer: String,
    times: usize,
}

/// A listener at an address that the origin has left; it ends when dropped.
#[derive(Debug)]
pub(crate) struct StandIn {
    said: Arc<Mutex<Said>>,
    accepting: JoinHandle<()>,
}

impl StandIn {
    /// Listens at `address`, `host:port`.
    pub(crate) async fn at(address: &str, status: u16, content_type: &str, body: &str) -> Result<Self> {
        let listener = TcpListener::bind(address).await.context("bind the stand-in")?;
        let said = Arc::new(Mutex::new(Said::default()));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&said)));
        let stand_in = Self { said, accepting };
        stand_in.says(status, content_type, body);
        Ok(stand_in)
    }

    /// From now on it says this.
    pub(crate) fn says(&self, status: u16, content_type: &str, body: &str) {
        let answer = format!(
            "HTTP/1.1 {status} As told\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        *locked(&self.said) = Said { answer, times: 0 };
    }

    /// How often it has said what it says now.
    pub(crate) fn times(&self) -> usize {
        locked(&self.said).times
    }

    /// Gives the address back.
    pub(crate) async fn leave(self) {
        self.accepting.abort();
        // Cancelled is what it should be; the listener is closed when the task is gone.
        drop(self.accepting.await);
    }
}

fn locked(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, said: Arc<Mutex<Said>>) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(tokio::spawn(answer(stream, Arc::clone(&said))));
    }
}

async fn answer(mut stream: TcpStream, said: Arc<Mutex<Said>>) {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if !matches!(stream.read_buf(&mut request).await, Ok(read) if read > 0) {
            return;
        }
    }
    let answer = locked(&said).answer.clone();
    if stream.write_all(answer.as_bytes()).await.is_ok() && stream.shutdown().await.is_ok() {
        let mut said = locked(&said);
        said.times = said.times.saturating_add(1);
    }
}

/// Head, and a body by Content-Length or up to the last chunk.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    match length.and_then(|length| length.trim().parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None => body.ends_with("0\r\n\r\n"),
    }
}
