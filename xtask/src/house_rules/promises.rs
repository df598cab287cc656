//! What documents promise and code must keep: requirements have tests, one clock file a crate, one number a version.
//!
//! Files → **a rule** → findings.
//!
//! Invariant: a finished requirement's id stands in the name, the doc or the header of at least one test.
//! Not here: whether the test is a good one; readers judge that. Failure: none.

use super::lexer::split;
use super::{File, Finding};

/// Requirements that are finished; each change that finishes one adds it.
pub const FINISHED: [&str; 15] = [
    "PM-1", "PM-2", "PM-3", "PM-4", "PM-5", "PM-6", "PM-7", "PM-8", "ED-1", "ED-2", "ED-3", "ED-4", "ED-5",
    "ED-7", "OP-1",
];
/// The one file of each crate that may ask what time it is. `shared` has none.
const CLOCK_FILES: [&str; 4] = [
    "edge/src/clock.rs",
    "origin/src/clock.rs",
    "sandbox/src/clock.rs",
    "xtask/src/clock.rs",
];
const CLOCK_CALLS: [&str; 5] = [
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "Date::now",
];

/// Every finished requirement is named by a test.
#[must_use]
pub fn requirements_have_tests(files: &[File], finished: &[&str]) -> Vec<Finding> {
    let named = |id: &str| {
        let snake = format!("{}_", id.to_lowercase().replace('-', "_"));
        files
            .iter()
            .filter(|file| file.is("rs"))
            .any(|file| names(file.tests(), id, &snake))
    };
    let unnamed = finished.iter().filter(|id| !named(id));
    unnamed
        .map(|id| Finding {
            path: "tests".to_owned(),
            reason: format!("no test names {id}"),
        })
        .collect()
}

/// Only the clock files ask what time it is.
#[must_use]
pub fn one_clock(file: &File) -> Vec<Finding> {
    if !file.is("rs") || CLOCK_FILES.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let code = split(file.shipped()).code;
    let asked = CLOCK_CALLS.iter().filter(|call| code.contains(*call));
    asked
        .map(|call| {
            file.finding(format!(
                "asks `{call}`; time is an argument, or the crate's clock file"
            ))
        })
        .collect()
}

/// `shared` knows no clock, no worker, no runtime and no network.
#[must_use]
pub fn shared_is_pure(file: &File) -> Vec<Finding> {
    if file.path != "shared/Cargo.toml" {
        return Vec::new();
    }
    let shipped = file.text.split("[dev-dependencies]").next().unwrap_or_default();
    let impure = ["tokio", "worker", "reqwest", "axum", "tokio-postgres"];
    let names = shipped
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next());
    names
        .filter(|name| impure.contains(name))
        .map(|name| file.finding(format!("depends on `{name}`")))
        .collect()
}

/// Cargo.toml, package.json, wrangler.toml and README name the same versions.
#[must_use]
pub fn versions_agree(files: &[File]) -> Vec<Finding> {
    let text = |path: &str| {
        files
            .iter()
            .find(|file| file.path == path)
            .map_or("", |file| file.text.as_str())
    };
    let (cargo, package, readme) = (text("Cargo.toml"), text("package.json"), text("README.md"));
    let mut findings = Vec::new();
    let mut expect = |path: &str, what: &str, found: Option<&str>, wanted: Option<&str>| {
        if found.is_none() || found != wanted {
            findings.push(Finding {
                path: path.to_owned(),
                reason: format!("{what} is {found:?}, elsewhere {wanted:?}"),
            });
        }
    };
    let version = after(cargo, "\nversion = \"");
    expect(
        "package.json",
        "the version",
        after(package, "\"version\": \""),
        version,
    );
    let worker = after(cargo, "\nworker = \"=");
    let tools = text("xtask/src/setup/cargo_tools.rs");
    expect(
        "xtask/src/setup/cargo_tools.rs",
        "worker-build",
        after(tools, "WORKER_BUILD_VERSION: &str = \""),
        worker,
    );
    let channel = after(text("rust-toolchain.toml"), "channel = \"");
    let minimum = after(cargo, "rust-version = \"");
    let of_channel = channel
        .and_then(|version| version.rsplit_once('.'))
        .map(|(minor, _)| minor);
    expect("rust-toolchain.toml", "the compiler", of_channel, minimum);
    for tool in ["wrangler", "binaryen", "esbuild"] {
        if let Some(written) = after(readme, &format!("{tool} ")).filter(|version| is_version(version)) {
            expect(
                "README.md",
                tool,
                Some(written),
                after(package, &format!("\"{tool}\": \"")),
            );
        }
    }
    findings
}

