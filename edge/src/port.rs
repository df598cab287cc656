//! Every crossing between Rust and JavaScript, declared in one place.
//!
//! All steps → **port** → `glue.mjs` → the runtime. A crossing costs tens of nanoseconds and every text that
//! crosses is decoded anew, so the functions are few and coarse; PERFORMANCE.md counts them per route.
//!
//! Invariant: everything that can throw in JavaScript is declared `catch` (or rejects a promise, and is awaited as a `Result`): an
//! exception that passes through wasm would reset the instance and fail every request in flight
//! (reference workers.md, 1.8). Not here: any decision. `worker` itself is used for what it does best: start-up,
//! the panic hook and the reset of a poisoned instance.

use js_sys::{Array, JsString, Uint8Array};
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};
use worker::Env;

#[wasm_bindgen(module = "/src/glue.mjs")]
extern "C" {
    /// A request as the runtime made it. Its properties are read by `glue.mjs`, in bulk.
    pub type Request;
    /// An answer for the runtime.
    pub(crate) type Response;
    /// `state` of a Durable Object.
    #[derive(Clone)]
    pub type ObjectState;
    /// `state.storage.sql`.
    #[derive(Clone)]
    pub(crate) type Sql;

    pub(crate) fn head(request: &Request) -> String;
    pub(crate) fn headers(request: &Request, names: &str) -> String;
    pub(crate) fn setting(env: &Env, name: &str) -> Option<String>;
    pub(crate) fn bound(env: &Env, name: &str) -> bool;
    #[wasm_bindgen(catch)]
    pub(crate) fn answer(status: u16, lines: &str, body: &str) -> Result<Response, JsValue>;
    pub(crate) fn bytes(body: &JsValue) -> Vec<u8>;
    pub(crate) fn random(count: u32) -> Vec<u8>;

    // Promises, for `task::wait`. All are `async` in JavaScript, so that they reject and never throw.
    pub(crate) fn receive(request: &Request, env: &Env, key: &str, open: bool, max: u32) -> JsValue;
    pub(crate) fn accept(env: &Env, name: &str, parcel: &[u8]) -> JsValue;
    pub(crate) fn figures(env: &Env, shards: u32) -> JsValue;
    pub(crate) fn ask_caller(env: &Env, name: &str, request: &str) -> JsValue;
    pub(crate) fn send(
        env: &Env,
        base: &str,
        path: &str,
        method: &str,
        lines: &str,
        body: &[u8],
        budget_ms: u32,
    ) -> JsValue;
    pub(crate) fn post_form(url: &str, body: &str, budget_ms: u32) -> JsValue;
    pub(crate) fn inbox(request: &Request, accept: &JsValue, figures: &JsValue) -> JsValue;
    pub(crate) fn sleep(ms: u32) -> JsValue;
    pub(crate) fn body_text(request: &Request) -> JsValue;
    pub(crate) fn drive(resume: &JsValue, number: u32, promise: &JsValue) -> JsValue;

    #[wasm_bindgen(catch)]
    pub(crate) fn arm(state: &ObjectState, at_ms: f64) -> Result<(), JsValue>;
    pub(crate) fn sql_of(state: &ObjectState) -> Sql;
    #[wasm_bindgen(catch)]
    pub(crate) fn write_event(
        sql: &Sql,
        query: &JsString,
        key: &str,
        order: &str,
        seq: f64,
        parcel: &[u8],
        next_at: f64,
        now: f64,
    ) -> Result<f64, JsValue>;
    #[wasm_bindgen(catch)]
    pub(crate) fn mark(sql: &Sql, query: &JsString, key: &str, now: f64) -> Result<f64, JsValue>;
    #[wasm_bindgen(catch, variadic)]
    pub(crate) fn rows_written(sql: &Sql, query: &JsString, bindings: &Array) -> Result<f64, JsValue>;
    #[wasm_bindgen(catch, variadic)]
    pub(crate) fn rows(sql: &Sql, query: &JsString, bindings: &Array) -> Result<Array, JsValue>;
    pub(crate) fn log(line: &str, failed: bool);
    pub(crate) fn now_ms() -> f64;
}

/// What the runtime threw; its own words, for the log.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

impl From<JsValue> for Broken {
    fn from(thrown: JsValue) -> Self {
        Self(format!("{thrown:?}"))
    }
}

/// A JavaScript number as an integer. `Date.now()` and every number that we store are whole and below 2^53.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "there is no TryFrom<f64>; `as` saturates"
)]
pub(crate) const fn whole(number: f64) -> i64 {
    number as i64
}

/// An integer as JavaScript has it; below 2^53 for every time and count that we keep.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "there is no From<i64> for f64; our values are below 2^53"
)]
pub(crate) const fn number(whole: i64) -> f64 {
    whole as f64
}

/// The HTTP status with which `glue.mjs` rejects, if it was our own rejection.
pub(crate) fn status_of(thrown: &JsValue) -> Option<i64> {
    thrown.as_f64().map(whole)
}

/// A cell of a row as text; empty for NULL.
pub(crate) fn text_cell(row: &Array, column: u32) -> String {
    row.get(column).as_string().unwrap_or_default()
}

/// A cell of a row as an integer; `None` for NULL.
pub(crate) fn whole_cell(row: &Array, column: u32) -> Option<i64> {
    row.get(column).as_f64().map(whole)
}

/// A cell of a row as bytes; empty for NULL.
pub(crate) fn bytes_cell(row: &Array, column: u32) -> Vec<u8> {
    let cell = row.get(column);
    if cell.is_object() {
        Uint8Array::new(&cell).to_vec()
    } else {
        Vec::new()
    }
}

/// The rows that a query gave, each an array of cells.
pub(crate) fn each_row(rows: &Array) -> impl Iterator<Item = Array> {
    rows.iter().map(JsCast::unchecked_into::<Array>)
}
