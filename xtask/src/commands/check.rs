//! `cargo xtask check`: form, lints on both targets, licences, documentation, house rules.
//!
//! fmt → clippy (host) → clippy (wasm) → deny → doc → **house rules**.
//!
//! Invariant: every part runs even after one failed, and the command fails if any did.
//! The wasm part needs a clippy of the very compiler that has the target: the pinned one where rustup brought the
//! target, Debian's `rust-web-clippy` otherwise. cargo-deny checks licences, bans and sources; its advisory
//! database lives on a code host and is not asked for here.
//! Failure: the tool's own output, then the list of parts that failed.

use anyhow::{Result, bail};
use tokio::process::Command;

use crate::config::Config;
use crate::progress::{Progress, say};
use crate::setup::wasm::TARGET;
use crate::setup::{self, Tools, cargo_tools};
use crate::supervise;

/// Runs every part.
pub(super) async fn run(config: &Config) -> Result<()> {
    let progress = Progress::new(setup::STEPS.saturating_add(1));
    let tools = setup::prepare(config, &progress).await?;
    let deny = progress
        .step("cargo-deny", cargo_tools::cargo_deny(config))
        .await?;
    let mut deny_command = Command::new(deny);
    deny_command.args(["--offline", "check", "licenses", "bans", "sources"]);
    let parts = [
        ("fmt", cargo(&["fmt", "--all", "--", "--check"])),
        (
            "clippy on the host",
            cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        ),
        ("clippy on wasm", wasm_clippy(&tools)),
        (
            "deny (licences, bans, sources; no advisories: their database is on a code host)",
            deny_command,
        ),
        ("documentation", documentation()),
        (
            "house rules",
            cargo(&["test", "-p", "xtask", "--test", "house_rules"]),
        ),
    ];
    let mut failed = Vec::new();
    for (name, mut command) in parts {
        say(&format!("── {name}"));
        command.current_dir(&config.repo);
        if let Err(error) = supervise::run_visible(name, command).await {
            say(&format!("{error:#}"));
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    say(&format!("all checks passed ({} s)", progress.seconds()));
    Ok(())
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments);
    command
}

fn wasm_clippy(tools: &Tools) -> Command {
    let mut command = cargo(&[
        "clippy",
        "-p",
        "tollgate-edge",
        "--target",
        TARGET,
        "--lib",
        "--",
        "-D",
        "warnings",
    ]);
    // worker-build sets it for the build; without it the macros of wasm-bindgen write other code.
    command.env("WASM_BINDGEN_USE_JS_SYS", "1");
    tools.edge.apply(&mut command);
    command
}

fn documentation() -> Command {
    let mut command = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    command
}
