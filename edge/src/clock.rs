//! The edge's one clock.
//!
//! Every step takes `now` as an argument; only the shells (`lib`, `inbox`, `caller`) ask here.
//!
//! Invariant: milliseconds since the epoch, as the runtime tells them. Cloudflare freezes the clock between I/O,
//! so a duration measured here is the time spent waiting, not computing. Not here: time zones (`shared::time`).

use tollgate_shared::time::Timestamp;

use crate::port;

/// What time it is.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_ms(port::whole(port::now_ms()))
}
