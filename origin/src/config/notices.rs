//! Settings of notices: where the events about subscriptions go.
//!
//! `config` → **these settings** → `notices::enqueue` (whether there is a receiver), `work::outbox` (which one).
//!
//! Invariant: a half of a pair of settings is a fault that names the missing half. Failure: faults of the reader.

use tollgate_shared::config::Reader;

use super::{Receiver, receiver};

/// Where notices go.
#[derive(Debug, Clone)]
pub struct NoticesConfig {
    /// Who gets `subscription.*` events; `None`: nobody.
    pub subscription_events: Option<Receiver>,
}

/// Reads them.
pub(super) fn notices(reader: &mut Reader<'_>) -> NoticesConfig {
    NoticesConfig {
        subscription_events: receiver(reader, "SUBSCRIPTION_WEBHOOK_URL", "SUBSCRIPTION_WEBHOOK_SECRET"),
    }
}
