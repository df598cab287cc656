//! Settings of what happens beside the payments: retention, and the clock that tests move.
//!
//! `config` → **these settings** → `work::cleanup`, `test_clock`.
//!
//! Invariant: the sandbox's clock is moved only where ours can be, so a production that names a sandbox by mistake is a
//! fault. Failure: faults of the reader, each naming its setting.

use std::time::Duration;

use reqwest::Url;
use tollgate_shared::config::Reader;

use super::{required_url, switch};

/// How the house is kept.
#[derive(Debug, Clone)]
pub struct UpkeepConfig {
    /// How long applied events keep their bytes and made effects their payloads.
    pub retention: Duration,
    /// Whether the clock can be moved over the signed hop. Never in production.
    pub test_clock: bool,
    /// The sandbox whose clock is moved along with ours.
    pub sandbox_control_url: Option<Url>,
}

/// Reads them.
pub(super) fn upkeep(reader: &mut Reader<'_>) -> UpkeepConfig {
    let days: u16 = reader.parsed_or("RETENTION_DAYS", 90, "must be a whole number of days");
    if !(7..=3_650).contains(&days) {
        reader.fault("RETENTION_DAYS", "must be from 7 to 3650 (ten years)");
    }
    let test_clock = switch(reader, "TEST_CLOCK", false);
    UpkeepConfig {
        retention: Duration::from_hours(u64::from(days).saturating_mul(24)),
        test_clock,
        sandbox_control_url: sandbox(reader, test_clock),
    }
}

fn sandbox(reader: &mut Reader<'_>, test_clock: bool) -> Option<Url> {
    reader.optional("SANDBOX_CONTROL_URL")?;
    if !test_clock {
        reader.fault("SANDBOX_CONTROL_URL", "is set, though TEST_CLOCK is not on");
    }
    required_url(reader, "SANDBOX_CONTROL_URL")
}
