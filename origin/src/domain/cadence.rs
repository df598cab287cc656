//! When a scheduled job runs next: at fixed times of the day in Asia/Taipei (EC-4).
//!
//! `work::schedule` → **cadence** → `scheduled_jobs.next_run_at`.
//!
//! Invariant: the next run is strictly after the instant it is counted from, so a job that was away for days runs once,
//! not once for every run it missed. Taiwan has been UTC+8 without daylight saving since 1979, so days are all alike
//! and the arithmetic is on milliseconds. Not here: which job has which cadence (`work::schedule`).

use tollgate_shared::time::Timestamp;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const TAIPEI_AHEAD_MS: i64 = 8 * HOUR_MS;

/// Every so many milliseconds, counted from some time after midnight in Taiwan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cadence {
    every_ms: i64,
    offset_ms: i64,
}

impl Cadence {
    /// Every so many hours, at that minute. Hours that divide a day begin at midnight.
    pub(crate) const fn every_hours(hours: u8, minute: u8) -> Self {
        Self {
            every_ms: HOUR_MS.saturating_mul(widened(hours)),
            offset_ms: MINUTE_MS.saturating_mul(widened(minute)),
        }
    }

    /// Once a day, at that hour.
    pub(crate) const fn daily(hour: u8) -> Self {
        Self {
            every_ms: 24 * HOUR_MS,
            offset_ms: HOUR_MS.saturating_mul(widened(hour)),
        }
    }

    /// The first run after an instant.
    pub(crate) fn next_after(self, instant: Timestamp) -> Timestamp {
        let ahead_ms = TAIPEI_AHEAD_MS.saturating_sub(self.offset_ms);
        let since_ms = instant.unix_ms().saturating_add(ahead_ms);
        let runs = since_ms.div_euclid(self.every_ms).saturating_add(1);
        Timestamp::from_unix_ms(runs.saturating_mul(self.every_ms).saturating_sub(ahead_ms))
    }
}

#[expect(clippy::as_conversions, reason = "`From` is not const, and every u8 fits")]
const fn widened(number: u8) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use tollgate_shared::time::{ECPAY_FORMAT, Timestamp};

    use super::Cadence;

    /// Cadence, an instant in Taiwan, the next run in Taiwan.
    const TABLE: &str = "
6h:00   2026/11/21 00:00:00  2026/11/21 06:00:00
6h:00   2026/11/21 05:59:59  2026/11/21 06:00:00
6h:00   2026/11/21 06:00:00  2026/11/21 12:00:00
6h:00   2026/11/21 18:00:01  2026/11/22 00:00:00
6h:00   2026/12/31 23:59:59  2027/01/01 00:00:00
2h:30   2026/11/21 00:00:00  2026/11/21 00:30:00
2h:30   2026/11/21 00:30:00  2026/11/21 02:30:00
2h:30   2026/11/21 01:30:00  2026/11/21 02:30:00
2h:30   2026/11/21 22:30:00  2026/11/22 00:30:00
2h:30   2028/02/28 23:00:00  2028/02/29 00:30:00
2h:30   2027/02/28 23:00:00  2027/03/01 00:30:00
day:02  2026/11/21 01:59:59  2026/11/21 02:00:00
day:02  2026/11/21 02:00:00  2026/11/22 02:00:00
day:02  2026/11/30 02:00:00  2026/12/01 02:00:00
day:02  2026/12/31 23:00:00  2027/01/01 02:00:00
1h:00   2026/11/21 23:59:59  2026/11/22 00:00:00
";

    fn cadence(name: &str) -> Cadence {
        match name {
            "6h:00" => Cadence::every_hours(6, 0),
            "2h:30" => Cadence::every_hours(2, 30),
            "1h:00" => Cadence::every_hours(1, 0),
            "day:02" => Cadence::daily(2),
            _ => panic!("{name}"),
        }
    }

    #[test]
    fn ec_4_the_next_run_is_at_its_time_in_taipei() {
        for line in TABLE.lines().filter(|line| !line.is_empty()) {
            let [name, day, time, next_day, next_time] =
                line.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
            let at = |day, time| Timestamp::from_taipei(ECPAY_FORMAT, &format!("{day} {time}")).unwrap();
            assert_eq!(
                cadence(name).next_after(at(day, time)),
                at(next_day, next_time),
                "{line}"
            );
        }
    }

    #[test]
    fn ec_4_a_job_that_was_away_for_a_year_runs_once() {
        let long_ago = Timestamp::from_unix_seconds(1_700_000_000);
        let now = Timestamp::from_unix_seconds(1_731_536_000);
        let next = Cadence::every_hours(6, 0).next_after(now);
        assert!(next > now && next.distance(now) <= std::time::Duration::from_hours(6));
        assert!(Cadence::every_hours(6, 0).next_after(long_ago) < now);
    }
}
