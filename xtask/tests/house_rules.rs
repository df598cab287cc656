//! The house rules over this repository: documents, names and limits that no compiler checks.
//!
//! Every file of ours → **each rule of `xtask::house_rules`** → one list of findings.
//!
//! The rules themselves are tested beside them, each with a sample that breaks it.
//! Failure: every finding, one a line.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test panics when it fails")]

use xtask::config::Config;
use xtask::house_rules::{File, Finding, form, load, promises, sql, words};

fn check(rule: impl Fn(&[File]) -> Vec<Finding>) {
    let files = load(&Config::from_env().unwrap().repo).unwrap();
    assert!(files.len() > 20, "the repository's files were not found");
    let findings = rule(&files);
    if !findings.is_empty() {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        panic!("{} findings:\n{}", lines.len(), lines.join("\n"));
    }
}

fn each<I: IntoIterator<Item = Finding>>(rule: impl Fn(&File) -> I) -> impl Fn(&[File]) -> Vec<Finding> {
    move |files| files.iter().flat_map(&rule).collect()
}

#[test]
fn every_source_file_says_what_it_is() {
    check(each(form::header));
}

#[test]
fn files_are_short() {
    check(each(form::file_length));
}

#[test]
fn functions_are_short() {
    check(each(form::function_length));
}

#[test]
fn modules_are_named_for_what_they_hold() {
    check(each(form::module_name));
}

#[test]
fn docs_say_more_than_names() {
    check(each(form::doc_says_something));
}

#[test]
fn no_registry_host_no_machine_path_no_leftover_marker() {
    check(each(words::banned_words));
}

#[test]
fn sql_stands_in_migrations_and_in_the_database_module() {
    check(each(sql::sql_has_its_place));
}

#[test]
fn released_migrations_do_not_change() {
    check(sql::migrations_are_immutable);
}

#[test]
fn sqlstates_of_sql_and_rust_agree() {
    check(sql::sqlstates_agree);
}

#[test]
fn invariant_5_stored_functions_read_no_clock() {
    check(each(sql::functions_read_no_clock));
}

#[test]
fn invariant_5_one_clock_file_a_crate() {
    check(each(promises::one_clock));
}

#[test]
fn shared_is_pure() {
    check(each(promises::shared_is_pure));
}

#[test]
fn finished_requirements_have_tests() {
    check(|files| promises::requirements_have_tests(files, &promises::FINISHED));
}

#[test]
fn versions_agree() {
    check(promises::versions_agree);
}
