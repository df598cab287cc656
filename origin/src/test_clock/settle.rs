//! Lets everything that is due happen, and everything that this brings about, until nothing is left.
//!
//! `steps` → **`settle`**: the loops' rounds while something is due, then the notices on their way through the edge.
//!
//! Invariants: a queue is asked only while it has something due, so a step at which nothing happens costs one query; a
//! row that another worker holds is waited for. The wait is bounded in real time, because a row that stays due would be
//! worked on for ever: it ends with the names of what is restless. Not here: what a round does (`work`).

use std::time::Duration;

use tollgate_shared::time::Timestamp;

use super::AdvanceError;
use super::steps::Drive;
use crate::db::DbError;
use crate::work::outbox::Lane;
use crate::work::{Round, inbox, outbox, payment_polls, schedule, subscriptions, timeouts, tokens};

/// How long to rest when something is due and nobody can take it; the edge answers fifty looks a second.
const PAUSE: Duration = Duration::from_millis(25);
/// Rests in one step: 75 seconds, longer than the edge refuses who asked too often, and than a lease lasts.
const PAUSES_MAX: u32 = 3_000;
/// Rounds in one step. A step that needs more brings itself about.
const ROUNDS_MAX: u32 = 100_000;

impl Drive<'_> {
    /// Until nothing is due any more.
    pub(super) async fn settle(&mut self) -> Result<(), AdvanceError> {
        let (mut pauses, mut rounds) = (0_u32, 0_u32);
        loop {
            let waiting = self.waiting().await?;
            if waiting.is_empty() {
                return Ok(());
            }
            if pauses >= PAUSES_MAX || rounds >= ROUNDS_MAX {
                return Err(AdvanceError::Restless {
                    now: self.origin.clock.now(),
                    waiting: waiting.join(", "),
                });
            }
            if self.work(&waiting).await? == Round::Worked {
                rounds = rounds.saturating_add(1);
            } else {
                pauses = pauses.saturating_add(1);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// What has something to do now: our queues, then the sandbox and the edge.
    async fn waiting(&mut self) -> Result<Vec<&'static str>, AdvanceError> {
        let ours = self.ours().await?;
        if !ours.is_empty() {
            return Ok(ours);
        }
        self.on_their_way().await
    }

    /// Our queues that have something due.
    async fn ours(&self) -> Result<Vec<&'static str>, AdvanceError> {
        let now = self.origin.clock.now();
        let is_due = |(queue, at): (&'static str, Timestamp)| (at <= now).then_some(queue);
        Ok(self.due().await?.into_iter().filter_map(is_due).collect())
    }

    /// Whether notices are on their way from the sandbox to us.
    async fn on_their_way(&mut self) -> Result<Vec<&'static str>, AdvanceError> {
        if !self.may_tell {
            return Ok(Vec::new());
        }
        let sandbox = self.look().await?;
        if sandbox.is_some_and(|sandbox| sandbox.notices_under_way > 0) {
            return Ok(vec!["notices of the sandbox"]);
        }
        if let Some(follower) = &self.follower
            && follower.edge_is_waiting().await?
        {
            return Ok(vec!["the inbox of the edge"]);
        }
        // What arrived meanwhile is in our queues: it is looked for once more.
        self.may_tell = false;
        self.ours().await
    }

    /// One round of each queue that has something due.
    async fn work(&mut self, waiting: &[&'static str]) -> Result<Round, DbError> {
        let mut all = Round::Idle;
        for queue in waiting {
            if self.round(queue).await? == Round::Worked {
                let ran = self.ran.entry(queue).or_default();
                *ran = ran.saturating_add(1);
                all = Round::Worked;
            }
            // An effect may be a call to a provider, which answers it with a notice, whoever of us makes it.
            self.may_tell |= *queue == "outbox";
        }
        Ok(all)
    }

    async fn round(&self, queue: &str) -> Result<Round, DbError> {
        match queue {
            "inbox" => inbox::round(self.origin).await,
            "outbox" => self.outbox().await,
            "payments" => timeouts::round(self.origin).await,
            "subscriptions" => subscriptions::round(self.origin).await,
            "tokens" => tokens::round(self.origin).await,
            "jobs" => {
                // Payments without news have no instant of their own; every hour has a job.
                payment_polls::round(self.origin).await?;
                schedule::round(self.origin, &self.client).await
            }
            _ => Ok(Round::Idle),
        }
    }

    async fn outbox(&self) -> Result<Round, DbError> {
        let mut all = Round::Idle;
        for lane in Lane::ALL {
            if outbox::round(self.origin, &self.client, lane).await? == Round::Worked {
                all = Round::Worked;
            }
        }
        Ok(all)
    }
}
