//! From one instant to the next at which something is due, up to the wished one.
//!
//! `advance` → **[`Drive`]** → `settle` at every step.
//!
//! Invariant: of two instants the earlier comes first, whether it is ours or the sandbox's; the number of steps is
//! bounded. Progress is logged once a month of moved time, because a year takes a while.

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate_shared::time::Timestamp;

use super::{AdvanceError, Advanced, Mover};
use crate::Origin;
use crate::db::{DbError, due};
use crate::gateway::sandbox::{FollowError, Follower, SandboxClock};
use crate::gateway::user_core::Client;
use crate::work::outbox::Lane;
use crate::work::schedule::{self, ScheduledJob};

/// Two years of scheduled jobs are some 25,000 instants; the rest is for what customers do.
const STEPS_MAX: u32 = 100_000;
/// How often progress is logged, in moved time.
const PROGRESS: Duration = Duration::from_hours(24 * 30);

/// The sandbox's clock as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    clock: SandboxClock,
    /// By the machine's clock.
    at: Timestamp,
}

/// One advance.
pub(super) struct Drive<'a> {
    pub(super) origin: &'a Origin,
    pub(super) client: Client,
    mover: &'a Mover,
    /// The sandbox and the edge, where a sandbox follows.
    pub(super) follower: Option<Follower>,
    pub(super) sandbox: Option<Seen>,
    /// Whether a notice may be on its way: the sandbox had something due, or one of our effects may have called it.
    pub(super) may_tell: bool,
    pub(super) ran: BTreeMap<&'static str, u64>,
    steps: u32,
}

impl<'a> Drive<'a> {
    /// Before the first step.
    pub(super) fn new(origin: &'a Origin, mover: &'a Mover) -> Result<Self, AdvanceError> {
        let sandbox_url = origin.config.upkeep.sandbox_control_url.as_ref();
        let edge_url = &origin.config.checkout.public_edge_url;
        Ok(Self {
            origin,
            client: Client::new().map_err(AdvanceError::Client)?,
            mover,
            follower: sandbox_url
                .map(|sandbox_url| Follower::new(sandbox_url, edge_url))
                .transpose()?,
            sandbox: None,
            may_tell: true,
            ran: BTreeMap::new(),
            steps: 0,
        })
    }

    /// Step by step to the wished instant.
    pub(super) async fn to(mut self, to: Timestamp) -> Result<Advanced, AdvanceError> {
        schedule::ensure(self.origin).await?;
        self.look().await?;
        self.step(self.origin.clock.now()).await?;
        let mut told_at = self.origin.clock.now();
        while let Some(at) = self.next_due().await?.filter(|at| *at <= to) {
            if self.steps >= STEPS_MAX {
                let (now, steps) = (self.origin.clock.now(), self.steps);
                return Err(AdvanceError::TooManySteps { now, steps });
            }
            self.step(at).await?;
            self.steps = self.steps.saturating_add(1);
            if at.distance(told_at) > PROGRESS {
                told_at = at;
                tracing::info!(steps = self.steps, "the test clock shows {at}");
            }
        }
        self.step(to).await?;
        Ok(Advanced {
            now: self.origin.clock.now(),
            steps: self.steps,
            ran: self.ran,
        })
    }

    /// The earliest instant at which anything is due, here or at the sandbox.
    async fn next_due(&self) -> Result<Option<Timestamp>, AdvanceError> {
        let ours = self.due().await?.into_values().min();
        let sandbox = self.sandbox.and_then(|seen| seen.clock.next_due);
        Ok(ours.into_iter().chain(sandbox).min())
    }

    /// When each of our queues has something to do.
    pub(super) async fn due(&self) -> Result<BTreeMap<&'static str, Timestamp>, DbError> {
        let kinds: Vec<&str> = Lane::ALL.iter().flat_map(|lane| lane.kinds()).copied().collect();
        let jobs = ScheduledJob::ALL.map(ScheduledJob::name);
        due::due(&self.origin.database, &kinds, &jobs).await
    }

    /// To an instant, first here and then at the sandbox, whose charges of the instant come through the edge meanwhile.
    async fn step(&mut self, at: Timestamp) -> Result<(), AdvanceError> {
        // Asked before the clock moves: the loops of `work` run too, and may have done it before `settle` looks.
        let may_ask = self.reaches_a_provider(at).await?;
        self.may_tell |= may_ask;
        self.mover.clock.move_to(at);
        if let (Some(follower), Some(seen)) = (&self.follower, self.sandbox) {
            self.may_tell |= seen.clock.next_due.is_some_and(|due| due <= at);
            let behind = seen.behind(self.origin);
            // Somebody may have moved the sandbox alone; it waits until we have caught up.
            if behind > 0 {
                let clock = follower.advance(behind).await?;
                self.see(clock);
            }
        }
        self.settle().await?;
        if may_ask {
            // The sandbox may have been asked for something that falls due before the next instant of ours.
            self.look().await?;
        }
        Ok(())
    }

    /// Whether something is due by `at` that calls a provider, or writes an effect which does.
    async fn reaches_a_provider(&self, at: Timestamp) -> Result<bool, DbError> {
        let due = self.due().await?;
        let is_due = |queue: &str| due.get(queue).is_some_and(|due| *due <= at);
        Ok(["inbox", "outbox", "payments", "subscriptions"]
            .into_iter()
            .any(is_due))
    }

    /// Reads the sandbox's clock, where one follows.
    pub(super) async fn look(&mut self) -> Result<Option<SandboxClock>, FollowError> {
        let Some(follower) = &self.follower else {
            return Ok(None);
        };
        let clock = follower.show().await?;
        self.see(clock);
        Ok(Some(clock))
    }

    fn see(&mut self, clock: SandboxClock) {
        let at = self.origin.wall.now();
        self.sandbox = Some(Seen { clock, at });
    }
}

impl Seen {
    /// By how many seconds, rounded up, the sandbox is behind us: so it is never behind afterwards, and ahead by less than
    /// one.
    fn behind(self, origin: &Origin) -> u64 {
        let elapsed = origin.wall.now().distance(self.at);
        let sandbox_ms = self.clock.now.plus(elapsed).unix_ms();
        let behind_ms = origin.clock.now().unix_ms().saturating_sub(sandbox_ms);
        u64::try_from(behind_ms).unwrap_or_default().div_ceil(1_000)
    }
}
