//! What the token system counts of itself, in the text form that Prometheus reads (TB-10).
//!
//! `http::metrics` (each deduction), `jobs::reconcile` → **[`Metrics`]** → `GET /metrics`.
//!
//! Invariants: counters only go up, and start at zero with the process; labels are words of ours, few and fixed
//! (invariant 8: no company, key or user). What waits is not counted here but read from the database when asked, so
//! that every process tells the same. Not here: what is too much (`ops/alerts.yml`).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::db::article_jobs::Waiting;
use tollgate_shared::time::Timestamp;

/// How a deduction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Deducted, now or by the first call of its key.
    Ok,
    /// Refused for lack of balance.
    Insufficient,
    /// Refused for another reason: the caller's.
    Refused,
    /// Not done: ours.
    Error,
}

impl Ended {
    const ALL: [Self; 4] = [Self::Ok, Self::Insufficient, Self::Refused, Self::Error];

    const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Insufficient => "insufficient_balance",
            Self::Refused => "refused",
            Self::Error => "error",
        }
    }

    /// Of an answer's status.
    pub(crate) const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Ok,
            402 => Self::Insufficient,
            400..=499 => Self::Refused,
            _ => Self::Error,
        }
    }
}

/// What a route says of the deduction where its status does not: a report that is kept is answered 200 also where the
/// tokens were not deducted. `None`: it asked for no deduction. Travels with the answer inside the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told(pub(crate) Option<Ended>);

/// The counters of one process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    ok: AtomicU64,
    insufficient: AtomicU64,
    refused: AtomicU64,
    error: AtomicU64,
    duration_ms: AtomicU64,
    retries: AtomicU64,
    reconciled_deducted: AtomicU64,
    reconciled_failed: AtomicU64,
    reconcile_errors: AtomicU64,
}

impl Metrics {
    /// A deduction was answered.
    pub(crate) fn deduction(&self, ended: Ended, duration_ms: u64, is_retry: bool) {
        add(self.of(ended), 1);
        add(&self.duration_ms, duration_ms);
        add(&self.retries, u64::from(is_retry));
    }

    /// A pass of reconciliation ended.
    pub(crate) fn reconciled(&self, deducted: u64, failed: u64, errors: u64) {
        add(&self.reconciled_deducted, deducted);
        add(&self.reconciled_failed, failed);
        add(&self.reconcile_errors, errors);
    }

    const fn of(&self, ended: Ended) -> &AtomicU64 {
        match ended {
            Ended::Ok => &self.ok,
            Ended::Insufficient => &self.insufficient,
            Ended::Refused => &self.refused,
            Ended::Error => &self.error,
        }
    }

    /// The exposition (text format 0.0.4). `waiting` is absent where the database could not be asked: a gauge that is
    /// not there raises an alert of its own, one that says zero would hide the trouble.
    pub(crate) fn render(&self, waiting: Option<Waiting>, now: Timestamp) -> String {
        let mut page = Page(String::new());
        let name = "tollgate_token_deductions_total";
        page.family(
            name,
            "counter",
            "Deductions and settlements answered, by how they ended.",
        );
        for ended in Ended::ALL {
            let value = read(self.of(ended)).to_string();
            page.sample(&format!("{name}{{result=\"{}\"}}", ended.label()), &value);
        }
        let name = "tollgate_token_deduction_seconds";
        page.family(
            name,
            "summary",
            "Time from receiving a deduction to answering it.",
        );
        let ms = read(&self.duration_ms);
        let seconds = format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000));
        page.sample(&format!("{name}_sum"), &seconds);
        let count = Ended::ALL
            .iter()
            .fold(0_u64, |sum, ended| sum.saturating_add(read(self.of(*ended))));
        page.sample(&format!("{name}_count"), &count.to_string());
        let name = "tollgate_token_retries_total";
        page.family(
            name,
            "counter",
            "Deductions that a client sent again (tollgate-attempt above 1).",
        );
        page.sample(name, &read(&self.retries).to_string());
        self.render_reconciled(&mut page);
        if let Some(waiting) = waiting {
            render_waiting(&mut page, waiting, now);
        }
        page.0
    }

    fn render_reconciled(&self, page: &mut Page) {
        let name = "tollgate_token_reconciled_total";
        page.family(
            name,
            "counter",
            "Pending records that reconciliation dealt with, by what became of them.",
        );
        for (result, counter) in [
            ("deducted", &self.reconciled_deducted),
            ("failed", &self.reconciled_failed),
            ("error", &self.reconcile_errors),
        ] {
            page.sample(
                &format!("{name}{{result=\"{result}\"}}"),
                &read(counter).to_string(),
            );
        }
    }
}

fn render_waiting(page: &mut Page, waiting: Waiting, now: Timestamp) {
    let name = "tollgate_token_pending";
    page.family(
        name,
        "gauge",
        "Records that wait: held by a reservation, or undecided after it.",
    );
    page.sample(&format!("{name}{{state=\"held\"}}"), &waiting.held.to_string());
    page.sample(
        &format!("{name}{{state=\"undecided\"}}"),
        &waiting.undecided.to_string(),
    );
    let name = "tollgate_token_undecided_oldest_seconds";
    page.family(name, "gauge", "How long the oldest undecided record has waited.");
    let waited = waiting.oldest.filter(|oldest| *oldest < now);
    let seconds = waited.map_or(0, |oldest| oldest.distance(now).as_secs());
    page.sample(name, &seconds.to_string());
}

struct Page(String);

impl Page {
    // Writing into a `String` cannot fail.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
    }

    fn sample(&mut self, name: &str, value: &str) {
        writeln!(self.0, "{name} {value}").ok();
    }
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use tollgate_shared::time::Timestamp;

    use super::{Ended, Metrics};
    use crate::db::article_jobs::Waiting;

    /// Golden: rules and dashboards match on these names.
    #[test]
    fn tb_10_the_page_is_what_the_alert_rules_read() {
        let metrics = Metrics::default();
        for (status, duration_ms, is_retry) in [
            (200, 4, false),
            (200, 1500, true),
            (402, 3, false),
            (409, 2, false),
            (503, 600, true),
        ] {
            metrics.deduction(Ended::of_status(status), duration_ms, is_retry);
        }
        metrics.reconciled(2, 1, 3);
        let waiting = Waiting {
            held: 4,
            undecided: 2,
            oldest: Some(Timestamp::from_unix_seconds(1_000)),
        };
        let page = metrics.render(Some(waiting), Timestamp::from_unix_seconds(1_700));
        assert_eq!(page, include_str!("metrics/golden.txt"));
    }

    #[test]
    fn tb_10_what_could_not_be_read_is_absent_rather_than_zero() {
        let page = Metrics::default().render(None, Timestamp::from_unix_seconds(0));
        assert!(!page.contains("tollgate_token_pending"), "{page}");
    }
}
