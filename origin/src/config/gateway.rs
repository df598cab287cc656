//! Settings of calls to providers: how far apart they are.
//!
//! `config` → **these settings** → `gateway::limiter`.
//!
//! Failure: faults of the reader, without values.

use std::time::Duration;

use tollgate_shared::config::Reader;

/// A minute between two calls is slower than any provider asks for.
const SPACING_MS_MAX: u64 = 60_000;

/// How fast providers may be called.
#[derive(Debug, Clone, Copy)]
pub struct GatewayConfig {
    /// Between two calls about a shop at ECPay (`ECPAY_QUERY_SPACING_MS`).
    pub ecpay_spacing: Duration,
    /// Between two calls about a shop at PAYUNi (`PAYUNI_QUERY_SPACING_MS`); it documents no limit.
    pub payuni_spacing: Duration,
}

/// Reads them.
pub(super) fn gateway(reader: &mut Reader<'_>) -> GatewayConfig {
    GatewayConfig {
        ecpay_spacing: spacing(reader, "ECPAY_QUERY_SPACING_MS", 2_000),
        payuni_spacing: spacing(reader, "PAYUNI_QUERY_SPACING_MS", 0),
    }
}

fn spacing(reader: &mut Reader<'_>, name: &str, usual_ms: u64) -> Duration {
    let spacing_ms = reader.parsed_or(name, usual_ms, "must be a whole number of milliseconds");
    if spacing_ms > SPACING_MS_MAX {
        reader.fault(name, "must be at most 60000 (a minute)");
    }
    Duration::from_millis(spacing_ms.min(SPACING_MS_MAX))
}
