//! What falls due of a subscription: the next charge, and the next attempt at one that was refused.
//!
//! `standing` → **these two** → the row's columns, `subscriptions::wanted`.
//!
//! Invariant: each names its period, which is how an effect that was asked for is told from one that was not.
//! Not here: when they fall due (`standing`, `dunning`).

use tollgate_shared::time::Timestamp;

use crate::domain::subscription::RetrySlot;

/// A charge that falls due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// Which period.
    pub(crate) period: u32,
    /// When.
    pub(crate) at: Timestamp,
}

/// An attempt that falls due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Which.
    pub(crate) slot: RetrySlot,
    /// The refused period, which names the attempt.
    pub(crate) period_owed: u32,
    /// When.
    pub(crate) at: Timestamp,
}
