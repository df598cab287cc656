//! A browser and its driver, for tests of the pages that people click.
//!
//! `cargo xtask test` → **`install`** → two paths that the tests take from their environment.
//!
//! Invariant: what is on PATH is used; only when something is missing are Debian's packages installed.
//! Not here: starting them; each test does, with a profile folder of its own.
//! Failure: an error that names what to install.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::debian;
use crate::cache::Cache;
use crate::config::Config;

/// The programs a browser test starts.
#[derive(Debug, Clone)]
pub struct Browser {
    /// Chromium, or Chrome.
    pub chromium: PathBuf,
    /// Its `WebDriver` server.
    pub driver: PathBuf,
}

/// Finds or installs both.
pub async fn install(config: &Config) -> Result<(Browser, &'static str)> {
    if let Some(browser) = find(config) {
        return Ok((browser, "present"));
    }
    let _lock = Cache::new(config.cache.join("tools")).lock("browser").await?;
    if find(config).is_none() {
        let by_hand =
            "no chromium and chromedriver on PATH, and they could not be installed; install both by hand";
        debian::install_packages(config, &["chromium", "chromium-driver"])
            .await
            .context(by_hand)?;
    }
    let browser = find(config).context("chromium and chromium-driver were installed but are not on PATH")?;
    Ok((browser, "Debian packages"))
}

fn find(config: &Config) -> Option<Browser> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let chromium = names.iter().find_map(|name| config.find_program(name))?;
    Some(Browser {
        chromium,
        driver: config.find_program("chromedriver")?,
    })
}
