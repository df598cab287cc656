//! Builds the worker: Rust → wasm → bindings → optimised → one JavaScript module.
//!
//! `setup::Tools` → **`build`** → a folder with `index.js` and `index_bg.wasm` → `run::workerd`, `run::wrangler`.
//!
//! Invariant: worker-build is given every tool by path, so that it downloads nothing; and the stamp beside the
//! result is a hash of all that went in, so that an unchanged worker is not built again.
//! Not here: the optimisation profile (root Cargo.toml, `profile.edge`) and the bindings (wrangler.toml).
//! Failure: the tail of worker-build's log.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::cache::lock_file;
use crate::config::Config;
use crate::setup::Tools;
use crate::supervise;

/// What decides the worker's bytes, besides the tools.
const INPUTS: [&str; 7] = [
    "edge/Cargo.toml",
    "edge/src",
    "shared/Cargo.toml",
    "shared/src",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
];
const STAMP: &str = ".tollgate-inputs";
const LIMIT: Duration = Duration::from_mins(30);

/// Which worker to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The one that is deployed, in `edge/build`.
    Deployed,
    /// With the cargo feature `bench`, whose routes must never be deployed; in `target/xtask/edge-bench`.
    Bench,
}

/// A built worker.
#[derive(Debug, Clone)]
pub struct BuiltWorker {
    /// Holds `index.js` (the entry), `worker.js` and `index_bg.wasm`.
    pub folder: PathBuf,
}

/// Builds the worker unless the last build had the same inputs.
pub async fn build(config: &Config, tools: &Tools, variant: Variant) -> Result<(BuiltWorker, String)> {
    let folder = match variant {
        Variant::Deployed => config.in_repo("edge/build"),
        Variant::Bench => config.in_repo("target/xtask/edge-bench"),
    };
    fs::create_dir_all(config.in_repo("target")).context("create target")?;
    let _lock = lock_file(config.in_repo("target/.edge-lock")).await?;
    let inputs = inputs_hash(config, tools, variant)?;
    let built = BuiltWorker { folder };
    if fs::read_to_string(built.folder.join(STAMP)).is_ok_and(|stamp| stamp == inputs) {
        return Ok((built, "unchanged".to_owned()));
    }
    if let Some(parent) = built.folder.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    let command = worker_build(config, tools, variant, &built.folder);
    let log = config
        .in_repo("target/xtask/setup")
        .join(format!("worker-build-{}.log", std::process::id()));
    supervise::run("worker-build", command, log, LIMIT).await?;
    put_entry_in_front(config, &built.folder)?;
    let size = fs::metadata(built.folder.join("index_bg.wasm"))
        .context("worker-build left no wasm")?
        .len();
    fs::write(built.folder.join(STAMP), inputs).context("stamp the worker")?;
    Ok((built, format!("{size} bytes of wasm")))
}

/// The runtime loads `index.js`: our entry, and worker-build's module beside it (why: edge/src/entry.mjs).
fn put_entry_in_front(config: &Config, folder: &Path) -> Result<()> {
    let index = folder.join("index.js");
    fs::rename(&index, folder.join("worker.js")).context("worker-build left no index.js")?;
    fs::copy(config.in_repo("edge/src/entry.mjs"), &index).context("put the entry in front of the worker")?;
    Ok(())
}

fn worker_build(config: &Config, tools: &Tools, variant: Variant, folder: &Path) -> Command {
    let mut command = Command::new(&tools.worker_build);
    command
        .args(["--profile", "edge", "--out-dir"])
        .arg(folder)
        .current_dir(config.in_repo("edge"));
    if variant == Variant::Bench {
        command.args([".", "--features", "bench"]);
    }
    command.env("WASM_BINDGEN_BIN", &tools.wasm_bindgen);
    command
        .env("WASM_OPT_BIN", config.node_bin("wasm-opt"))
        .env("ESBUILD_BIN", config.node_bin("esbuild"));
    // What `cargo run` has told us about xtask is not true of the edge.
    command
        .env_remove("CARGO_MANIFEST_DIR")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUST_BACKTRACE", "0");
    tools.edge.apply(&mut command);
    command
}

fn inputs_hash(config: &Config, tools: &Tools, variant: Variant) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!(
        "{variant:?} {:?} {} {}\n",
        tools.edge,
        tools.worker_build.display(),
        tools.wasm_bindgen.display()
    ));
    for input in INPUTS {
        add(&mut hash, &config.in_repo(input)).with_context(|| format!("read {input}"))?;
    }
    Ok(hex::encode(hash.finalize()))
}

fn add(hash: &mut Sha256, path: &Path) -> Result<()> {
    if path.is_file() {
        let bytes = fs::read(path)?;
        hash.update(format!("{} {}\n", path.display(), bytes.len()));
        hash.update(&bytes);
        return Ok(());
    }
    let mut entries = fs::read_dir(path)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    entries.sort();
    entries.iter().try_for_each(|entry| add(hash, entry))
}
