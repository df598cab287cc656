//! What a notice is about, how urgent that is, and in which language it is told.
//!
//! `notices` (payloads, wording) and the service API's preferences read **these names**; V15's columns hold them.
//!
//! Invariants: a kind's label is stable: it is stored, muted by, and the end of an event's type
//! (`subscription.first_failure`). The urgency follows from the kind alone (EC-8), so nobody who decides a step chooses it.
//! Not here: the wording (`origin/templates/notices`). Failure: a text that names nothing is `None`.

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $label:literal, $urgency:ident;)+) => {
        /// A step of a subscription that its customer is told of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum NoticeKind {
            $($(#[$doc])* $name,)+
        }

        impl NoticeKind {
            /// Every kind.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)+];

            /// As tables, events and preferences name it.
            pub(crate) const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)+
                }
            }

            /// How soon the customer should read it (EC-8).
            pub(crate) const fn urgency(self) -> Urgency {
                match self {
                    $(Self::$name => Urgency::$urgency,)+
                }
            }
        }
    };
}

kinds! {
    /// A period was paid (PU-6).
    PaymentReceived = "payment_received", Low;
    /// EC-1, the first: grace has begun.
    FirstFailure = "first_failure", Medium;
    /// EC-1, the second: grace was made longer.
    SecondFailure = "second_failure", High;
    /// EC-1, the third and later: the downgrade is next.
    FinalWarning = "final_warning", Urgent;
    /// EC-3: the plan is FREE now.
    Downgraded = "downgraded", Urgent;
    /// A payment after failures: the paid plan is back.
    Recovered = "recovered", Low;
    /// A card was bound for a first charge on a chosen day (PU-7).
    CardBound = "card_bound", Low;
    /// Another card pays from now on.
    CardChanged = "card_changed", Low;
    /// Canceled for the end of what is paid.
    CancelScheduled = "cancel_scheduled", Low;
    /// Canceled now.
    Canceled = "canceled", Low;
    /// The last period of the contract is over.
    Ended = "ended", Low;
    /// No charge until it is resumed.
    Paused = "paused", Low;
    /// Charges go on.
    Resumed = "resumed", Low;
    /// Another plan, now or from the next period on.
    PlanChanged = "plan_changed", Low;
    /// The charge for a dearer plan was refused; the plan stays as it was.
    PlanChangeFailed = "plan_change_failed", Medium;
    /// Money went back.
    RefundIssued = "refund_issued", Low;
    /// The provider ended the contract by itself (ECPay after six failures).
    ProviderEnded = "provider_ended", Urgent;
}

impl NoticeKind {
    /// Whether a customer may do without its mail. What proves that money moved, what is about to be lost, and what
    /// somebody else may have done with the account is told in any case.
    pub(crate) const fn can_be_muted(self) -> bool {
        match self {
            Self::PaymentReceived
            | Self::RefundIssued
            | Self::FinalWarning
            | Self::Downgraded
            | Self::ProviderEnded
            | Self::CardChanged => false,
            Self::CardBound
            | Self::FirstFailure
            | Self::SecondFailure
            | Self::Recovered
            | Self::CancelScheduled
            | Self::Canceled
            | Self::Ended
            | Self::Paused
            | Self::Resumed
            | Self::PlanChanged
            | Self::PlanChangeFailed => true,
        }
    }

    /// The kind of a label.
    pub(crate) fn from_label(label: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.label() == label)
    }
}

/// How soon a notice should be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// Good to know.
    Low,
    /// Something is to be done in some days.
    Medium,
    /// Something is to be done soon.
    High,
    /// Something is lost, or about to be.
    Urgent,
}

impl Urgency {
    /// As tables and events name it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }
}

/// A language that notices are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Locale {
    /// 繁體中文.
    ZhTw,
    /// English.
    En,
}

impl Locale {
    /// Every locale, the usual one first.
    pub(crate) const ALL: [Self; 2] = [Self::ZhTw, Self::En];
    /// Of a user who told none.
    pub(crate) const USUAL: Self = Self::ZhTw;

    /// Its BCP 47 tag.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::ZhTw => "zh-TW",
            Self::En => "en",
        }
    }

    /// The locale of a tag, exactly as written.
    pub(crate) fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|locale| locale.tag() == tag)
    }
}

#[cfg(test)]
mod tests {
    use super::{Locale, NoticeKind, Urgency};

    #[test]
    fn ec_8_urgency_rises_from_failure_to_failure() {
        let urgencies = [
            NoticeKind::PaymentReceived,
            NoticeKind::FirstFailure,
            NoticeKind::SecondFailure,
            NoticeKind::FinalWarning,
        ]
        .map(NoticeKind::urgency);
        assert_eq!(
            urgencies,
            [Urgency::Low, Urgency::Medium, Urgency::High, Urgency::Urgent]
        );
        assert_eq!(NoticeKind::Downgraded.urgency(), Urgency::Urgent);
    }

    #[test]
    fn ec_8_what_is_urgent_and_what_proves_that_money_moved_cannot_be_muted() {
        for kind in NoticeKind::ALL {
            if kind.urgency() == Urgency::Urgent {
                assert!(!kind.can_be_muted(), "{kind:?}");
            }
        }
        let always = [
            NoticeKind::PaymentReceived,
            NoticeKind::RefundIssued,
            NoticeKind::CardChanged,
        ];
        assert!(!always.iter().any(|kind| kind.can_be_muted()));
        assert!(NoticeKind::FirstFailure.can_be_muted() && NoticeKind::Resumed.can_be_muted());
    }

    #[test]
    fn labels_and_tags_are_read_as_they_are_written() {
        for kind in NoticeKind::ALL {
            assert_eq!(NoticeKind::from_label(kind.label()), Some(*kind));
        }
        for locale in Locale::ALL {
            assert_eq!(Locale::from_tag(locale.tag()), Some(locale));
        }
        assert_eq!(NoticeKind::from_label("First_Failure"), None);
        assert_eq!(Locale::from_tag("zh-tw"), None);
    }
}
