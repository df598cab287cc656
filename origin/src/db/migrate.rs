//! Brings a database to the schema of this program, or refuses to.
//!
//! `tollgate migrate`, tests → **`migrate`** (bootstrap → versioned/ → functions/ → grants.sql) → `serve` and `work`,
//! which ask `state` before they say they are ready.
//!
//! Invariants: one migrator at a time a database (advisory lock, held by the session); versioned files never change
//! once applied (checksums); functions and grants are applied again every time, in one transaction, after them.
//! A schema newer than this program is refused: old code over new tables is how data gets lost in a roll-back.
//! Failure: a version that fails is rolled back whole and the ones before it stay; run it again.

use refinery::error::Kind;
use refinery::{Migration, Runner};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{Database, DbError, connect};

/// Any number that no other program takes on this database: "tollgate" as eight bytes, less the last.
const LOCK: i64 = 0x0074_6f6c_6c67_6174;
/// Several databases of one cluster may be migrated at once, and roles belong to the cluster.
const BOOTSTRAP_ATTEMPTS_MAX: u32 = 5;
const HISTORY: &str = "tollgate.refinery_schema_history";

macro_rules! sql_file {
    ($path:literal) => {
        include_str!(concat!("../../../migrations/", $path))
    };
}

const BOOTSTRAP: &str = sql_file!("bootstrap.sql");
const GRANTS: &str = sql_file!("grants.sql");

/// Applied once, in order. A test compares this list with the folder.
const VERSIONED: &[(&str, &str)] = &[
    (
        "V1__users_and_plans.sql",
        sql_file!("versioned/V1__users_and_plans.sql"),
    ),
    ("V2__payments.sql", sql_file!("versioned/V2__payments.sql")),
    (
        "V3__inbox_and_outbox.sql",
        sql_file!("versioned/V3__inbox_and_outbox.sql"),
    ),
    ("V4__ledger.sql", sql_file!("versioned/V4__ledger.sql")),
    (
        "V5__ledger_shapes.sql",
        sql_file!("versioned/V5__ledger_shapes.sql"),
    ),
    (
        "V6__token_buckets.sql",
        sql_file!("versioned/V6__token_buckets.sql"),
    ),
    (
        "V7__token_records.sql",
        sql_file!("versioned/V7__token_records.sql"),
    ),
    (
        "V8__ledger_domains.sql",
        sql_file!("versioned/V8__ledger_domains.sql"),
    ),
    (
        "V9__service_keys.sql",
        sql_file!("versioned/V9__service_keys.sql"),
    ),
    (
        "V10__company_members.sql",
        sql_file!("versioned/V10__company_members.sql"),
    ),
    (
        "V11__article_jobs.sql",
        sql_file!("versioned/V11__article_jobs.sql"),
    ),
    (
        "V12__token_packs.sql",
        sql_file!("versioned/V12__token_packs.sql"),
    ),
    (
        "V13__token_domains.sql",
        sql_file!("versioned/V13__token_domains.sql"),
    ),
    (
        "V14__subscriptions.sql",
        sql_file!("versioned/V14__subscriptions.sql"),
    ),
    ("V15__notices.sql", sql_file!("versioned/V15__notices.sql")),
    (
        "V16__subscription_changes.sql",
        sql_file!("versioned/V16__subscription_changes.sql"),
    ),
    ("V18__retention.sql", sql_file!("versioned/V18__retention.sql")),
    (
        "V19__outbox_lanes.sql",
        sql_file!("versioned/V19__outbox_lanes.sql"),
    ),
    (
        "V20__period_dates.sql",
        sql_file!("versioned/V20__period_dates.sql"),
    ),
    (
        "V21__plan_changes.sql",
        sql_file!("versioned/V21__plan_changes.sql"),
    ),
    (
        "V23__charges_by_hand.sql",
        sql_file!("versioned/V23__charges_by_hand.sql"),
    ),
    (
        "V24__payments_by_age.sql",
        sql_file!("versioned/V24__payments_by_age.sql"),
    ),
    (
        "V25__decline_reasons.sql",
        sql_file!("versioned/V25__decline_reasons.sql"),
    ),
];

