//! What an answer of ECPay's queries tells: one observation a fact, for the origin's inbox.
//!
//! origin's poller → **[`payment`] | [`periods`]** → the origin's inbox. The bodies are those of `verify::observed`.
//!
//! Invariants: what is listed has been read as the inbox will read it, so nothing is fed that would be refused; facts stand in
//! the order in which they happened. What the signed answer does not vouch for is counted, not told: the two answers
//! were fetched one after the other, and a charge may have come between; ask again.
//! ExecLog's oddities are met here (reference §1.5): a "success" without a Gwsr is no attempt, a failure that is listed
//! twice is told once, and an entry without any identity is not told.
//! Not here: asking (origin's gateway). A failure that was noticed without a Gwsr and is listed with one has two keys; who
//! counts failures knows them by the order and the time.

use std::collections::BTreeSet;

use super::period_info::{self, AttemptWire, PeriodAttempt};
use super::query::{TradeInfo, TradeStatus, trade_info};
use super::verify::observed::{PaidBefore, PeriodBody, is_first_charge, read, vouch};
use super::{Ecpay, normalise};
use crate::provider::{OBSERVED_PAYMENT, OBSERVED_PERIOD, Observation, Refusal};

/// What the answers about a periodic order tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodObservations {
    /// The facts, oldest first; the first charge is among them.
    pub told: Vec<Observation>,
    /// Successful attempts of the log that the signed answer does not vouch for: ask again, and tell a person if it stays.
    pub unvouched: usize,
}

/// A paid order; `None` where QueryTradeInfo's answer tells of no payment. Also the first charge of a periodic order.
pub fn payment(ecpay: &Ecpay, trade_info_answer: &[u8]) -> Result<Option<Observation>, Refusal> {
    let info = trade_info(ecpay, trade_info_answer)?;
    if info.status != TradeStatus::Paid {
        return Ok(None);
    }
    observation(ecpay, OBSERVED_PAYMENT, trade_info_answer.to_vec()).map(Some)
}

/// Every charge and every refused attempt of a periodic order, by the answers of `QueryTradeInfo` (signed) and
/// `QueryCreditCardPeriodInfo` (not signed).
pub fn periods(
    ecpay: &Ecpay,
    trade_info_answer: &[u8],
    period_info_answer: &[u8],
) -> Result<PeriodObservations, Refusal> {
    let mut found = PeriodObservations {
        told: payment(ecpay, trade_info_answer)?.into_iter().collect(),
        unvouched: 0,
    };
    let info = trade_info(ecpay, trade_info_answer)?;
    let log = period_info::log(period_info_answer)?;
    let other_shop = log.merchant.as_ref().is_some_and(|told| *told != info.merchant);
    if other_shop || (log.order.is_some() && log.order != info.order) {
        return Err(Refusal::Malformed("the two answers speak of different orders"));
    }
    if found.told.is_empty() {
        // The first charge did not succeed: the order never entered the schedule (§1.3.2).
        return Ok(found);
    }
    let signed = String::from_utf8_lossy(trade_info_answer).into_owned();
    let first_only = PaidBefore {
        times: 1,
        amount: info.money.amount_minor,
    };
    let mut before = Some(first_only);
    for (wire, attempt) in later_attempts(&info, &log.entries) {
        let vouched = if attempt.paid {
            before.filter(|before| vouch(&info, &attempt, *before).is_ok())
        } else {
            // A refusal is told whatever the charges before it come to.
            before.or(Some(first_only))
        };
        match vouched {
            Some(paid_before) => found
                .told
                .push(period(ecpay, signed.clone(), wire.flat(), paid_before)?),
            None => found.unvouched = found.unvouched.saturating_add(1),
        }
        if attempt.paid {
            before = before.and_then(|before| before.and(attempt.amount?));
        }
    }
    Ok(found)
}

/// The entries that tell something of the second and later charges, each once.
fn later_attempts<'a>(info: &TradeInfo, entries: &'a [AttemptWire]) -> Vec<(&'a AttemptWire, PeriodAttempt)> {
    let listed = in_order(entries);
    let first = listed
        .iter()
        .position(|(_, attempt)| is_first_charge(info, attempt))
        // Without numbers to compare, the first entry that is paid is the first charge (§1.7.1).
        .or_else(|| {
            listed
                .iter()
                .position(|(_, attempt)| attempt.paid && !comparable(info, attempt))
        });
    let numbered: BTreeSet<&str> = listed
        .iter()
        .filter(|(_, attempt)| attempt.gwsr.is_some() && !attempt.paid)
        .map(|(_, attempt)| attempt.process_digits.as_str())
        .collect();
    let mut told = BTreeSet::new();
    let mut later = Vec::new();
    for (index, (wire, attempt)) in listed.iter().enumerate() {
        let identity = match &attempt.gwsr {
            Some(gwsr) => gwsr.as_str(),
            None if numbered.contains(attempt.process_digits.as_str()) => "",
            None => attempt.process_digits.as_str(),
        };
        let undecided = !attempt.paid && matches!(attempt.code.as_str(), "1" | normalise::TO_BE_CONFIRMED);
        let is_first = first == Some(index) || is_first_charge(info, attempt);
        // Refusals before the first charge were attempts at it; money before it is money all the same.
        let is_later = !is_first && (attempt.paid || first.is_none_or(|first| index > first));
        if is_later && !undecided && !identity.is_empty() && told.insert((identity.to_owned(), attempt.paid))
        {
            later.push((*wire, attempt.clone()));
        }
    }
    later
}

/// The entries by their time where every one has a time. The recorded log is in this order; no document promises it.
fn in_order(entries: &[AttemptWire]) -> Vec<(&AttemptWire, PeriodAttempt)> {
    let mut listed: Vec<_> = entries.iter().map(|wire| (wire, wire.read())).collect();
    if listed.iter().all(|(_, attempt)| attempt.processed_at.is_some()) {
        listed.sort_by_key(|(_, attempt)| attempt.processed_at);
    }
    listed
}

/// Whether the entry and the signed answer both carry a number by which they could be the same charge.
const fn comparable(info: &TradeInfo, attempt: &PeriodAttempt) -> bool {
    (attempt.trade_no.is_some() && info.trade_no.is_some()) || (attempt.gwsr.is_some() && info.gwsr.is_some())
}

fn period(
    ecpay: &Ecpay,
    trade_info: String,
    attempt: AttemptWire,
    paid_before: PaidBefore,
) -> Result<Observation, Refusal> {
    let body = PeriodBody {
        trade_info,
        attempt,
        paid_before,
    };
    // Strings and numbers only: this cannot fail to serialise.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    observation(ecpay, OBSERVED_PERIOD, body)
}

fn observation(ecpay: &Ecpay, notice: &'static str, body: Vec<u8>) -> Result<Observation, Refusal> {
    let event = read(ecpay, notice, &body)?;
    Ok(Observation { notice, body, event })
}
