//! npm packages, exactly as the lock file says.
//!
//! package-lock.json → **`npm ci` if the lock changed** → `node_modules` (wrangler, workerd, esbuild, binaryen,
//! Postgres' binaries, the peers of differential tests).
//!
//! Invariant: the stamp in `node_modules` is the hash of the lock file it was installed from, written last.
//! Not here: install scripts. npm leaves them out by default and no package here needs its own.
//! Failure: npm's log; or "install Node" if there is no npm.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::log_path;
use crate::cache::lock_file;
use crate::config::Config;
use crate::supervise;

const STAMP: &str = "node_modules/.tollgate-lock-hash";
const LIMIT: Duration = Duration::from_mins(15);

/// Makes `node_modules` agree with the lock file.
pub(super) async fn install(config: &Config) -> Result<((), &'static str)> {
    if stamped(config)? {
        return Ok(((), "present"));
    }
    let npm = config
        .find_program("npm")
        .context("npm is not on PATH; install Node 20 or newer")?;
    fs::create_dir_all(config.in_repo("target")).context("create target")?;
    let _lock = lock_file(config.in_repo("target/.npm-lock")).await?;
    if stamped(config)? {
        return Ok(((), "present"));
    }
    let mut command = Command::new(npm);
    command
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&config.repo);
    supervise::run("npm ci", command, log_path(config, "npm"), LIMIT).await?;
    fs::write(config.in_repo(STAMP), lock_hash(config)?).context("stamp node_modules")?;
    Ok(((), "npm ci"))
}

fn stamped(config: &Config) -> Result<bool> {
    let hash = lock_hash(config)?;
    Ok(fs::read_to_string(config.in_repo(STAMP)).is_ok_and(|stamp| stamp == hash))
}

fn lock_hash(config: &Config) -> Result<String> {
    let lock = fs::read(config.in_repo("package-lock.json")).context("read package-lock.json")?;
    Ok(hex::encode(Sha256::digest(lock)))
}
