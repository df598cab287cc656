//! Commands of whoever keeps the books: `ledger verify`, `reconcile tokens`, `company put`, `tokens …`.
//!
//! main → **upkeep** → `db`, `jobs::reconcile`, `client`, and one JSON line an answer on standard output.
//!
//! Invariants: `verify` changes nothing; it fails (exit code 1) where a line contradicts
//! another, so that a scheduler notices. Failure: [`CommandError`].

use std::sync::Arc;

use serde_json::json;
use tollgate_shared::id::UserId;
use tollgate_shared::secret::Secret;

use super::{CommandError, print_line};
use crate::Origin;
use crate::client::{self, Ask, Settings};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::db::{Database, DbError, PoolSettings, Tx, company_members, ledger, tokens};
use crate::domain::tokens::CompanyId;
use crate::gateway::user_core::Client;
use crate::jobs::reconcile::reconcile;

/// `tollgate ledger verify`: rebuilds every balance from entries and says what differs.
pub async fn ledger_verify(database_url: &Secret) -> Result<(), CommandError> {
    let database = Database::new(&PoolSettings::new(database_url.clone()))?;
    let faults = faults(&database).await?;
    for fault in &faults {
        print_line(&json!({ "event": "fault", "fault": fault }))?;
    }
    print_line(&json!({ "event": "verified", "faults": faults.len() }))?;
    if faults.is_empty() {
        Ok(())
    } else {
        Err(CommandError::Faults(faults.len()))
    }
}

/// Every contradiction in the ledger, and between it and the token tables.
pub(crate) async fn faults(database: &Database) -> Result<Vec<String>, DbError> {
    let read = |tx: Tx| async move {
        // Each of the two is one statement, so it sees the books of one instant while they go on being written.
        ledger::lift_time_limit(&tx).await?;
        let mut faults = ledger::faults(&tx).await?;
        faults.extend(tokens::faults(&tx).await?);
        Ok::<_, DbError>(faults)
    };
    database.run_tx("ledger_verify", read).await
}

/// `tollgate reconcile tokens`: one pass, now (TB-8).
pub async fn reconcile_tokens(config: Config) -> Result<(), CommandError> {
    let origin = Arc::new(Origin::new(config)?);
    let pass = reconcile(&origin, &Client::new()?).await?;
    let mut line = pass.shown();
    if let Some(members) = line.as_object_mut() {
        members.insert("event".to_owned(), json!("reconciled"));
    }
    print_line(&line)?;
    Ok(())
}

/// `tollgate company put`: puts a user into a company.
pub async fn company_put(
    database_url: &Secret,
    user: &UserId,
    company: &CompanyId,
) -> Result<(), CommandError> {
    let database = Database::new(&PoolSettings::new(database_url.clone()))?;
    let now = SystemClock.now();
    let put = |tx: Tx| async move { company_members::put(&tx, user, company, now).await };
    database.run_tx("company_put", put).await?;
    print_line(&json!({ "event": "company", "user": user.as_str(), "company": company.as_str() }))?;
    Ok(())
}

/// `tollgate tokens …`: asks the origin and prints its answer.
pub async fn tokens(settings: &Settings, ask: &Ask) -> Result<(), CommandError> {
    print_line(&client::ask(settings, ask).await?)?;
    Ok(())
}
