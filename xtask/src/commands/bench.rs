//! `cargo xtask bench edge|ledger|…`: prepares what a benchmark measures, and runs it.
//!
//! setup → worker of the `bench` variant, or a durable Postgres → **`crate::bench`** → lines for people and machines.
//!
//! Invariant: a benchmark's parts are those of production: the same profile, the same durability.
//! Failure: the benchmark's error; a subject that does not exist yet says so.

use anyhow::Result;
use clap::ValueEnum;

use crate::bench;
use crate::build_edge::{self, Variant};
use crate::config::Config;
use crate::progress::Progress;
use crate::setup;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// The worker, beside a JavaScript worker that does the same
    Edge,
}

/// Measures it.
pub(super) async fn run(config: &Config, subject: Subject) -> Result<()> {
    match subject {
        Subject::Edge => {
            let progress = Progress::new(setup::STEPS.saturating_add(1));
            let tools = setup::prepare(config, &progress).await?;
            let worker = progress
                .step(
                    "worker (bench)",
                    build_edge::build(config, &tools, Variant::Bench),
                )
                .await?;
            bench::edge::run(config, &worker).await
        }
    }
}
