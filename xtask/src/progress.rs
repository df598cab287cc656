//! One line a step on standard output: `[3/9] wasm target … rustup (2 s)`.
//!
//! `commands` and `setup` → **`Progress::step`** → the terminal.
//!
//! Invariant: a step's title is printed before its work begins, so that a slow step has a name while one waits.
//! Failure: a broken pipe is ignored; the work matters more than the line about it.

use std::fmt::Display;
use std::future::Future;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

use crate::clock::Stopwatch;

/// Counts and prints the steps of one command.
#[derive(Debug)]
pub struct Progress {
    total: usize,
    done: AtomicUsize,
    watch: Stopwatch,
}

impl Progress {
    /// A command of `total` steps.
    #[must_use]
    pub fn new(total: usize) -> Self {
        Self {
            total,
            done: AtomicUsize::new(0),
            watch: Stopwatch::start(),
        }
    }

    /// Runs one step; what it returns beside its value is the remark at the end of its line.
    pub async fn step<T, R: Display>(
        &self,
        title: &str,
        work: impl Future<Output = Result<(T, R)>>,
    ) -> Result<T> {
        let number = self.done.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        write_out(&format!("[{number}/{}] {title} … ", self.total));
        let watch = Stopwatch::start();
        let (value, remark) = work
            .await
            .inspect_err(|_| say("failed"))
            .with_context(|| title.to_owned())?;
        say(&format!("{remark} ({} s)", watch.elapsed().as_secs()));
        Ok(value)
    }

    /// Seconds since the command began.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.watch.elapsed().as_secs()
    }
}

/// Prints one line.
pub fn say(line: &str) {
    write_out(&format!("{line}\n"));
}

fn write_out(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}
