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
mod subscriptions;
mod test_clock;

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
use crate::clock::{Clock, Movable, ShiftedClock, SystemClock};
use crate::config::Config;
use crate::db::{Database, DbError, PoolSettings};
use crate::gateway::mail::{MailError, Mailer};
use crate::metrics::Metrics;
use crate::service_keys::Keyring;
use crate::test_clock::Mover;

/// The running service: what every call and every worker shares.
pub struct Origin {
    pub(crate) config: Config,
    pub(crate) database: Database,
    pub(crate) clock: Arc<dyn Clock>,
    /// The machine's clock, also where the other is moved: what the edge signs with its own is checked with this one.
    pub(crate) wall: Arc<dyn Clock>,
    /// What moves the clock, where it may be moved.
    pub(crate) test_clock: Option<Mover>,
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
        let clock = Arc::new(ShiftedClock::default());
        let origin = Self::with_parts(config, database, Arc::new(SystemClock));
        Ok(origin.with_test_clock(clock))
    }

    /// The service of a configuration on a given database and clock.
    #[must_use]
    pub fn with_parts(config: Config, database: Database, clock: Arc<dyn Clock>) -> Self {
        Self {
            config,
            database,
            wall: Arc::clone(&clock),
            clock,
            test_clock: None,
            keyring: Keyring::default(),
            metrics: Metrics::default(),
            batcher: OnceLock::new(),
            mailer: OnceLock::new(),
        }
    }

    /// The same on a clock that can be moved; the one before stays the machine's.
    #[must_use]
    pub fn with_test_clock<C: Movable>(self, clock: Arc<C>) -> Self {
        Self {
            clock: Arc::<C>::clone(&clock),
            test_clock: Some(Mover::new(clock)),
            ..self
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
