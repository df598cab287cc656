//! Logs: one JSON object a line on standard error.
//!
//! Every module logs through `tracing`; this decides the form. Standard output carries the ready line only.
//!
//! Invariant (DESIGN.md, 8): lines carry identifiers (`delivery.id`, `event.id`, `payment.id`) and error kinds,
//! never bodies, signatures, keys or personal data; an error is written by [`Chain`], which leaves out what Postgres
//! quotes from rows. Foreign crates are held at `warn`: reqwest and hyper print
//! URLs and headers below it. Not here: metrics.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How much the origin says of itself (`LOG_LEVEL`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevel(LevelFilter);

impl LogLevel {
    /// Requests and work, not their details.
    pub const INFO: Self = Self(LevelFilter::INFO);
}

impl FromStr for LogLevel {
    type Err = NotALevel;

    fn from_str(text: &str) -> Result<Self, NotALevel> {
        text.parse().map(Self).map_err(|_| NotALevel)
    }
}

/// A text that names no log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotALevel;

impl fmt::Display for NotALevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("must be off, error, warn, info, debug or trace")
    }
}

/// An error and its causes on one line, safe to log and to keep in `last_error`.
///
/// Of an error of Postgres it tells the SQLSTATE, the message and the constraint. Its DETAIL is left out: it quotes the
/// failing row, and a row holds notices and users (invariant 8).
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a, E>(pub &'a E);

impl<E: Error + 'static> fmt::Display for Chain<'_, E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut next: Option<&(dyn Error + 'static)> = Some(self.0);
        let mut separator = "";
        while let Some(error) = next {
            formatter.write_str(separator)?;
            match error.downcast_ref::<tokio_postgres::error::DbError>() {
                None => fmt::Display::fmt(error, formatter)?,
                Some(server) => {
                    write!(formatter, "{} {}", server.code().code(), server.message())?;
                    if let Some(constraint) = server.constraint() {
                        write!(formatter, " [{constraint}]")?;
                    }
                }
            }
            separator = ": ";
            next = error.source();
        }
        Ok(())
    }
}

/// Starts logging. A second call in one process changes nothing (tests start many origins).
pub fn start(level: LogLevel) {
    let targets = Targets::new()
        .with_target("tollgate", level.0)
        .with_target("tollgate_origin", level.0);
    let targets = targets.with_default(LevelFilter::WARN.min(level.0));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(std::io::stderr);
    if tracing_subscriber::registry()
        .with(targets)
        .with(lines)
        .try_init()
        .is_err()
    {
        tracing::debug!("logging had started before");
    }
}
