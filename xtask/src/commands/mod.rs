//! The commands, one file each.
//!
//! `main` → **`run`** → the command's file.
//!
//! Invariant: a command prints a line a step and returns an error if any step failed; none exits the process.

mod bench;
mod check;
mod clock;
mod dev;
mod test;

use anyhow::Result;
use clap::Subcommand;

use crate::build_edge::{self, Variant};
use crate::config::Config;
use crate::progress::Progress;
use crate::setup;
use crate::stack::advance::Wish;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start everything, make one purchase, stay up
    Dev {
        /// Exit after the purchase: 0 only if the ledger holds it
        #[arg(long)]
        once: bool,
    },
    /// Run every test, or those whose name contains a filter
    Test {
        /// Parts of test names
        filters: Vec<String>,
    },
    /// Move the clock of a running `dev`, through everything that falls due on the way
    Clock {
        /// A span such as 30d, 12h, 90m, 45s, or an instant such as 2027-01-31T16:00:00Z
        #[arg(value_parser = Wish::parse)]
        to: Wish,
    },
    /// Format, lints on host and wasm, licences, documentation, house rules
    Check,
    /// Measure against a peer in the same run
    Bench {
        /// What to measure
        subject: bench::Subject,
        /// For dunning: subscriptions in the large database; absent: a million
        #[arg(long)]
        rows: Option<u64>,
    },
    /// Install what is missing: npm packages, the wasm target, build tools
    Setup,
    /// Build the worker into edge/build (wrangler.toml calls this)
    BuildEdge,
}

/// Does it.
pub async fn run(config: &Config, command: Command) -> Result<()> {
    match command {
        Command::Dev { once } => dev::run(config, once).await?,
        Command::Test { filters } => test::run(config, &filters).await?,
        Command::Clock { to } => clock::run(config, &to).await?,
        Command::Check => check::run(config).await?,
        Command::Bench { subject, rows } => bench::run(config, subject, rows).await?,
        Command::Setup => {
            setup::prepare(config, &Progress::new(setup::STEPS)).await?;
        }
        Command::BuildEdge => {
            let progress = Progress::new(setup::STEPS.saturating_add(1));
            let tools = setup::prepare(config, &progress).await?;
            progress
                .step("worker", build_edge::build(config, &tools, Variant::Deployed))
                .await?;
        }
    }
    Ok(())
}
