//! Natural batching: deductions that arrive while one batch is being committed make up the next.
//!
//! http/service → **[`Batcher::deduct`]** → the queue of the company's shard → one `deduct_tokens_batch` → each caller.
//!
//! One task a shard takes whatever has queued up, at most [`BATCH_MAX`], runs it as one transaction, hands out the
//! outcomes, and takes again. So one batch a shard is in flight, a hundred callers of one company share one commit
//! instead of waiting for each other's row lock, and a single caller waits for nothing that it did not wait for before:
//! there is no timer, and who is alone is run by `deduct_tokens_atomic`, which decides the same and costs a third.
//! A company's requests keep their order.
//! Invariants: a deduction that was taken into a queue is run whether its caller waits or not, once: a caller that has
//! gone repeats its key and gets the result. Queues are bounded; a full one refuses at once (503, Retry-After), before
//! anything is recorded. If the connection breaks nobody knows whether the batch was committed, and it is run again: keys
//! make that safe, and whoever was committed the first time is answered `idempotent`.
//! Not here: what a deduction does (`deduct_tokens_batch`), conflicts and dead-locks (`run_tx` tries those again).
//! Failure: [`BatchFailure`], the same to every caller of the batch; but if the server refuses a statement for its data, each
//! deduction is run by itself, so that one cannot spoil its neighbours'.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tollgate_shared::time::Timestamp;

use crate::clock::Clock;
use crate::db::sqlstate::TokenRefusal;
use crate::db::tokens::{self, CompanyId, Deduction, Outcome, TokenError};
use crate::db::{Database, DbError, Tx};
use crate::telemetry::Chain;

/// Deductions in one transaction at most: 1,000 cost the database tens of milliseconds, so that a caller never waits
/// long behind others; well below `tokens::BATCH_MAX`.
const BATCH_MAX: usize = 1_000;
/// Batches in flight at most, one a shard: half of the pool's connections, so that other calls always find one.
const SHARDS: usize = 4;
/// How often a batch is run whose connection broke.
const TRIES_MAX: u32 = 3;
/// Between those: a server that restarts needs a moment.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Why a deduction was not answered. Its outcome may be unknown: the key tells, when it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchFailure {
    /// The shard's queue is full; nothing was recorded.
    #[error("too many deductions wait already")]
    Overloaded,
    /// The database could not be asked, or was too slow.
    #[error("the database is not available")]
    Unavailable,
    /// A defect of ours; the log has the reason.
    #[error("the batch failed")]
    Internal,
}

/// The queues of deductions.
#[derive(Debug)]
pub(crate) struct Batcher {
    shards: Vec<mpsc::Sender<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    deduction: Deduction,
    answer: oneshot::Sender<Result<Outcome, BatchFailure>>,
}

impl Batcher {
    /// Starts a task a shard, each with a queue of `queue_max`; they end when the batcher is dropped.
    pub(crate) fn start(database: &Database, clock: &Arc<dyn Clock>, queue_max: usize) -> Self {
        let shard = |_| {
            let (sender, queue) = mpsc::channel(queue_max);
            let worker = Worker {
                database: database.clone(),
                clock: Arc::clone(clock),
            };
            drop(tokio::spawn(worker.run(queue))); // it ends with the sender
            sender
        };
        Self {
            shards: (0..SHARDS).map(shard).collect(),
        }
    }

    /// One deduction, together with whatever else waits for its shard.
    pub(crate) async fn deduct(&self, deduction: Deduction) -> Result<Outcome, BatchFailure> {
        let queue = self.shard(&deduction.company).ok_or(BatchFailure::Internal)?;
        let (answer, answered) = oneshot::channel();
        queue
            .try_send(Waiting { deduction, answer })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => BatchFailure::Overloaded,
                mpsc::error::TrySendError::Closed(_) => BatchFailure::Unavailable,
            })?;
        // Without an answer the task is gone, and with it the runtime: the process is ending.
        answered.await.unwrap_or(Err(BatchFailure::Unavailable))
    }

    /// Deductions in the queues; those of batches in flight are no longer.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        let queued = |shard: &mpsc::Sender<Waiting>| shard.max_capacity().saturating_sub(shard.capacity());
        self.shards.iter().map(queued).sum()
    }

    fn shard(&self, company: &CompanyId) -> Option<&mpsc::Sender<Waiting>> {
        let mut hasher = DefaultHasher::new();
        company.as_str().hash(&mut hasher);
        let count = u64::try_from(self.shards.len()).ok()?;
        let index = hasher.finish().checked_rem(count)?;
        self.shards.get(usize::try_from(index).ok()?)
    }
}

