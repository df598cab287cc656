//! `cargo xtask test [filter…]`: the set-up, then every test of the workspace against real parts.
//!
//! setup → browser, promtool → worker → Postgres → **`cargo test --workspace`** → stop.
//!
//! Invariant: a missing part is an error here, never a test that passes without it.
//! Failure: cargo's own output, and its failure as ours.

use anyhow::Result;
use tokio::process::Command;

use crate::build_edge::{self, Variant};
use crate::config::{Config, TEST_DATABASE_URL};
use crate::progress::{Progress, say};
use crate::run::postgres::{Durability, Postgres};
use crate::run::program;
use crate::setup::{self, browser, promtool};
use crate::supervise;

/// Runs every test whose name matches one of the filters; all of them without a filter.
pub(super) async fn run(config: &Config, filters: &[String]) -> Result<()> {
    let progress = Progress::new(setup::STEPS.saturating_add(6));
    let tools = setup::prepare(config, &progress).await?;
    let browser = progress.step("browser", browser::install(config)).await?;
    let promtool = progress.step("promtool", promtool::install(config)).await?;
    progress
        .step("worker", build_edge::build(config, &tools, Variant::Deployed))
        .await?;
    progress
        .step("origin and sandbox", program::build(config))
        .await?;
    let postgres = progress.step("Postgres", start(config)).await?;
    say("[10/10] tests …");
    let mut command = Command::new("cargo");
    command
        .args(["test", "--workspace", "--no-fail-fast", "--"])
        .args(filters)
        .current_dir(&config.repo);
    command
        .env(TEST_DATABASE_URL, postgres.url())
        .env("TOLLGATE_NODE_MODULES", config.in_repo("node_modules"));
    command
        .env("CHROMIUM", &browser.chromium)
        .env("CHROMEDRIVER", &browser.driver)
        .env("PROMTOOL", &promtool);
    supervise::run_visible("cargo test", command).await?;
    postgres.stop().await?;
    say(&format!("all tests passed ({} s)", progress.seconds()));
    Ok(())
}

async fn start(config: &Config) -> Result<(Postgres, &'static str)> {
    let log = config
        .in_repo("target/xtask")
        .join(format!("test-{}", std::process::id()))
        .join("postgres.log");
    let postgres = Postgres::start(config, Durability::None, log).await?;
    let remark = if postgres.is_own() {
        "embedded"
    } else {
        "DATABASE_URL"
    };
    Ok((postgres, remark))
}
