//! The inbox's table, and the only SQL of the inbox.
//!
//! `inbox` (accept, deliver, alarm) → **store** → SQLite of the Durable Object.
//!
//! One row an event: its key is the primary key of a WITHOUT ROWID table, so that a new event writes one row
//! (and one entry of the partial index while it is pending) and a repeat writes none (measured: reference 5.2).
//! `parcel` is dropped on delivery; the key stays for 35 days, longer than any provider repeats.
//!
//! Delivered keys are nearly the whole table, so no statement but the expiry reads them: what is pending or parked is
//! found by its partial index, and the expiry walks the primary key a page at a time, once a day (the plans of
//! `EXPLAIN QUERY PLAN` stand in PERFORMANCE.md).
//!
//! Invariant: no `.one()` and no lazy cursor (both throw through wasm); every statement is complete when its
//! function returns, and statements without an await between them commit together. Not here: which state
//! follows which (`state`). Failure: a JavaScript exception, as `Broken`.

use std::collections::BTreeSet;

use js_sys::{Array, JsString};
use tollgate_shared::time::Timestamp;
use wasm_bindgen::JsValue;

use super::IN_FLIGHT_MAX;
use super::state::State;
use crate::port::{self, Broken, Sql, number};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS event (
  key TEXT PRIMARY KEY,
  state INTEGER NOT NULL,           -- 0 pending, 1 delivered, 2 parked
  order_key TEXT NOT NULL,
  seq INTEGER NOT NULL,             -- order of arrival
  parcel BLOB,                      -- NULL once delivered
  attempts INTEGER NOT NULL DEFAULT 0,
  next_at INTEGER NOT NULL,         -- ms; not before
  changed_at INTEGER NOT NULL,      -- ms; when it came to this state
  reason TEXT NOT NULL DEFAULT ''   -- why it is parked
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS event_pending ON event (order_key, seq) WHERE state = 0;
CREATE INDEX IF NOT EXISTS event_parked ON event (changed_at) WHERE state = 2;
CREATE TABLE IF NOT EXISTS expiry (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  done_at INTEGER NOT NULL          -- ms; when every key was last looked at
)";
const COUNTS: &str = "SELECT COUNT(*), COALESCE(MAX(seq), 0) FROM event WHERE state = 0";
const INSERT: &str = "INSERT INTO event (key, state, order_key, seq, parcel, next_at, changed_at)
  VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (key) DO NOTHING";
const STATE: &str = "SELECT state FROM event WHERE key = ?1";
const REVIVE: &str = "UPDATE event SET state = 0, order_key = ?2, seq = ?3, parcel = ?4, attempts = 0,
  next_at = ?5, changed_at = ?6, reason = '' WHERE key = ?1 AND state = 2";
const DELIVERED: &str = "UPDATE event SET state = 1, parcel = NULL, order_key = '', changed_at = ?2
  WHERE key = ?1 AND state = 0";
const PARKED: &str = "UPDATE event SET state = 2, reason = ?3, changed_at = ?2 WHERE key = ?1 AND state = 0";
const KEPT: &str = "UPDATE event SET attempts = ?2, next_at = ?3 WHERE key = ?1 AND state = 0";
// The head of each order that is due: behind a head that waits, its whole order waits.
const HEADS: &str = "SELECT e.key, e.order_key FROM event AS e WHERE e.state = 0 AND e.next_at <= ?1
  AND NOT EXISTS (SELECT 1 FROM event AS earlier
    WHERE earlier.state = 0 AND earlier.order_key = e.order_key AND earlier.seq < e.seq)
  ORDER BY e.seq LIMIT ?2";
const RELEASE: &str = "UPDATE event SET next_at = ?1 WHERE state = 0 AND next_at > ?1";
const LOAD: &str = "SELECT parcel, attempts FROM event WHERE key = ?1 AND state = 0";
const WAITS: &str = "SELECT 1 FROM event WHERE state = 0 AND order_key = ?1 LIMIT 1";
// Heads only, and of them those that are not on their way: a row behind a head is not due before it.
const SOONEST: &str = "SELECT MIN(e.next_at) FROM event AS e WHERE e.state = 0
  AND e.order_key NOT IN (?1, ?2, ?3, ?4, ?5, ?6)
  AND NOT EXISTS (SELECT 1 FROM event AS earlier
    WHERE earlier.state = 0 AND earlier.order_key = e.order_key AND earlier.seq < e.seq)";
const FIRST_PARKED: &str = "SELECT MIN(changed_at) FROM event WHERE state = 2";
const RETRY: &str = "UPDATE event SET state = 0, attempts = 0, next_at = ?1, changed_at = ?1, reason = ''
  WHERE key IN (SELECT key FROM event WHERE state = 2 AND changed_at <= ?2 ORDER BY changed_at LIMIT ?3)
  RETURNING key";
const PAGE_END: &str = "SELECT key FROM event WHERE key > ?1 ORDER BY key LIMIT 1 OFFSET ?2";
const EXPIRE: &str = "DELETE FROM event WHERE key > ?1 AND key <= ?2 AND state = 1 AND changed_at < ?3";
const EXPIRED_AT: &str = "SELECT done_at FROM expiry";
const EXPIRED: &str = "INSERT INTO expiry (id, done_at) VALUES (1, ?1)
  ON CONFLICT (id) DO UPDATE SET done_at = excluded.done_at";
const ANY: &str = "SELECT 1 FROM event LIMIT 1";
const FIGURES: &str = "SELECT (SELECT COUNT(*) FROM event WHERE state = 0),
  (SELECT COUNT(*) FROM event WHERE state = 2), (SELECT MIN(changed_at) FROM event WHERE state = 0)";
const REASONS: &str = "SELECT reason, COUNT(*) FROM event WHERE state = 2 GROUP BY reason
  ORDER BY COUNT(*) DESC LIMIT 10";

/// Behind every key: the highest character.
const LAST_KEY: &str = "\u{10FFFF}";

thread_local! {
    // Texts, not objects of a request: kept so that the hot path does not decode them again.
    static INSERT_JS: JsString = JsString::from(INSERT);
    static DELIVERED_JS: JsString = JsString::from(DELIVERED);
}

/// A row to write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewRow<'a> {
    pub(crate) key: &'a str,
    pub(crate) order: &'a str,
    pub(crate) seq: i64,
    pub(crate) parcel: &'a [u8],
    pub(crate) next_at: Timestamp,
    pub(crate) now: Timestamp,
}

