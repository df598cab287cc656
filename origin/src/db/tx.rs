//! Transactions: named, retried where Postgres says "again", and never left half-way on a connection.
//!
//! inbox, http, work → **`run_tx`** → statements of `db::*` → commit.
//!
//! Isolation is read committed, by judgement: every race that matters ends in a unique key or a row lock taken in
//! sorted order (`ledger_post`, `for update`), which hold at any level, and read committed waits where
//! repeatable read would fail and start over. Deadlocks and serialisation failures are retried at most
//! [`ATTEMPTS_MAX`] times with a growing, jittered delay, so the closure runs more than once: it must do nothing
//! but statements (invariant 6: nothing that calls the network runs in here).
//! Failure: the closure's error after a roll-back. If the connection breaks during commit, nobody knows whether
//! it happened; operation keys make a second try safe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::Object;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::{Database, DbError};
use crate::entropy;

/// One try and four more.
pub const ATTEMPTS_MAX: u32 = 5;
/// The first delay is up to this, each later one up to twice the one before: 150 ms of waiting at most in all.
const DELAY_MS: u64 = 10;

/// Parameters of a statement.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// An error that may be a passing conflict with another transaction.
pub trait Retry {
    /// True for a serialisation failure or a deadlock.
    fn is_conflict(&self) -> bool;
}

impl Retry for DbError {
    fn is_conflict(&self) -> bool {
        let code = self.sqlstate();
        code == Some(&SqlState::T_R_SERIALIZATION_FAILURE) || code == Some(&SqlState::T_R_DEADLOCK_DETECTED)
    }
}

