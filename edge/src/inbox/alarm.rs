//! The inbox's alarm: starts what is due, tries again what is parked, forgets old keys, and sets itself again.
//!
//! runtime → **alarm** → `deliver::pump`. It only starts deliveries; they end in the background.
//!
//! Invariant: while a row is pending it rings again no later than that row may go; while one is parked, no later
//! than a day after it was; otherwise once a day, to expire keys. Work that fails is logged and left to the next ring,
//! which is set whatever happened: the platform repeats a throwing alarm six times and then drops it for good.
//! Failure: only an alarm that cannot be set again is an error, so that the platform's repeats replace it.

use std::rc::Rc;
use std::time::Duration;

use tollgate_shared::time::Timestamp;

use super::{Shard, UNDERWAY, deliver};
use crate::port::Broken;
use crate::{clock, log};

/// How long a delivered key is kept: longer than any provider repeats a notice.
const KEY_KEPT: Duration = Duration::from_hours(35 * 24);
/// How often all keys are looked at.
const EXPIRY_PERIOD: Duration = Duration::from_hours(24);
/// Keys looked at in one ring, so that an alarm stays short; the next page follows a second later.
const PAGE: u32 = 2_000;
/// After this a parked event is tried again: a deployment of the origin may have mended what it met.
const PARKED_REST: Duration = Duration::from_hours(24);
/// Parked events tried again in one ring.
const RETRIED_MAX: u32 = 64;
/// Never sooner: an alarm that rings at once again would spin.
const SOONEST: Duration = Duration::from_secs(1);

/// The alarm rang.
pub(super) fn ring(shard: &Rc<Shard>) -> Result<(), Broken> {
    shard.armed_for.set(None);
    shard.flush();
    let now = clock::now();
    if let Err(broken) = retry_parked(shard, now) {
        log::broken("inbox-retry", &broken.0);
    }
    deliver::pump(shard);
    let at = next_ring(shard, now).unwrap_or_else(|broken| {
        log::broken("inbox-alarm", &broken.0);
        Some(now.plus(UNDERWAY))
    });
    at.map_or(Ok(()), |at| shard.arm(at.max(now.plus(SOONEST))))
}

fn retry_parked(shard: &Shard, now: Timestamp) -> Result<(), Broken> {
    let revived = shard.store.retry(now, before(now, PARKED_REST), RETRIED_MAX)?;
    shard
        .pending
        .set(shard.pending.get().saturating_add(i64::from(revived)));
    Ok(())
}

fn next_ring(shard: &Shard, now: Timestamp) -> Result<Option<Timestamp>, Broken> {
    let parked = shard.store.first_parked()?.map(|parked| parked.plus(PARKED_REST));
    let rings = [shard.soonest(now)?, parked, expire(shard, now)?];
    Ok(rings.into_iter().flatten().min())
}

/// Forgets old keys, once a day; gives the time of the next look.
fn expire(shard: &Shard, now: Timestamp) -> Result<Option<Timestamp>, Broken> {
    let due = shard.expired_at.get().plus(EXPIRY_PERIOD);
    if due > now {
        return Ok(shard.store.any()?.then_some(due));
    }
    let from = shard.expired_to.take();
    if let Some(end) = shard.store.expire(&from, before(now, KEY_KEPT), PAGE)? {
        shard.expired_to.replace(end);
        return Ok(Some(now));
    }
    shard.store.expired(now)?;
    shard.expired_at.set(now);
    Ok(shard.store.any()?.then(|| now.plus(EXPIRY_PERIOD)))
}

fn before(now: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_unix_ms(now.unix_ms().saturating_sub(span))
}
