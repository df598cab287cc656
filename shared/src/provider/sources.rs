//! The configured sources, and the one way to read a delivery of any of them.
//!
//! settings → **Sources** → `read`: verify, then normalise. Edge and origin build it from the same names.
//!
//! Invariant: a source with a missing or unusable setting is `Invalid` and refuses every delivery (fail closed);
//! the faults are kept for health. Not here: reading the environment.
//!
//! stub, completed by the helper who owns shared
use std::collections::BTreeMap;

use super::{Acknowledgement, Refusal, Unverified};
use crate::config::{Fault, Lookup};
use crate::event::Event;
use crate::id::SourceId;

/// Whether a source can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceState {
    /// All its settings are there.
    Ready,
    /// None of its settings is there.
    Absent,
    /// Some are missing or unusable: it refuses.
    Invalid(Vec<Fault>),
}

/// Every source that this deployment knows.
pub struct Sources {}

impl Sources {
    /// Reads all sources' settings. Never fails: a faulty source is `Invalid`.
    #[must_use]
    pub fn from_lookup(lookup: Lookup<'_>) -> Self {
        let _ = lookup;
        Self {}
    }

    /// Verify, then normalise.
    pub fn read(&self, source: &SourceId, unverified: &Unverified<'_>) -> Result<Event, Refusal> {
        let _ = (source, unverified);
        Err(Refusal::UnknownSource)
    }

    /// The provider's exact success answer.
    pub fn acknowledgement(&self, source: &SourceId) -> Result<Acknowledgement, Refusal> {
        let _ = source;
        Err(Refusal::UnknownSource)
    }

    /// The state of every source by name, for health and for the check at start.
    #[must_use]
    pub fn states(&self) -> BTreeMap<SourceId, SourceState> {
        BTreeMap::new()
    }
}
