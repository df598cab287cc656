//! A transaction made to fail at one chosen step, for the "fail at every step" tests.
//!
//! A test → `Database::failing(fault)` → **`Fault`** → the step's error comes from the server itself.
//!
//! Steps are counted over all transactions of the database handle: begin, each statement, each savepoint and its
//! release, commit, and one after the commit (the answer is lost though the work is done).
//! Invariant: it strikes once; the server really aborts the transaction, so code that swallows the error and goes
//! on is found out. Not in a release: compiled for tests only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Fails as a disc would.
pub(super) const FAILING: &str =
    "do $$ begin raise exception using errcode = '58030', message = 'fault of a test'; end $$";

/// Which step fails, and how far we are.
#[derive(Debug)]
pub struct Fault {
    at: u32,
    seen: AtomicU32,
}

impl Fault {
    /// Strikes at step `at`, counted from 0.
    #[must_use]
    pub fn at(at: u32) -> Arc<Self> {
        Arc::new(Self {
            at,
            seen: AtomicU32::new(0),
        })
    }

    /// True once it has struck; a test goes on to the next step until one does not.
    #[must_use]
    pub fn struck(&self) -> bool {
        self.seen.load(Ordering::SeqCst) > self.at
    }

    pub(super) fn strikes(&self) -> bool {
        self.seen.fetch_add(1, Ordering::SeqCst) == self.at
    }
}
