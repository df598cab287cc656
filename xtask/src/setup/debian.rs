//! Debian's packages: the second way to the wasm target, and the way to a browser.
//!
//! `setup::wasm` and `setup::browser` → **apt** → a compiler with the target's library, linked into rustup.
//!
//! Debian carries a complete compiler and its library's source, not the library for this target. It is built
//! once with the compiler's own cargo (`-Zbuild-std`) and put where the compiler looks for it.
//! Invariant: the stamp is written last and names the compiler; a half-made library or another compiler is done again.
//! Failure: the log of the step, or "needs root" when neither root nor a password-free sudo is there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::log_path;
use super::wasm::{EdgeToolchain, TARGET, has_library};
use crate::config::Config;
use crate::supervise;

/// Debian's compiler.
pub(super) const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
/// Compiler, cargo, library source, linter; the linker's package depends on the compiler's LLVM.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"];
const LIBRARY: &str = "/usr/lib/rustlib/wasm32-unknown-unknown/lib";
const STAMP: &str = ".tollgate-std";
const TOOLCHAIN: &str = "tollgate-debian";

const APT_LIMIT: Duration = Duration::from_mins(15);
const BUILD_LIMIT: Duration = Duration::from_mins(15);
const QUERY_LIMIT: Duration = Duration::from_mins(1);

/// The finished toolchain, if this machine has it.
pub(super) async fn find(config: &Config) -> Result<Option<EdgeToolchain>> {
    let Ok(stamp) = std::fs::read_to_string(Path::new(LIBRARY).join(STAMP)) else {
        return Ok(None);
    };
    if !Path::new(RUSTC).is_file() || stamp != compiler_version().await? {
        return Ok(None);
    }
    match config.find_program("rustup") {
        None => Ok(Some(EdgeToolchain::System)),
        Some(rustup) => {
            let mut list = Command::new(rustup);
            list.args(["toolchain", "list"]);
            let names = supervise::output(list, QUERY_LIMIT).await?;
            let linked = names
                .lines()
                .any(|line| line.split_whitespace().next() == Some(TOOLCHAIN));
            Ok(linked.then_some(EdgeToolchain::Linked(TOOLCHAIN)))
        }
    }
}

/// Installs the packages, builds the library, links the toolchain.
pub(super) async fn install(config: &Config) -> Result<EdgeToolchain> {
    install_packages(config, &PACKAGES).await?;
    let version = compiler_version().await?;
    let llvm = llvm_major(&version).context("the compiler does not say which LLVM it has")?;
    install_packages(config, &[&format!("lld-{llvm}")]).await?;
    link_linker(&version, llvm).await?;
    let built = build_library(config).await?;
    place_library(built.path(), &version).await?;
    let Some(rustup) = config.find_program("rustup") else {
        return Ok(EdgeToolchain::System);
    };
    let mut link = Command::new(rustup);
    link.args(["toolchain", "link", TOOLCHAIN, "/usr"]);
    supervise::output(link, QUERY_LIMIT).await?;
    Ok(EdgeToolchain::Linked(TOOLCHAIN))
}

/// Installs packages as root; the list of packages is refreshed first, because a bare image has none.
pub(super) async fn install_packages(config: &Config, packages: &[&str]) -> Result<()> {
    let apt = config
        .find_program("apt-get")
        .context("no apt-get: not a Debian system")?;
    let mut update = as_root(&apt)?;
    update.arg("update");
    // A mirror may fail in part while the packages we need are known; the installation decides.
    drop(supervise::run("apt-get update", update, log_path(config, "apt"), APT_LIMIT).await);
    let mut install = as_root(&apt)?;
    install
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    supervise::run("apt-get install", install, log_path(config, "apt"), APT_LIMIT).await
}

fn as_root(program: &Path) -> Result<Command> {
    if rustix::process::geteuid().is_root() {
        return Ok(Command::new(program));
    }
    let allowed = std::process::Command::new("sudo").args(["-n", "true"]).output();
    if !allowed.is_ok_and(|answer| answer.status.success()) {
        bail!("installing packages needs root, or sudo without a password");
    }
    let mut command = Command::new("sudo");
    command.arg("-n").arg(program);
    Ok(command)
}

