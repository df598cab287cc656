//! Free TCP ports on the loopback address.
//!
//! A program that must be told its port → **`prefer` or `free`** → the number.
//!
//! Invariant: a number handed out was free a moment ago. It can be taken in between (there is no way to pass
//! the socket to these programs), so a start that fails with "address in use" is reported by its log.
//! Failure: an error if the machine has no free port.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, bail};

/// Where the worker listens in `cargo xtask dev`, if it can.
pub const EDGE: u16 = 8787;
/// Where the origin listens in `cargo xtask dev`, if it can.
pub const ORIGIN: u16 = 8788;
/// Where the sandbox listens in `cargo xtask dev`, if it can.
pub const SANDBOX: u16 = 8789;
/// Above what services like to take, below the ephemeral ports of Linux (32768) and others (49152).
const POOL: Range<u16> = 12_000..32_000;

/// `wanted` if nobody listens there, otherwise any free port.
pub fn prefer(wanted: u16) -> Result<u16> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)) {
        Ok(_) => Ok(wanted),
        Err(_) => free(),
    }
}

/// A free port that this process has not handed out before.
///
/// Not the kernel's choice: it picks from the range from which outgoing connections take theirs, and stories open
/// thousands of those, so a number "free a moment ago" was seen taken when the program came to listen. These lie
/// below that range, start at a random place, and are given once.
pub fn free() -> Result<u16> {
    for _ in POOL {
        let port = candidate()?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {} to {} is free", POOL.start, POOL.end)
}

/// The next port of a round through the pool that begins at a random place, so that two processes seldom meet.
fn candidate() -> Result<u16> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    static START: OnceLock<u16> = OnceLock::new();
    let mut seed = [0_u8; 2];
    getrandom::fill(&mut seed).context("ask the system for randomness")?;
    let start = *START.get_or_init(|| u16::from_ne_bytes(seed));
    let round = start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
    let offset = round.checked_rem(POOL.end.saturating_sub(POOL.start));
    Ok(POOL.start.saturating_add(offset.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let mut given: Vec<u16> = (0..100).map(|_| free().unwrap()).collect();
        assert!(given.iter().all(|port| POOL.contains(port)));
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), 100);
    }

    #[test]
    fn a_taken_port_is_not_preferred() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let wanted = taken.local_addr().unwrap().port();
        assert_ne!(prefer(wanted).unwrap(), wanted);
    }
}
