//! `tollgate service-key create | revoke | list`: keys made and ended by whoever has the database's address.
//!
//! main → **manage** → `db::service_keys`, and one JSON line an answer on standard output.
//!
//! Invariant: the key is shown once, by `create`; nothing can show it again. To change over: create the second, give it
//! to the caller, revoke the first. Failure: [`ManageError`], printed by `main`.

use std::io::Write as _;

use serde_json::json;
use tollgate_shared::secret::Secret;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{PREFIX, Scope, hash};
use crate::clock::{Clock as _, SystemClock};
use crate::db::service_keys::{self, NewKey};
use crate::db::{Database, DbError, PoolSettings, Tx};
use crate::entropy;

/// Why a command about keys did nothing.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// A name that the table does not take.
    #[error("a caller is named with 1 to 64 of a-z 0-9 -")]
    Caller,
    /// A key that may do nothing.
    #[error("a key needs at least one --scope")]
    NoScope,
    /// The caller has two.
    #[error("{caller} has two valid keys: revoke one first (tollgate service-key list)")]
    TwoValid {
        /// Whose keys.
        caller: String,
    },
    /// Nothing to revoke.
    #[error("no valid key has that id")]
    NotFound,
    /// The database did not do its work.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Standard output is closed.
    #[error("input or output failed")]
    Io(#[from] std::io::Error),
}

/// Makes a key and prints it, this once.
pub async fn create(database_url: &Secret, caller: &str, scopes: &[Scope]) -> Result<(), ManageError> {
    let now = SystemClock.now();
    let (id, key) = create_on(&connect(database_url)?, caller, scopes, now).await?;
    let labels: Vec<_> = scopes.iter().map(|scope| scope.label()).collect();
    print_line(
        &json!({ "event": "service_key", "id": id.to_string(), "caller": caller, "scopes": labels, "key": key }),
    )
}

/// Makes a key: its id and its text.
pub(crate) async fn create_on(
    database: &Database,
    caller: &str,
    scopes: &[Scope],
    now: Timestamp,
) -> Result<(Uuid, String), ManageError> {
    let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=64).contains(&caller.len()) || !caller.bytes().all(named) {
        return Err(ManageError::Caller);
    }
    if scopes.is_empty() {
        return Err(ManageError::NoScope);
    }
    let id = entropy::uuid_v7(now).map_err(DbError::from)?;
    let secret: [u8; 32] = entropy::random().map_err(DbError::from)?;
    let text = format!("{PREFIX}{}_{}", id.simple(), hex::encode(secret));
    let key = &NewKey {
        id,
        caller: caller.to_owned(),
        hash: hash(&text),
        scopes: scopes.iter().map(|scope| scope.label()).collect(),
    };
    let insert = |tx: Tx| async move { service_keys::insert(&tx, key, now).await };
    if database.run_tx("service_key_create", insert).await? {
        Ok((id, text))
    } else {
        Err(ManageError::TwoValid {
            caller: caller.to_owned(),
        })
    }
}

/// Ends a key.
pub async fn revoke(database_url: &Secret, id: Uuid) -> Result<(), ManageError> {
    revoke_on(&connect(database_url)?, id, SystemClock.now()).await?;
    print_line(&json!({ "event": "service_key_revoked", "id": id.to_string() }))
}

/// Ends a key; every process refuses it within [`super::FRESH`].
pub(crate) async fn revoke_on(database: &Database, id: Uuid, now: Timestamp) -> Result<(), ManageError> {
    let revoke = |tx: Tx| async move { service_keys::revoke(&tx, id, now).await };
    if database.run_tx("service_key_revoke", revoke).await? {
        Ok(())
    } else {
        Err(ManageError::NotFound)
    }
}

/// Prints every key without its secret, revoked ones too.
pub async fn list(database_url: &Secret) -> Result<(), ManageError> {
    let list = |tx: Tx| async move { service_keys::list(&tx).await };
    for key in connect(database_url)?.run_tx("service_key_list", list).await? {
        print_line(&json!({
            "id": key.id.to_string(),
            "caller": key.caller,
            "scopes": key.scopes,
            "createdAt": key.created_at.to_string(),
            "revokedAt": key.revoked_at.map(|at| at.to_string()),
        }))?;
    }
    Ok(())
}

fn connect(database_url: &Secret) -> Result<Database, DbError> {
    Database::new(&PoolSettings::new(database_url.clone()))
}

fn print_line(line: &serde_json::Value) -> Result<(), ManageError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
