//! The processor time that a worker's process has used, where the system tells (Linux).
//!
//! `edge` reads it before and after a round → **`of_process`** → microseconds a request in `report`.
//!
//! Invariant: only a difference of two readings means anything. Other programs on the machine lengthen a round, but
//! hardly the processor time in it, so this is the steadier of the two comparisons.
//! Failure: `None` where there is no /proc; the report then leaves the figure out.

use std::fs;
use std::time::Duration;

/// The sum over the process's threads (`/proc/…/schedstat`: nanoseconds on a processor come first).
pub(super) fn of_process(pid: i32) -> Option<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let threads = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    });
    Some(Duration::from_nanos(threads.fold(0, u64::saturating_add)))
}

#[cfg(test)]
mod tests {
    use super::of_process;

    #[test]
    fn a_process_that_is_not_there_has_no_time() {
        assert_eq!(of_process(-1), None);
    }
}
