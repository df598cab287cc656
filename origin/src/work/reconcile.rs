//! Once an hour: token records that nobody decided, and companies whose quota or buckets fell due.
//!
//! **round** → `jobs::reconcile` (TB-8); **sweep** → `token_expire_due`.
//!
//! Invariant: correctness depends on neither: what is due is applied by whoever touches a company, and a pending record
//! holds no more than its reservation. They keep figures fresh and records from waiting for ever.

use super::Round;
use crate::Origin;
use crate::db::tokens::{self, TokenError};
use crate::db::{DbError, Tx};
use crate::gateway::user_core::Client;
use crate::jobs::reconcile::reconcile;

/// Companies in one transaction of the sweep: each is locked until it commits.
const COMPANIES: i32 = 50;

/// One pass of reconciliation.
pub(crate) async fn round(origin: &Origin, client: &Client) -> Result<Round, DbError> {
    reconcile(origin, client).await?;
    // A pass looks at everything once; what it leaves is for the next hour.
    Ok(Round::Idle)
}

/// Brings some companies up to date.
pub(crate) async fn sweep(origin: &Origin) -> Result<Round, DbError> {
    let now = origin.clock.now();
    let expire = |tx: Tx| async move { tokens::expire_due(&tx, COMPANIES, now).await };
    match origin.database.run_tx("token_sweep", expire).await {
        Ok(0) => Ok(Round::Idle),
        Ok(_) => Ok(Round::Worked),
        Err(TokenError::Db(error)) => Err(error),
        Err(TokenError::Refused { refusal, .. }) => {
            // It raises nothing of its own; if it ever does, that is for a person to see.
            tracing::error!(refusal = refusal.code(), "the sweep of tokens was refused");
            Ok(Round::Idle)
        }
    }
}
