//! Outbound calls: the only place of the origin that is a client of somebody else.
//!
//! work claims an effect (lease) → **gateway** calls → work marks it.
//!
//! Invariants (DESIGN.md, 6): no transaction is open while anything in here runs; every call has a time limit and
//! follows no redirect (a redirect would carry a signed body to an address that nobody configured).

pub(crate) mod limiter;
pub(crate) mod mail;
pub(crate) mod provider;
pub(crate) mod sandbox;
pub(crate) mod user_core;
pub(crate) mod work_lookup;
