//! What the benchmark prints: a table for people, then a line a number for machines.
//!
//! `edge` (measured) → **`Report`** → standard output.
//!
//! Invariant: every number of the table is also a line `ratio NAME VALUE` or `figure NAME VALUE UNIT`, from the
//! same variable. Above 1.000 a ratio means that ours answers more requests a second. Failure: none.

use std::fmt::Write as _;

use super::crossings::{Crossing, per_notice, total};
use super::figures::{Figures, Ratio};
use crate::progress::say;

/// Functions shown in the crossing table.
const TOP: usize = 25;

/// Collects both forms of the results.
#[derive(Debug, Default)]
pub(super) struct Report {
    table: String,
    lines: String,
}

impl Report {
    /// A line that only people read.
    pub(super) fn text(&mut self, line: &str) {
        add(&mut self.table, line);
    }

    /// Throughput and latency of one subject on one path.
    pub(super) fn figures(&mut self, path: &str, subject: &str, figures: &Figures) {
        let Figures {
            requests_per_second: throughput,
            p50_us,
            p99_us,
            processor_ns,
        } = *figures;
        let (p50, p99, processor) = (
            thousandths(p50_us),
            thousandths(p99_us),
            thousandths(processor_ns),
        );
        self.text(&format!(
            "{path:<7} {subject:<6} {throughput:>7} req/s   p50 {p50:>8} ms   p99 {p99:>8} ms   processor {processor:>8} us"
        ));
        let name = format!("edge_{path}_{subject}");
        self.line(&format!("figure {name}_throughput {throughput} req/s"));
        self.line(&format!("figure {name}_p50 {p50_us} us"));
        self.line(&format!("figure {name}_p99 {p99_us} us"));
        self.line(&format!("figure {name}_processor {processor_ns} ns/req"));
    }

    /// A ratio.
    pub(super) fn ratio(&mut self, title: &str, name: &str, ratio: Ratio) {
        self.text(&format!("{title:<44} {ratio}"));
        self.line(&format!("ratio {name} {ratio}"));
    }

    /// A single number with its unit.
    pub(super) fn figure(&mut self, title: &str, name: &str, value: u64, unit: &str) {
        self.text(&format!("{title:<44} {value} {unit}"));
        self.line(&format!("figure {name} {value} {unit}"));
    }

    /// The crossings of one path.
    pub(super) fn crossings(&mut self, path: &str, crossings: &[Crossing]) {
        for (direction, name) in [("wasm->js", "wasm_to_js"), ("js->wasm", "js_to_wasm")] {
            let calls = per_notice(total(crossings, direction));
            self.text(&format!("crossings {direction} a notice, {path:<8} {calls}"));
            self.line(&format!(
                "figure edge_{path}_crossings_{name} {calls} calls/notice"
            ));
        }
        for crossing in crossings.iter().take(TOP) {
            self.text(&format!(
                "    {:>7}  {}",
                per_notice(crossing.calls),
                crossing.name
            ));
        }
    }

    /// Prints the table, then the lines.
    pub(super) fn print(&self) {
        say(&format!("\n{}\n{}", self.table, self.lines.trim_end()));
    }

    fn line(&mut self, line: &str) {
        add(&mut self.lines, line);
    }
}

fn add(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// A number of thousandths with its point.
fn thousandths(value: u64) -> String {
    let mut text = String::new();
    let _infallible = write!(text, "{}.{:03}", value.div_euclid(1000), value.rem_euclid(1000));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_in_the_table_and_on_a_line_of_its_own() {
        let mut report = Report::default();
        report.ratio(
            "ours to the peer, verify only",
            "edge_verify_vs_peer",
            Ratio::of(3, 2),
        );
        report.figures(
            "verify",
            "ours",
            &Figures {
                requests_per_second: 9,
                p50_us: 1_234,
                p99_us: 5,
                processor_ns: 7,
            },
        );
        assert!(report.table.contains("1.500") && report.table.contains("1.234 ms"));
        assert_eq!(
            report.lines,
            "ratio edge_verify_vs_peer 1.500\nfigure edge_verify_ours_throughput 9 req/s\n\
             figure edge_verify_ours_p50 1234 us\nfigure edge_verify_ours_p99 5 us\nfigure edge_verify_ours_processor 7 ns/req\n"
        );
    }
}
