//! The caller's tables, and the only SQL of the caller.
//!
//! `caller` → **store** → SQLite of the Durable Object, one a user.
//!
//! Invariant: as in `inbox::store`: complete statements, no `.one()`, no lazy cursor. A row is an idempotency key
//! with what it stood for and, once known, its answer; the bucket is one number. Nothing is kept longer than
//! 24 h but that number. Failure: a JavaScript exception, as `Broken`.

use js_sys::{Array, JsString};
use tollgate_shared::time::Timestamp;
use wasm_bindgen::JsValue;

use super::decision::{Fingerprint, Known};
use crate::origin::Reply;
use crate::port::{self, Broken, Sql, number};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS call (
  key TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL,        -- JSON object of the fields
  at INTEGER NOT NULL,              -- ms; first use
  status INTEGER NOT NULL,          -- 0 while there is no answer
  content_type TEXT NOT NULL,
  body TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bucket (id INTEGER PRIMARY KEY CHECK (id = 1), full_at INTEGER NOT NULL)";
const FIND: &str = "SELECT fingerprint, at, status, content_type, body FROM call WHERE key = ?1";
const BEGIN: &str = "INSERT INTO call (key, fingerprint, at, status, content_type, body) VALUES (?1, ?2, ?3, 0, '', '')
  ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, at = excluded.at, status = 0, body = ''";
const FINISH: &str = "UPDATE call SET status = ?2, content_type = ?3, body = ?4 WHERE key = ?1";
const FORGET: &str = "DELETE FROM call WHERE key = ?1";
const EXPIRE: &str = "DELETE FROM call WHERE at < ?1";
const ANY: &str = "SELECT 1 FROM call LIMIT 1";
const FULL_AT: &str = "SELECT full_at FROM bucket";
const TAKE: &str = "INSERT INTO bucket (id, full_at) VALUES (1, ?1)
  ON CONFLICT (id) DO UPDATE SET full_at = excluded.full_at";

/// The tables of one user.
pub(crate) struct Store {
    sql: Sql,
}

impl Store {
    /// Makes the tables if they are not there.
    pub(crate) fn open(sql: Sql) -> Result<Self, Broken> {
        let store = Self { sql };
        store.write(SCHEMA, &[])?;
        Ok(store)
    }

    /// What is known of a key.
    pub(crate) fn find(&self, key: &str) -> Result<Option<Known>, Broken> {
        let Some(row) = self.first(FIND, &[key.into()])? else {
            return Ok(None);
        };
        let fingerprint = serde_json::from_str(&port::text_cell(&row, 0));
        let status = port::whole_cell(&row, 2)
            .and_then(|status| u16::try_from(status).ok())
            .filter(|status| *status > 0);
        Ok(Some(Known {
            fingerprint: fingerprint.map_err(|error| Broken(error.to_string()))?,
            at: Timestamp::from_unix_ms(port::whole_cell(&row, 1).unwrap_or_default()),
            reply: status.map(|status| Reply {
                status,
                content_type: port::text_cell(&row, 3),
                header: String::new(),
                body: port::text_cell(&row, 4),
            }),
        }))
    }

    /// Notes that a call begins.
    pub(crate) fn begin(&self, key: &str, fingerprint: &Fingerprint, now: Timestamp) -> Result<(), Broken> {
        let fingerprint = serde_json::to_string(fingerprint).map_err(|error| Broken(error.to_string()))?;
        self.write(BEGIN, &[key.into(), fingerprint.into(), at(now)])
    }

    /// Pins an answer to its key.
    pub(crate) fn finish(&self, key: &str, reply: &Reply) -> Result<(), Broken> {
        let content_type = reply.content_type.as_str().into();
        self.write(
            FINISH,
            &[
                key.into(),
                reply.status.into(),
                content_type,
                reply.body.as_str().into(),
            ],
        )
    }

    /// Lets a key go, so that it may be tried again.
    pub(crate) fn forget(&self, key: &str) -> Result<(), Broken> {
        self.write(FORGET, &[key.into()])
    }

    /// Deletes the keys used before `before`; whether any are left.
    pub(crate) fn expire(&self, before: Timestamp) -> Result<bool, Broken> {
        self.write(EXPIRE, &[at(before)])?;
        Ok(self.first(ANY, &[])?.is_some())
    }

    /// When the bucket will be full; the epoch if it was never used.
    pub(crate) fn full_at(&self) -> Result<Timestamp, Broken> {
        let row = self.first(FULL_AT, &[])?;
        Ok(Timestamp::from_unix_ms(
            row.and_then(|row| port::whole_cell(&row, 0)).unwrap_or_default(),
        ))
    }

    /// Writes down a taken token.
    pub(crate) fn take(&self, full_at: Timestamp) -> Result<(), Broken> {
        self.write(TAKE, &[at(full_at)])
    }

    fn write(&self, query: &str, bindings: &[JsValue]) -> Result<(), Broken> {
        port::rows_written(
            &self.sql,
            &JsString::from(query),
            &bindings.iter().collect::<Array>(),
        )?;
        Ok(())
    }

    fn first(&self, query: &str, bindings: &[JsValue]) -> Result<Option<Array>, Broken> {
        let rows = port::rows(
            &self.sql,
            &JsString::from(query),
            &bindings.iter().collect::<Array>(),
        )?;
        Ok(port::each_row(&rows).next())
    }
}

fn at(time: Timestamp) -> JsValue {
    number(time.unix_ms()).into()
}
