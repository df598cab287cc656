//! A notice as mail: the outbox row that says what to send and to whom, without the address.
//!
//! `enqueue` → **the outbox row** → `work::outbox::mail` looks the address up → `gateway::mail` sends.
//!
//! Invariants: the words are written when the step is decided, so what is sent is what was decided; the payload names the
//! user, never the address, so an address that is erased meanwhile is not used any more, and a kind that is muted meanwhile is not sent. A user's mails go out in order.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::words::Words;
use super::{Notice, Urgency};
use crate::db::outbox::NewEffect;
use crate::domain::backoff;

/// The kind of outbox row.
pub(crate) const MAIL: &str = "mail";

/// What the row holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Letter {
    /// Whose address to look up.
    pub(crate) user_id: String,
    /// One line.
    pub(crate) subject: String,
    /// The plain text.
    pub(crate) text: String,
    /// The same as HTML.
    pub(crate) html: String,
    /// The kind's label: whoever mutes it before the mail left does not get it.
    pub(crate) kind: String,
    /// Where the kind is muted, if it can be.
    pub(crate) unsubscribe_url: Option<String>,
    /// Whether mail programs should make it stand out.
    pub(crate) important: bool,
}

impl Letter {
    pub(super) fn new(notice: &Notice, words: Words, manage_url: String) -> Self {
        Self {
            user_id: notice.user.as_str().to_owned(),
            subject: words.subject,
            text: words.text,
            html: words.html,
            kind: notice.kind.label().to_owned(),
            unsubscribe_url: notice.kind.can_be_muted().then_some(manage_url),
            important: notice.kind.urgency() >= Urgency::High,
        }
    }
}

/// The outbox row of a notice's mail.
pub(super) fn effect(notice: &Notice, id: Uuid, letter: &Letter) -> NewEffect {
    NewEffect {
        id,
        operation_key: format!("{MAIL}:{}", notice.operation_key),
        kind: MAIL,
        ordering_key: Some(format!("{MAIL}:{}", notice.user)),
        // Texts and a truth value always serialise.
        payload: serde_json::to_value(letter).unwrap_or_default(),
        delivery: notice.delivery,
        attempts_max: backoff::MAIL.attempts_max,
    }
}