/// Applied every time, in this order. A test compares this list with the folder.
const FUNCTIONS: [(&str, &str); 33] = [
    (
        "deduct_tokens_atomic.sql",
        sql_file!("functions/deduct_tokens_atomic.sql"),
    ),
    (
        "deduct_tokens_batch.sql",
        sql_file!("functions/deduct_tokens_batch.sql"),
    ),
    (
        "ledger_account_open.sql",
        sql_file!("functions/ledger_account_open.sql"),
    ),
    ("ledger_faults.sql", sql_file!("functions/ledger_faults.sql")),
    ("ledger_post.sql", sql_file!("functions/ledger_post.sql")),
    ("token_answer.sql", sql_file!("functions/token_answer.sql")),
    ("token_apply_due.sql", sql_file!("functions/token_apply_due.sql")),
    ("token_balance.sql", sql_file!("functions/token_balance.sql")),
    (
        "token_balance_at.sql",
        sql_file!("functions/token_balance_at.sql"),
    ),
    (
        "token_begin_period.sql",
        sql_file!("functions/token_begin_period.sql"),
    ),
    ("token_book.sql", sql_file!("functions/token_book.sql")),
    ("token_books_at.sql", sql_file!("functions/token_books_at.sql")),
    (
        "token_company_lock.sql",
        sql_file!("functions/token_company_lock.sql"),
    ),
    (
        "token_company_open.sql",
        sql_file!("functions/token_company_open.sql"),
    ),
    (
        "token_compensate.sql",
        sql_file!("functions/token_compensate.sql"),
    ),
    ("token_end_hold.sql", sql_file!("functions/token_end_hold.sql")),
    ("token_end_holds.sql", sql_file!("functions/token_end_holds.sql")),
    (
        "token_expire_bucket.sql",
        sql_file!("functions/token_expire_bucket.sql"),
    ),
    (
        "token_expire_due.sql",
        sql_file!("functions/token_expire_due.sql"),
    ),
    ("token_faults.sql", sql_file!("functions/token_faults.sql")),
    ("token_grant.sql", sql_file!("functions/token_grant.sql")),
    ("token_history.sql", sql_file!("functions/token_history.sql")),
    ("token_new_id.sql", sql_file!("functions/token_new_id.sql")),
    ("token_next_due.sql", sql_file!("functions/token_next_due.sql")),
    (
        "token_period_start.sql",
        sql_file!("functions/token_period_start.sql"),
    ),
    ("token_pick.sql", sql_file!("functions/token_pick.sql")),
    ("token_plan_set.sql", sql_file!("functions/token_plan_set.sql")),
    (
        "token_record_by_key.sql",
        sql_file!("functions/token_record_by_key.sql"),
    ),
    (
        "token_recorded_version.sql",
        sql_file!("functions/token_recorded_version.sql"),
    ),
    ("token_release.sql", sql_file!("functions/token_release.sql")),
    ("token_reserve.sql", sql_file!("functions/token_reserve.sql")),
    (
        "token_revoke_grant.sql",
        sql_file!("functions/token_revoke_grant.sql"),
    ),
    ("token_settle.sql", sql_file!("functions/token_settle.sql")),
];

/// Why a database was not migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// It was migrated by a newer program: deploy that one, or restore.
    #[error("the database has migration {version}, this program knows {known}: it is older than the schema")]
    NewerSchema {
        /// The newest version applied.
        version: i32,
        /// The newest version this program has.
        known: i32,
    },
    /// A versioned file failed, was changed after it was applied, or is missing from the middle.
    #[error("a versioned migration cannot be applied")]
    Versioned(#[source] refinery::Error),
    /// Bootstrap, functions or grants.
    #[error("{step} cannot be applied")]
    Repeatable {
        /// The file or group of files.
        step: &'static str,
        /// What the database said.
        source: DbError,
    },
    /// The database cannot be reached.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The versions applied now, as `V1__name`; empty where nothing was left to do.
    pub applied: Vec<String>,
    /// The version the schema has.
    pub version: i32,
}

/// Whether the schema fits this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// It does.
    Current,
    /// Migrations are missing: run `tollgate migrate`.
    Behind {
        /// The newest version applied, 0 for none.
        version: i32,
    },
    /// A newer program migrated it.
    Newer {
        /// The newest version applied.
        version: i32,
    },
}

/// Migrates the database of the URL, whose login owns it or may create roles and schemas in it.
pub async fn migrate(database_url: &str) -> Result<Migrated, MigrateError> {
    let mut client = connect::connect(database_url).await?;
    // Held until the session ends, which it does when `client` is dropped.
    client
        .execute("select pg_catalog.pg_advisory_lock($1)", &[&LOCK])
        .await
        .map_err(DbError::from)?;
    bootstrap(&client).await?;
    client
        .batch_execute("set role tollgate_owner")
        .await
        .map_err(DbError::from)?;
    let applied = versioned(&mut client).await?;
    repeatable(&client).await?;
    Ok(Migrated {
        applied,
        version: latest(),
    })
}

