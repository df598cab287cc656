//! Effects that are mail to a customer.
//!
//! `outbox::make` → **send** (what the user wants now → message) → `gateway::mail`.
//!
//! Invariants: the address is looked up now, so one that was changed is the new one, and one that was erased is not
//! used; what was muted meanwhile is not sent. Such a mail ends dead, and says so. The connection to the database is given back before the conversation.

use tollgate_shared::time::Timestamp;

use super::Failure;
use crate::Origin;
use crate::db::outbox::Claimed;
use crate::db::{DbError, notices};
use crate::gateway::mail::MailError;
use crate::notices::mail::Letter;
use crate::telemetry::Chain;

/// Sends it to the address that the user has now.
pub(super) async fn send(origin: &Origin, claimed: &Claimed, now: Timestamp) -> Result<(), Failure> {
    let Ok(letter) = serde_json::from_value::<Letter>(claimed.payload.clone()) else {
        return Err(final_failure("the row holds no mail that this version can read"));
    };
    let mailer = origin.mailer()?;
    let wants = notices::preferences_now(&origin.database, &letter.user_id)
        .await
        .map_err(|error| unread(&error))?;
    if wants.muted.iter().any(|kind| kind.label() == letter.kind) {
        return Err(final_failure("the user has muted this kind meanwhile"));
    }
    let to = wants
        .email
        .ok_or_else(|| final_failure("the user has no address any more"))?;
    Ok(mailer.send(claimed.id, to.into_inner(), &letter, now).await?)
}

fn unread(error: &DbError) -> Failure {
    tracing::error!(error = %Chain(error), "an address could not be read");
    Failure {
        reason: "the address could not be read".to_owned(),
        is_final: false,
    }
}

fn final_failure(reason: &str) -> Failure {
    Failure {
        reason: reason.to_owned(),
        is_final: true,
    }
}

impl From<MailError> for Failure {
    fn from(error: MailError) -> Self {
        Self {
            reason: error.to_string(),
            is_final: error.is_final(),
        }
    }
}
