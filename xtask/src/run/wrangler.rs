//! The worker under `wrangler dev`, as a developer sees it: rebuilt when its source changes, logs on one page.
//!
//! `cargo xtask dev` → **`Wrangler::start`** → a base URL.
//!
//! Invariant: it speaks to nobody outside (no metrics, no update check, no request data from Cloudflare), and its
//! state and the file with the settings lie in a scratch folder.
//! Not here: measuring; its proxy caps at a tenth of workerd.
//! Failure: the tail of wrangler's log.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tokio::process::Command;

use super::workerd::answers;
use crate::clock::poll_until;
use crate::config::Config;
use crate::setup::EdgeToolchain;
use crate::supervise::{self, Supervised};

/// The first start runs the worker's build.
const START_LIMIT: Duration = Duration::from_mins(10);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A worker under wrangler.
#[derive(Debug)]
pub struct Wrangler {
    _folder: tempfile::TempDir,
    port: u16,
    process: Supervised,
}

impl Wrangler {
    /// Starts it with these variables and secrets over those of wrangler.toml.
    pub async fn start(
        config: &Config,
        toolchain: &EdgeToolchain,
        port: u16,
        settings: &BTreeMap<String, String>,
        log: PathBuf,
    ) -> Result<Self> {
        let folder = supervise::scratch_dir("tollgate-wrangler-")?;
        let file = folder.path().join("settings.env");
        write_settings(&file, settings)?;
        let mut command = Command::new(config.node_bin("wrangler"));
        command.args([
            "dev",
            "--local",
            "--ip",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--inspector-port",
            "0",
        ]);
        command
            .args(["--show-interactive-dev-session=false", "--persist-to"])
            .arg(folder.path().join("state"));
        command.arg("--env-file").arg(&file).current_dir(&config.repo);
        quiet(&mut command, folder.path());
        toolchain.apply(&mut command);
        let mut process = supervise::start("wrangler dev", command, log)?;
        let url = format!("http://127.0.0.1:{port}");
        poll_until("the start of wrangler dev", START_LIMIT, || {
            let alive = process.still_running();
            let url = url.clone();
            async move {
                alive?;
                Ok(answers(&url).await.then_some(()))
            }
        })
        .await?;
        Ok(Self {
            _folder: folder,
            port,
            process,
        })
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// An error if it has ended.
    pub fn still_running(&mut self) -> Result<()> {
        self.process.still_running()
    }

    /// SIGINT, as Ctrl-C would.
    pub async fn stop(self) -> Result<()> {
        self.process.stop(Signal::INT, STOP_LIMIT).await
    }
}

fn quiet(command: &mut Command, folder: &Path) {
    command
        .env("WRANGLER_LOG_PATH", folder.join("logs"))
        .env("WRANGLER_REGISTRY_PATH", folder.join("registry"));
    for name in [
        "WRANGLER_SEND_METRICS",
        "WRANGLER_SEND_ERROR_REPORTS",
        "CLOUDFLARE_CF_FETCH_ENABLED",
    ] {
        command.env(name, "false");
    }
    for name in ["DO_NOT_TRACK", "CI", "NO_COLOR"] {
        command.env(name, "1");
    }
    command.env("WRANGLER_HIDE_BANNER", "true");
}

/// In a file only we can read: arguments are visible to every user of the machine.
fn write_settings(path: &Path, settings: &BTreeMap<String, String>) -> Result<()> {
    let mut text = String::new();
    for (name, value) in settings {
        writeln!(text, "{name}='{value}'").context("write the settings")?;
    }
    let file = fs::File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
    std::io::Write::write_all(&mut file.context("create the settings file")?, text.as_bytes())
        .context("write the settings")
}
