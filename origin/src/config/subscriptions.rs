//! Settings of subscriptions: the schedule of dunning (EC-1, EC-2), and who charges PAYUNi's.
//!
//! `config` → **these settings** → `subscriptions::Context`, checkout.
//!
//! Invariants: grace and retries are in whole days, ascending and bounded; the defaults are the requirement's.
//! Failure: faults of the reader, each naming its setting.

use tollgate_shared::config::Reader;

use crate::domain::subscription::{Mode, Policy};

/// No customer waits longer than a quarter for a decision.
const DAYS_MAX: u16 = 90;
/// EC-2 has three.
const RETRIES_MAX: usize = 10;

/// How subscriptions are run.
#[derive(Debug, Clone)]
pub struct SubscriptionsConfig {
    /// The schedule of dunning.
    pub(crate) policy: Policy,
    /// Who charges a subscription at PAYUNi: its period contract, or we with a stored token (a contract of its own).
    pub(crate) payuni_mode: Mode,
}

/// Reads them.
pub(super) fn subscriptions(reader: &mut Reader<'_>) -> SubscriptionsConfig {
    let usual = Policy::default();
    let policy = Policy {
        grace_first_days: days(reader, "DUNNING_GRACE_DAYS", usual.grace_first_days),
        grace_second_days: days(reader, "DUNNING_GRACE_SECOND_DAYS", usual.grace_second_days),
        news_days: days(reader, "SUBSCRIPTION_NEWS_DAYS", usual.news_days),
        retry_days: retry_days(reader).unwrap_or(usual.retry_days),
    };
    SubscriptionsConfig {
        policy,
        payuni_mode: payuni_mode(reader),
    }
}

fn days(reader: &mut Reader<'_>, name: &str, usual: u16) -> u16 {
    let days = reader.parsed_or(name, usual, "must be a whole number of days");
    if days > DAYS_MAX {
        reader.fault(name, "must be from 0 to 90");
    }
    days
}

/// `1,3,7`.
fn retry_days(reader: &mut Reader<'_>) -> Option<Vec<u16>> {
    let name = "DUNNING_RETRY_DAYS";
    let text = reader.optional(name)?;
    let days: Option<Vec<u16>> = text.split(',').map(|day| day.trim().parse().ok()).collect();
    let usable = |days: &Vec<u16>| {
        days.len() <= RETRIES_MAX
            && days.iter().all(|day| (1..=DAYS_MAX).contains(day))
            && days.is_sorted_by(|one, next| one < next)
    };
    let days = days.filter(usable);
    if days.is_none() {
        reader.fault(
            name,
            "must be ascending days from 1 to 90, separated by commas, such as 1,3,7",
        );
    }
    days
}

fn payuni_mode(reader: &mut Reader<'_>) -> Mode {
    match reader.optional("PAYUNI_SUBSCRIPTIONS").as_deref() {
        None | Some("period") => Mode::ProviderRun,
        Some("token") => Mode::MerchantRun,
        Some(_) => {
            reader.fault("PAYUNI_SUBSCRIPTIONS", "must be period or token");
            Mode::ProviderRun
        }
    }
}
