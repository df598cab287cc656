//! Effects that are one signed POST: events for user-core, the generator's trigger, subscription events.
//!
//! `outbox::make` → **send** → `gateway::user_core`.
//!
//! Invariant: only 410 Gone ends the attempts before their time (Standard Webhooks: the receiver wants no more).

use tollgate_shared::time::Timestamp;

use super::Failure;
use crate::config::Receiver;
use crate::db::outbox::Claimed;
use crate::gateway::user_core::{Client, SendError};

/// Sends it to its receiver, if one is configured (any more).
pub(super) async fn send(
    client: &Client,
    receiver: Option<&Receiver>,
    claimed: &Claimed,
    now: Timestamp,
) -> Result<(), Failure> {
    let receiver = receiver.ok_or(SendError::NotConfigured)?;
    // JSON of strings, numbers and nulls always serialises.
    let body = serde_json::to_vec(&claimed.payload).unwrap_or_default();
    Ok(client.send(receiver, claimed.id, body, now).await?)
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let is_final = match error {
            SendError::Gone => true,
            SendError::NotConfigured | SendError::Status(_) | SendError::NoAnswer(_) => false,
        };
        Self {
            reason: error.to_string(),
            is_final,
        }
    }
}