impl Database {
    /// Runs `body` in a transaction that shows as `name` in `pg_stat_activity` and in logs.
    ///
    /// Commits if it returns `Ok`, else rolls back. `name` is of a-z and _.
    ///
    /// `body` gets a handle of its own instead of a borrow, because the futures of an `AsyncFn(&Tx)` cannot be shown
    /// to be `Send` for every lifetime (rust-lang/rust#110338), and handlers must be. What the body needs it takes
    /// by reference: `db.run_tx("accept", |tx| accept(tx, &envelope, now))`, or
    /// `db.run_tx("accept", |tx| async move { … })` with references made before.
    pub async fn run_tx<T, E, F>(&self, name: &'static str, body: impl Fn(Tx) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: From<DbError> + Retry,
    {
        let mut attempt = 1;
        loop {
            let error = match self.try_tx(name, &body).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if attempt >= ATTEMPTS_MAX || !error.is_conflict() {
                return Err(error);
            }
            tracing::info!(
                tx.name = name,
                tx.attempt = attempt,
                "transaction {name} met a conflict, trying again"
            );
            tokio::time::sleep(delay(attempt)).await;
            attempt = attempt.saturating_add(1);
        }
    }

    async fn try_tx<T, E, F>(&self, name: &str, body: impl Fn(Tx) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: From<DbError>,
    {
        let tx = self.begin(name).await?;
        match body(tx.clone()).await {
            Ok(value) => {
                tx.commit().await?;
                Ok(value)
            }
            Err(error) => {
                // The first error is the one to report; a connection that cannot roll back is closed by `Drop`.
                tx.roll_back().await;
                Err(error)
            }
        }
    }

    async fn begin(&self, name: &str) -> Result<Tx, DbError> {
        let tx = Tx(Arc::new(Open {
            connection: Some(self.connection().await?),
            ended: AtomicBool::new(false),
            #[cfg(any(test, feature = "testing"))]
            fault: self.fault.clone(),
        }));
        tx.step().await?;
        // One round trip for both. The name is ours and of a-z and _, so it needs no quoting.
        let begin =
            format!("begin isolation level read committed; set local application_name = 'tollgate {name}'");
        tx.connection()?.batch_execute(&begin).await?;
        Ok(tx)
    }
}

/// A handle of an open transaction. Statements are prepared once a connection; after the end each is an error.
#[derive(Clone)]
pub struct Tx(Arc<Open>);

struct Open {
    /// Always there until `drop`.
    connection: Option<Object>,
    ended: AtomicBool,
    #[cfg(any(test, feature = "testing"))]
    fault: Option<Arc<super::fault::Fault>>,
}

impl Tx {
    /// All rows of a query.
    pub async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        let statement = self.prepare(sql).await?;
        Ok(self.connection()?.query(&statement, params).await?)
    }

    /// The only row of a query.
    pub async fn query_one(&self, sql: &str, params: Params<'_>) -> Result<Row, DbError> {
        let statement = self.prepare(sql).await?;
        Ok(self.connection()?.query_one(&statement, params).await?)
    }

    /// The row of a query, if there is one.
    pub async fn query_opt(&self, sql: &str, params: Params<'_>) -> Result<Option<Row>, DbError> {
        let statement = self.prepare(sql).await?;
        Ok(self.connection()?.query_opt(&statement, params).await?)
    }

    /// The number of rows that a statement touched.
    pub async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, DbError> {
        let statement = self.prepare(sql).await?;
        Ok(self.connection()?.execute(&statement, params).await?)
    }

    /// Runs `body` so that, if it fails, what it wrote is undone and the transaction goes on.
    ///
    /// Nests: Postgres finds the newest of a name, and none outlives its call, not even one whose release failed. Left
    /// behind, it would be what the call around it rolls back to, and half of the work would stand.
    /// Where undoing is impossible (connection gone), the outer transaction fails at its next statement.
    pub async fn savepoint<T, E>(&self, body: impl Future<Output = Result<T, E>>) -> Result<T, E>
    where
        E: From<DbError>,
    {
        self.batch("savepoint inner_step").await?;
        let ended = match body.await {
            Ok(value) => self
                .batch("release savepoint inner_step")
                .await
                .map(|()| value)
                .map_err(E::from),
            Err(error) => Err(error),
        };
        let error = match ended {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let undo = "rollback to savepoint inner_step; release savepoint inner_step";
        self.connection()?
            .batch_execute(undo)
            .await
            .map_err(DbError::from)?;
        Err(error)
    }

    async fn prepare(&self, sql: &str) -> Result<Statement, DbError> {
        self.step().await?;
        Ok(self.connection()?.prepare_cached(sql).await?)
    }

    async fn batch(&self, sql: &str) -> Result<(), DbError> {
        self.step().await?;
        Ok(self.connection()?.batch_execute(sql).await?)
    }

    async fn commit(self) -> Result<(), DbError> {
        // `commit` of an aborted transaction rolls back and reports success; the query before it does not.
        self.batch("select 1; commit").await?;
        self.step().await?;
        self.0.ended.store(true, Ordering::SeqCst);
        Ok(())
    }

    async fn roll_back(self) {
        let Ok(connection) = self.connection() else { return };
        let rolled_back = connection.batch_execute("rollback").await.is_ok();
        self.0.ended.store(rolled_back, Ordering::SeqCst);
    }

    fn connection(&self) -> Result<&Object, DbError> {
        let open = !self.0.ended.load(Ordering::SeqCst);
        self.0.connection.as_ref().filter(|_| open).ok_or(DbError::Ended)
    }

    /// Where a test makes the transaction fail; nothing in a release.
    #[cfg(any(test, feature = "testing"))]
    async fn step(&self) -> Result<(), DbError> {
        match &self.0.fault {
            Some(fault) if fault.strikes() => {
                Ok(self.connection()?.batch_execute(super::fault::FAILING).await?)
            }
            Some(_) | None => Ok(()),
        }
    }

    #[cfg(not(any(test, feature = "testing")))]
    #[expect(clippy::unused_async, reason = "its twin under test talks to the server")]
    async fn step(&self) -> Result<(), DbError> {
        Ok(())
    }
}

/// A transaction that was neither committed nor rolled back (its future was dropped, or its connection broke) takes
/// the connection with it: back in the pool, it would hand its open transaction to the next caller.
impl Drop for Open {
    fn drop(&mut self) {
        let open = !self.ended.load(Ordering::SeqCst);
        if let Some(connection) = self.connection.take().filter(|_| open) {
            drop(Object::take(connection));
        }
    }
}

fn delay(attempt: u32) -> Duration {
    let cap_ms = DELAY_MS.saturating_mul(2_u64.saturating_pow(attempt.saturating_sub(1)));
    // Without randomness the delay is the cap: later, but not wrong.
    let share = entropy::random::<1>().map_or(u64::from(u8::MAX), |[byte]| u64::from(byte));
    Duration::from_millis(cap_ms.saturating_mul(share).div_euclid(u64::from(u8::MAX)))
}

#[cfg(test)]
mod tests;
