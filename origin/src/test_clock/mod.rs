//! A clock that a test moves, and everything that time brings about on the way (DESIGN.md, 5).
//!
//! `POST /internal/v1/test-clock/advance` → **[`advance`]**: to the next instant at which anything is due, here or at the
//! sandbox; let everything happen; on to the next, up to the wished one. A year passes in the order in which it would.
//!
//! Invariants: the clock never goes back, as leases and ids would; one advance at a time; it moves on only when nothing
//! is left to do, so a charge of day 30 is settled before day 31 begins. The sandbox has the same time at every step.
//! The edge does not follow: it cannot move its clock, and needs none but for sessions and the hop, which are checked
//! against the machine's clock at both ends ([`Origin::edge_time`] is the bridge).
//! Not here: what is due (the loops of `work`). Failure: [`AdvanceError`]; the clock stays at the step that failed.

mod settle;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tollgate_shared::time::Timestamp;

use crate::Origin;
use crate::clock::Movable;
use crate::db::DbError;
use crate::gateway::sandbox::FollowError;

/// How far one advance goes: two years and a day of each, leap days included.
pub(crate) const ADVANCE_MAX: Duration = Duration::from_hours(24 * 733);

/// The clock of a running origin, where it may be moved.
pub(crate) struct Mover {
    clock: Arc<dyn Movable>,
    /// Held during an advance.
    turn: Mutex<()>,
}

impl Mover {
    /// The handle of a clock.
    pub(crate) fn new(clock: Arc<dyn Movable>) -> Self {
        Self {
            clock,
            turn: Mutex::new(()),
        }
    }
}

/// Where to move the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Ahead by so much.
    By(Duration),
    /// To an instant.
    To(Timestamp),
}

/// What an advance did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Advanced {
    /// The time now.
    pub(crate) now: Timestamp,
    /// Instants at which something was due.
    pub(crate) steps: u32,
    /// Rounds that found work, by queue.
    pub(crate) ran: BTreeMap<&'static str, u64>,
}

/// Why the clock is not where it was wished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdvanceError {
    /// Another call moves it.
    #[error("the clock is being moved by another call")]
    UnderWay,
    /// The instant has passed.
    #[error("the clock shows {now} and never goes back")]
    Passed {
        /// The time.
        now: Timestamp,
    },
    /// The instant is further than one call goes.
    #[error("one call moves the clock by at most {} days", ADVANCE_MAX.as_secs() / 86_400)]
    TooFar,
    /// More happened than one call may bring about.
    #[error("stopped at {now} after {steps} steps; call again to go on")]
    TooManySteps {
        /// The time that was reached.
        now: Timestamp,
        /// Steps taken.
        steps: u32,
    },
    /// Something is due and stays due.
    #[error("stopped at {now}: {waiting} did not come to rest")]
    Restless {
        /// The time that was reached.
        now: Timestamp,
        /// What has still something to do.
        waiting: String,
    },
    /// The sandbox or the edge did not follow.
    #[error("the stack does not follow the clock")]
    Follow(#[from] FollowError),
    /// The database did not do its work.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A client of outbound calls cannot be made.
    #[error("outbound calls cannot be made")]
    Client(#[source] reqwest::Error),
}

/// Moves the clock to an instant, through everything that is due before.
pub(crate) async fn advance(
    origin: &Origin,
    mover: &Mover,
    target: Target,
) -> Result<Advanced, AdvanceError> {
    let _turn = mover.turn.try_lock().map_err(|_| AdvanceError::UnderWay)?;
    let now = origin.clock.now();
    let to = match target {
        Target::By(duration) => now.plus(duration),
        Target::To(instant) => instant,
    };
    if to < now {
        return Err(AdvanceError::Passed { now });
    }
    if to > now.plus(ADVANCE_MAX) {
        return Err(AdvanceError::TooFar);
    }
    steps::Drive::new(origin, mover)?.to(to).await
}

impl Origin {
    /// An instant of the edge's clock, or of another machine's, as one of ours. The two differ only under a test clock: by
    /// as much as it was moved. What happened "now" at the edge would otherwise lie a year back once a year was skipped.
    pub(crate) fn edge_time(&self, at: Timestamp) -> Timestamp {
        match &self.test_clock {
            Some(_) => at.plus(self.clock.now().distance(self.wall.now())),
            None => at,
        }
    }
}
