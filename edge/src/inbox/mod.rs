//! The inbox: keeps every acknowledged event until the origin has it. A SQLite Durable Object, one a shard.
//!
//! forward → **inbox** → origin. `mod` is the object and its `accept`; `state`, `backoff` and `outage` decide;
//! `store` has the SQL; `deliver` sends; `alarm` comes back.
//!
//! Accept is one synchronous block: insert the key and the raw event, or find it, and arm the alarm. The runtime
//! commits it as one and holds every answer and every outgoing request until it is durable (output gate), so
//! nothing is acknowledged, and nothing sent, that a crash could take back. Then the origin is tried at once, but the
//! provider does not wait for it: the event is durable, and a slow origin should not become a slow answer.
//!
//! Invariants: a key has one row; an order has at most one event on its way, the earliest pending; while a row is
//! pending, an alarm is set. Memory only saves work: after a restart all is read from the table again.
//! No borrow is held over an await (a second event would panic on it).
//! Failure: a broken store, or an alarm that cannot be set, answers 503 and the provider comes again.

mod alarm;
mod backoff;
mod deliver;
mod outage;
mod state;
mod store;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use tollgate_shared::time::Timestamp;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::{Closure, wasm_bindgen};
use worker::Env;

use self::outage::Outage;
use self::state::{Occurrence, State};
use self::store::{NewRow, Store};
use crate::forward::{INBOX_KNOWN, INBOX_NEW};
use crate::parcel::Parcel;
use crate::port::{self, Broken, ObjectState, Request};
use crate::{clock, log};

/// As many as the platform opens connections at a time (reference §4).
const IN_FLIGHT_MAX: usize = 6;
/// A row that is on its way is not due before this: the budget of an attempt and some air.
const UNDERWAY: Duration = Duration::from_secs(5);
/// How old the figures may be that health is shown: counting what is pending reads all of it.
const FIGURES_KEPT: Duration = Duration::from_secs(5);
/// So many rows are counted anew each time, so that who waits for an inbox to be empty sees it at once.
const ROWS_FEW: i64 = 1_000;

/// What a shard knows beside its table.
pub(crate) struct Shard {
    state: ObjectState,
    env: Env,
    store: Store,
    /// Orders with an event on its way.
    in_flight: RefCell<BTreeSet<String>>,
    /// Due heads (key, order) found by the last search.
    due: RefCell<VecDeque<(String, String)>>,
    /// Delivered keys that the table still holds as pending. They are written with the next row that comes in, or
    /// a moment later: one commit, and one wait for the disk, instead of two. A crash in between delivers them
    /// again, which the origin recognises.
    delivered: RefCell<Vec<String>>,
    flush_set: Cell<bool>,
    /// Pending rows, those on their way included.
    pending: Cell<i64>,
    last_seq: Cell<i64>,
    outage: RefCell<Outage>,
    /// When the alarm that this instance set will ring.
    armed_for: Cell<Option<Timestamp>>,
    /// When all keys were last looked at for their age, and how far the present look has come.
    expired_at: Cell<Timestamp>,
    expired_to: RefCell<String>,
    /// What health was last shown, and when.
    shown: RefCell<Option<(Timestamp, String)>>,
}

/// The Durable Object class `Inbox`.
#[wasm_bindgen]
pub struct Inbox {
    shard: Option<Rc<Shard>>,
    accept: Closure<dyn Fn(Vec<u8>) -> u16>,
    figures: Closure<dyn Fn() -> String>,
}

#[wasm_bindgen]
impl Inbox {
    /// Called by the runtime when the first event for this object comes in. Never throws: a store that does not
    /// open leaves an object that answers 503.
    #[wasm_bindgen(constructor)]
    pub fn new(state: ObjectState, env: Env) -> Self {
        let shard = match Shard::open(state, env) {
            Ok(shard) => Some(Rc::new(shard)),
            Err(broken) => {
                log::broken("inbox-open", &broken.0);
                None
            }
        };
        if let Some(shard) = &shard {
            shard.arm_if_pending();
        }
        let (accepting, showing) = (shard.clone(), shard.clone());
        Self {
            shard,
            accept: Closure::new(move |parcel: Vec<u8>| match &accepting {
                Some(shard) => accept(shard, &parcel),
                None => 503,
            }),
            figures: Closure::new(move || showing.as_ref().map_or_else(String::new, |shard| shard.figures())),
        }
    }

    /// A parcel from the gate (POST), or the question for figures.
    pub fn fetch(&self, request: &Request) -> JsValue {
        port::inbox(request, self.accept.as_ref(), self.figures.as_ref())
    }

    /// The runtime's clock struck.
    ///
    /// # Errors
    /// The store did not open, or the next alarm cannot be set: the runtime then repeats this one.
    pub fn alarm(&self) -> Result<(), JsValue> {
        let closed = || Err(Broken("the store did not open".to_owned()));
        let rung = self.shard.as_ref().map_or_else(closed, alarm::ring);
        rung.map_err(|broken| {
            log::broken("inbox-ring", &broken.0);
            js_sys::Error::new(&broken.0).into()
        })
    }
}

