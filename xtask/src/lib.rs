//! All set-up and every command of `cargo xtask`, as a library, so that the whole-stack tests
//! start the very parts that a developer's `cargo xtask dev` starts.
//!
//! `main` parses → `commands` → `setup` (tools, cached) → `run` (Postgres, worker, programs) → `stack`.
//!
//! Invariant: nothing that was started outlives its owner, however the owner ends (`supervise`), and
//! no step of the set-up is repeated once it has succeeded (`cache`).
//! Not here: what any part means; this crate knows programs, ports and files only.
//! Failure: every error is a sentence saying which step failed, with the tail of the log it left.

pub mod bench;
pub mod build_edge;
pub mod cache;
pub mod clock;
pub mod commands;
pub mod config;
pub mod house_rules;
pub mod ports;
pub mod progress;
pub mod run;
pub mod setup;
pub mod stack;
pub mod supervise;
