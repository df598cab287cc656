//! Stories over the whole stack: real Postgres, the built worker under workerd, `tollgate serve`, the sandbox.
//!
//! `cargo xtask test` → **these stories** → what the issue "one payment" promises, seen from outside.
//!
//! Invariant: a story asserts on what a provider, a browser or an accountant can see: answers, statuses, rows of the
//! ledger. Each has a stack of its own, so they run in parallel. Nothing sleeps: what another process does is polled
//! with a limit. Not here: single decisions (native tests of each crate).
//! Failure: the logs of every part stay in `target/xtask/stack-…`.

mod billing;
mod books;
mod by_hand;
mod callers;
mod crash;
mod idempotency;
mod keeping;
mod notices;
mod outage;
mod packs;
mod purchases;
mod refusals;
mod repeats;
mod rotation;
mod settings;
mod stand_in;
mod subscriptions;
mod surface;
mod time;
mod tokens;
mod visitors;
