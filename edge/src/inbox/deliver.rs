//! Delivers pending events to the origin: per order in sequence, orders in parallel.
//!
//! accept, alarm → **deliver** → `origin` → store. `start` sends one event in the background; when it ends, the
//! row is settled and `pump` starts what has become free: the next event of the order, or another order.
//!
//! Invariant: an order is in `in_flight` from `start` until its row is settled, so two events of one order are
//! never on their way together; the row is settled only if it is still pending (a statement that checks it, not
//! a memory of it). Failure: anything but a clear answer keeps the row with a later `next_at`; the alarm, which is
//! set whenever a row is pending, is the safety net under all of this.

use std::rc::Rc;
use std::time::Duration;

use super::outage::presence;
use super::state::{Occurrence, State, Verdict, next, verdict};
use super::{IN_FLIGHT_MAX, Shard, backoff};
use crate::origin::{self, Question, Reply};
use crate::parcel::Parcel;
use crate::port::{self, Broken};
use crate::{clock, config, log, task};

/// How long the origin has for one event.
const BUDGET_MS: u32 = 2_000;
/// How long a delivered key may wait to be written with others: well below `UNDERWAY`.
const FLUSH_MS: u32 = 1_000;
/// How many due heads one search of the table gives.
const HEADS: u32 = 64;
/// How long an attempt lasts whose parcel cannot be read.
const UNREADABLE_MS: u32 = 50;

/// Sends one event in the background. The caller has seen that the order may start.
pub(super) fn start(shard: &Rc<Shard>, key: &str, order: &str, bytes: Vec<u8>, attempts: u32) {
    shard.in_flight.borrow_mut().insert(order.to_owned());
    let (shard, key, order) = (Rc::clone(shard), key.to_owned(), order.to_owned());
    task::spawn(async move {
        let verdict = attempt(&shard, &order, &bytes).await;
        if let Err(broken) = settle(&shard, &key, attempts, verdict) {
            log::broken("inbox-settle", &broken.0);
        }
        shard.in_flight.borrow_mut().remove(&order);
        pump(&shard);
    });
}

/// Starts due events while there are places.
pub(super) fn pump(shard: &Rc<Shard>) {
    if let Err(broken) = try_pump(shard) {
        log::broken("inbox-pump", &broken.0);
    }
}

fn try_pump(shard: &Rc<Shard>) -> Result<(), Broken> {
    while free(shard) {
        let Some((key, order)) = next_due(shard)? else {
            return Ok(());
        };
        let taken = shard.in_flight.borrow().contains(&order);
        // Loaded now, not when it was found: it may have been settled since.
        if let (false, Some((bytes, attempts))) = (taken, shard.store.load(&key)?) {
            start(shard, &key, &order, bytes, attempts);
        }
    }
    Ok(())
}

/// Whether a place is free and something may be waiting for it.
fn free(shard: &Shard) -> bool {
    let in_flight = shard.in_flight.borrow().len();
    in_flight < IN_FLIGHT_MAX && shard.pending.get() > i64::try_from(in_flight).unwrap_or(i64::MAX)
}

/// The next due head; the table is searched only when the last search is used up.
fn next_due(shard: &Shard) -> Result<Option<(String, String)>, Broken> {
    let found = shard.due.borrow_mut().pop_front();
    if found.is_some() {
        return Ok(found);
    }
    shard.flush();
    let heads = shard.store.heads(clock::now(), HEADS)?;
    let in_flight = shard.in_flight.borrow();
    let fresh = heads.into_iter().filter(|(_, order)| !in_flight.contains(order));
    let mut due = shard.due.borrow_mut();
    due.extend(fresh);
    Ok(due.pop_front())
}

async fn attempt(shard: &Shard, order: &str, bytes: &[u8]) -> Verdict {
    let parcel = Parcel::decode(bytes);
    let Some((parcel, envelope)) = parcel.and_then(|parcel| Some((parcel, parcel.envelope()?))) else {
        log::broken("inbox-parcel", "unreadable: written by a newer deployment?");
        // An attempt that ended within the event that started it would start the next one on top of its own
        // stack: as deep as there are such rows.
        let _slept = task::wait(port::sleep(UNREADABLE_MS)).await;
        return Verdict::Kept;
    };
    let (delivery, body) = (parcel.delivery.to_string(), envelope.to_json());
    let question = Question {
        method: "POST",
        path: "/internal/v1/events",
        delivery: &delivery,
        subject: "",
        body: &body,
        budget_ms: BUDGET_MS,
    };
    let settings = config::settings(&shard.env);
    let reply = origin::ask(&shard.env, &settings, &question, clock::now())
        .await
        .ok();
    note_origin(shard, order, reply.as_ref());
    let verdict = verdict(reply.as_ref());
    let delivered = verdict == Verdict::Delivered;
    log::delivery(&delivery, reply.as_ref(), delivered, settings.log_all);
    verdict
}

/// Sees the origin go and come back (`outage` says what counts).
fn note_origin(shard: &Shard, order: &str, reply: Option<&Reply>) {
    let back = shard.outage.borrow_mut().note(order, presence(reply));
    if back {
        match shard.store.release(clock::now()) {
            Ok(_) => shard.due.borrow_mut().clear(),
            Err(broken) => log::broken("inbox-release", &broken.0),
        }
    }
}

/// Writes down what an attempt came to. Each statement checks that the row is still pending.
fn settle(shard: &Rc<Shard>, key: &str, attempts: u32, verdict: Verdict) -> Result<(), Broken> {
    let now = clock::now();
    let occurrence = Occurrence::Attempt(verdict);
    match (next(Some(State::Pending), &occurrence), occurrence) {
        (Some(State::Parked), Occurrence::Attempt(Verdict::Parked(reason))) => {
            if shard.store.parked(key, &reason, now)? {
                shard.pending.set(shard.pending.get().saturating_sub(1));
            }
        }
        (Some(_), _) => {
            shard.pending.set(shard.pending.get().saturating_sub(1));
            shard.delivered.borrow_mut().push(key.to_owned());
            flush_soon(shard);
        }
        (None, _) => {
            let attempts = attempts.saturating_add(1);
            let delay = u64::try_from(backoff::delay_ms(key, attempts)).unwrap_or(u64::MAX);
            let next_at = now.plus(Duration::from_millis(delay));
            shard.store.kept(key, attempts, next_at)?;
            shard.arm(next_at)?;
        }
    }
    Ok(())
}

/// Flushes in a moment, unless the next notice does it before.
fn flush_soon(shard: &Rc<Shard>) {
    if shard.flush_set.replace(true) {
        return;
    }
    let shard = Rc::clone(shard);
    task::spawn(async move {
        // A timer that fails is no reason not to flush.
        let _fired = task::wait(port::sleep(FLUSH_MS)).await;
        shard.flush_set.set(false);
        shard.flush();
    });
}