/// Insert or find, in one synchronous block. The answer is the HTTP status for the gate.
fn accept(shard: &Rc<Shard>, bytes: &[u8]) -> u16 {
    let Some(parcel) = Parcel::decode(bytes) else {
        return 400;
    };
    shard.flush();
    let now = clock::now();
    let at_once = shard.may_start(parcel.order);
    let next_at = if at_once { now.plus(UNDERWAY) } else { now };
    let seq = shard.last_seq.get().saturating_add(1);
    let row = NewRow {
        key: parcel.key,
        order: parcel.order,
        seq,
        parcel: bytes,
        next_at,
        now,
    };
    match shard.keep_armed(&row) {
        Ok(true) => {}
        Ok(false) => return INBOX_KNOWN,
        Err(broken) => {
            log::broken("inbox-accept", &broken.0);
            return 503;
        }
    }
    // After this point the event is ours and must be delivered.
    if at_once {
        deliver::start(shard, parcel.key, parcel.order, bytes.to_vec(), 0);
    }
    INBOX_NEW
}

impl Shard {
    fn open(state: ObjectState, env: Env) -> Result<Self, Broken> {
        let (store, pending, last_seq) = Store::open(port::sql_of(&state))?;
        let expired_at = store.expired_at()?.unwrap_or(Timestamp::from_unix_ms(0));
        Ok(Self {
            state,
            env,
            store,
            in_flight: RefCell::default(),
            due: RefCell::default(),
            delivered: RefCell::default(),
            flush_set: Cell::new(false),
            pending: Cell::new(pending),
            last_seq: Cell::new(last_seq),
            outage: RefCell::new(Outage::new(pending > 0)),
            armed_for: Cell::new(None),
            expired_at: Cell::new(expired_at),
            expired_to: RefCell::default(),
            shown: RefCell::default(),
        })
    }

    /// Keeps the row and sees that an alarm is set. Without one nothing may be acknowledged, not even a row that is
    /// known: it may be one whose alarm could not be set when it was written.
    fn keep_armed(&self, row: &NewRow<'_>) -> Result<bool, Broken> {
        let new = self.keep(row)?;
        if new {
            self.last_seq.set(row.seq);
            self.pending.set(self.pending.get().saturating_add(1));
        }
        if self.pending.get() > 0 {
            self.arm(row.now.plus(UNDERWAY))?;
        }
        Ok(new)
    }

    /// Writes the row if its state asks for it: new, or parked and sent again. `false`: known, nothing to do.
    fn keep(&self, row: &NewRow<'_>) -> Result<bool, Broken> {
        if self.store.insert(row)? {
            return Ok(true);
        }
        let known = self.store.state(row.key)?;
        if state::next(known, &Occurrence::Notice) == Some(State::Pending) {
            return self.store.revive(row);
        }
        Ok(false)
    }

    /// Whether an event of this order may go now: a place is free and no earlier event of the order is pending.
    /// The table is asked only if something waits that is not on its way.
    fn may_start(&self, order: &str) -> bool {
        let in_flight = self.in_flight.borrow();
        if in_flight.len() >= IN_FLIGHT_MAX || in_flight.contains(order) {
            return false;
        }
        let waiting = self.pending.get() > i64::try_from(in_flight.len()).unwrap_or(i64::MAX);
        // A store that cannot say is taken to hold one: the alarm finds out.
        !(waiting && self.store.waits(order).unwrap_or(true))
    }

    /// Writes down what was delivered. Called before anything asks the table, and with every write.
    fn flush(&self) {
        let keys = self.delivered.take();
        if keys.is_empty() {
            return;
        }
        let now = clock::now();
        for key in keys {
            if let Err(broken) = self.store.delivered(&key, now) {
                log::broken("inbox-flush", &broken.0);
                // Pending after all: the alarm will deliver it again.
                self.pending.set(self.pending.get().saturating_add(1));
            }
        }
    }

    /// Makes sure that the alarm rings at `at` or before. A failure that shows only later resets the object.
    fn arm(&self, at: Timestamp) -> Result<(), Broken> {
        if self.armed_for.get().is_none_or(|armed| armed > at) {
            port::arm(&self.state, port::number(at.unix_ms()))?;
            self.armed_for.set(Some(at));
        }
        Ok(())
    }

    /// After a restart: pending rows without this instance's alarm get one.
    fn arm_if_pending(&self) {
        if self.pending.get() > 0
            && let Err(broken) = self.arm(clock::now().plus(Duration::from_secs(1)))
        {
            log::broken("inbox-arm", &broken.0);
        }
    }

    /// When the next pending event may go: a head that is due, or a place that becomes free. What is on its way is
    /// looked at again after an attempt's time, should this instance die under it.
    fn soonest(&self, now: Timestamp) -> Result<Option<Timestamp>, Broken> {
        let in_flight = self.in_flight.borrow();
        let underway = (!in_flight.is_empty()).then(|| now.plus(UNDERWAY));
        if in_flight.len() >= IN_FLIGHT_MAX {
            return Ok(underway);
        }
        let head = self.store.soonest(&in_flight)?;
        Ok(head.into_iter().chain(underway).min())
    }

    /// What health shows of this shard; empty if the store cannot say.
    fn figures(&self) -> String {
        let now = clock::now();
        if let Some((at, shown)) = &*self.shown.borrow()
            && at.plus(FIGURES_KEPT) > now
        {
            return shown.clone();
        }
        self.flush();
        let figures = match self.store.figures() {
            Ok(figures) => figures,
            Err(broken) => {
                log::broken("inbox-figures", &broken.0);
                return String::new();
            }
        };
        let shown = serde_json::to_string(&figures).unwrap_or_default();
        let is_dear = figures.pending.saturating_add(figures.parked) > ROWS_FEW;
        self.shown.replace(is_dear.then(|| (now, shown.clone())));
        shown
    }
}