/// `rustc -vV`: release, host and LLVM, a field a line.
async fn compiler_version() -> Result<String> {
    let mut query = Command::new(RUSTC);
    query.arg("-vV");
    supervise::output(query, QUERY_LIMIT).await
}

fn field<'a>(version: &'a str, name: &str) -> Option<&'a str> {
    version
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn llvm_major(version: &str) -> Option<&str> {
    field(version, "LLVM version")?.split('.').next()
}

/// rustc looks for `rust-lld` in its own folder; Debian has the linker, under LLVM's.
async fn link_linker(version: &str, llvm: &str) -> Result<()> {
    let host = field(version, "host").context("the compiler does not say its host")?;
    let folder = PathBuf::from("/usr/lib/rustlib").join(host).join("bin");
    root_run("mkdir", &["-p".as_ref(), &folder]).await?;
    let linker = PathBuf::from(format!("/usr/lib/llvm-{llvm}/bin/lld"));
    root_run("ln", &["-sfn".as_ref(), &linker, &folder.join("rust-lld")]).await
}

/// Without the embedded bitcode a later link-time optimisation fails ("Can't find section .llvmbc").
async fn build_library(config: &Config) -> Result<tempfile::TempDir> {
    let folder = supervise::scratch_dir("tollgate-std-")?;
    let manifest = "[package]\nname = \"throwaway\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n";
    std::fs::write(folder.path().join("Cargo.toml"), manifest).context("write the throw-away crate")?;
    std::fs::create_dir(folder.path().join("src")).context("write the throw-away crate")?;
    std::fs::write(folder.path().join("src/lib.rs"), "").context("write the throw-away crate")?;
    let mut build = Command::new(CARGO);
    build.args([
        "build",
        "--release",
        "--target",
        TARGET,
        "-Zbuild-std=std,panic_abort,panic_unwind",
    ]);
    build
        .current_dir(folder.path())
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", RUSTC);
    build
        .env("RUSTFLAGS", "-Cembed-bitcode=yes")
        .env("CARGO_TARGET_DIR", folder.path().join("target"));
    build
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER");
    supervise::run(
        "the build of Rust's library",
        build,
        log_path(config, "std"),
        BUILD_LIMIT,
    )
    .await?;
    Ok(folder)
}

async fn place_library(built: &Path, version: &str) -> Result<()> {
    let from = built.join("target").join(TARGET).join("release/deps");
    let mut copy: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&from).context("look for the built library")? {
        let path = entry.context("look for the built library")?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if path.extension().is_some_and(|kind| kind == "rlib") && !name.starts_with("libthrowaway") {
            copy.push(path);
        }
    }
    if !has_library(&from, "libstd-") {
        bail!("the build left no libstd in {}", from.display());
    }
    root_run("rm", &["-rf".as_ref(), Path::new(LIBRARY)]).await?;
    root_run("mkdir", &["-p".as_ref(), Path::new(LIBRARY)]).await?;
    copy.push(PathBuf::from(LIBRARY));
    root_run("cp", &copy.iter().map(PathBuf::as_path).collect::<Vec<_>>()).await?;
    let stamp = built.join(STAMP);
    std::fs::write(&stamp, version).context("write the stamp")?;
    root_run("cp", &[&stamp, Path::new(LIBRARY)]).await
}

async fn root_run(program: &str, arguments: &[&Path]) -> Result<()> {
    let mut command = as_root(Path::new(program))?;
    command.args(arguments);
    supervise::output(command, QUERY_LIMIT).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linker_follows_the_compiler() {
        let version = "rustc 1.96.0 (built from a source tarball)\nhost: x86_64-unknown-linux-gnu\nLLVM version: 22.1.8\n";
        assert_eq!(llvm_major(version), Some("22"));
        assert_eq!(field(version, "host"), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(llvm_major("rustc 1.96.0"), None);
    }
}
