//! Which kinds of effects share a loop.
//!
//! `work::run` starts a loop for each **lane** → `outbox::round` claims rows of the lane's kinds.
//!
//! Invariants: a lane makes one effect at a time, so a receiver that hangs holds up its own lane only. Every kind that
//! this program writes is in one lane; a kind that it does not know was written by a newer program, and is left to it.

use crate::announce::USER_CORE;
use crate::jobs::generate::GENERATOR;
use crate::notices::event::SUBSCRIPTION_EVENT;
use crate::notices::mail::MAIL;

/// Effects that wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// What other programs of the team need to go on.
    Calls,
    /// What they like to know.
    Events,
    /// What customers are told.
    Mail,
}

impl Lane {
    /// Every lane.
    pub(crate) const ALL: [Self; 3] = [Self::Calls, Self::Events, Self::Mail];

    /// The kinds of outbox row in it.
    pub(crate) const fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Calls => &[USER_CORE, GENERATOR],
            Self::Events => &[SUBSCRIPTION_EVENT],
            Self::Mail => &[MAIL],
        }
    }

    /// The loop's name in the logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Calls => "outbox_calls",
            Self::Events => "outbox_events",
            Self::Mail => "outbox_mail",
        }
    }
}
