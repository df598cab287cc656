//! The repository's house rules, as functions from its files to findings.
//!
//! `load` (files below the root) → **a rule** → findings, which `xtask/tests/house_rules.rs` prints and fails on.
//!
//! Invariant: every rule has a unit test with a sample that breaks it: a rule that cannot fail is no rule.
//! Not here: what rustfmt, clippy and cargo-deny hold already.
//! Failure: only `load` can fail, where a file cannot be read.

pub mod form;
mod lexer;
pub mod promises;
pub mod sql;
pub mod words;

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};

/// Folders that hold nothing written by us.
const FOREIGN: [&str; 7] = [
    "target",
    "node_modules",
    "edge/build",
    ".git",
    ".wrangler",
    "edge/.wrangler",
    "shared/fuzz/target",
];
/// Files that we read as text, by extension.
const KINDS: [&str; 12] = [
    "rs", "sql", "mjs", "js", "toml", "json", "md", "css", "html", "capnp", "lock", "txt",
];

/// A text file of the repository.
#[derive(Debug, Clone)]
pub struct File {
    /// Path below the root, with forward slashes.
    pub path: String,
    /// Its contents.
    pub text: String,
}

/// A rule that a file breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub path: String,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.reason)
    }
}

impl File {
    /// Whether it holds only tests, or support for them.
    #[must_use]
    pub fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let is_named = name == "tests.rs" || name == "testing.rs" || name.ends_with("_tests.rs");
        is_named
            || ["/tests/", "/testing/", "/fuzz/"]
                .iter()
                .any(|folder| self.path.contains(folder))
    }

    /// Whether its name ends in `.kind`.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.path
            .rsplit_once('.')
            .is_some_and(|(_, extension)| extension == kind)
    }

    /// Everything but the tests: nothing of a test file, and what precedes the test module of another.
    #[must_use]
    pub fn shipped(&self) -> &str {
        if self.is_test() { "" } else { self.split_tests().0 }
    }

    /// The tests: all of a test file, the test module of another.
    #[must_use]
    pub fn tests(&self) -> &str {
        if self.is_test() {
            &self.text
        } else {
            self.split_tests().1
        }
    }

    fn split_tests(&self) -> (&str, &str) {
        let at = self.text.find("\n#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        self.text.split_at_checked(at).unwrap_or((&self.text, ""))
    }

    fn finding(&self, reason: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            reason: reason.into(),
        }
    }
}

/// Every text file of ours below `root`, by path.
pub fn load(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    visit(root, root, &mut files)?;
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn visit(root: &Path, folder: &Path, files: &mut Vec<File>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry.context("read a folder")?.path();
        let relative = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .replace('\\', "/");
        if path.is_dir() {
            if !FOREIGN.contains(&relative.as_str()) && !path.is_symlink() {
                visit(root, &path, files)?;
            }
        } else if [".ci/run", "migrations/CHECKSUMS"].contains(&relative.as_str())
            || path
                .extension()
                .is_some_and(|kind| KINDS.iter().any(|known| kind == *known))
        {
            let text = std::fs::read_to_string(&path).with_context(|| format!("read {relative}"))?;
            files.push(File { path: relative, text });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_from_what_ships() {
        let text = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n".to_owned();
        let file = File {
            path: "edge/src/a.rs".to_owned(),
            text: text.clone(),
        };
        assert!(file.shipped().contains("fn a") && !file.shipped().contains("fn b"));
        assert!(file.tests().contains("fn b") && !file.tests().contains("fn a"));
        assert_eq!(
            File {
                path: "edge/tests/a.rs".to_owned(),
                text
            }
            .shipped(),
            ""
        );
    }
}