fn names(tests: &str, id: &str, snake: &str) -> bool {
    let function = tests.match_indices("fn ").any(|(at, _)| {
        let name = tests
            .get(at.saturating_add(3)..)
            .and_then(|rest| rest.split('(').next())
            .unwrap_or_default();
        format!("{name}_").starts_with(snake) || name.contains(&format!("_{snake}"))
    });
    let comment = tests
        .lines()
        .filter(|line| line.trim_start().starts_with("//"))
        .any(|line| {
            line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                .any(|word| word == id)
        });
    function || comment
}

/// What stands between `mark` and the next quote or blank.
fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(mark)?;
    rest.split(['"', ' ', '\n', ')', ',', '`', ';']).next()
}

fn is_version(text: &str) -> bool {
    text.contains('.') && text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_requirement_without_a_test_is_found() {
        let named = file(
            "origin/tests/a.rs",
            "//! Proves XX-2.\nfn xx_1_holds() {}\nfn xx_12() {}\n",
        );
        assert_eq!(
            requirements_have_tests(std::slice::from_ref(&named), &["XX-1", "XX-2", "XX-12"]),
            []
        );
        assert_eq!(requirements_have_tests(&[named], &["XX-3"]).len(), 1);
        let shipped = file("origin/src/a.rs", "/// XX-1\nfn xx_1_holds() {}\n");
        assert_eq!(
            requirements_have_tests(&[shipped], &["XX-1"]).len(),
            1,
            "only a test counts"
        );
    }

    #[test]
    fn a_second_clock_is_found() {
        assert_eq!(
            one_clock(&file("origin/src/apply/a.rs", "let t = Timestamp::now();")).len(),
            1
        );
        assert_eq!(
            one_clock(&file("origin/src/apply/a.rs", "// Timestamp::now() is banned")),
            []
        );
        assert_eq!(one_clock(&file("origin/src/clock.rs", "Timestamp::now()")), []);
    }

    #[test]
    fn an_impure_dependency_of_shared_is_found() {
        let manifest = |name: &str| {
            file(
                "shared/Cargo.toml",
                &format!("[dependencies]\n{name}.workspace = true\n"),
            )
        };
        assert_eq!(shared_is_pure(&manifest("tokio")).len(), 1);
        assert_eq!(shared_is_pure(&manifest("serde")), []);
    }

    fn agreeing() -> Vec<File> {
        vec![
            file(
                "Cargo.toml",
                "[workspace.package]\nversion = \"1.2.3\"\nrust-version = \"1.95\"\nworker = \"=0.8.7\"\n",
            ),
            file(
                "package.json",
                "{ \"version\": \"1.2.3\", \"wrangler\": \"4.86.0\" }",
            ),
            file("rust-toolchain.toml", "channel = \"1.95.0\"\n"),
            file(
                "xtask/src/setup/cargo_tools.rs",
                "const WORKER_BUILD_VERSION: &str = \"0.8.7\";",
            ),
            file("README.md", "wrangler 4.86.0, and `wrangler dev`\n"),
        ]
    }

    #[test]
    fn each_version_that_differs_is_found() {
        assert_eq!(versions_agree(&agreeing()), []);
        for (index, from) in [(1, "1.2.3"), (2, "1.95.0"), (3, "0.8.7"), (4, "4.86.0")] {
            let mut files = agreeing();
            files[index].text = files[index].text.replace(from, "9.9.9");
            assert_eq!(versions_agree(&files).len(), 1, "{from}");
        }
    }
}
