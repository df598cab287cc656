//! Decisions, and nothing else: pure functions from what is known to what shall be.
//!
//! `apply` and `checkout` load → **domain decides** → `apply` and `checkout` write.
//!
//! Invariants (DESIGN.md, 5): no clock, no I/O, no database type; the same facts in any order give the same
//! decision. Every rule here is held by a text table or a property test.
//! Not here: what must hold whatever writes (constraints and functions in `migrations/`).

pub(crate) mod backoff;
pub(crate) mod cadence;
pub(crate) mod charge;
pub(crate) mod coverage;
pub(crate) mod expiry;
pub(crate) mod jobs;
pub(crate) mod order_number;
pub(crate) mod payment_poll;
pub(crate) mod plan;
pub(crate) mod refund;
pub(crate) mod settlement;
pub(crate) mod standing;
pub(crate) mod subscription;
pub(crate) mod tokens;
