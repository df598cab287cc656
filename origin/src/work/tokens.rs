//! Companies whose quota or buckets fell due, and that nobody asks about.
//!
//! `company_subscriptions` that are due → **round** → `token_expire_due`.
//!
//! Invariant: correctness does not depend on it: what is due is applied by whoever touches a company. It keeps figures
//! fresh. Not here: pending records (`jobs::reconcile`, a scheduled job).

use super::Round;
use crate::Origin;
use crate::db::tokens::{self, TokenError};
use crate::db::{DbError, Tx};

/// Companies in one transaction of the sweep: each is locked until it commits.
const COMPANIES: i32 = 50;

/// Brings some companies up to date.
pub(crate) async fn round(origin: &Origin) -> Result<Round, DbError> {
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
