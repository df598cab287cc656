//! Where SQL may stand, that released migrations do not change, that error codes agree, that functions read no clock.
//!
//! Files → **a rule** → findings.
//!
//! Invariant: `migrations/CHECKSUMS` has a line `sha256  path` for each versioned migration, as `sha256sum` prints.
//! To add one: `cd migrations && sha256sum versioned/*.sql > CHECKSUMS`. A changed line in review is a changed migration.
//! Not here: whether the SQL is right; Postgres says so in the tests. Failure: none.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::lexer::split;
use super::{File, Finding};

/// Statements begin so. A text that only mentions SQL does not begin with two words of it.
const BEGINNINGS: [&str; 9] = [
    "select ",
    "insert into ",
    "delete from ",
    "create table",
    "create index",
    "alter table",
    "drop table",
    "truncate ",
    "update ",
];
/// The origin's SQL, the edge's Durable Objects' own, the benchmarks' peers.
const ALLOWED: [&str; 4] = [
    "origin/src/db/",
    "edge/src/inbox/store",
    "edge/src/caller/store",
    "xtask/src/bench/",
];
/// What a stored function must not ask.
const CLOCKS: [&str; 6] = [
    "now()",
    "clock_timestamp",
    "current_timestamp",
    "statement_timestamp",
    "current_date",
    "localtimestamp",
];

/// SQL stands in `migrations/` and `origin/src/db/` (the edge's Durable Objects have a store file each).
#[must_use]
pub fn sql_has_its_place(file: &File) -> Vec<Finding> {
    if !file.is("rs") || ALLOWED.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    let literals = split(file.shipped()).literals;
    let sql = literals.iter().filter(|(_, text)| is_statement(text));
    sql.map(|(line, text)| {
        file.finding(format!(
            "line {line} holds SQL (`{}…`)",
            text.chars().take(24).collect::<String>()
        ))
    })
    .collect()
}

/// The versioned migrations are those of `CHECKSUMS`, byte for byte.
#[must_use]
pub fn migrations_are_immutable(files: &[File]) -> Vec<Finding> {
    let missing = File {
        path: "migrations/CHECKSUMS".to_owned(),
        text: String::new(),
    };
    let list = files
        .iter()
        .find(|file| file.path.ends_with("migrations/CHECKSUMS"))
        .unwrap_or(&missing);
    let listed: BTreeSet<(String, String)> = list.text.lines().filter_map(parse_checksum).collect();
    let actual: BTreeSet<(String, String)> = files.iter().filter_map(checksum).collect();
    let changed = actual
        .difference(&listed)
        .map(|(path, _)| format!("{path} is new or changed: a released migration is never changed"));
    let gone = listed
        .difference(&actual)
        .map(|(path, _)| format!("{path} is listed with other bytes, or is gone"));
    changed.chain(gone).map(|reason| list.finding(reason)).collect()
}

/// Every SQLSTATE that a stored function raises is in the origin's enum, and none else is; a refusal that has to be
/// committed (it is final for its key) is answered by its name instead of being raised.
#[must_use]
pub fn sqlstates_agree(files: &[File]) -> Vec<Finding> {
    let sql = files.iter().filter(|file| file.path.starts_with("migrations/"));
    let raised: BTreeSet<String> = sql.flat_map(|file| raised_in(&file.text)).collect();
    let Some(list) = files.iter().find(|file| file.path == "origin/src/db/sqlstate.rs") else {
        let reason = "origin/src/db/sqlstate.rs is missing".to_owned();
        return vec![Finding {
            path: "origin/src/db".to_owned(),
            reason,
        }];
    };
    let literals = split(list.shipped()).literals;
    let known: BTreeSet<String> = literals
        .into_iter()
        .map(|(_, text)| text)
        .filter(|text| is_code(text))
        .collect();
    let unknown = raised
        .difference(&known)
        .map(|code| format!("{code} is raised but unknown here"));
    let unused = known
        .difference(&raised)
        .filter(|code| !answered(files, &list.text, code))
        .map(|code| format!("{code} is known here but neither raised nor answered"));
    unknown.chain(unused).map(|reason| list.finding(reason)).collect()
}

/// Whether a stored function answers with the name that the enum gives to the code (`Name = "TK005",`).
fn answered(files: &[File], list: &str, code: &str) -> bool {
    let assigned = format!(" = \"{code}\"");
    let line = list.lines().find(|line| line.contains(&assigned));
    let Some((name, _)) = line.and_then(|line| line.split_once(" = ")) else {
        return false;
    };
    let quoted = format!("'{}'", name.trim());
    let mut functions = files
        .iter()
        .filter(|file| file.path.starts_with("migrations/functions/"));
    functions.any(|file| file.text.contains(&quoted))
}

