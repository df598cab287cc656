//! The visible history of a subscription: the steps that were taken, each under a name that stays.
//!
//! `standing` → **steps** → `subscriptions::tell`, which tells each name once.
//!
//! Invariants: a step that follows from the same facts has the same name, in whatever order and by whatever door they
//! came, so nobody is told twice; a wish has one name, so its effect is written once. Not here: which steps there are
//! (`dunning`), wording.

use tollgate_shared::time::Timestamp;

use super::dunning::Step;

/// A step that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Names it within the subscription.
    pub(crate) key: String,
    /// Which.
    pub(crate) step: Step,
    /// Of which period.
    pub(crate) period: Option<u32>,
    /// When.
    pub(crate) at: Timestamp,
}

/// What we were told is named by what it is, whatever the fact's own key: a failure that another door tells later is no
/// other step. What was asked for is named by its fact, however the facts around it are read later: one wish, one effect.
pub(crate) fn step_key(step: Step, period: Option<u32>, fact_key: &str) -> String {
    let period = period.unwrap_or_default();
    match step {
        Step::CardBound => "card_bound".to_owned(),
        Step::Activated => "activated".to_owned(),
        Step::Renewed => format!("renewed:{period}"),
        Step::Failed(number) => format!("failed:{period}:{number}"),
        Step::Recovered => format!("recovered:{period}"),
        Step::Downgraded => format!("downgraded:{period}"),
        Step::Over(reason) => format!("over:{}", reason.label()),
        Step::RetryAsked(_) => format!("retry_asked:{fact_key}"),
        Step::CardChanged => format!("card_changed:{fact_key}"),
        Step::Paused => format!("paused:{fact_key}"),
        Step::Resumed => format!("resumed:{fact_key}"),
        Step::Plan(news) => format!("{}:{fact_key}", news.label()),
        Step::CancelScheduled => format!("cancel_scheduled:{fact_key}"),
        Step::ChargedAfterEnd => format!("charged_after_end:{fact_key}"),
        Step::ChargedTwice => format!("charged_twice:{fact_key}"),
    }
}
