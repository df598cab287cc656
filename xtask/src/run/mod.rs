//! The running parts, each with a start, a clean stop and a crash.
//!
//! `stack` and `commands` → **`run`** → Postgres, the worker (two ways), the origin and the sandbox.
//!
//! Invariant: a start returns when the part answers, and the part ends when its value is dropped.
//! Not here: the order in which they start, and what they are told (`stack`).

pub mod postgres;
pub mod program;
pub mod workerd;
pub mod wrangler;

mod postgres_files;
mod wrangler_toml;
