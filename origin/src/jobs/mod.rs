//! Metered jobs: an article is asked for, made elsewhere, reported, and paid with tokens (TB-7, TB-8).
//!
//! http → **generate** (company → reserve → trigger) → generator → **report** → **charge** → ledger; what nobody reports,
//! **reconcile** decides once an hour; a **trigger** that nobody takes ends its job.
//!
//! Invariants: the reservation, the job and its trigger are one transaction; the tokens of a job are deducted under the
//! job's id, so that a report, its repeat and reconciliation charge once between them; nobody is called while a
//! transaction is open. Not here: decisions (`domain::jobs`), sending (`work::outbox`).

mod charge;
pub(crate) mod generate;
pub(crate) mod reconcile;
pub(crate) mod report;
pub(crate) mod trigger;
