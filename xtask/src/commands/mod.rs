//! The commands, one file each.
//!
//! `main` → **`run`** → the command's file.
//!
//! Invariant: a command prints a line a step and returns an error if any step failed; none exits the process.

use anyhow::Result;
use clap::Subcommand;

use crate::build_edge::{self, Variant};
use crate::config::Config;
use crate::progress::Progress;
use crate::setup;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Install what is missing: npm packages, the wasm target, build tools
    Setup,
    /// Build the worker into edge/build (wrangler.toml calls this)
    BuildEdge,
}

/// Does it.
pub async fn run(config: &Config, command: Command) -> Result<()> {
    match command {
        Command::Setup => {
            setup::prepare(config, &Progress::new(setup::STEPS)).await?;
        }
        Command::BuildEdge => {
            let progress = Progress::new(setup::STEPS.saturating_add(1));
            let tools = setup::prepare(config, &progress).await?;
            progress.step("worker", build_edge::build(config, &tools, Variant::Deployed)).await?;
        }
    }
    Ok(())
}
