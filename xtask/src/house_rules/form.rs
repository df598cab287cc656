//! How a source file looks: header, length of file and functions, its name, doc comments that say something.
//!
//! `File` → **a rule** → findings.
//!
//! Invariant: limits are the ones of the contributors' rules: 500 lines a file, 70 code lines a function.
//! Not here: words (`words`), SQL (`sql`). Failure: none.

use super::lexer::split;
use super::{File, Finding};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// What it is, where it stands, what it keeps.
const HEADER_LINES_MIN: usize = 3;
/// Names that say where something is kept, not what it is.
const BANNED_NAMES: [&str; 7] = [
    "util",
    "utils",
    "helper",
    "helpers",
    "common",
    "misc",
    "shared_types",
];

/// Every source file opens by saying what it is.
#[must_use]
pub fn header(file: &File) -> Option<Finding> {
    let mark = match file {
        file if file.is("rs") => "//!",
        file if file.is("sql") => "--",
        file if file.is("mjs") || file.is("js") => "//",
        _ => return None,
    };
    let lines = file
        .text
        .lines()
        .take_while(|line| line.starts_with(mark))
        .count();
    let wanted = if file.is_test() { 1 } else { HEADER_LINES_MIN };
    (lines < wanted).then(|| {
        file.finding(format!(
            "its header has {lines} lines; what is it, where, what does it keep?"
        ))
    })
}

/// No file grows out of one reading.
#[must_use]
pub fn file_length(file: &File) -> Option<Finding> {
    let is_source = ["rs", "sql", "mjs", "js"].iter().any(|kind| file.is(kind));
    let lines = file.text.lines().count();
    (is_source && !file.is_test() && lines > FILE_LINES_MAX)
        .then(|| file.finding(format!("{lines} lines, at most {FILE_LINES_MAX}")))
}

/// No function grows out of one screen.
#[must_use]
pub fn function_length(file: &File) -> Vec<Finding> {
    if !file.is("rs") {
        return Vec::new();
    }
    let long = functions(&file.text)
        .into_iter()
        .filter(|(_, lines)| *lines > FUNCTION_LINES_MAX);
    long.map(|(name, lines)| {
        file.finding(format!(
            "`{name}` has {lines} code lines, at most {FUNCTION_LINES_MAX}"
        ))
    })
    .collect()
}

/// A module's name says what is in it.
#[must_use]
pub fn module_name(file: &File) -> Option<Finding> {
    let stem = file.path.trim_end_matches(".rs");
    let banned = stem.split('/').find(|part| BANNED_NAMES.contains(part))?;
    file.is("rs")
        .then(|| file.finding(format!("`{banned}` says nothing about what is in it")))
}

/// A doc comment says more than the name it stands over.
#[must_use]
pub fn doc_says_something(file: &File) -> Vec<Finding> {
    if !file.is("rs") {
        return Vec::new();
    }
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    let pairs = lines
        .windows(2)
        .filter_map(|pair| <[&str; 2]>::try_from(pair).ok());
    let pairs = pairs.filter_map(|[doc, item]| Some((doc.strip_prefix("///")?, declared_name(item)?)));
    let empty = pairs.filter(|(doc, name)| {
        letters(doc) == letters(name) || letters(doc) == format!("the{}", letters(name))
    });
    empty
        .map(|(_, name)| file.finding(format!("the doc of `{name}` only repeats its name")))
        .collect()
}

fn functions(source: &str) -> Vec<(String, usize)> {
    let code = split(source).code;
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let starts_word = code
            .get(..at)
            .and_then(|before| before.chars().next_back())
            .is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let rest = code.get(at.saturating_add(3)..).unwrap_or_default();
        let name: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if starts_word && !name.is_empty() {
            found.extend(body(rest).map(|body| (name, code_lines(body))));
        }
    }
    found
}

/// From the first brace to its match; a declaration without a body ends with a semicolon.
fn body(rest: &str) -> Option<&str> {
    let open = rest.find(['{', ';'])?;
    let body = rest.get(open..)?;
    let mut depth = 0_usize;
    for (at, character) in body.char_indices() {
        match character {
            ';' if depth == 0 => return None,
            '{' => depth = depth.saturating_add(1),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return body.get(..at);
        }
    }
    None
}

/// Lines between the braces that hold code.
fn code_lines(body: &str) -> usize {
    body.lines()
        .skip(1)
        .filter(|line| !line.trim().is_empty())
        .count()
}

fn declared_name(line: &str) -> Option<String> {
    let words = line
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty());
    let plain = [
        "pub", "crate", "super", "async", "const", "fn", "struct", "enum", "type", "trait", "mod", "static",
    ];
    let is_item = line.starts_with("pub")
        || plain
            .iter()
            .any(|word| line.strip_prefix(word).is_some_and(|rest| rest.starts_with(' ')));
    let is_member = line.ends_with(',') && line.starts_with(|c: char| c.is_alphabetic());
    (is_item || is_member)
        .then(|| {
            words
                .into_iter()
                .find(|word| !plain.contains(word))
                .map(str::to_owned)
        })
        .flatten()
}

fn letters(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
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
    fn a_file_without_a_header_is_found() {
        assert!(header(&file("a.rs", "//! One line.\nfn a() {}\n")).is_some());
        assert!(header(&file("a.sql", "select 1;\n")).is_some());
        assert!(header(&file("a.rs", "//! a\n//!\n//! b\n")).is_none());
        assert!(header(&file("a/tests.rs", "fn a() {}\n")).is_some());
    }

    #[test]
    fn a_long_file_is_found_unless_it_is_a_test() {
        let text = "\n".repeat(501);
        assert!(file_length(&file("edge/src/a.rs", &text)).is_some());
        assert!(file_length(&file("edge/tests/a.rs", &text)).is_none());
    }

    #[test]
    fn a_long_function_is_found_by_its_code_lines() {
        let function = |lines: usize| {
            format!(
                "fn long() {{\n{}}}\n",
                "    step();\n    // why\n\n".repeat(lines)
            )
        };
        assert_eq!(function_length(&file("a.rs", &function(71))).len(), 1);
        assert_eq!(function_length(&file("a.rs", &function(70))), []);
        assert_eq!(function_length(&file("a.rs", "trait T { fn a(); }\n")), []);
    }

    #[test]
    fn a_name_that_says_nothing_is_found() {
        assert!(module_name(&file("origin/src/utils/money.rs", "")).is_some());
        assert!(module_name(&file("origin/src/ledger.rs", "")).is_none());
    }

    #[test]
    fn a_doc_that_repeats_the_name_is_found() {
        let found = |text: &str| doc_says_something(&file("a.rs", text)).len();
        assert_eq!(found("/// Payment id.\npub payment_id: String,\n"), 1);
        assert_eq!(found("/// The payment id\npub fn payment_id() {}\n"), 1);
        assert_eq!(
            found("/// Our number of the payment.\npub payment_id: String,\n"),
            0
        );
    }
}
