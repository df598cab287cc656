//! One JSON line for each request and each delivery attempt.
//!
//! Every shell → **log** → the runtime's log. Fields: event, delivery, route, status, outcome, duration.
//!
//! Invariant (DESIGN.md, 8): no body, header, key, address, user or order number; what stands here is ours or one
//! of a few words. The delivery id is the thread that leads to the origin's log and the ledger entry (OP-2).
//! `LOG_LEVEL=warn` leaves out what went well. Not here: metrics (the origin's).

use serde::Serialize;
use tollgate_shared::time::Timestamp;

use crate::answer::Answer;
use crate::origin::Reply;
use crate::receive::Head;
use crate::{clock, port};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    event: &'static str,
    delivery: String,
    route: &'a str,
    status: u16,
    outcome: &'a str,
    duration_ms: i64,
}

#[derive(Serialize)]
struct Attempt<'a> {
    event: &'static str,
    delivery: &'a str,
    status: u16,
    outcome: &'a str,
}

#[derive(Serialize)]
struct Broken<'a> {
    event: &'static str,
    place: &'a str,
    reason: &'a str,
}

/// A request was answered.
pub(crate) fn request(head: &Head<'_>, route: &str, answer: &Answer, all: bool) {
    if !all && answer.status < 400 {
        return;
    }
    let line = Request {
        event: "request",
        delivery: head.delivery.to_string(),
        route,
        status: answer.status,
        outcome: &answer.outcome,
        duration_ms: since(head.received_at),
    };
    write(&line, answer.status >= 500);
}

/// An attempt to deliver an event to the origin ended; status 0 is no answer, outcome `foreign` one that is not in
/// the origin's words.
pub(crate) fn delivery(delivery: &str, reply: Option<&Reply>, delivered: bool, all: bool) {
    if delivered && !all {
        return;
    }
    let problem = reply.map(Reply::problem_slug).unwrap_or_default();
    let outcome = match (delivered, reply, problem.as_str()) {
        (true, ..) => "delivered",
        (false, None, _) => "no-answer",
        (false, Some(_), "") => "foreign",
        (false, Some(_), problem) => problem,
    };
    let line = Attempt {
        event: "delivery",
        delivery,
        status: reply.map_or(0, |reply| reply.status),
        outcome,
    };
    write(&line, !delivered);
}

/// The runtime failed us: its words name a statement or a limit, never a value.
pub(crate) fn broken(place: &str, reason: &str) {
    let reason: String = reason.chars().take(200).collect();
    write(
        &Broken {
            event: "broken",
            place,
            reason: &reason,
        },
        true,
    );
}

fn since(start: Timestamp) -> i64 {
    clock::now().unix_ms().saturating_sub(start.unix_ms())
}

fn write(line: &impl Serialize, failed: bool) {
    port::log(&serde_json::to_string(line).unwrap_or_default(), failed);
}
