//! The inbox's alarm: starts what is due, forgets old keys, and sets itself again.
//!
//! runtime → **alarm** → `deliver::pump`. It only starts deliveries; they end in the background.
//!
//! Invariant: it never throws. The platform repeats a throwing alarm six times and then drops it for good, and
//! with it the backlog; so every failure is logged, and the alarm is set again whatever happened. While a row is
//! pending it rings again no later than that row is due; otherwise once a day, to expire keys.

use std::rc::Rc;
use std::time::Duration;

use tollgate_shared::time::Timestamp;

use super::{Shard, UNDERWAY, deliver};
use crate::port::Broken;
use crate::{clock, log};

/// How long a delivered key is kept: longer than any provider repeats a notice.
const KEY_KEPT: i64 = 35 * 24 * 60 * 60 * 1000;
/// How often keys are expired when nothing is pending.
const EXPIRY_PERIOD: Duration = Duration::from_hours(24);
/// Keys deleted in one go, so that an alarm stays short; more are deleted a second later.
const EXPIRED_MAX: u32 = 1_000;
/// Never sooner: an alarm that rings at once again would spin.
const SOONEST: Duration = Duration::from_secs(1);

/// The alarm rang.
pub(super) fn ring(shard: &Rc<Shard>) {
    shard.armed_for.set(None);
    shard.flush();
    deliver::pump(shard);
    let now = clock::now();
    let at = next_ring(shard, now).unwrap_or_else(|broken| {
        log::broken("inbox-alarm", &broken.0);
        Some(now.plus(UNDERWAY))
    });
    if let Some(at) = at {
        shard.arm(at);
    }
}

fn next_ring(shard: &Shard, now: Timestamp) -> Result<Option<Timestamp>, Broken> {
    if let Some(due) = shard.store.soonest()? {
        return Ok(Some(due.max(now.plus(SOONEST))));
    }
    let before = Timestamp::from_unix_ms(now.unix_ms().saturating_sub(KEY_KEPT));
    if shard.store.expire(before, EXPIRED_MAX)? {
        return Ok(Some(now.plus(SOONEST)));
    }
    Ok(shard.store.any()?.then(|| now.plus(EXPIRY_PERIOD)))
}
