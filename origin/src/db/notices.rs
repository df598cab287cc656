//! Rows of notices and of what users want of them (V15).
//!
//! `notices`, `http::service`, `work::outbox` → **these statements** → `tollgate.notices`, `tollgate.notice_preferences`.
//!
//! Invariants: a notice is written once and never changed; the only column with an address is
//! `notice_preferences.email`. Not here: what is told, and how.

use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{DbError, Instant, Tx};
use crate::notices::{Locale, Notice};

/// What was decided about the mail of a notice.
#[expect(dead_code, reason = "mail comes with the next change")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MailDecision {
    /// It stands in the outbox under this id.
    Queued(Uuid),
    /// The user has told no address.
    NoAddress,
    /// The user does not want this kind.
    Muted,
    /// This service sends no mail.
    NotConfigured,
}

impl MailDecision {
    const fn label(self) -> &'static str {
        match self {
            Self::Queued(_) => "queued",
            Self::NoAddress => "no_address",
            Self::Muted => "muted",
            Self::NotConfigured => "not_configured",
        }
    }

    const fn outbox_id(self) -> Option<Uuid> {
        match self {
            Self::Queued(id) => Some(id),
            Self::NoAddress | Self::Muted | Self::NotConfigured => None,
        }
    }
}

/// What a notice became.
#[derive(Debug, Clone)]
pub(crate) struct NewNotice {
    /// Its row's id.
    pub(crate) id: Uuid,
    /// The language that it is told in.
    pub(crate) locale: Locale,
    /// The mail's subject, whether or not there is a mail.
    pub(crate) subject: String,
    /// Whether there is a mail.
    pub(crate) mail: MailDecision,
    /// The event's outbox row.
    pub(crate) event_id: Option<Uuid>,
}

const INSERT: &str = "\
-- notice_insert
insert into tollgate.notices (id, operation_key, user_id, subscription_id, kind, urgency, locale, subject, mail,
    mail_outbox_id, event_outbox_id, occurred_at, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
on conflict (operation_key) do nothing";

/// Writes a notice; false where the step was told of before.
pub(crate) async fn insert(
    tx: &Tx,
    notice: &Notice,
    row: &NewNotice,
    now: Timestamp,
) -> Result<bool, DbError> {
    let written = tx
        .execute(
            INSERT,
            &[
                /* id */ &row.id,
                /* operation_key */ &notice.operation_key,
                /* user_id */ &notice.user.as_str(),
                /* subscription_id */ &notice.subscription,
                /* kind */ &notice.kind.label(),
                /* urgency */ &notice.kind.urgency().label(),
                /* locale */ &row.locale.tag(),
                /* subject */ &row.subject,
                /* mail */ &row.mail.label(),
                /* mail_outbox_id */ &row.mail.outbox_id(),
                /* event_outbox_id */ &row.event_id,
                /* occurred_at */ &Instant(notice.occurred_at),
                /* created_at */ &Instant(now),
            ],
        )
        .await?;
    Ok(written == 1)
}
