//! The wasm32 target: found, or fetched by rustup, or built from Debian's packages.
//!
//! `setup::prepare` → **`install`** → an `EdgeToolchain` that every build of the edge must use.
//!
//! Invariant: the first way that works is taken and said. What is already done is looked for before anything is
//! asked of the network: a machine without a route would otherwise wait for rustup's time limit at every run.
//! Not here: `rust-toolchain.toml` does not list the target, because rustup would then fetch it at every call of cargo.
//! Failure: one error with what each way answered, and what to install by hand.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::{debian, log_path};
use crate::cache::Cache;
use crate::config::{Config, WasmWay};
use crate::supervise;

/// The target's name.
pub const TARGET: &str = "wasm32-unknown-unknown";

const RUSTUP_LIMIT: Duration = Duration::from_mins(3);
const QUERY_LIMIT: Duration = Duration::from_mins(1);

/// Which compiler builds the edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EdgeToolchain {
    /// The pinned one: it has the target.
    Pinned,
    /// Debian's, linked into rustup under this name.
    Linked(&'static str),
    /// Debian's, where there is no rustup.
    System,
}

impl EdgeToolchain {
    /// Makes `command` (cargo, or something that calls cargo) use this compiler.
    pub fn apply(&self, command: &mut Command) {
        match self {
            Self::Pinned => {}
            Self::Linked(name) => {
                command.env("RUSTUP_TOOLCHAIN", name);
            }
            Self::System => {
                command.env("RUSTC", debian::RUSTC);
            }
        }
    }
}

/// Makes sure that one compiler has the target.
pub(super) async fn install(config: &Config, cache: &Cache) -> Result<(EdgeToolchain, String)> {
    if let Some(found) = find(config).await? {
        return Ok(found);
    }
    let _lock = cache.lock("wasm-target").await?;
    if let Some(found) = find(config).await? {
        return Ok(found);
    }
    let mut answers = Vec::new();
    if config.wasm_way != WasmWay::Debian {
        match by_rustup(config).await {
            Ok(()) => return Ok((EdgeToolchain::Pinned, "rustup".to_owned())),
            Err(error) => answers.push(format!("rustup: {error:#}")),
        }
    }
    if config.wasm_way != WasmWay::Rustup {
        match debian::install(config).await {
            Ok(toolchain) => return Ok((toolchain, "Debian packages".to_owned())),
            Err(error) => answers.push(format!("Debian packages: {error:#}")),
        }
    }
    bail!(
        "no way to {TARGET} worked.\n{}\nBy hand: `rustup target add {TARGET}` where rustup has a route, or a \
         compiler with that target as the first `rustc` on PATH.",
        answers.join("\n")
    )
}

async fn find(config: &Config) -> Result<Option<(EdgeToolchain, String)>> {
    if config.wasm_way != WasmWay::Debian && pinned_has_target(config).await? {
        return Ok(Some((EdgeToolchain::Pinned, "present".to_owned())));
    }
    if config.wasm_way == WasmWay::Rustup {
        return Ok(None);
    }
    let found = debian::find(config).await?;
    Ok(found.map(|toolchain| (toolchain, "Debian packages, present".to_owned())))
}

async fn pinned_has_target(config: &Config) -> Result<bool> {
    let mut query = Command::new("rustc");
    query
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(&config.repo);
    let folder = supervise::output(query, QUERY_LIMIT)
        .await
        .context("ask rustc for its libraries")?;
    Ok(has_library(Path::new(folder.trim()), "libstd-"))
}

/// Whether a folder holds a Rust library whose file name begins so.
pub(super) fn has_library(folder: &Path, prefix: &str) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .any(|name| name.starts_with(prefix))
}

async fn by_rustup(config: &Config) -> Result<()> {
    let rustup = config.find_program("rustup").context("not installed")?;
    let mut command = Command::new(rustup);
    command.args(["target", "add", TARGET]).current_dir(&config.repo);
    supervise::run(
        "rustup target add",
        command,
        log_path(config, "rustup"),
        RUSTUP_LIMIT,
    )
    .await?;
    if pinned_has_target(config).await? {
        Ok(())
    } else {
        bail!("it reported success, but the library is not there")
    }
}
