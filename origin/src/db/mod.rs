//! The only SQL text of the service, and everything that touches a connection.
//!
//! http, inbox, apply, work → **db** → Postgres, acting as `tollgate_app`.
//!
//! Invariants: every write happens inside `Database::run_tx` (`tx`), named and retried; nothing here decides anything (that
//! is `domain`) and nothing here reads a clock (instants are arguments).
//! Failure: one [`DbError`]; what a client may learn of it is decided in `http`.

pub(crate) mod admin_actions;
pub(crate) mod article_jobs;
pub(crate) mod checkouts;
pub(crate) mod company_members;
pub mod connect;
pub(crate) mod disputes;
pub(crate) mod due;
pub(crate) mod event_log;
#[cfg(any(test, feature = "testing"))]
pub mod fault;
pub(crate) mod inbox;
pub mod instant;
pub mod ledger;
pub(crate) mod listen;
#[cfg(test)]
pub(crate) mod look;
pub mod migrate;
pub(crate) mod notices;
pub(crate) mod outbox;
pub(crate) mod payments;
pub(crate) mod plans;
pub(crate) mod polls;
pub mod pool;
pub(crate) mod provider_limits;
pub(crate) mod refunds;
pub(crate) mod retention;
pub(crate) mod scheduled_jobs;
pub(crate) mod service_keys;
pub(crate) mod settlements;
pub mod sqlstate;
pub(crate) mod subscriptions;
pub mod tokens;
pub mod tx;
pub(crate) mod users;
pub(crate) mod webhook_stats;

pub use instant::Instant;
pub use pool::{Database, PoolSettings};
pub use tx::{Retry, Tx};

use tokio_postgres::error::SqlState;

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// `DATABASE_URL` is not a Postgres URL; the text stays out of the error, it holds a password.
    #[error("the database URL cannot be read")]
    Url,
    /// No connection within the time allowed: server down, or every connection busy.
    #[error("no database connection")]
    Unavailable(#[source] deadpool_postgres::PoolError),
    /// A statement after the end of its transaction: a defect of the caller.
    #[error("the transaction has ended")]
    Ended,
    /// The server refused a statement, or the connection broke on the way.
    #[error("a database statement failed")]
    Statement(#[from] tokio_postgres::Error),
    /// A row holds what this code cannot read; the columns' checks make that impossible.
    #[error("column {column} holds what this version cannot read")]
    Unreadable {
        /// The column, as `table.column`.
        column: &'static str,
    },
    /// The operating system gave no random bytes for an id.
    #[error(transparent)]
    NoEntropy(#[from] crate::entropy::NoEntropy),
}

impl DbError {
    /// The SQLSTATE, where the server sent one.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&SqlState> {
        self.server().map(tokio_postgres::error::DbError::code)
    }

    /// The named constraint that a statement broke.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        self.server().and_then(tokio_postgres::error::DbError::constraint)
    }

    /// True where the server could not be asked at all, so that the caller may try later.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Statement(error) => error
                .as_db_error()
                .is_none_or(|server| ends_session(server.code())),
            Self::Url | Self::Ended | Self::Unreadable { .. } | Self::NoEntropy(_) => false,
        }
    }

    /// True where the same call may do later: [`Self::is_unavailable`], too slow (57014, 55P03), or in conflict for longer
    /// than `run_tx` tries.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        let code = self.sqlstate().map(SqlState::code);
        self.is_unavailable() || code.is_some_and(|code| ["57014", "55P03", "40001", "40P01"].contains(&code))
    }

    fn server(&self) -> Option<&tokio_postgres::error::DbError> {
        match self {
            Self::Statement(error) => error.as_db_error(),
            Self::Url | Self::Unavailable(_) | Self::Ended | Self::Unreadable { .. } | Self::NoEntropy(_) => {
                None
            }
        }
    }
}

/// Class 57P (shutdown, crash, not yet started) and class 08 (connection): the server, not the statement.
fn ends_session(code: &SqlState) -> bool {
    code.code().starts_with("57P") || code.code().starts_with("08")
}
