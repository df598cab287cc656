//! promtool, for the tests of the alert rules.
//!
//! `cargo xtask test` → **`install`** → a path that the test takes from its environment.
//!
//! Invariant: what is on PATH is used; otherwise it comes with Debian's package `prometheus`, whose service is not
//! needed and not started by us. Failure: an error that names what to install.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::debian;
use crate::cache::Cache;
use crate::config::Config;

/// Finds or installs it.
pub async fn install(config: &Config) -> Result<(PathBuf, &'static str)> {
    if let Some(promtool) = config.find_program("promtool") {
        return Ok((promtool, "present"));
    }
    let _lock = Cache::new(config.cache.join("tools")).lock("promtool").await?;
    if config.find_program("promtool").is_none() {
        debian::install_packages(config, &["prometheus"])
            .await
            .context("no promtool on PATH, and it could not be installed; install Prometheus by hand")?;
    }
    let promtool = config
        .find_program("promtool")
        .context("prometheus was installed but promtool is not on PATH")?;
    Ok((promtool, "Debian package"))
}
