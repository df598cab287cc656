//! What the environment says, read once.
//!
//! The process environment → **`Config`** → every step takes the part it needs as an argument.
//!
//! Invariant: no other file of this crate reads an environment variable.
//! Failure: an unknown value of a switch is refused by name; a missing HOME is an error only where it is needed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The environment variable that carries the superuser URL of the test server to the tests.
pub const TEST_DATABASE_URL: &str = "TOLLGATE_TEST_DATABASE_URL";

/// Which of the two ways to the wasm target may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WasmWay {
    /// rustup first, Debian's packages if it has no route.
    Any,
    /// rustup's server only (`TOLLGATE_WASM=rustup`).
    Rustup,
    /// Debian's packages only (`TOLLGATE_WASM=debian`), to try that way on a machine where rustup would do.
    Debian,
}

/// Everything this crate takes from its environment.
#[derive(Debug, Clone)]
pub struct Config {
    /// The repository's root folder.
    pub repo: PathBuf,
    /// Per-user folder of built tools.
    pub cache: PathBuf,
    /// A Postgres to use instead of starting one.
    pub database_url: Option<String>,
    /// A server that a parent `cargo xtask test` has started for us.
    pub test_database_url: Option<String>,
    /// Switch of the wasm set-up.
    pub wasm_way: WasmWay,
    /// Folders of PATH, in order.
    path: Vec<PathBuf>,
}

impl Config {
    /// Reads the environment.
    pub fn from_env() -> Result<Self> {
        let cache = match (read("TOLLGATE_CACHE_DIR"), read("XDG_CACHE_HOME"), read("HOME")) {
            (Some(own), _, _) => PathBuf::from(own),
            (None, Some(xdg), _) => PathBuf::from(xdg).join("tollgate"),
            (None, None, Some(home)) => PathBuf::from(home).join(".cache/tollgate"),
            (None, None, None) => {
                bail!("neither TOLLGATE_CACHE_DIR, XDG_CACHE_HOME nor HOME is set: no place for tools")
            }
        };
        Ok(Self {
            repo: repository_root()?,
            cache,
            database_url: read("DATABASE_URL"),
            test_database_url: read(TEST_DATABASE_URL),
            wasm_way: parse_wasm_way(read("TOLLGATE_WASM").as_deref())?,
            path: read("PATH")
                .map(|path| std::env::split_paths(&path).collect())
                .unwrap_or_default(),
        })
    }

    /// The first executable of that name on PATH.
    #[must_use]
    pub fn find_program(&self, name: impl AsRef<OsStr>) -> Option<PathBuf> {
        let name = Path::new(name.as_ref());
        self.path
            .iter()
            .map(|folder| folder.join(name))
            .find(|candidate| candidate.is_file())
    }

    /// A file or folder below the repository root.
    #[must_use]
    pub fn in_repo(&self, relative: &str) -> PathBuf {
        self.repo.join(relative)
    }

    /// A command of npm's `node_modules/.bin`.
    #[must_use]
    pub fn node_bin(&self, name: &str) -> PathBuf {
        self.repo.join("node_modules/.bin").join(name)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the config file that the rule speaks of"
)]
fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Cargo says at run time where the manifest is; the folder known at compile time is the fallback for a bare binary.
fn repository_root() -> Result<PathBuf> {
    let manifest = read("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").to_owned());
    let mut folder = PathBuf::from(manifest);
    while !folder.join("wrangler.toml").is_file() {
        if !folder.pop() {
            bail!(
                "no wrangler.toml above {}: not inside the repository",
                env!("CARGO_PKG_NAME")
            );
        }
    }
    folder.canonicalize().context("resolve the repository folder")
}

fn parse_wasm_way(value: Option<&str>) -> Result<WasmWay> {
    match value {
        None | Some("any") => Ok(WasmWay::Any),
        Some("rustup") => Ok(WasmWay::Rustup),
        Some("debian") => Ok(WasmWay::Debian),
        Some(other) => bail!("TOLLGATE_WASM is `{other}`; it may be any, rustup or debian"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_way_to_wasm_is_refused_by_name() {
        assert!(
            parse_wasm_way(Some("gentoo"))
                .unwrap_err()
                .to_string()
                .contains("gentoo")
        );
        assert_eq!(parse_wasm_way(Some("debian")).unwrap(), WasmWay::Debian);
    }

    #[test]
    fn the_root_is_the_folder_with_wrangler_toml() {
        assert!(repository_root().unwrap().join("Cargo.lock").is_file());
    }
}
