//! A receiver for the webhooks that Tollgate sends out.
//!
//! Tollgate → `POST /sink/{name}` → **`Sink`** → `GET /control/v1/sink/{name}`.
//!
//! Invariants: the bytes are kept as received; where a secret was set, a message whose Standard Webhooks signature is
//! wrong is kept too, marked, and answered 401; memory is bounded, the oldest messages go first.
//! Not here: what the messages mean. Failure: an unknown kind of setting is refused by `control`.

use std::collections::{BTreeMap, VecDeque};

use tollgate_shared::secret::Secret;
use tollgate_shared::time::Timestamp;

use crate::standard_webhooks::verify;

/// Messages kept over all names; with bodies of 64 KiB at most, 32 MiB.
const MESSAGES_MAX: usize = 512;

/// Names that can be set up.
const NAMES_MAX: usize = 64;

/// One received message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) received_at: Timestamp,
    /// The headers that a receiver looks at, in lower case.
    pub(crate) headers: BTreeMap<&'static str, String>,
    pub(crate) body: String,
    /// `None` where no secret was set.
    pub(crate) verified: Option<bool>,
}

/// How a name receives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    pub(crate) secret: Option<Secret>,
    /// What to answer; 204 unless set. Anything but 2xx makes Tollgate try again.
    pub(crate) status: Option<u16>,
}

/// All names with their messages.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    manners: BTreeMap<String, Manner>,
    messages: VecDeque<Message>,
}

impl Sink {
    /// Sets how a name receives; `false` where there are too many names.
    pub(crate) fn set(&mut self, name: &str, manner: Manner) -> bool {
        let room = self.manners.len() < NAMES_MAX || self.manners.contains_key(name);
        if room {
            self.manners.insert(name.to_owned(), manner);
        }
        room
    }

    /// Keeps a message and says what to answer.
    pub(crate) fn receive(&mut self, mut message: Message) -> u16 {
        let manner = self.manners.get(&message.name).cloned().unwrap_or_default();
        message.verified = manner.secret.as_ref().map(|secret| is_genuine(secret, &message));
        let status = if message.verified == Some(false) {
            401
        } else {
            manner.status.unwrap_or(204)
        };
        if self.messages.len() >= MESSAGES_MAX {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
        status
    }

    /// The messages of a name, oldest first.
    pub(crate) fn messages<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Message> {
        self.messages.iter().filter(move |message| message.name == name)
    }

    /// Forgets the messages of a name.
    pub(crate) fn clear(&mut self, name: &str) {
        self.messages.retain(|message| message.name != name);
    }
}

fn is_genuine(secret: &Secret, message: &Message) -> bool {
    let header = |name: &str| message.headers.get(name).map_or("", String::as_str);
    let (id, stamp) = (header("webhook-id"), header("webhook-timestamp"));
    verify(
        secret,
        id,
        stamp,
        message.body.as_bytes(),
        header("webhook-signature"),
    )
}
