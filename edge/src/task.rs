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
//! spawn another. Failure: a rejected promise is an `Err` at its await. The promises of a request whose caller hung
//! up never settle; the number of tasks is bounded, and the oldest make room.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::Closure;

use crate::port;

type Task = Pin<Box<dyn Future<Output = JsValue>>>;
/// The task's number, whether the promise was fulfilled, its value → the next promise, or the result.
type Resume = Closure<dyn Fn(u32, bool, JsValue) -> JsValue>;

/// More tasks than one isolate can have under way (its memory ends before): what is older was given up by a caller
/// that hung up, whose promises never settle.
const UNDER_WAY_MAX: usize = 4_096;

#[derive(Default)]
struct Tasks {
    /// By age; a number is not used again while it could be confused.
    waiting: BTreeMap<u32, Task>,
    last: u32,
}

thread_local! {
    static TASKS: RefCell<Tasks> = RefCell::default();
    /// The promise that the task being polled waits for.
    static AWAITED: RefCell<Option<JsValue>> = const { RefCell::new(None) };
    /// What that promise came to.
    static OUTCOME: RefCell<Option<Result<JsValue, JsValue>>> = const { RefCell::new(None) };
    static RESUME: Resume = Closure::new(|number: u32, fulfilled: bool, value: JsValue| {
        resume(number, if fulfilled { Ok(value) } else { Err(value) })
    });
}

impl Tasks {
    fn add(&mut self, task: Task) -> u32 {
        if self.waiting.len() >= UNDER_WAY_MAX {
            self.waiting.pop_first();
        }
        self.last = self.last.wrapping_add(1);
        self.waiting.insert(self.last, task);
        self.last
    }
}

/// Runs a future up to its first await and gives its result, or a promise of it.
pub(crate) fn run(future: impl Future<Output = JsValue> + 'static) -> JsValue {
    let mut task: Task = Box::pin(future);
    match poll(&mut task) {
        Poll::Ready(result) => result,
        Poll::Pending => {
            let awaited = awaited();
            let number = TASKS.with_borrow_mut(|tasks| tasks.add(task));
            RESUME.with(|resume| port::drive(resume.as_ref(), number, &awaited))
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
fn resume(number: u32, outcome: Result<JsValue, JsValue>) -> JsValue {
    let Some(mut task) = TASKS.with_borrow_mut(|tasks| tasks.waiting.remove(&number)) else {
        return JsValue::UNDEFINED;
    };
    OUTCOME.set(Some(outcome));
    match poll(&mut task) {
        Poll::Ready(result) => result,
        Poll::Pending => {
            TASKS.with_borrow_mut(|tasks| tasks.waiting.insert(number, task));
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

#[cfg(test)]
mod tests {
    use super::{Tasks, UNDER_WAY_MAX};
    use wasm_bindgen::JsValue;

    #[test]
    fn callers_that_hang_up_do_not_fill_the_memory() {
        let mut tasks = Tasks::default();
        for _ in 0..=UNDER_WAY_MAX {
            tasks.add(Box::pin(std::future::pending::<JsValue>()));
        }
        assert_eq!(tasks.waiting.len(), UNDER_WAY_MAX);
        assert!(!tasks.waiting.contains_key(&1));
    }

    #[test]
    fn a_number_is_not_used_again_soon() {
        let mut tasks = Tasks {
            last: u32::MAX,
            ..Tasks::default()
        };
        let numbers = [0; 2].map(|_| tasks.add(Box::pin(std::future::pending::<JsValue>())));
        assert_eq!(numbers, [0, 1]);
    }
}
