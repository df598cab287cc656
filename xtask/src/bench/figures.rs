//! Statistics of rounds, in integers: throughput, percentiles, medians, ratios.
//!
//! `load` (rounds) → **figures** → `report`.
//!
//! Invariant: no float (the workspace bans its arithmetic); a ratio is kept in thousandths. Medians over rounds,
//! so that one round disturbed by another process does not decide.
//! Failure: a percentile of nothing is zero; a ratio to zero is zero, which the table shows as such.

use std::fmt;
use std::time::Duration;

use super::load::Round;

/// A ratio in thousandths; prints as `1.234`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ratio(u64);

/// One subject on one path: the medians over its rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) requests_per_second: u64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    /// Of the worker's processor time a request, in nanoseconds; 0 where the system does not tell.
    pub(super) processor_ns: u64,
}

impl Ratio {
    pub(super) fn of(ours: u64, theirs: u64) -> Self {
        Self(ours.saturating_mul(1000).checked_div(theirs).unwrap_or(0))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, thousandths) = (self.0.div_euclid(1000), self.0.rem_euclid(1000));
        formatter.pad(&format!("{whole}.{thousandths:03}"))
    }
}

impl Figures {
    pub(super) fn of(rounds: &[Round]) -> Self {
        Self {
            requests_per_second: median(rounds.iter().map(per_second)),
            p50_us: median(rounds.iter().map(|round| percentile_us(round, 50))),
            p99_us: median(rounds.iter().map(|round| percentile_us(round, 99))),
            processor_ns: median(rounds.iter().map(processor_ns)),
        }
    }
}

/// The median of pairwise ratios of throughput: round n of ours against round n of theirs, which ran next to it.
pub(super) fn paired_ratio(ours: &[Round], theirs: &[Round]) -> Ratio {
    let pairs = ours.iter().zip(theirs);
    Ratio(median(pairs.map(|(ours, theirs)| {
        Ratio::of(per_second(ours), per_second(theirs)).0
    })))
}

/// The same of processor time a request, the other way round: above 1.000, ours needs less.
pub(super) fn paired_processor_ratio(ours: &[Round], theirs: &[Round]) -> Ratio {
    let pairs = ours.iter().zip(theirs);
    Ratio(median(pairs.map(|(ours, theirs)| {
        Ratio::of(processor_ns(theirs), processor_ns(ours)).0
    })))
}

/// The same of what a caller waits, by that percentile: at or below 1.000, ours waits no longer.
pub(super) fn paired_wait_ratio(ours: &[Round], theirs: &[Round], percent: usize) -> Ratio {
    let pairs = ours.iter().zip(theirs);
    Ratio(median(pairs.map(|(ours, theirs)| {
        Ratio::of(percentile_us(ours, percent), percentile_us(theirs, percent)).0
    })))
}

pub(super) fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len().div_euclid(2)).copied().unwrap_or(0)
}

pub(super) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn per_second(round: &Round) -> u64 {
    let requests = u64::try_from(round.latencies.len()).unwrap_or(u64::MAX);
    requests
        .saturating_mul(1_000_000)
        .checked_div(microseconds(round.elapsed))
        .unwrap_or(0)
}

fn processor_ns(round: &Round) -> u64 {
    let spent = round.processor.unwrap_or_default().as_nanos();
    let requests = u128::try_from(round.latencies.len()).unwrap_or(u128::MAX);
    spent
        .checked_div(requests)
        .and_then(|each| u64::try_from(each).ok())
        .unwrap_or(0)
}

fn percentile_us(round: &Round, percent: usize) -> u64 {
    let mut latencies: Vec<u64> = round.latencies.iter().copied().map(microseconds).collect();
    latencies.sort_unstable();
    let index = latencies.len().saturating_mul(percent).div_euclid(100);
    latencies
        .get(index.min(latencies.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(latencies_us: &[u64], elapsed_ms: u64) -> Round {
        Round {
            latencies: latencies_us.iter().copied().map(Duration::from_micros).collect(),
            elapsed: Duration::from_millis(elapsed_ms),
            processor: Some(Duration::from_nanos(elapsed_ms)),
        }
    }

    #[test]
    fn medians_and_percentiles_are_those_of_the_middle_round() {
        let hundred: Vec<u64> = (1..=100).collect();
        let rounds = [round(&hundred, 1000), round(&hundred, 2000), round(&hundred, 10)];
        let figures = Figures::of(&rounds);
        assert_eq!(
            figures,
            Figures {
                requests_per_second: 100,
                p50_us: 51,
                p99_us: 100,
                processor_ns: 10
            }
        );
        assert_eq!(
            Figures::of(&[]),
            Figures {
                requests_per_second: 0,
                p50_us: 0,
                p99_us: 0,
                processor_ns: 0
            }
        );
    }

    #[test]
    fn a_ratio_prints_three_digits_behind_the_point() {
        assert_eq!(Ratio::of(77, 100).to_string(), "0.770");
        assert_eq!(Ratio::of(2_005, 1_000).to_string(), "2.005");
        assert_eq!(Ratio::of(1, 0).to_string(), "0.000");
    }

    #[test]
    fn a_ratio_compares_neighbouring_rounds() {
        let ours = [round(&[1, 1], 1000), round(&[1, 1], 2000), round(&[1, 1], 1000)];
        let theirs = [round(&[1, 1], 1000), round(&[1, 1], 1000), round(&[1, 1], 1000)];
        assert_eq!(paired_ratio(&ours, &theirs).to_string(), "1.000");
        let ours = [round(&[8, 9], 1), round(&[3, 50], 1), round(&[1, 1], 1)];
        let theirs = [round(&[8, 6], 1), round(&[25, 25], 1), round(&[4, 4], 1)];
        assert_eq!(paired_wait_ratio(&ours, &theirs, 50).to_string(), "1.125");
    }
}