/// What health shows of a shard.
#[derive(Debug, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    pub(crate) pending: i64,
    pub(crate) parked: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oldest_pending_ms: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) parked_reasons: Vec<(String, i64)>,
}

/// The table of one inbox.
pub(crate) struct Store {
    sql: Sql,
}

impl Store {
    /// Makes the table if it is not there; gives the number of pending rows and the last place in the order.
    pub(crate) fn open(sql: Sql) -> Result<(Self, i64, i64), Broken> {
        let store = Self { sql };
        store.write(&JsString::from(SCHEMA), &[])?;
        let counted = store.first(COUNTS, &[])?;
        let cell = |column| {
            counted
                .as_ref()
                .and_then(|row| port::whole_cell(row, column))
                .unwrap_or_default()
        };
        let (pending, last) = (cell(0), cell(1));
        Ok((store, pending, last))
    }

    /// Inserts a pending row; `false` if the key is known.
    pub(crate) fn insert(&self, row: &NewRow<'_>) -> Result<bool, Broken> {
        INSERT_JS.with(|insert| self.write_row(insert, row))
    }

    /// The state of a known key.
    pub(crate) fn state(&self, key: &str) -> Result<Option<State>, Broken> {
        let row = self.first(STATE, &[key.into()])?;
        Ok(row
            .and_then(|row| port::whole_cell(&row, 0))
            .and_then(State::from_code))
    }

    /// Makes a parked row pending again, with the bytes of the repeat.
    pub(crate) fn revive(&self, row: &NewRow<'_>) -> Result<bool, Broken> {
        self.write_row(&JsString::from(REVIVE), row)
    }

    /// pending → delivered; `false` if the row is no longer pending.
    pub(crate) fn delivered(&self, key: &str, now: Timestamp) -> Result<bool, Broken> {
        let now = number(now.unix_ms());
        Ok(DELIVERED_JS.with(|delivered| port::mark(&self.sql, delivered, key, now))? > 0.0)
    }

    /// pending → parked; `false` if the row is no longer pending.
    pub(crate) fn parked(&self, key: &str, reason: &str, now: Timestamp) -> Result<bool, Broken> {
        self.write(&JsString::from(PARKED), &[key.into(), at(now), reason.into()])
    }

    /// Stays pending, later.
    pub(crate) fn kept(&self, key: &str, attempts: u32, next_at: Timestamp) -> Result<bool, Broken> {
        self.write(&JsString::from(KEPT), &[key.into(), attempts.into(), at(next_at)])
    }

    /// Makes every pending row due; `true` if one was not.
    pub(crate) fn release(&self, now: Timestamp) -> Result<bool, Broken> {
        self.write(&JsString::from(RELEASE), &[at(now)])
    }

    /// Keys and orders of the due heads.
    pub(crate) fn heads(&self, now: Timestamp, limit: u32) -> Result<Vec<(String, String)>, Broken> {
        let rows = self.rows(HEADS, &[at(now), limit.into()])?;
        Ok(port::each_row(&rows)
            .map(|row| (port::text_cell(&row, 0), port::text_cell(&row, 1)))
            .collect())
    }