/// Time is an argument of a stored function.
#[must_use]
pub fn functions_read_no_clock(file: &File) -> Vec<Finding> {
    if !file.path.starts_with("migrations/functions/") {
        return Vec::new();
    }
    let code = file
        .text
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default().to_lowercase());
    let asked = code.flat_map(|line| CLOCKS.into_iter().filter(move |clock| line.contains(clock)));
    asked
        .map(|clock| {
            file.finding(format!(
                "reads the clock (`{clock}`); take the time as an argument"
            ))
        })
        .collect()
}

fn is_statement(text: &str) -> bool {
    let plain = text
        .to_lowercase()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let begins = BEGINNINGS.iter().any(|beginning| plain.starts_with(beginning));
    let has_clause = [" from ", " values", " set ", "(", " into "]
        .iter()
        .any(|clause| plain.contains(clause));
    begins && has_clause
}

fn parse_checksum(line: &str) -> Option<(String, String)> {
    let (hash, path) = line.split_once("  ")?;
    Some((path.trim().to_owned(), hash.to_owned()))
}

fn checksum(file: &File) -> Option<(String, String)> {
    let path = file.path.strip_prefix("migrations/")?;
    let is_versioned = path.starts_with("versioned/") && file.is("sql");
    is_versioned.then(|| (path.to_owned(), hex::encode(Sha256::digest(&file.text))))
}

/// Every quoted code outside comments: a code may reach `raise` through a variable.
fn raised_in(sql: &str) -> Vec<String> {
    let code = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default());
    let quoted = code.flat_map(|line| line.split('\'').skip(1).step_by(2));
    quoted.filter(|text| is_code(text)).map(str::to_owned).collect()
}

/// Two capitals and three digits: the shape of our own codes.
fn is_code(text: &str) -> bool {
    let (letters, digits) = text.split_at_checked(2).unwrap_or_default();
    letters.len() == 2
        && letters.bytes().all(|c| c.is_ascii_uppercase())
        && digits.len() == 3
        && digits.bytes().all(|c| c.is_ascii_digit())
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
    fn sql_in_the_wrong_place_is_found() {
        let text = "fn a() { run(\"SELECT id\\n  FROM users\"); say(\"select a plan\"); }\n";
        assert_eq!(sql_has_its_place(&file("origin/src/http/a.rs", text)).len(), 1);
        assert_eq!(sql_has_its_place(&file("origin/src/db/a.rs", text)), []);
    }

    #[test]
    fn a_changed_a_new_and_a_vanished_migration_are_found() {
        let hash = hex::encode(Sha256::digest("create"));
        let list = |path: &str| file("migrations/CHECKSUMS", &format!("{hash}  {path}\n"));
        let migration = |text: &str| file("migrations/versioned/V1__a.sql", text);
        assert_eq!(
            migrations_are_immutable(&[list("versioned/V1__a.sql"), migration("create")]),
            []
        );
        assert_eq!(
            migrations_are_immutable(&[list("versioned/V1__a.sql"), migration("alter")]).len(),
            2
        );
        assert_eq!(migrations_are_immutable(&[migration("create")]).len(), 1);
        assert_eq!(migrations_are_immutable(&[list("versioned/V1__a.sql")]).len(), 1);
    }

    #[test]
    fn codes_that_only_one_side_knows_are_found() {
        let sql = file(
            "migrations/functions/a.sql",
            "raise exception using errcode = 'LG001';",
        );
        let known = |text: &str| file("origin/src/db/sqlstate.rs", text);
        assert_eq!(
            sqlstates_agree(&[sql.clone(), known("const A: &str = \"LG001\";")]),
            []
        );
        assert_eq!(
            sqlstates_agree(&[sql.clone(), known("const A: &str = \"LG002\";")]).len(),
            2
        );
        assert_eq!(sqlstates_agree(&[sql]).len(), 1);
    }

    #[test]
    fn a_function_that_reads_the_clock_is_found() {
        let found = |text: &str| functions_read_no_clock(&file("migrations/functions/a.sql", text)).len();
        assert_eq!(found("v_at := NOW();"), 1);
        assert_eq!(found("-- now() would hide time\nv_at := p_now;"), 0);
    }
}
