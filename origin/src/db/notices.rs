//! Rows of notices and of what users want of them (V15).
//!
//! `notices`, `http::service`, `work::outbox` → **these statements** → `tollgate.notices`, `tollgate.notice_preferences`.
//!
//! Invariants: a notice is written once and never changed; the only column with an address is
//! `notice_preferences.email`, and [`erase_address`] empties it. Not here: what is told, and how.

use tokio_postgres::Row;
use tollgate_shared::id::UserId;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{Database, DbError, Instant, Tx};
use crate::notices::{EmailAddress, Locale, Notice, NoticeKind, Preferences};

/// What was decided about the mail of a notice.
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

const PREFERENCES: &str = "\
-- notice_preferences_read
select email, locale, muted
from tollgate.notice_preferences
where user_id = $1";

/// What a user wants, if the user ever told.
pub(crate) async fn preferences(tx: &Tx, user: &UserId) -> Result<Option<Preferences>, DbError> {
    let row = tx.query_opt(PREFERENCES, &[&user.as_str()]).await?;
    row.as_ref().map(read_preferences).transpose()
}

/// Lenient on purpose: this is read inside the transactions of money, and what a person wrote into the table by hand, or
/// a newer version did, must not stop them. What cannot be used counts as not told.
fn read_preferences(row: &Row) -> Result<Preferences, DbError> {
    let muted: Vec<String> = row.try_get("muted")?;
    Ok(Preferences {
        email: read_address(row)?,
        locale: Locale::from_tag(row.try_get("locale")?).unwrap_or(Locale::USUAL),
        muted: muted
            .iter()
            .filter_map(|label| NoticeKind::from_label(label))
            .filter(|kind| kind.can_be_muted())
            .collect(),
    })
}

fn read_address(row: &Row) -> Result<Option<EmailAddress>, DbError> {
    let email: Option<&str> = row.try_get("email")?;
    Ok(email.and_then(|text| text.parse().ok()))
}

const PUT_PREFERENCES: &str = "\
-- notice_preferences_put
insert into tollgate.notice_preferences (user_id, email, locale, muted, created_at, updated_at)
values ($1, $2, $3, $4, $5, $5)
on conflict (user_id) do update
set email = excluded.email, locale = excluded.locale, muted = excluded.muted, updated_at = excluded.updated_at";

/// Writes what a user wants, whole.
pub(crate) async fn put_preferences(
    tx: &Tx,
    user: &UserId,
    preferences: &Preferences,
    now: Timestamp,
) -> Result<(), DbError> {
    let muted: Vec<&str> = preferences.muted.iter().map(|kind| kind.label()).collect();
    tx.execute(
        PUT_PREFERENCES,
        &[
            /* user_id */ &user.as_str(),
            /* email */ &preferences.email.as_ref().map(EmailAddress::expose),
            /* locale */ &preferences.locale.tag(),
            /* muted */ &muted,
            /* now */ &Instant(now),
        ],
    )
    .await?;
    Ok(())
}

const ERASE_ADDRESS: &str = "\
-- notice_preferences_erase_address
update tollgate.notice_preferences set email = null, updated_at = $2
where user_id = $1 and email is not null";

/// Forgets a user's address: no other column has it. False where there was none.
pub(crate) async fn erase_address(tx: &Tx, user: &UserId, now: Timestamp) -> Result<bool, DbError> {
    let erased = tx
        .execute(ERASE_ADDRESS, &[&user.as_str(), &Instant(now)])
        .await?;
    Ok(erased == 1)
}

/// What a user wants now; the connection is given back before anything is sent.
pub(crate) async fn preferences_now(database: &Database, user_id: &str) -> Result<Preferences, DbError> {
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(PREFERENCES).await?;
    let row = connection.query_opt(&statement, &[&user_id]).await?;
    let told = row.as_ref().map(read_preferences).transpose()?;
    Ok(told.unwrap_or_default())
}
