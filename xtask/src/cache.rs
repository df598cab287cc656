//! A per-user folder of things that are slow to make, each keyed by name and version.
//!
//! A step asks for `entry` → **found, or made once under a lock** → the folder it may read.
//!
//! Invariant: a folder under its final name is complete. It is made beside it and renamed into place, and a
//! file lock keeps two runs from making the same one; a killed run leaves only a folder nobody looks at.
//! Failure: the maker's error, and no final folder.

use std::fs::{self, File};
use std::future::Future;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A folder of finished entries.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// Held for as long as one process may change the thing it names.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Cache {
    /// The cache below `root`; nothing is created yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder `name-version`, made by `make` if it is not there. The flag says whether it had to be made.
    pub async fn entry<Fut>(
        &self,
        name: &str,
        version: &str,
        make: impl FnOnce(PathBuf) -> Fut,
    ) -> Result<(PathBuf, bool)>
    where
        Fut: Future<Output = Result<()>>,
    {
        let last = self.root.join(format!("{name}-{version}"));
        if last.is_dir() {
            return Ok((last, false));
        }
        let _lock = self.lock(name).await?;
        if last.is_dir() {
            return Ok((last, false)); // the run that held the lock has made it
        }
        let draft = self.root.join(format!(".draft-{name}-{version}"));
        remove_if_present(&draft)?;
        fs::create_dir_all(&draft).with_context(|| format!("create {}", draft.display()))?;
        make(draft.clone()).await?;
        fs::rename(&draft, &last).with_context(|| format!("move {} into place", last.display()))?;
        Ok((last, true))
    }

    /// Waits for the lock of that name; it is released when the value is dropped, or with the process.
    pub async fn lock(&self, name: &str) -> Result<Lock> {
        fs::create_dir_all(&self.root).with_context(|| format!("create {}", self.root.display()))?;
        lock_file(self.root.join(format!(".lock-{name}"))).await
    }
}

/// Waits for an exclusive lock on a file that is made if needed.
pub async fn lock_file(path: PathBuf) -> Result<Lock> {
    let task = tokio::task::spawn_blocking(move || -> Result<Lock> {
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("open the lock {}", path.display()))?;
        file.lock().with_context(|| format!("lock {}", path.display()))?;
        Ok(Lock { _file: file })
    });
    task.await.context("wait for a lock")?
}

fn remove_if_present(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove the half-made {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_entry_is_made_once_and_a_failed_one_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let failed = cache
            .entry("tool", "1", |_| async { anyhow::bail!("no network") })
            .await;
        assert_eq!(failed.unwrap_err().to_string(), "no network");
        let make = |draft: PathBuf| async move { Ok(fs::write(draft.join("bin"), "x")?) };
        let (first, is_new) = cache.entry("tool", "1", make).await.unwrap();
        assert!(is_new && first.join("bin").is_file());
        let (_, again) = cache
            .entry("tool", "1", |_| async { anyhow::bail!("must not run") })
            .await
            .unwrap();
        assert!(!again);
    }
}
