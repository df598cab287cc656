//! The name of a subscription: `saas_subscriptions.id`.
//!
//! http, effects, work → **`SubscriptionId`** → `db::subscriptions`.
//!
//! Invariant: a UUID and nothing else, so it goes into keys, paths and logs without escaping. Failure: a text of another
//! shape is no id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One subscription of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SubscriptionId(Uuid);

impl SubscriptionId {
    /// Gives a UUID its meaning.
    pub(crate) const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The bare UUID, for a database parameter.
    pub(crate) const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for SubscriptionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}
