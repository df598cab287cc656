//! The counting house: takes events from the edge over a signed hop and applies each exactly once.
//!
//! http (parse → call → render) → inbox → apply → domain decides → ledger; work retries what did not apply.
//!
//! Invariants are those of DESIGN.md; each module names the ones it keeps.
//! A library so that tests and `cargo xtask` start it in-process; `main.rs` is the program around it.

mod announce;
mod apply;
mod batching;
mod checkout;
mod domain;
mod effects;
mod entropy;
mod gateway;
mod inbox;
mod jobs;
mod metrics;
mod notices;
mod polls;
#[expect(
    dead_code,
    unused_imports,
    reason = "the routes and effects that call it come with the next changes"
)]
mod subscriptions;

pub mod client;
pub mod clock;
pub mod commands;
pub mod config;
pub mod db;
pub mod http;
pub mod ledger;
mod refunds;
pub mod service_keys;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod work;

use std::sync::{Arc, OnceLock};

use crate::batching::Batcher;
use crate::clock::{Clock, ShiftedClock, SystemClock};
use crate::config::Config;
use crate::db::{Database, DbError, PoolSettings};
use crate::gateway::mail::{MailError, Mailer};
use crate::metrics::Metrics;
use crate::service_keys::Keyring;

/// The running service: what every call and every worker shares.
pub struct Origin {
    pub(crate) config: Config,
    pub(crate) database: Database,
    pub(crate) clock: Arc<dyn Clock>,
    /// The same clock, where it may be moved.
    pub(crate) test_clock: Option<ShiftedClock>,
    pub(crate) keyring: Keyring,
    pub(crate) metrics: Metrics,
    /// Started by the first deduction, which is the first to need a runtime.
    batcher: OnceLock<Batcher>,
    /// Made for the first mail: loading the roots of TLS takes a while.
    mailer: OnceLock<Mailer>,
}

impl Origin {
    /// The service of a configuration, on the machine's clock. Connects to nothing yet.
    pub fn new(config: Config) -> Result<Self, DbError> {
        let database = Database::new(&PoolSettings::new(config.database_url.clone()))?;
        if !config.upkeep.test_clock {
            return Ok(Self::with_parts(config, database, Arc::new(SystemClock)));
        }
        let clock = ShiftedClock::default();
        Ok(Self {
            test_clock: Some(clock.clone()),
            ..Self::with_parts(config, database, Arc::new(clock))
        })
    }

    /// The service of a configuration on a given database and clock.
    #[must_use]
    pub fn with_parts(config: Config, database: Database, clock: Arc<dyn Clock>) -> Self {
        Self {
            config,
            database,
            clock,
            test_clock: None,
            keyring: Keyring::default(),
            metrics: Metrics::default(),
            batcher: OnceLock::new(),
            mailer: OnceLock::new(),
        }
    }

    /// The queues of deductions, unless batching is off.
    pub(crate) fn batcher(&self) -> Option<&Batcher> {
        let queue_max = self.config.token_queue_max?;
        let start = || Batcher::start(&self.database, &self.clock, queue_max);
        Some(self.batcher.get_or_init(start))
    }

    /// The client of the mail server.
    pub(crate) fn mailer(&self) -> Result<&Mailer, MailError> {
        let config = self.config.notices.mail.as_ref();
        let config = config.ok_or(MailError::NotConfigured)?;
        if let Some(mailer) = self.mailer.get() {
            return Ok(mailer);
        }
        let mailer = Mailer::new(config)?;
        Ok(self.mailer.get_or_init(|| mailer))
    }
}