/// Compares the schema with this program; as `tollgate_app`, and cheap enough for a readiness probe.
pub async fn state(database: &Database) -> Result<SchemaState, DbError> {
    let connection = database.connection().await?;
    let query = "select pg_catalog.max(version) from tollgate.refinery_schema_history";
    let row = match connection.query_one(query, &[]).await {
        Ok(row) => row,
        Err(error) if lacks_history(&error) => return Ok(SchemaState::Behind { version: 0 }),
        Err(error) => return Err(error.into()),
    };
    let version = row.try_get::<_, Option<i32>>(0)?.unwrap_or(0);
    Ok(match version.cmp(&latest()) {
        std::cmp::Ordering::Less => SchemaState::Behind { version },
        std::cmp::Ordering::Equal => SchemaState::Current,
        std::cmp::Ordering::Greater => SchemaState::Newer { version },
    })
}

async fn bootstrap(client: &Client) -> Result<(), MigrateError> {
    let mut attempt = 1;
    loop {
        let error = match client.batch_execute(BOOTSTRAP).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if attempt >= BOOTSTRAP_ATTEMPTS_MAX || !lost_a_race(&error) {
            return Err(MigrateError::Repeatable {
                step: "bootstrap.sql",
                source: error.into(),
            });
        }
        attempt = attempt.saturating_add(1);
    }
}

/// "tuple concurrently updated" has no code of its own; the two others are a role that another migrator just made.
fn lost_a_race(error: &tokio_postgres::Error) -> bool {
    let races = [
        SqlState::INTERNAL_ERROR,
        SqlState::DUPLICATE_OBJECT,
        SqlState::UNIQUE_VIOLATION,
    ];
    error.code().is_some_and(|code| races.contains(code))
}

fn lacks_history(error: &tokio_postgres::Error) -> bool {
    let absent = [
        SqlState::UNDEFINED_TABLE,
        SqlState::INVALID_SCHEMA_NAME,
        SqlState::INSUFFICIENT_PRIVILEGE,
    ];
    error.code().is_some_and(|code| absent.contains(code))
}

async fn versioned(client: &mut Client) -> Result<Vec<String>, MigrateError> {
    let migrations: Result<Vec<Migration>, _> = VERSIONED
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, sql))
        .collect();
    let mut runner = Runner::new(&migrations.map_err(MigrateError::Versioned)?);
    runner.set_migration_table_name(HISTORY);
    let report = runner.run_async(client).await.map_err(refused)?;
    Ok(report
        .applied_migrations()
        .iter()
        .map(ToString::to_string)
        .collect())
}

/// Tells a newer schema apart from files that were changed or lost.
fn refused(error: refinery::Error) -> MigrateError {
    if let Kind::MissingVersion(migration) = error.kind()
        && migration.version() > latest()
    {
        return MigrateError::NewerSchema {
            version: migration.version(),
            known: latest(),
        };
    }
    MigrateError::Versioned(error)
}

async fn repeatable(client: &Client) -> Result<(), MigrateError> {
    let mut script = "begin;\n".to_owned();
    for (_, sql) in FUNCTIONS.iter().chain(&[("grants.sql", GRANTS)]) {
        script.push_str(sql);
        script.push('\n');
    }
    script.push_str("commit;");
    let step = "functions and grants";
    client
        .batch_execute(&script)
        .await
        .map_err(|error| MigrateError::Repeatable {
            step,
            source: error.into(),
        })
}

/// Names the whole of `migrations/`, so that a template database is made again when a file changes.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn files_hash() -> [u8; 32] {
    let listed = VERSIONED.iter().chain(&FUNCTIONS).map(|(_, sql)| *sql);
    crate::testing::digest_of(listed.chain([BOOTSTRAP, GRANTS]))
}

/// The newest version of this program: `VERSIONED` ascends, which a test holds. A number that was planned and never
/// used may be missing; one that is filled in later would be refused by databases that are past it.
fn latest() -> i32 {
    let newest = VERSIONED.last().and_then(|(name, _)| version_of(name));
    newest.unwrap_or(i32::MAX)
}

/// 7 of `V7__what.sql`.
fn version_of(name: &str) -> Option<i32> {
    name.strip_prefix('V')?.split_once("__")?.0.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests;
