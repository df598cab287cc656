//! The service's connections: bounded, acting as `tollgate_app`, with a limit on every wait.
//!
//! `main` makes one `Database` → **pool** → `tx::run_tx` and single reads take a connection each.
//!
//! Invariant: the role is a start-up option, so no statement ever runs with the rights of the login, and a
//! connection that lost its transaction half-way never returns to the pool (`tx`).
//! A pooler between us and Postgres must keep sessions (start-up options, prepared statements).
//! Failure: `DbError::Unavailable` once the wait is over.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::NoTls;
use tollgate_shared::secret::Secret;

use super::{DbError, connect};

/// Limits of the pool.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// `DATABASE_URL`.
    pub url: Secret,
    /// Connections at most; the rest waits.
    pub connections_max: usize,
    /// How long to wait for a connection, and for a new one to be made.
    pub wait: Duration,
    /// How long one statement may run; also how long a transaction may sit idle.
    pub statement_timeout: Duration,
}

impl PoolSettings {
    /// Eight connections (a small server's cores times two), five seconds of waiting, ten of running.
    #[must_use]
    pub const fn new(url: Secret) -> Self {
        let (wait, statement_timeout) = (Duration::from_secs(5), Duration::from_secs(10));
        Self {
            url,
            connections_max: 8,
            wait,
            statement_timeout,
        }
    }
}

/// The database of the service. Clones share one pool.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    #[cfg(any(test, feature = "testing"))]
    pub(super) fault: Option<std::sync::Arc<super::fault::Fault>>,
}

impl Database {
    /// Sets the pool up; connects to nothing yet.
    pub fn new(settings: &PoolSettings) -> Result<Self, DbError> {
        let mut config = connect::config(settings.url.expose())?;
        config.options(start_options(config.get_options(), settings.statement_timeout));
        config.application_name("tollgate").connect_timeout(settings.wait);
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let builder = Pool::builder(Manager::from_config(config, NoTls, recycling))
            .max_size(settings.connections_max)
            .runtime(Runtime::Tokio1)
            .timeouts(deadpool_postgres::Timeouts {
                wait: Some(settings.wait),
                create: Some(settings.wait),
                recycle: Some(settings.wait),
            });
        // Building fails only without a runtime for the timeouts, and there is one.
        let pool = builder.build().map_err(|_| DbError::Url)?;
        Ok(Self {
            pool,
            #[cfg(any(test, feature = "testing"))]
            fault: None,
        })
    }

    /// A connection outside a transaction, for single reads.
    pub(crate) async fn connection(&self) -> Result<Object, DbError> {
        self.pool.get().await.map_err(DbError::Unavailable)
    }

    /// Closes every connection; whoever waits gets `Unavailable`.
    pub fn close(&self) {
        self.pool.close();
    }

    /// The same pool, failing at one step of its transactions.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn failing(&self, fault: std::sync::Arc<super::fault::Fault>) -> Self {
        Self {
            pool: self.pool.clone(),
            fault: Some(fault),
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Database")
            .field("pool", &self.pool.status())
            .finish_non_exhaustive()
    }
}

fn start_options(of_url: Option<&str>, statement_timeout: Duration) -> String {
    let timeout_ms = statement_timeout.as_millis();
    let ours = format!(
        "-c role=tollgate_app -c statement_timeout={timeout_ms} -c lock_timeout={timeout_ms} \
         -c idle_in_transaction_session_timeout={timeout_ms}"
    );
    match of_url {
        Some(of_url) => format!("{of_url} {ours}"),
        None => ours,
    }
}
