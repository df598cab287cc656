//! Runs one Rust future for one event of the runtime, with as few crossings as there are awaits.
//!
//! `lib::fetch`, `caller`, `inbox::deliver` → **task** ⇄ `glue.mjs` (`drive`) → the runtime.
//!
//! `wasm-bindgen-futures` makes two closures for every awaited promise, registers and releases them, and goes
//! through a microtask of its own for every wake-up: about ten crossings an await (PERFORMANCE.md). Here a future
//! that awaits hands its promise out; `drive` awaits it in JavaScript and calls `resume` with the outcome: one
//! crossing. A task awaits one promise at a time; what runs in parallel is joined in `glue.mjs`.
//!
//! Invariants: only `wait` is ever pending inside a task; no borrow is held while a task is polled, so a task may
//! spawn another. Failure: a rejected promise is an `Err` at its await. A promise that never settles keeps its
//! task in memory, as it would keep a closure.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::Closure;

use crate::port;

type Task = Pin<Box<dyn Future<Output = JsValue>>>;
/// Slot, whether the promise was fulfilled, its value → the next promise, or the result.
type Resume = Closure<dyn Fn(u32, bool, JsValue) -> JsValue>;

#[derive(Default)]
struct Tasks {
    slots: Vec<Option<Task>>,
    free: Vec<u32>,
}

thread_local! {
    static TASKS: RefCell<Tasks> = RefCell::default();
    /// The promise that the task being polled waits for.
    static AWAITED: RefCell<Option<JsValue>> = const { RefCell::new(None) };
    /// What that promise came to.
    static OUTCOME: RefCell<Option<Result<JsValue, JsValue>>> = const { RefCell::new(None) };
    static RESUME: Resume = Closure::new(|slot: u32, fulfilled: bool, value: JsValue| {
        resume(slot, if fulfilled { Ok(value) } else { Err(value) })
    });
}

impl Tasks {
    fn add(&mut self, task: Task) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // A slot is a task of its own with a promise of its own: memory ends long before u32 does.
            u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        self.put(slot, task);
        slot
    }

    fn put(&mut self, slot: u32, task: Task) {
        if let Some(place) = usize::try_from(slot)
            .ok()
            .and_then(|slot| self.slots.get_mut(slot))
        {
            *place = Some(task);
        }
    }

    fn take(&mut self, slot: u32) -> Option<Task> {
        usize::try_from(slot)
            .ok()
            .and_then(|slot| self.slots.get_mut(slot))?
            .take()
    }
}

/// Runs a future up to its first await and gives its result, or a promise of it.
pub(crate) fn run(future: impl Future<Output = JsValue> + 'static) -> JsValue {
    let mut task: Task = Box::pin(future);
    match poll(&mut task) {
        Poll::Ready(result) => result,
        Poll::Pending => {
            let awaited = awaited();
            let slot = TASKS.with_borrow_mut(|tasks| tasks.add(task));
            RESUME.with(|resume| port::drive(resume.as_ref(), slot, &awaited))
        }
    }
}

/// Runs a future in the background of the event.
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    run(async move {
        future.await;
        JsValue::UNDEFINED
    });
}

/// Awaits a promise inside a task.
pub(crate) async fn wait(promise: JsValue) -> Result<JsValue, JsValue> {
    Wait(Some(promise)).await
}

struct Wait(Option<JsValue>);

impl Future for Wait {
    type Output = Result<JsValue, JsValue>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(promise) = self.0.take() {
            AWAITED.set(Some(promise));
            return Poll::Pending;
        }
        OUTCOME.take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// A promise settled: goes on to the next await, whose promise it returns, or to the end.
fn resume(slot: u32, outcome: Result<JsValue, JsValue>) -> JsValue {
    let Some(mut task) = TASKS.with_borrow_mut(|tasks| tasks.take(slot)) else {
        return JsValue::UNDEFINED;
    };
    OUTCOME.set(Some(outcome));
    match poll(&mut task) {
        Poll::Ready(result) => {
            TASKS.with_borrow_mut(|tasks| tasks.free.push(slot));
            result
        }
        Poll::Pending => {
            TASKS.with_borrow_mut(|tasks| tasks.put(slot, task));
            awaited()
        }
    }
}

fn poll(task: &mut Task) -> Poll<JsValue> {
    // Nobody wakes a task but `resume`, which polls it itself.
    task.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn awaited() -> JsValue {
    AWAITED.take().unwrap_or(JsValue::UNDEFINED)
}
