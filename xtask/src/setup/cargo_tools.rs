//! Build tools written in Rust, installed from source into the cache: there is no code host to download them from.
//!
//! A version → **`cargo install --root <cache>`** → an executable.
//!
//! Invariant: wasm-bindgen's command line has exactly the version that Cargo.lock has for the crate (their
//! format must match: workers-rs#881). Optimisation is low and LTO off: built in a third of the time, run for seconds.
//! Failure: cargo's log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use super::log_path;
use crate::cache::Cache;
use crate::config::Config;
use crate::supervise;

/// Must follow the `worker` crate, which Cargo.toml pins to the same number.
const WORKER_BUILD_VERSION: &str = "0.8.7";
/// A known version, so that a machine without news does not get another one.
const CARGO_DENY_VERSION: &str = "0.20.2";
const LIMIT: Duration = Duration::from_mins(30);

/// The command line whose version equals the crate's in Cargo.lock.
pub(super) async fn wasm_bindgen(config: &Config, cache: &Cache) -> Result<(PathBuf, String)> {
    let lock = std::fs::read_to_string(config.in_repo("Cargo.lock")).context("read Cargo.lock")?;
    let version = locked_version(&lock, "wasm-bindgen").context("Cargo.lock has no wasm-bindgen")?;
    install(config, cache, "wasm-bindgen-cli", &version, "wasm-bindgen").await
}

/// worker-build of the version that belongs to the `worker` crate.
pub(super) async fn worker_build(config: &Config, cache: &Cache) -> Result<(PathBuf, String)> {
    install(
        config,
        cache,
        "worker-build",
        WORKER_BUILD_VERSION,
        "worker-build",
    )
    .await
}

/// cargo-deny, for `cargo xtask check`.
pub(crate) async fn cargo_deny(config: &Config) -> Result<(PathBuf, String)> {
    let cache = Cache::new(config.cache.join("tools"));
    install(config, &cache, "cargo-deny", CARGO_DENY_VERSION, "cargo-deny").await
}

async fn install(
    config: &Config,
    cache: &Cache,
    package: &str,
    version: &str,
    binary: &str,
) -> Result<(PathBuf, String)> {
    let make = |draft: PathBuf| async move {
        let build = supervise::scratch_dir("tollgate-tool-")?;
        let command = install_command(package, version, &draft, build.path());
        supervise::run(
            &format!("cargo install {package}"),
            command,
            log_path(config, package),
            LIMIT,
        )
        .await
    };
    let (folder, is_new) = cache.entry(package, version, make).await?;
    let remark = if is_new {
        format!("{version} installed")
    } else {
        version.to_owned()
    };
    Ok((folder.join("bin").join(binary), remark))
}

fn install_command(package: &str, version: &str, root: &Path, build: &Path) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(["install", package, "--version", &format!("={version}"), "--root"])
        .arg(root);
    command.env("CARGO_TARGET_DIR", build);
    command
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off");
    command
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    command
}

/// The version of a package in the text of a Cargo.lock, which cargo writes a field a line.
fn locked_version(lock: &str, package: &str) -> Option<String> {
    let wanted = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != wanted);
    lines
        .nth(1)?
        .strip_prefix("version = \"")?
        .strip_suffix('"')
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_belongs_to_the_whole_name() {
        let lock = "[[package]]\nname = \"wasm-bindgen-macro\"\nversion = \"9.9.9\"\n\n[[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen").as_deref(), Some("0.2.130"));
        assert_eq!(locked_version(lock, "wasm"), None);
    }
}
