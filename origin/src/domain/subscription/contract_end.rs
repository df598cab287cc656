//! Whether a provider's contract is over, and why, as its own answers show it.
//!
//! `effects::subscription_poll` (answers) → **`ecpay_end` | `payuni_end`** → the fact that the contract ended.
//!
//! ECPay tells that a contract stopped, but not why: six refusals in a row are the one cause that it documents (reference
//! §1.5). PAYUNi tells in Chinese prose for each period; the one word that is looked for is 終止 (ended).
//! Invariant: what is not understood is no end; a contract that only rests (暫停) is none either.

use tollgate_shared::provider::ecpay::period_info::{ExecStatus, PeriodAttempt, PeriodInfo};
use tollgate_shared::provider::payuni::period_calls::PeriodSchedule;

use super::{ECPAY_FAILURES_MAX, EndReason};

/// PAYUNi's word for a period that will never be charged.
const ENDED: &str = "終止";

/// Whether ECPay's contract is over. A stop that we asked for looks like any other; the caller knows.
pub(crate) fn ecpay_end(info: &PeriodInfo) -> Option<EndReason> {
    match info.status? {
        ExecStatus::Running => None,
        ExecStatus::Completed => Some(EndReason::Completed),
        ExecStatus::Stopped if refusals_in_a_row(&info.attempts) >= ECPAY_FAILURES_MAX => {
            Some(EndReason::ProviderFailures)
        }
        ExecStatus::Stopped => Some(EndReason::ProviderStopped),
    }
}

/// How many different attempts failed since the last that succeeded. One failure may be listed twice (§1.5).
fn refusals_in_a_row(attempts: &[PeriodAttempt]) -> u32 {
    let mut by_time: Vec<(&str, bool)> = attempts
        .iter()
        .map(|attempt| (attempt.process_digits.as_str(), attempt.paid))
        .collect();
    by_time.sort_unstable();
    by_time.dedup();
    let refused = by_time.iter().rev().take_while(|(_, paid)| !paid).count();
    u32::try_from(refused).unwrap_or(u32::MAX)
}

/// Whether PAYUNi's contract is over.
pub(crate) fn payuni_end(schedule: &PeriodSchedule) -> Option<EndReason> {
    let periods = &schedule.periods;
    if periods.is_empty() || periods.iter().any(|period| period.waiting) {
        return None;
    }
    let left = || periods.iter().filter(|period| period.charge.is_none());
    if left().next().is_none() {
        return Some(EndReason::Completed);
    }
    left()
        .any(|period| period.description.contains(ENDED))
        .then_some(EndReason::ProviderStopped)
}

#[cfg(test)]
mod tests {
    use tollgate_shared::provider::ecpay::period_info::read;
    use tollgate_shared::provider::payuni::period_calls::{PeriodSchedule, ScheduledPeriod};

    use super::{ecpay_end, payuni_end};
    use crate::domain::subscription::EndReason;

    /// `ExecStatus` | each attempt, `+` paid, `-` refused, `=` the refusal before listed again | end
    const ECPAY: &str = "
        1 | +------ | none
        2 | +++     | completed
        0 | +++     | provider_stopped
        0 | +-----  | provider_stopped
        0 | +------ | provider_failures
        0 | +-----= | provider_stopped
        0 | +---+--- | provider_stopped
        ? | +       | none
    ";

    #[test]
    fn op_5_a_contract_that_stopped_at_ecpay_stopped_for_six_refusals_in_a_row_or_nobody_knows_why() {
        for row in ECPAY.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let mut day = 0;
            let log: Vec<String> = cells[1]
                .chars()
                .map(|attempt| {
                    day += i32::from(attempt != '=');
                    let (code, gwsr) = match attempt {
                        '+' => (1, "7"),
                        '-' => (0, "8"),
                        _ => (0, ""),
                    };
                    format!(
                        r#"{{"RtnCode":{code},"gwsr":"{gwsr}","process_date":"2026/11/{day:02} 06:00:00"}}"#
                    )
                })
                .collect();
            let body = format!(r#"{{"ExecStatus":"{}","ExecLog":[{}]}}"#, cells[0], log.join(","));
            let end = ecpay_end(&read(body.as_bytes()).unwrap());
            assert_eq!(end.map_or("none", EndReason::label), cells[2], "{row}");
        }
    }

    /// Words of the periods | end
    const PAYUNI: &str = "
        授權完成 排程中 | none
        授權完成 授權完成 | completed
        授權完成 終止 | provider_stopped
        授權完成 授權失敗 | none
        授權完成 暫停 | none
    ";

    #[test]
    fn op_5_a_contract_at_payuni_is_over_when_all_is_charged_or_the_word_says_so() {
        for row in PAYUNI.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let (words, expected) = row.split_once('|').unwrap();
            let period = |(index, word): (usize, &str)| ScheduledPeriod {
                number: u32::try_from(index).unwrap() + 1,
                expected_at: None,
                charge: (word == "授權完成").then(|| "171".parse().unwrap()),
                period_order_number: None,
                amount: tollgate_shared::money::Minor::new(300),
                waiting: word == "排程中",
                failed: word == "授權失敗",
                description: word.to_owned(),
                updated_at: None,
            };
            let schedule = PeriodSchedule {
                order: "T1".parse().unwrap(),
                period_trade_no: "P1".parse().unwrap(),
                total: Some(2),
                already: None,
                periods: words.split_whitespace().enumerate().map(period).collect(),
            };
            let end = payuni_end(&schedule).map_or("none", EndReason::label);
            assert_eq!(end, expected.trim(), "{row}");
        }
    }
}
