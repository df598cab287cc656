//! The calls of the ledger's stored functions.
//!
//! `crate::ledger::Posting` (balanced by construction) → **`post`** → `migrations/functions/ledger_post.sql`.
//!
//! Invariant: nothing else writes the ledger; `tollgate_app` has no DML on its tables.
//! Not here: what is posted when (`apply`). Failure: a [`Refusal`] is a value with the field or figures it names; a
//! refusal aborts the transaction (use a savepoint to go on).

use tokio_postgres::Row;
use tollgate_shared::id::DeliveryId;
use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::sqlstate::Refusal;
use super::{DbError, Instant, Retry, Tx};
use crate::entropy;
use crate::ledger::{Owner, Posting, Unit};

/// Why a call of the ledger did nothing.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The ledger said no.
    #[error("the ledger refused ({}): {detail}", .refusal.code())]
    Refused {
        /// The reason.
        refusal: Refusal,
        /// The field that differs, for a reused operation key or flag.
        field: Option<String>,
        /// The figures, for a person.
        detail: String,
    },
    /// The database did not do its work.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl LedgerError {
    /// The reason, if it was the ledger that said no.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            Self::Db(_) => None,
        }
    }
}

impl Retry for LedgerError {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Refused { .. } => false,
            Self::Db(error) => error.is_conflict(),
        }
    }
}

/// What a posting did, or had done the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The transaction.
    pub transaction_id: Uuid,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// True if it was there before this call, which then changed nothing.
    pub replayed: bool,
    /// Each account after its entry, in the order of [`Posting::entries`].
    pub accounts: Vec<AccountAfter>,
}

/// An account after an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountAfter {
    /// Its balance in minor units, debit positive.
    pub balance: Minor,
    /// Its version, the number of its entries.
    pub version: i64,
}

/// When something happened, when we write it down, and which delivery it came by.
#[derive(Debug, Clone, Copy)]
pub struct Occasion {
    /// As the provider tells it.
    pub occurred_at: Timestamp,
    /// Now.
    pub recorded_at: Timestamp,
    /// The delivery that caused it.
    pub delivery: Option<DeliveryId>,
}

const POST: &str = "\
-- ledger_post
select transaction_id, recorded_at, replayed, balances_after, account_versions
from tollgate.ledger_post($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// Books a transaction once; a repeat returns the first result.
pub async fn post(tx: &Tx, posting: &Posting, occasion: Occasion) -> Result<Posted, LedgerError> {
    let new_id = entropy::uuid_v7(occasion.recorded_at).map_err(DbError::from)?;
    let delivery = occasion.delivery.map(DeliveryId::as_uuid);
    let (kinds, units, amounts) = posting.columns();
    let row = tx
        .query_one(
            POST,
            &[
                /* p_owner */ &posting.owner().as_str(),
                /* p_operation_key */ &posting.operation_key(),
                /* p_kind */ &posting.kind(),
                /* p_fingerprint */ &posting.fingerprint().as_slice(),
                /* p_account_kinds */ &kinds,
                /* p_units */ &units,
                /* p_amounts */ &amounts,
                /* p_transaction_id */ &new_id,
                /* p_delivery_id */ &delivery,
                /* p_occurred_at */ &Instant(occasion.occurred_at),
                /* p_now */ &Instant(occasion.recorded_at),
            ],
        )
        .await
        .map_err(refused)?;
    Ok(read_posted(&row).map_err(DbError::from)?)
}

const OPEN: &str = "\
-- ledger_account_open
select tollgate.ledger_account_open($1, $2, $3, $4, $5)";

/// Opens an account that must not go below zero; true if it was opened now.
pub async fn open_no_negative(
    tx: &Tx,
    owner: &Owner,
    kind: &str,
    unit: Unit,
    now: Timestamp,
) -> Result<bool, LedgerError> {
    let row = tx
        .query_one(
            OPEN,
            &[
                /* p_owner */ &owner.as_str(),
                /* p_kind */ &kind,
                /* p_unit */ &unit.code(),
                /* p_no_negative */ &true,
                /* p_now */ &Instant(now),
            ],
        )
        .await
        .map_err(refused)?;
    Ok(row.try_get(0).map_err(DbError::from)?)
}

/// An entry with its transaction, as `tollgate ledger show` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// Whose books.
    pub owner: String,
    /// The account.
    pub account_kind: String,
    /// TWD, TOKEN or POINT.
    pub unit: String,
    /// Signed, debit positive.
    pub amount: Minor,
    /// Of the account, after this entry.
    pub balance_after: Minor,
    /// Of the account, made by this entry.
    pub account_version: i64,
    /// The transaction.
    pub transaction_id: Uuid,
    /// What kind of transaction.
    pub transaction_kind: String,
    /// The name of the effect.
    pub operation_key: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The delivery that caused it.
    pub delivery_id: Option<Uuid>,
}

