//! Days for tests that move the clock: fixed in the year, whatever year the machine is in.
//!
//! Invariant: the year is the first common year after the machine's, so 31 January is followed by 28 February.
//! Not here: expectations. Failure: a helper panics.

use serde_json::json;
use tollgate_shared::time::Timestamp;

use crate::stage::Stage;

/// The first year after the sandbox's own that has no 29 February.
#[expect(clippy::arithmetic_side_effects, reason = "a year and a little")]
pub(crate) async fn common_year(stage: &Stage) -> i64 {
    let this: i64 = now(stage).await.to_taipei("%Y").unwrap().parse().unwrap();
    (1..=2)
        .map(|more| this + more)
        .find(|year| year % 4 != 0)
        .unwrap()
}

pub(crate) async fn now(stage: &Stage) -> Timestamp {
    let clock = stage.get("/control/v1/clock").await.json();
    Timestamp::from_unix_ms(clock["unixMs"].as_i64().unwrap())
}

/// Moves the clock to a Taiwan wall clock, `2027-01-31 15:00`.
pub(crate) async fn go_to(stage: &Stage, wall_clock: &str) {
    let at = Timestamp::from_taipei("%Y-%m-%d %H:%M", wall_clock).unwrap();
    let moved = stage.control("clock", json!({ "toUnixMs": at.unix_ms() })).await;
    assert_eq!(moved.status, 200, "{wall_clock}: {}", moved.body);
}
