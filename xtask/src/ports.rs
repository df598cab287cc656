//! Free TCP ports on the loopback address.
//!
//! A program that must be told its port → **`prefer` or `free`** → the number.
//!
//! Invariant: a number handed out was free a moment ago. It can be taken in between (there is no way to pass
//! the socket to these programs), so a start that fails with "address in use" is reported by its log.
//! Failure: an error if the machine has no free port.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

/// Where the worker listens in `cargo xtask dev`, if it can.
pub const EDGE: u16 = 8787;
/// Where the origin listens in `cargo xtask dev`, if it can.
pub const ORIGIN: u16 = 8788;
/// Where the sandbox listens in `cargo xtask dev`, if it can.
pub const SANDBOX: u16 = 8789;

/// `wanted` if nobody listens there, otherwise any free port.
pub fn prefer(wanted: u16) -> Result<u16> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)) {
        Ok(_) => Ok(wanted),
        Err(_) => free(),
    }
}

/// Any free port.
pub fn free() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener
        .local_addr()
        .context("read the address of a free port")?
        .port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_not_preferred() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let wanted = taken.local_addr().unwrap().port();
        assert_ne!(prefer(wanted).unwrap(), wanted);
    }
}