    /// The parcel and the attempts so far of a row that is still pending.
    pub(crate) fn load(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, Broken> {
        let row = self.first(LOAD, &[key.into()])?;
        let attempts = |row: &Array| port::whole_cell(row, 1).and_then(|count| u32::try_from(count).ok());
        Ok(row.map(|row| (port::bytes_cell(&row, 0), attempts(&row).unwrap_or(u32::MAX))))
    }

    /// Whether an event of this order is pending.
    pub(crate) fn waits(&self, order: &str) -> Result<bool, Broken> {
        Ok(self.first(WAITS, &[order.into()])?.is_some())
    }

    /// When the next head is due whose order is not among `in_flight`.
    pub(crate) fn soonest(&self, in_flight: &BTreeSet<String>) -> Result<Option<Timestamp>, Broken> {
        let mut orders = in_flight.iter().map(String::as_str);
        // No order's name is empty.
        let excepted = [(); IN_FLIGHT_MAX].map(|()| orders.next().unwrap_or_default().into());
        self.instant(SOONEST, &excepted)
    }

    /// When the longest parked row was parked.
    pub(crate) fn first_parked(&self) -> Result<Option<Timestamp>, Broken> {
        self.instant(FIRST_PARKED, &[])
    }

    /// Makes the rows parked at `before` or earlier pending again, at most `limit`; how many.
    pub(crate) fn retry(&self, now: Timestamp, before: Timestamp, limit: u32) -> Result<u32, Broken> {
        Ok(self.rows(RETRY, &[at(now), at(before), limit.into()])?.length())
    }

    /// Deletes the keys delivered before `before` among the `page` keys after `from`; the last key looked at, or
    /// `None` if there are no more.
    pub(crate) fn expire(&self, from: &str, before: Timestamp, page: u32) -> Result<Option<String>, Broken> {
        let end = self
            .first(PAGE_END, &[from.into(), page.into()])?
            .map(|row| port::text_cell(&row, 0));
        let to = end.as_deref().unwrap_or(LAST_KEY);
        self.write(&JsString::from(EXPIRE), &[from.into(), to.into(), at(before)])?;
        Ok(end)
    }

    /// When every key was last looked at; `None` if never.
    pub(crate) fn expired_at(&self) -> Result<Option<Timestamp>, Broken> {
        self.instant(EXPIRED_AT, &[])
    }

    /// Notes that every key has been looked at.
    pub(crate) fn expired(&self, now: Timestamp) -> Result<bool, Broken> {
        self.write(&JsString::from(EXPIRED), &[at(now)])
    }

    /// Whether the table holds anything.
    pub(crate) fn any(&self) -> Result<bool, Broken> {
        Ok(self.first(ANY, &[])?.is_some())
    }

    /// What health shows.
    pub(crate) fn figures(&self) -> Result<Figures, Broken> {
        let row = self.first(FIGURES, &[])?;
        let cell = |column| row.as_ref().and_then(|row| port::whole_cell(row, column));
        let reasons = self.rows(REASONS, &[])?;
        let reason = |row: Array| {
            (
                port::text_cell(&row, 0),
                port::whole_cell(&row, 1).unwrap_or_default(),
            )
        };
        Ok(Figures {
            pending: cell(0).unwrap_or_default(),
            parked: cell(1).unwrap_or_default(),
            oldest_pending_ms: cell(2),
            parked_reasons: port::each_row(&reasons).map(reason).collect(),
        })
    }

    /// One crossing for all bindings: this is the write that every notice pays for.
    fn write_row(&self, query: &JsString, row: &NewRow<'_>) -> Result<bool, Broken> {
        let (next_at, now) = (number(row.next_at.unix_ms()), number(row.now.unix_ms()));
        let written = port::write_event(
            &self.sql,
            query,
            row.key,
            row.order,
            number(row.seq),
            row.parcel,
            next_at,
            now,
        )?;
        Ok(written > 0.0)
    }

    fn write(&self, query: &JsString, bindings: &[JsValue]) -> Result<bool, Broken> {
        let bindings = bindings.iter().collect::<Array>();
        Ok(port::rows_written(&self.sql, query, &bindings)? > 0.0)
    }

    fn rows(&self, query: &str, bindings: &[JsValue]) -> Result<Array, Broken> {
        let bindings = bindings.iter().collect::<Array>();
        Ok(port::rows(&self.sql, &JsString::from(query), &bindings)?)
    }

    fn first(&self, query: &str, bindings: &[JsValue]) -> Result<Option<Array>, Broken> {
        let rows = self.rows(query, bindings)?;
        Ok(port::each_row(&rows).next())
    }

    fn instant(&self, query: &str, bindings: &[JsValue]) -> Result<Option<Timestamp>, Broken> {
        let row = self.first(query, bindings)?;
        Ok(row
            .and_then(|row| port::whole_cell(&row, 0))
            .map(Timestamp::from_unix_ms))
    }
}

fn at(time: Timestamp) -> JsValue {
    number(time.unix_ms()).into()
}
