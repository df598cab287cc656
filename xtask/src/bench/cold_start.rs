//! Cold start: from the start of a workerd process to its worker's first answer.
//!
//! `edge` → **`measure`** → milliseconds beside the JavaScript hello's, which hold workerd's own start.
//!
//! Invariant: the subjects take turns, so that a disturbance meets all of them. What differs between two
//! subjects is reading, compiling and starting their modules; the rest is workerd.
//! Not here: Cloudflare's own isolate start, which has the code ready. Failure: a start that takes too long.

use std::net::SocketAddr;

use anyhow::Result;

use super::figures::{median, microseconds};
use super::workers::Subject;
use crate::clock::Stopwatch;
use crate::config::Config;

/// Starts a subject; an odd number has a middle.
const STARTS: usize = 9;

/// The median start of each subject in microseconds, in their order.
pub(super) async fn measure(config: &Config, subjects: &[&Subject], origin: SocketAddr) -> Result<Vec<u64>> {
    let mut starts_us = vec![Vec::with_capacity(STARTS); subjects.len()];
    for _ in 0..STARTS {
        for (subject, starts_us) in subjects.iter().zip(&mut starts_us) {
            let watch = Stopwatch::start();
            let running = subject.start(config, origin).await?;
            starts_us.push(microseconds(watch.elapsed()));
            drop(running);
        }
    }
    Ok(starts_us
        .into_iter()
        .map(|starts_us| median(starts_us.into_iter()))
        .collect())
}