const ENTRIES_OF: &str = "\
-- ledger_entries_of
select e.owner, e.account_kind, e.unit, e.amount, e.balance_after, e.account_version,
    t.id, t.kind, t.operation_key, t.occurred_at, t.recorded_at, t.delivery_id
from tollgate.ledger_transaction as t
join tollgate.ledger_entry as e on e.transaction_id = t.id
where t.operation_key = any ($1::text[])
order by t.recorded_at, t.id, e.account_kind collate \"C\", e.unit collate \"C\"";

/// The entries of the given operations, oldest transaction first.
pub async fn entries_of(tx: &Tx, operation_keys: &[String]) -> Result<Vec<EntryRow>, DbError> {
    let rows = tx
        .query(ENTRIES_OF, &[/* operation_keys */ &operation_keys])
        .await?;
    rows.iter()
        .map(|row| read_entry(row).map_err(DbError::from))
        .collect()
}

/// Lets the statements of this transaction run as long as they need: reading every entry may.
pub async fn lift_time_limit(tx: &Tx) -> Result<(), DbError> {
    tx.execute("set local statement_timeout = 0", &[]).await?;
    Ok(())
}

const FAULTS: &str = "\
-- ledger_faults
select fault, owner, subject, detail from tollgate.ledger_faults()";

/// Everything in the ledger that contradicts its invariants, a line a fault; reads every entry.
pub async fn faults(tx: &Tx) -> Result<Vec<String>, DbError> {
    let rows = tx.query(FAULTS, &[]).await?;
    rows.iter()
        .map(|row| read_fault(row).map_err(DbError::from))
        .collect()
}

fn refused(error: DbError) -> LedgerError {
    let refusal = error.sqlstate().and_then(Refusal::from_sqlstate);
    match (refusal, error.server()) {
        (Some(refusal), Some(server)) => LedgerError::Refused {
            refusal,
            field: server.column().map(str::to_owned),
            detail: server.detail().unwrap_or(server.message()).to_owned(),
        },
        (_, _) => LedgerError::Db(error),
    }
}

fn read_posted(row: &Row) -> Result<Posted, tokio_postgres::Error> {
    let balances: Vec<i64> = row.try_get("balances_after")?;
    let versions: Vec<i64> = row.try_get("account_versions")?;
    let accounts = balances.into_iter().zip(versions);
    Ok(Posted {
        transaction_id: row.try_get("transaction_id")?,
        recorded_at: row.try_get::<_, Instant>("recorded_at")?.0,
        replayed: row.try_get("replayed")?,
        accounts: accounts
            .map(|(balance, version)| AccountAfter {
                balance: Minor::new(balance),
                version,
            })
            .collect(),
    })
}

fn read_entry(row: &Row) -> Result<EntryRow, tokio_postgres::Error> {
    Ok(EntryRow {
        owner: row.try_get(0)?,
        account_kind: row.try_get(1)?,
        unit: row.try_get(2)?,
        amount: Minor::new(row.try_get(3)?),
        balance_after: Minor::new(row.try_get(4)?),
        account_version: row.try_get(5)?,
        transaction_id: row.try_get(6)?,
        transaction_kind: row.try_get(7)?,
        operation_key: row.try_get(8)?,
        occurred_at: row.try_get::<_, Instant>(9)?.0,
        recorded_at: row.try_get::<_, Instant>(10)?.0,
        delivery_id: row.try_get(11)?,
    })
}

fn read_fault(row: &Row) -> Result<String, tokio_postgres::Error> {
    let part = |index: usize| {
        row.try_get::<_, Option<String>>(index)
            .map(Option::unwrap_or_default)
    };
    Ok(format!("{} {} {}: {}", part(0)?, part(1)?, part(2)?, part(3)?))
}

#[cfg(test)]
mod tests;
