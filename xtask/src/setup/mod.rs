//! What a bare machine lacks, found or installed: the tools behind every command.
//!
//! `commands` → **`setup`** (npm → wasm target → cargo tools → browser) → `build_edge`, `run`.
//!
//! Invariant: each part first looks whether its result is there, so a second run costs a few file look-ups.
//! Not here: Postgres' binaries come with npm, but preparing them for their user is `run::postgres`.
//! Failure: an error that says what was tried and what a person can install by hand.

pub mod browser;
pub(crate) mod cargo_tools;
mod debian;
mod npm;
pub mod promtool;
pub mod wasm;

use std::path::PathBuf;

use anyhow::Result;

use crate::cache::Cache;
use crate::config::Config;
use crate::progress::Progress;
pub use wasm::EdgeToolchain;

/// The steps that `prepare` prints.
pub const STEPS: usize = 4;

/// Everything needed to build and run the worker.
#[derive(Debug, Clone)]
pub struct Tools {
    /// How the edge must be compiled.
    pub edge: EdgeToolchain,
    /// worker-build itself.
    pub worker_build: PathBuf,
    /// wasm-bindgen's command line, of the version in Cargo.lock.
    pub wasm_bindgen: PathBuf,
}

/// Installs what is missing, printing a line a part.
pub async fn prepare(config: &Config, progress: &Progress) -> Result<Tools> {
    let cache = Cache::new(config.cache.join("tools"));
    progress.step("npm packages", npm::install(config)).await?;
    let edge = progress
        .step("wasm target", wasm::install(config, &cache))
        .await?;
    let wasm_bindgen = progress
        .step("wasm-bindgen", cargo_tools::wasm_bindgen(config, &cache))
        .await?;
    let worker_build = progress
        .step("worker-build", cargo_tools::worker_build(config, &cache))
        .await?;
    Ok(Tools {
        edge,
        worker_build,
        wasm_bindgen,
    })
}

/// The log of a set-up step.
fn log_path(config: &Config, name: &str) -> PathBuf {
    config
        .in_repo("target/xtask/setup")
        .join(format!("{name}-{}.log", std::process::id()))
}
