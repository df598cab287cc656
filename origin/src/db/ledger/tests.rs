//! `ledger_post` against the real Postgres: every refusal in order, replays, races, and books that stay whole.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "small numbers of tests; an overflow would panic"
)]

mod concurrency;
mod privileges;
mod random_postings;
mod table;
mod typed;

use tokio_postgres::Client;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::Occasion;
use crate::db::{Database, DbError, Tx};

/// Calls `ledger_post` with anything, also what `Posting` cannot express.
const RAW_POST: &str = "\
select transaction_id, replayed, balances_after, account_versions
from tollgate.ledger_post($1, $2, $3, sha256($4), $5, $6, $7, $8, null, 'epoch', 'epoch')";

/// Arguments of `ledger_post` as the tables and the races write them.
#[derive(Debug, Clone, Default)]
struct Raw {
    owner: Option<String>,
    key: Option<String>,
    kind: Option<String>,
    accounts: Vec<Option<String>>,
    units: Vec<Option<String>>,
    amounts: Vec<Option<i64>>,
}

impl Raw {
    fn new(owner: &str, key: &str, entries: &[(&str, i64)]) -> Self {
        Self {
            owner: Some(owner.to_owned()),
            key: Some(key.to_owned()),
            kind: Some("settle".to_owned()),
            accounts: entries
                .iter()
                .map(|(account, _)| Some((*account).to_owned()))
                .collect(),
            units: entries.iter().map(|_| Some("TWD".to_owned())).collect(),
            amounts: entries.iter().map(|(_, amount)| Some(*amount)).collect(),
        }
    }

    /// The row of one call in a transaction of its own.
    async fn post(&self, client: &Client) -> Result<tokio_postgres::Row, tokio_postgres::Error> {
        let fingerprint_source = format!(
            "{:?}{:?}{:?}{:?}",
            self.owner, self.kind, self.accounts, self.amounts
        );
        let id = Uuid::from_bytes(crate::entropy::random().unwrap());
        client
            .query_one(
                RAW_POST,
                &[
                    &self.owner,
                    &self.key,
                    &self.kind,
                    &fingerprint_source.as_bytes(),
                    &self.accounts,
                    &self.units,
                    &self.amounts,
                    &id,
                ],
            )
            .await
    }
}

/// What `ledger_faults` finds.
async fn faults(database: &Database) -> Vec<String> {
    database
        .run_tx("faults", |tx: Tx| async move { super::faults(&tx).await })
        .await
        .unwrap()
}

/// Any time; the ledger only writes it down.
fn occasion() -> Occasion {
    let at = Timestamp::from_unix_ms(1_760_000_000_000);
    Occasion {
        occurred_at: at,
        recorded_at: at,
        delivery: None,
    }
}

/// One number of a query.
async fn count(database: &Database, sql: &'static str) -> i64 {
    let row = database
        .run_tx("count", |tx: Tx| async move { tx.query_one(sql, &[]).await })
        .await;
    row.map_err(|error: DbError| error).unwrap().get(0)
}
