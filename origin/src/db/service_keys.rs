//! The rows of service keys: made, revoked, listed, looked up.
//!
//! `service_keys` → **these statements** → `tollgate.service_keys` (V9).
//!
//! Invariant: only hashes pass through here, and the third valid key of a caller is refused by the table's own index,
//! however many are created at once. Not here: what a key looks like and what its scopes allow (`service_keys`).

use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{Database, DbError, Instant, Tx};

/// A key to be kept.
#[derive(Debug, Clone)]
pub(crate) struct NewKey {
    /// Its public part.
    pub(crate) id: Uuid,
    /// Whose.
    pub(crate) caller: String,
    /// SHA-256 of the whole key.
    pub(crate) hash: [u8; 32],
    /// What it may do.
    pub(crate) scopes: Vec<&'static str>,
}

/// A key that is valid.
#[derive(Debug, Clone)]
pub(crate) struct ValidKey {
    /// Whose.
    pub(crate) caller: String,
    /// SHA-256 of the whole key.
    pub(crate) hash: Vec<u8>,
    /// What it may do.
    pub(crate) scopes: Vec<String>,
}

/// A key as a person sees it in a list.
#[derive(Debug, Clone)]
pub(crate) struct ListedKey {
    /// Its public part.
    pub(crate) id: Uuid,
    /// Whose.
    pub(crate) caller: String,
    /// What it may do.
    pub(crate) scopes: Vec<String>,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// When it stopped being valid.
    pub(crate) revoked_at: Option<Timestamp>,
}

const INSERT: &str = "\
-- service_key_insert
insert into tollgate.service_keys (id, caller, slot, key_hash, scopes, created_at)
select $1::uuid, $2::text, slot.number, $3::bytea, $4::text[], $5::timestamptz
from unnest(array[1, 2]::smallint[]) as slot (number)
where not exists (
    select 1 from tollgate.service_keys as used
    where used.caller = $2::text and used.slot = slot.number and used.revoked_at is null
)
order by slot.number
limit 1
on conflict (caller, slot) where revoked_at is null do nothing";

/// Keeps a key; false where the caller has two valid ones already.
pub(crate) async fn insert(tx: &Tx, key: &NewKey, now: Timestamp) -> Result<bool, DbError> {
    let hash: &[u8] = &key.hash;
    let written = tx
        .execute(INSERT, &[&key.id, &key.caller, &hash, &key.scopes, &Instant(now)])
        .await?;
    Ok(written == 1)
}

const REVOKE: &str = "\
-- service_key_revoke
update tollgate.service_keys set revoked_at = $2
where id = $1 and revoked_at is null";

/// Ends a key; false where there is none of that id that is valid.
pub(crate) async fn revoke(tx: &Tx, id: Uuid, now: Timestamp) -> Result<bool, DbError> {
    Ok(tx.execute(REVOKE, &[&id, &Instant(now)]).await? == 1)
}

const LIST: &str = "\
-- service_key_list
select id, caller, scopes, created_at, revoked_at
from tollgate.service_keys
order by caller, created_at, id";

/// Every key that ever was, by caller.
pub(crate) async fn list(tx: &Tx) -> Result<Vec<ListedKey>, DbError> {
    let rows = tx.query(LIST, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(ListedKey {
                id: row.try_get(0)?,
                caller: row.try_get(1)?,
                scopes: row.try_get(2)?,
                created_at: row.try_get::<_, Instant>(3)?.0,
                revoked_at: row.try_get::<_, Option<Instant>>(4)?.map(|at| at.0),
            })
        })
        .collect()
}

const FIND_VALID: &str = "\
-- service_key_find_valid
select caller, key_hash, scopes
from tollgate.service_keys
where id = $1 and revoked_at is null";

/// The valid key of an id.
pub(crate) async fn find_valid(database: &Database, id: Uuid) -> Result<Option<ValidKey>, DbError> {
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(FIND_VALID).await?;
    let Some(row) = connection.query_opt(&statement, &[&id]).await? else {
        return Ok(None);
    };
    Ok(Some(ValidKey {
        caller: row.try_get(0)?,
        hash: row.try_get(1)?,
        scopes: row.try_get(2)?,
    }))
}
