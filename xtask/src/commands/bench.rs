//! `cargo xtask bench edge|ledger|…`: prepares what a benchmark measures, and runs it.
//!
//! setup → worker of the `bench` variant, or a durable Postgres → **`crate::bench`** → lines for people and machines.
//!
//! Invariant: a benchmark's parts are those of production: the same profile, the same durability.
//! Failure: the benchmark's error; a subject that does not exist yet says so.

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::bench;
use crate::build_edge::{self, Variant};
use crate::config::Config;
use crate::progress::Progress;
use crate::run::postgres::{Durability, Postgres};
use crate::run::program;
use crate::setup;
use crate::stack;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// The worker, beside a JavaScript worker that does the same
    Edge,
    /// Ledger postings, beside a bare UPDATE of the same rows
    Ledger,
    /// Token deductions: the stored functions beside statements written by hand, and through HTTP with and without batching
    Tokens,
    /// Due subscriptions swept, of ten thousand and of a million, beside a bare UPDATE of the same rows
    Dunning,
}

/// Measures it.
pub(super) async fn run(config: &Config, subject: Subject, rows: Option<u64>) -> Result<()> {
    ensure!(
        rows.is_none() || subject == Subject::Dunning,
        "--rows is of dunning alone"
    );
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
        Subject::Ledger => ledger(config).await,
        Subject::Tokens => tokens(config).await,
        Subject::Dunning => dunning(config, rows.unwrap_or(bench::dunning::ROWS_LARGE)).await,
    }
}

/// Postings on a server of our own, which flushes its disk as in production.
async fn ledger(config: &Config) -> Result<()> {
    let progress = Progress::new(1);
    let origin = progress
        .step("origin (release)", program::build_release(config))
        .await?;
    let logs = config.in_repo(&format!("target/xtask/bench-ledger-{}", std::process::id()));
    let postgres = Postgres::start_own(config, Durability::Full, logs.join("postgres.log")).await?;
    stack::migrate(&origin, postgres.url()).await?;
    bench::ledger::run(postgres.url()).await?;
    postgres.stop().await
}

/// Both parts on one server of our own, which flushes its disk as in production.
async fn tokens(config: &Config) -> Result<()> {
    let progress = Progress::new(1);
    let origin = progress
        .step("origin (release)", program::build_release(config))
        .await?;
    let logs = config.in_repo(&format!("target/xtask/bench-tokens-{}", std::process::id()));
    let postgres = Postgres::start_own(config, Durability::Full, logs.join("postgres.log")).await?;
    stack::migrate(&origin, postgres.url()).await?;
    bench::tokens::run(postgres.url()).await?;
    bench::tokens_http::run(&origin, postgres.url(), &logs).await?;
    postgres.stop().await
}

/// Both sizes on one server of our own, which flushes its disk as in production.
async fn dunning(config: &Config, rows: u64) -> Result<()> {
    let progress = Progress::new(1);
    let origin = progress
        .step("origin (release)", program::build_release(config))
        .await?;
    let logs = config.in_repo(&format!("target/xtask/bench-dunning-{}", std::process::id()));
    let postgres = Postgres::start_own(config, Durability::Full, logs.join("postgres.log")).await?;
    bench::dunning::run(&origin, postgres.url(), rows).await?;
    postgres.stop().await
}
