//! Which kinds of effects share a loop.
//!
//! `work::run` starts a loop for each **lane** → `outbox::round` claims rows of the lane's kinds.
//!
//! Invariants: a lane makes no more effects at a time than its width, so a receiver that hangs holds up its own lane only. Every kind that
//! this program writes is in one lane; a kind that it does not know was written by a newer program, and is left to it.

use std::time::Duration;

use crate::announce::USER_CORE;
use crate::effects;
use crate::jobs::generate::GENERATOR;
use crate::notices::event::SUBSCRIPTION_EVENT;
use crate::notices::mail::MAIL;
use crate::work::LEASE;

/// Effects that wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// What other programs of the team need to go on.
    Calls,
    /// What they like to know.
    Events,
    /// What customers are told.
    Mail,
    /// What is done at the payment providers.
    Providers,
}

impl Lane {
    /// Every lane.
    pub(crate) const ALL: [Self; 4] = [Self::Calls, Self::Events, Self::Mail, Self::Providers];

    /// The kinds of outbox row in it.
    pub(crate) const fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Calls => &[USER_CORE, GENERATOR],
            Self::Events => &[SUBSCRIPTION_EVENT],
            Self::Mail => &[MAIL],
            Self::Providers => effects::KINDS,
        }
    }

    /// The loop's name in the logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Calls => "outbox_calls",
            Self::Events => "outbox_events",
            Self::Mail => "outbox_mail",
            Self::Providers => "outbox_providers",
        }
    }

    /// How many effects are made at a time. A charge may wait a minute for a bank, so these must not wait for each other.
    pub(crate) const fn width(self) -> usize {
        match self {
            Self::Calls | Self::Events | Self::Mail => 1,
            Self::Providers => 8,
        }
    }

    /// How long a claimed row is ours: longer than any send.
    pub(crate) const fn lease(self) -> Duration {
        match self {
            Self::Calls | Self::Events | Self::Mail => LEASE,
            Self::Providers => effects::LEASE,
        }
    }
}
