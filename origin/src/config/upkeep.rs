//! Settings of what happens beside the payments: retention, and the clock that tests move.
//!
//! `config` → **these settings** → `work::cleanup`, `crate::Origin::new`.
//!
//! Invariant: nothing here bears on what is booked. Failure: faults of the reader, each naming its setting.

use std::time::Duration;

use tollgate_shared::config::Reader;

use super::switch;

/// How the house is kept.
#[derive(Debug, Clone)]
pub struct UpkeepConfig {
    /// How long applied events keep their bytes and made effects their payloads.
    pub retention: Duration,
    /// Whether the clock can be moved over the signed hop. Never in production.
    pub test_clock: bool,
}

/// Reads them.
pub(super) fn upkeep(reader: &mut Reader<'_>) -> UpkeepConfig {
    let days: u16 = reader.parsed_or("RETENTION_DAYS", 90, "must be a whole number of days");
    if !(7..=3_650).contains(&days) {
        reader.fault("RETENTION_DAYS", "must be from 7 to 3650 (ten years)");
    }
    UpkeepConfig {
        retention: Duration::from_hours(u64::from(days).saturating_mul(24)),
        test_clock: switch(reader, "TEST_CLOCK", false),
    }
}
