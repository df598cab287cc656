//! The tables of the decisions on metered jobs.

use std::time::Duration;

use super::{
    JobStatus, Report, Step, Verdict, Work, after_refusal, charge_key, on_report, own_company, verdict,
};
use crate::domain::tokens::TokenAmount;

/// status, tokens reported before (- none), report (tokens or failed) → step; 15000 are reserved.
const REPORTS: &str = "
generating               -     1200    charge 1200
generating               -     15000   charge 15000
generating               -     15001   charge 15000
generating               -     0       charge nothing
generating               -     failed  release
pending_token_deduction  1200  1200    charge 1200
pending_token_deduction  1200  1300    differs
pending_token_deduction  1200  failed  ended
completed                1200  1200    repeat
completed                1200  1199    differs
completed                1200  failed  ended
failed                   -     failed  repeat
failed                   -     1200    ended
";

fn read_report(text: &str) -> Report {
    match text.parse() {
        Ok(used_tokens) => Report::Succeeded {
            used_tokens,
            article: None,
        },
        Err(_) => Report::Failed {
            reason: "the model refused".into(),
        },
    }
}

fn read_step(words: &[&str]) -> Step {
    match words {
        ["charge", "nothing"] => Step::Charge(None),
        ["charge", tokens] => Step::Charge(Some(TokenAmount::new(tokens.parse().unwrap()).unwrap())),
        ["release"] => Step::Release,
        ["repeat"] => Step::Repeat,
        ["ended"] => Step::RefuseEnded,
        ["differs"] => Step::RefuseDiffers,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tb_7_every_report_in_every_status() {
    let mut seen = 0;
    for line in REPORTS.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let status = JobStatus::ALL
            .into_iter()
            .find(|status| status.label() == words[0])
            .unwrap();
        let step = on_report(status, 15_000, words[1].parse().ok(), &read_report(words[2]));
        assert_eq!(step, read_step(&words[3..]), "{line}");
        seen += 1;
    }
    assert_eq!(seen, 13);
}

#[test]
fn tb_8_what_reconciliation_does_with_a_pending_record() {
    let day = Duration::from_hours(24);
    for (work, ended_for, expected) in [
        (Some(Work::Exists(Some(7))), None, Verdict::Charge(7)),
        (Some(Work::Exists(None)), Some(day), Verdict::Charge(15_000)),
        (
            Some(Work::Missing),
            None,
            Verdict::Fail("the work does not exist"),
        ),
        (Some(Work::Running), Some(day), Verdict::Wait),
        (None, None, Verdict::Wait),
        (None, Some(Duration::from_hours(23)), Verdict::Wait),
        (None, Some(day), Verdict::Fail("nobody reported the work")),
    ] {
        assert_eq!(
            verdict(work, 15_000, ended_for),
            expected,
            "{work:?} {ended_for:?}"
        );
    }
}

#[test]
fn tb_8_tokens_are_owed_for_three_days_however_often_they_were_asked_for() {
    for (owed_ms, expected) in [
        (None, JobStatus::PendingTokenDeduction),
        (Some(0), JobStatus::PendingTokenDeduction),
        (Some(3 * 86_400_000 - 1), JobStatus::PendingTokenDeduction),
        (Some(3 * 86_400_000), JobStatus::Failed),
    ] {
        let owed_for = owed_ms.map(Duration::from_millis);
        assert_eq!(after_refusal(owed_for), expected, "{owed_ms:?}");
    }
}

#[test]
fn tb_7_a_refused_charge_is_tried_again_under_another_key() {
    let job = uuid::Uuid::nil();
    assert_eq!(charge_key(job, 0), job.to_string());
    assert_eq!(charge_key(job, 2), format!("{job}:2"));
}

#[test]
fn a_user_without_a_company_is_one_unless_the_id_cannot_name_it() {
    assert_eq!(
        own_company(&"user-1".parse().unwrap()).unwrap().as_str(),
        "user-1"
    );
    for other in ["auth0|17", &"u".repeat(65)] {
        assert_eq!(own_company(&other.parse().unwrap()), None, "{other}");
    }
}
