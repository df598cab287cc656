//! Words that must not be in the repository: hosts of package registries, paths of one machine, leftover markers.
//!
//! `File` → **`banned_words`** → findings.
//!
//! Invariant: the words are put together from halves, so that this file does not break its own rule.
//! Not here: Cargo.lock, whose registry lines cargo writes. Failure: none.

use super::{File, Finding};

/// Registry hosts, in halves: a mirror must serve as well as they do, so nothing names them.
const HOSTS: [(&str, &str); 6] = [
    ("crates", ".io"),
    ("registry.npm", "js.org"),
    ("static.rust", "-lang.org"),
    ("index.crates", ".io"),
    ("deb.deb", "ian.org"),
    ("pypi", ".org"),
];
/// Folders that exist on one machine only.
const PATHS: [(&str, &str); 4] = [("/wo", "rk/"), ("/ro", "ot/"), ("/tmp/pl", "an"), ("/home", "/")];
/// Work that was left for later.
const MARKERS: [(&str, &str); 3] = [("TO", "DO"), ("FIX", "ME"), ("HA", "CK")];

/// Every banned word of a file, with its line.
#[must_use]
pub fn banned_words(file: &File) -> Vec<Finding> {
    if file.path.rsplit('/').next() == Some("Cargo.lock") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let number = number.saturating_add(1);
        let hosts = HOSTS.iter().filter(|word| line.contains(&whole(word)));
        let paths = PATHS.iter().filter(|word| starts_path(line, &whole(word)));
        let markers = MARKERS.iter().filter(|word| has_word(line, &whole(word)));
        let found = hosts.chain(paths).chain(markers);
        findings.extend(found.map(|word| file.finding(format!("line {number} has `{}`", whole(word)))));
    }
    findings
}

fn whole((first, second): &(&str, &str)) -> String {
    format!("{first}{second}")
}

/// A path begins after a blank or a quote; `src/work/` is a folder of ours.
fn starts_path(line: &str, path: &str) -> bool {
    let before = |at: usize| line.get(..at).and_then(|text| text.chars().next_back());
    line.match_indices(path)
        .any(|(at, _)| before(at).is_none_or(|c| !c.is_alphanumeric() && !"._-/}*~<>".contains(c)))
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        banned_words(&File {
            path: "a.rs".to_owned(),
            text: text.to_owned(),
        })
        .len()
    }

    #[test]
    fn each_kind_of_word_is_found() {
        for word in HOSTS.iter().chain(&PATHS).chain(&MARKERS) {
            assert!(found(&format!("let x = \"{}\";", whole(word))) > 0, "{word:?}");
        }
    }

    #[test]
    fn our_own_folders_and_longer_words_are_not() {
        assert_eq!(found(&format!("origin/src{}mod.rs", whole(&PATHS[0]))), 0);
        assert_eq!(found(&format!("{}_LIST", whole(&MARKERS[0]))), 0);
    }
}
