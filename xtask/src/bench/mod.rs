//! The benchmarks, each against a peer measured in the same run.
//!
//! `commands` → **one module a benchmark** → a table for people, then `ratio` and `figure` lines for machines.
//!
//! Invariant: no benchmark asserts a time; a ratio compares two things that ran side by side on one machine.
//! Not here: set-up and builds (`setup`, `build_edge`). Failure: the step that could not be measured.

mod cold_start;
mod cpu_time;
mod crossings;
pub mod dunning;
mod dunning_rows;
pub mod edge;
mod figures;
pub mod ledger;
mod load;
mod notices;
mod peer_check;
mod recovery;
mod report;
mod rounds;
mod stub_origin;
pub mod tokens;
pub mod tokens_http;
mod workers;
