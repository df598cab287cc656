//! The pure core of Tollgate: what edge and origin must agree on to the byte.
//!
//! Receive → **verify → normalise** → forward | inbox → apply → ledger: the bold steps live here, and both
//! sides run the same code, so there is one truth about what a provider's notice means.
//!
//! Invariant: no I/O, no clock, no global, no `worker`, no `tokio`. Time is an argument (DESIGN.md, invariant 5).
//! Not here: who calls whom (`edge`), what an event does to money (`origin`).
//! Every failure is an enum value; nothing in this crate panics on input.

pub mod config;
pub mod crypto;
pub mod csrf;
pub mod envelope;
pub mod event;
pub mod form;
pub mod handoff;
pub mod id;
pub mod money;
pub mod problem;
pub mod provider;
pub mod secret;
pub mod session;
pub mod time;
