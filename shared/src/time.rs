//! Instants, and the provider's Taiwan wall clocks read into them.
//!
//! Every step carries a `Timestamp`; only `origin::clock` and the edge's clock make a new one.
//!
//! Invariant (DESIGN.md, 5): nothing here asks what time it is. Taiwan has been UTC+8 without daylight saving
//! since 1979, so a fixed offset is exact and the time-zone database stays out of the wasm.
//! A text that is not a real date in its format is `None`; the caller says which field it was.

use std::fmt;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From Unix milliseconds.
    #[must_use]
    pub const fn from_unix_ms(unix_ms: i64) -> Self {
        Self(unix_ms)
    }

    /// From Unix seconds; seconds that do not fit saturate.
    #[must_use]
    pub const fn from_unix_seconds(unix_seconds: i64) -> Self {
        Self(unix_seconds.saturating_mul(1000))
    }

    /// Unix milliseconds.
    #[must_use]
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// Unix seconds, rounded down.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The instant `duration` later; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The distance between two instants, whichever is later.
    #[must_use]
    pub const fn distance(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }

    /// Reads a Taiwan wall clock in a `strptime` format (`%Y/%m/%d %H:%M:%S` for ECPay).
    #[must_use]
    pub fn from_taipei(format: &str, text: &str) -> Option<Self> {
        let civil = DateTime::strptime(format, text).ok()?;
        let zoned = civil.to_zoned(taipei()).ok()?;
        Some(Self(zoned.timestamp().as_millisecond()))
    }

    /// Writes the Taiwan wall clock in a `strftime` format; `None` for an instant outside jiff's years.
    #[must_use]
    pub fn to_taipei(self, format: &str) -> Option<String> {
        let instant = jiff::Timestamp::from_millisecond(self.0).ok()?;
        Some(instant.to_zoned(taipei()).strftime(format).to_string())
    }
}

fn taipei() -> TimeZone {
    TimeZone::fixed(Offset::constant(8))
}

/// RFC 3339 in UTC, as logs and JSON answers carry it.
impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => instant.fmt(formatter),
            Err(_) => write!(formatter, "{} ms", self.0),
        }
    }
}

/// ECPay's wall clock (`yyyy/MM/dd HH:mm:ss`, reference §1.3.1).
pub const ECPAY_FORMAT: &str = "%Y/%m/%d %H:%M:%S";

#[cfg(test)]
mod tests {
    use super::{ECPAY_FORMAT, Timestamp};

    #[test]
    fn taiwan_is_eight_hours_ahead() {
        let paid_at = Timestamp::from_taipei(ECPAY_FORMAT, "2019/05/09 00:01:21").unwrap();
        assert_eq!(paid_at.to_string(), "2019-05-08T16:01:21Z");
        assert_eq!(paid_at.to_taipei(ECPAY_FORMAT).unwrap(), "2019/05/09 00:01:21");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2019-05-09 00:01:21",
            "2019/02/30 00:00:00",
            "2019/05/09",
            "0000-00-00 00:00:00",
        ] {
            assert_eq!(Timestamp::from_taipei(ECPAY_FORMAT, text), None, "{text:?}");
        }
    }
}
