//! A program of ours (origin, sandbox): started, asked where it listens, crashed, started again.
//!
//! `cargo build` → **`Program::start`** → a base URL read from its first lines.
//!
//! Invariant: a restart listens where the first start did, because others have been told that address.
//! The program says `{"event":"listening","address":"127.0.0.1:PORT"}` on a line of its own when it is ready.
//! Failure: the tail of its log.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::Deserialize;
use tokio::process::Command;

use crate::clock::poll_until;
use crate::config::Config;
use crate::supervise::{self, Supervised};

const BUILD_LIMIT: Duration = Duration::from_mins(30);
const START_LIMIT: Duration = Duration::from_mins(1);
const RUN_LIMIT: Duration = Duration::from_mins(2);
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Where cargo left our programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The origin, `tollgate`.
    pub origin: PathBuf,
    /// The other side of the wire, `tollgate-sandbox`.
    pub sandbox: PathBuf,
}

/// A program that listens.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    path: PathBuf,
    arguments: Vec<String>,
    settings: BTreeMap<String, String>,
    log: PathBuf,
    address: String,
    process: Option<Supervised>,
}

#[derive(Debug, Deserialize)]
struct Listening {
    event: String,
    address: String,
}

/// Builds both programs; fresh ones cost a moment.
pub async fn build(config: &Config) -> Result<(Programs, &'static str)> {
    let mut command = Command::new("cargo");
    command
        .args([
            "build",
            "-p",
            "tollgate-origin",
            "-p",
            "tollgate-sandbox",
            "--bins",
        ])
        .current_dir(&config.repo);
    let log = config
        .in_repo("target/xtask/setup")
        .join(format!("programs-{}.log", std::process::id()));
    supervise::run("cargo build", command, log, BUILD_LIMIT).await?;
    let folder = output_folder()?;
    Ok((
        Programs {
            origin: folder.join("tollgate"),
            sandbox: folder.join("tollgate-sandbox"),
        },
        "built",
    ))
}

/// Builds the origin as it is deployed, for benchmarks.
pub async fn build_release(config: &Config) -> Result<(PathBuf, &'static str)> {
    let mut command = Command::new("cargo");
    command
        .args(["build", "--release", "-p", "tollgate-origin", "--bin", "tollgate"])
        .current_dir(&config.repo);
    let log = config
        .in_repo("target/xtask/setup")
        .join(format!("release-{}.log", std::process::id()));
    supervise::run("cargo build --release", command, log, BUILD_LIMIT).await?;
    let folder = output_folder()?;
    let beside = folder.parent().context("our executable's folder has no parent")?;
    Ok((beside.join("release/tollgate"), "built"))
}

/// Our own executable lies beside them, or, for a test, in `deps` beside them.
fn output_folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find our own executable")?;
    let folder = own.parent().context("our executable has no folder")?;
    let above = folder.parent().filter(|_| folder.ends_with("deps"));
    Ok(above.unwrap_or(folder).to_owned())
}

/// Runs a program of ours to its end and returns what it wrote to its standard output.
pub async fn run_once(
    path: &Path,
    arguments: &[&str],
    settings: &BTreeMap<String, String>,
) -> Result<String> {
    let mut command = Command::new(path);
    command.args(arguments).envs(settings);
    let what = arguments.first().copied().unwrap_or_default();
    supervise::output(command, RUN_LIMIT)
        .await
        .with_context(|| format!("tollgate {what}"))
}

impl Program {
    /// Starts it; `LISTEN_ADDR` is among the settings and may end in `:0`.
    pub async fn start(
        name: &'static str,
        path: &Path,
        arguments: &[&str],
        settings: BTreeMap<String, String>,
        log: PathBuf,
    ) -> Result<Self> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut program = Self {
            name,
            path: path.to_owned(),
            arguments,
            settings,
            log,
            address: String::new(),
            process: None,
        };
        program.run().await?;
        Ok(program)
    }

    /// `http://host:port`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// An error with its log if it has ended by itself.
    pub fn still_running(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Supervised::still_running)
    }

    /// SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        self.take()?.kill().await
    }

    /// SIGTERM, as a deployment does; it may finish what it is doing.
    pub async fn stop(&mut self) -> Result<()> {
        self.take()?.stop(Signal::TERM, STOP_LIMIT).await
    }

    /// Starts it again at the same address, after `kill` or `stop`.
    pub async fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the {} is running", self.name);
        }
        self.settings
            .insert("LISTEN_ADDR".to_owned(), self.address.clone());
        self.run().await
    }

    fn take(&mut self) -> Result<Supervised> {
        self.process
            .take()
            .with_context(|| format!("the {} is not running", self.name))
    }

    async fn run(&mut self) -> Result<()> {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).envs(&self.settings);
        let before = fs::metadata(&self.log).map_or(0, |about| about.len());
        let mut process = supervise::start(self.name, command, self.log.clone())?;
        let what = format!("the start of the {}", self.name);
        let log = self.log.clone();
        self.address = poll_until(&what, START_LIMIT, || {
            let state = process.still_running().map(|()| listening_address(&log, before));
            async { state }
        })
        .await?;
        self.process = Some(process);
        Ok(())
    }
}

/// The address in the part of the log that this start wrote.
fn listening_address(log: &Path, before: u64) -> Option<String> {
    let bytes = fs::read(log).ok()?;
    let fresh = bytes.get(usize::try_from(before).ok()?..)?;
    String::from_utf8_lossy(fresh).lines().find_map(parse_listening)
}

fn parse_listening(line: &str) -> Option<String> {
    let said: Listening = serde_json::from_str(line).ok()?;
    (said.event == "listening").then_some(said.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_of_this_start_counts() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let first = "{\"event\":\"listening\",\"address\":\"127.0.0.1:1\"}\n";
        let second = "{\"event\":\"request\",\"address\":\"x\"}\n{\"event\":\"listening\",\"address\":\"127.0.0.1:2\"}\n";
        fs::write(&log, format!("{first}{second}")).unwrap();
        assert_eq!(listening_address(&log, 0).as_deref(), Some("127.0.0.1:1"));
        assert_eq!(
            listening_address(&log, first.len().try_into().unwrap()).as_deref(),
            Some("127.0.0.1:2")
        );
    }
}