struct Worker {
    database: Database,
    clock: Arc<dyn Clock>,
}

impl Worker {
    async fn run(self, mut queue: mpsc::Receiver<Waiting>) {
        let mut waiting = Vec::new();
        while queue.recv_many(&mut waiting, BATCH_MAX).await > 0 {
            let (deductions, answers): (Vec<_>, Vec<_>) = waiting
                .drain(..)
                .map(|one: Waiting| (one.deduction, one.answer))
                .unzip();
            let results = self.decide(&deductions).await;
            for (answer, result) in answers.into_iter().zip(results) {
                if answer.send(result).is_err() {
                    tracing::debug!("a caller has gone; its key has the result");
                }
            }
        }
    }

    /// A result each, in their order.
    async fn decide(&self, deductions: &[Deduction]) -> Vec<Result<Outcome, BatchFailure>> {
        let error = match self.commit(deductions).await {
            Ok(outcomes) => return outcomes.into_iter().map(Ok).collect(),
            Err(error) => error,
        };
        let count = deductions.len();
        if count == 1 || !is_about_data(&error) {
            tracing::error!(batch.size = count, error = %Chain(&error), "a batch of {count} deductions failed");
            return vec![Err(failure(&error)); count];
        }
        tracing::warn!(batch.size = count, error = %Chain(&error), "a batch of {count} deductions is run one by one");
        let mut results = Vec::with_capacity(count);
        for deduction in deductions {
            let alone = self.commit(std::slice::from_ref(deduction)).await;
            let first = alone.map(|outcomes| outcomes.into_iter().next());
            results.push(match first {
                Ok(outcome) => outcome.ok_or(BatchFailure::Internal),
                Err(error) => Err(failure(&error)),
            });
        }
        results
    }

    /// Runs a batch, again where its connection broke.
    async fn commit(&self, deductions: &[Deduction]) -> Result<Vec<Outcome>, TokenError> {
        let mut tries = 1;
        loop {
            let now = self.clock.now();
            let run = |tx: Tx| async move { run(&tx, deductions, now).await };
            let result = self.database.run_tx("tokens_deduct_batch", run).await;
            match result {
                Err(error) if tries < TRIES_MAX && is_broken(&error) => {
                    tracing::warn!(error = %Chain(&error), "a batch lost its connection and is run again");
                    tokio::time::sleep(RETRY_DELAY).await;
                    tries = tries.saturating_add(1);
                }
                Ok(_) | Err(_) => return result,
            }
        }
    }
}

/// One alone takes the function that costs little to start. That one does not wait for a key that is under way (in another
/// process, or here before a connection broke); the batch does, and then replays it.
async fn run(tx: &Tx, deductions: &[Deduction], now: Timestamp) -> Result<Vec<Outcome>, TokenError> {
    if let [alone] = deductions {
        let outcome = tokens::deduct(tx, alone, now).await?;
        if outcome.refusal != Some(TokenRefusal::DeductionInProgress) {
            return Ok(vec![outcome]);
        }
    }
    tokens::deduct_batch(tx, deductions, now).await
}

/// The connection broke on the way. No connection within the pool's patience is not that: it has waited already.
fn is_broken(error: &TokenError) -> bool {
    matches!(error, TokenError::Db(db @ DbError::Statement(_)) if db.is_unavailable())
}

/// Classes 22 and 23, a value that the server does not take, and LG: what the ledger refuses of one company's books.
fn is_about_data(error: &TokenError) -> bool {
    let TokenError::Db(error) = error else {
        return false;
    };
    let code = error.sqlstate().map(tokio_postgres::error::SqlState::code);
    code.is_some_and(|code| ["22", "23", "LG"].contains(&code.get(..2).unwrap_or_default()))
}

fn failure(error: &TokenError) -> BatchFailure {
    match error {
        TokenError::Db(error) if error.is_passing() => BatchFailure::Unavailable,
        TokenError::Db(_) | TokenError::Refused { .. } => BatchFailure::Internal,
    }
}
