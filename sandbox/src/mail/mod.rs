//! A sink for mail: a small SMTP server that keeps what it is given and sends nothing on.
//!
//! Tollgate's mail effect → **[`run`]** → [`Mails`] → `GET /control/v1/mails`.
//!
//! Invariants: a message counts as accepted only when its last byte was answered 250; memory is bounded, the oldest
//! mails go first; no line and no message grows beyond its limit. Any password is taken, none is kept.
//! Not here: the conversation (`session`), headers (`headers`). TLS is left out: the sink listens on the loopback
//! address. Failure: a broken connection ends with itself.

mod headers;
mod session;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::net::TcpListener;
use tollgate_shared::time::Timestamp;

pub(crate) use self::headers::parse as parse_headers;
use crate::app::App;

/// Mails kept; at 1 MiB each at most, and usually at a few KiB.
const MAILS_MAX: usize = 512;

/// How long one conversation may last.
const CONVERSATION_MAX: Duration = Duration::from_mins(1);

/// One accepted message.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) received_at: Timestamp,
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// The message as sent, dots unstuffed.
    pub(crate) raw: String,
}

/// What was accepted, and what is to be refused.
#[derive(Debug, Default)]
pub(crate) struct Mails {
    kept: VecDeque<Mail>,
    refusals: u32,
    refusal_code: u16,
}

impl Mails {
    fn keep(&mut self, mail: Mail) {
        if self.kept.len() >= MAILS_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(mail);
    }

    /// Refuses the next recipients with a code.
    pub(crate) const fn refuse_next(&mut self, count: u32, code: u16) {
        self.refusals = count;
        self.refusal_code = code;
    }

    /// The code for the next recipient, if it is refused.
    const fn refusal(&mut self) -> Option<u16> {
        match self.refusals.checked_sub(1) {
            Some(rest) => {
                self.refusals = rest;
                Some(self.refusal_code)
            }
            None => None,
        }
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mail> {
        self.kept.iter()
    }

    /// How many recipients will still be refused.
    pub(crate) const fn refusals(&self) -> u32 {
        self.refusals
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.refusals = 0;
    }
}

/// Accepts conversations for as long as the sandbox lives.
pub(crate) async fn run(app: App, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, mostly: the next moment may be better.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let app = app.clone();
        tokio::spawn(async move {
            let conversation = session::converse(&app, stream);
            // A client that breaks off or falls silent has no one to be told.
            drop(tokio::time::timeout(CONVERSATION_MAX, conversation).await);
        });
    }
}
