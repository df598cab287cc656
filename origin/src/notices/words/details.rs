//! The table under the words of a notice: the facts that its kind is about, each with its label.
//!
//! `words::write` → **[`details`]** → `mail.txt`, `mail.html`.
//!
//! Invariant: whoever decides a step gives every fact that holds then; a mail shows those that its kind is about and no
//! others. A price under "canceled" would read as one more charge, and the end of paid time in a receipt as the end of
//! the subscription. The event for the team carries all of them.
//! Not here: sentences (`origin/templates/notices`), how an amount or a day is written (`words`).

use tollgate_shared::provider::DeclineReason;

use super::Told;
use crate::notices::{Locale, Notice, NoticeKind};

/// A line of the table.
pub(super) struct Detail {
    pub(super) label: &'static str,
    pub(super) value: String,
}

/// A fact that a table may show.
#[derive(Clone, Copy)]
enum Fact {
    Amount,
    Period,
    NextCharge,
    Retry,
    GraceEnds,
    AccessUntil,
    Reason,
}

/// What stands around the words.
pub(super) struct Labels {
    pub(super) plan: &'static str,
    pub(super) amount: &'static str,
    pub(super) period: &'static str,
    pub(super) next_charge: &'static str,
    pub(super) retry: &'static str,
    pub(super) grace_ends: &'static str,
    pub(super) access_until: &'static str,
    pub(super) reason: &'static str,
    pub(super) reference: &'static str,
    pub(super) manage: &'static str,
    pub(super) footer: &'static str,
    pub(super) colon: &'static str,
}

const ZH_TW: Labels = Labels {
    plan: "方案",
    amount: "金額",
    period: "期數",
    next_charge: "下次扣款日",
    retry: "再次扣款日",
    grace_ends: "寬限期至",
    access_until: "可使用至",
    reason: "原因",
    reference: "交易編號",
    manage: "管理訂閱與通知",
    footer: "此信由系統自動寄出，請勿直接回覆。",
    colon: "：",
};

const EN: Labels = Labels {
    plan: "Plan",
    amount: "Amount",
    period: "Period",
    next_charge: "Next charge",
    retry: "Next attempt",
    grace_ends: "Grace period until",
    access_until: "Can be used until",
    reason: "Reason",
    reference: "Reference",
    manage: "Manage subscription and notices",
    footer: "This mail was sent automatically; please do not reply to it.",
    colon: ": ",
};

/// The table of a notice: the plan, what its kind is about, and the number to ask with.
pub(super) fn details(notice: &Notice, told: &Told, labels: &Labels) -> Vec<Detail> {
    let about = shown(notice.kind).iter().map(|fact| row(*fact, told, labels));
    [(labels.plan, Some(told.plan.clone()))]
        .into_iter()
        .chain(about)
        .chain([(labels.reference, notice.facts.reference.clone())])
        .filter_map(|(label, value)| value.map(|value| Detail { label, value }))
        .collect()
}

/// What a kind is about, in the order of the table.
const fn shown(kind: NoticeKind) -> &'static [Fact] {
    match kind {
        NoticeKind::PaymentReceived | NoticeKind::Recovered => {
            &[Fact::Amount, Fact::Period, Fact::NextCharge]
        }
        NoticeKind::FirstFailure | NoticeKind::SecondFailure | NoticeKind::FinalWarning => &[
            Fact::Amount,
            Fact::Period,
            Fact::Retry,
            Fact::GraceEnds,
            Fact::Reason,
        ],
        NoticeKind::Downgraded => &[Fact::Amount, Fact::Period, Fact::Reason],
        NoticeKind::CardChanged => &[Fact::NextCharge, Fact::Retry],
        NoticeKind::CancelScheduled | NoticeKind::Canceled | NoticeKind::Ended | NoticeKind::Paused => {
            &[Fact::AccessUntil]
        }
        NoticeKind::CardBound | NoticeKind::Resumed | NoticeKind::PlanChanged => {
            &[Fact::Amount, Fact::NextCharge]
        }
        NoticeKind::PlanChangeFailed => &[Fact::NextCharge],
        NoticeKind::RefundIssued => &[Fact::Amount, Fact::AccessUntil, Fact::Reason],
        NoticeKind::ProviderEnded => &[Fact::GraceEnds, Fact::Reason],
    }
}

fn row(fact: Fact, told: &Told, labels: &Labels) -> (&'static str, Option<String>) {
    let (label, value) = match fact {
        Fact::Amount => (labels.amount, &told.amount),
        Fact::Period => (labels.period, &told.period),
        Fact::NextCharge => (labels.next_charge, &told.next_charge_on),
        Fact::Retry => (labels.retry, &told.retry_on),
        Fact::GraceEnds => (labels.grace_ends, &told.grace_ends_on),
        Fact::AccessUntil => (labels.access_until, &told.access_until_on),
        Fact::Reason => (labels.reason, &told.reason),
    };
    (label, value.clone())
}

/// Why a charge was refused, in words that say what can be done.
pub(super) const fn decline(reason: DeclineReason, locale: Locale) -> &'static str {
    match (reason, locale) {
        (DeclineReason::CardExpired, Locale::ZhTw) => "信用卡已過期",
        (DeclineReason::CardExpired, Locale::En) => "The card has expired",
        (DeclineReason::InsufficientFunds, Locale::ZhTw) => "信用卡可用額度或帳戶餘額不足",
        (DeclineReason::InsufficientFunds, Locale::En) => "The card's limit or balance is too low",
        (DeclineReason::CardUnusable, Locale::ZhTw) => "發卡銀行不接受這張信用卡，請改用其他信用卡",
        (DeclineReason::CardUnusable, Locale::En) => "The bank does not accept this card; please use another",
        (DeclineReason::Refused, Locale::ZhTw) => "這筆扣款未獲核准",
        (DeclineReason::Refused, Locale::En) => "The charge was not approved",
    }
}

/// What stands around the words in a language.
pub(super) const fn labels(locale: Locale) -> &'static Labels {
    match locale {
        Locale::ZhTw => &ZH_TW,
        Locale::En => &EN,
    }
}
