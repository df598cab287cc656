//! Migrating real databases: again, at once, too new, tampered with; and the schema that comes out.

use std::collections::BTreeSet;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use super::{FUNCTIONS, MigrateError, Migrated, SchemaState, VERSIONED, latest, migrate, state, version_of};
use crate::testing::TestDatabase;

/// The catalogue as text, in an order that does not depend on the server.
const CATALOGUE: &str = include_str!("catalogue.sql");

fn migrations() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../migrations")
}

fn names() -> Vec<String> {
    VERSIONED
        .iter()
        .map(|(name, _)| name.trim_end_matches(".sql").to_owned())
        .collect()
}

async fn history(admin: &Client) -> i64 {
    let query = "select count(*) from tollgate.refinery_schema_history";
    admin.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn op_1_migrating_twice_changes_nothing_the_second_time() {
    let test = TestDatabase::create_empty().await;
    let database = test.database();
    let version = latest();
    assert_eq!(
        migrate(&test.url()).await.unwrap(),
        Migrated {
            applied: names(),
            version
        }
    );
    let admin = test.admin().await;
    let first = catalogue(&admin).await;
    assert_eq!(
        migrate(&test.url()).await.unwrap(),
        Migrated {
            applied: vec![],
            version
        }
    );
    assert_eq!(catalogue(&admin).await, first);
    assert_eq!(state(&database).await.unwrap(), SchemaState::Current);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_four_migrators_at_once_one_migrates_and_all_succeed() {
    let test = TestDatabase::create_empty().await;
    let url = test.url();
    let (a, b, c, d) = tokio::join!(migrate(&url), migrate(&url), migrate(&url), migrate(&url));
    let mut applied: Vec<usize> = [a, b, c, d].map(|result| result.unwrap().applied.len()).to_vec();
    applied.sort_unstable();
    assert_eq!(applied, [0, 0, 0, VERSIONED.len()]);
    assert_eq!(
        history(&test.admin().await).await,
        i64::try_from(VERSIONED.len()).unwrap()
    );
}

/// Roles belong to the cluster: the advisory locks of two databases do not keep their migrators apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_databases_of_one_cluster_migrate_at_once() {
    let tests = [
        TestDatabase::create_empty().await,
        TestDatabase::create_empty().await,
        TestDatabase::create_empty().await,
    ];
    let [a, b, c] = tests.each_ref().map(TestDatabase::url);
    let (a, b, c) = tokio::join!(migrate(&a), migrate(&b), migrate(&c));
    for result in [a, b, c] {
        assert_eq!(result.unwrap().applied, names());
    }
}

#[tokio::test]
async fn a_schema_newer_than_the_program_is_refused_and_left_alone() {
    let test = TestDatabase::create().await;
    let admin = test.admin().await;
    let newer = "insert into tollgate.refinery_schema_history values (99, 'of_the_future', '2027-01-01T00:00:00Z', '1');
        create or replace function tollgate.ledger_faults()
        returns table (fault text, owner text, subject text, detail text)
        language sql as $$ select 'of', 'the', 'future', '' $$";
    admin.batch_execute(newer).await.unwrap();
    match migrate(&test.url()).await {
        Err(MigrateError::NewerSchema { version: 99, known }) => assert_eq!(known, latest()),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        state(&test.database()).await.unwrap(),
        SchemaState::Newer { version: 99 }
    );
    // The newer program's functions are still there: refusing comes before replacing.
    let fault: String = admin
        .query_one("select fault from tollgate.ledger_faults()", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(fault, "of");
}

#[tokio::test]
async fn a_versioned_file_that_changed_after_it_was_applied_is_refused() {
    let test = TestDatabase::create().await;
    let tamper = "update tollgate.refinery_schema_history set checksum = '1' where version = 2";
    test.admin().await.batch_execute(tamper).await.unwrap();
    assert!(matches!(
        migrate(&test.url()).await,
        Err(MigrateError::Versioned(_))
    ));
}

#[tokio::test]
async fn an_old_schema_says_how_far_it_is() {
    let empty = TestDatabase::create_empty().await;
    assert_eq!(
        state(&empty.database()).await.unwrap(),
        SchemaState::Behind { version: 0 }
    );
    let test = TestDatabase::create().await;
    let newest = format!(
        "delete from tollgate.refinery_schema_history where version = {}",
        latest()
    );
    test.admin().await.batch_execute(&newest).await.unwrap();
    assert_eq!(
        state(&test.database()).await.unwrap(),
        SchemaState::Behind {
            version: version_of(VERSIONED[VERSIONED.len() - 2].0).unwrap()
        }
    );
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_or_read_is_an_error_without_the_password() {
    for url in ["not a url: hunter2", "postgres://user:hunter2@127.0.0.1:1/none"] {
        let error = migrate(url).await.unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_not_in_the_grants_file_is_taken_back() {
    let test = TestDatabase::create().await;
    let admin = test.admin().await;
    let before = catalogue(&admin).await;
    let extra = "grant delete on tollgate.ledger_entry to tollgate_app;
        grant execute on function tollgate.ledger_faults() to public";
    admin.batch_execute(extra).await.unwrap();
    assert_ne!(catalogue(&admin).await, before);
    migrate(&test.url()).await.unwrap();
    assert_eq!(catalogue(&admin).await, before);
}

#[test]
fn the_lists_are_the_folders_and_versions_ascend() {
    for (folder, listed) in [("versioned", VERSIONED), ("functions", &FUNCTIONS[..])] {
        let files = std::fs::read_dir(migrations().join(folder)).unwrap();
        let files: BTreeSet<String> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        let listed: BTreeSet<String> = listed.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(files, listed, "{folder}");
    }
    let versions: Vec<_> = VERSIONED
        .iter()
        .map(|(name, _)| version_of(name).unwrap())
        .collect();
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    for (name, sql) in FUNCTIONS {
        let function = name.trim_end_matches(".sql");
        assert!(
            sql.contains(&format!("create or replace function tollgate.{function}(")),
            "{name}"
        );
        assert!(
            sql.starts_with(&format!("-- {function}: ")),
            "{name} opens with its contract"
        );
        // The header's comments may say that no clock is read.
        let body = sql.lines().filter(|line| !line.trim_start().starts_with("--"));
        assert!(
            body.clone()
                .all(|line| !line.contains("now()") && !line.contains("clock_timestamp")),
            "{name}"
        );
        assert!(
            body.clone()
                .any(|line| line == "set search_path = pg_catalog, tollgate, pg_temp"),
            "{name}"
        );
    }
}

/// A versioned file is never changed: other databases have run it. migrations/README.md has the command.
#[test]
fn versioned_files_are_those_of_the_checksums() {
    let expected = std::fs::read_to_string(migrations().join("CHECKSUMS")).unwrap();
    let line =
        |(name, sql): &(&str, &str)| format!("{}  versioned/{name}\n", hex::encode(Sha256::digest(sql)));
    assert_eq!(VERSIONED.iter().map(line).collect::<String>(), expected);
}

/// migrations/schema.txt is the schema as Postgres understood it, to be read in reviews. migrations/README.md has the
/// command that writes it again.
#[tokio::test]
async fn the_schema_is_the_committed_one() {
    let test = TestDatabase::create().await;
    let seen = catalogue(&test.admin().await).await;
    let path = migrations().join("schema.txt");
    if write_schema() {
        std::fs::write(&path, &seen).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let differs = committed
        .lines()
        .zip(seen.lines())
        .find(|(committed, seen)| committed != seen);
    assert_eq!(differs, None, "first line that differs (committed, seen)");
    assert_eq!(committed.lines().count(), seen.lines().count(), "lines");
}

#[expect(
    clippy::disallowed_methods,
    reason = "a switch of this test, not a setting of the service"
)]
fn write_schema() -> bool {
    std::env::var_os("TOLLGATE_WRITE_SCHEMA").is_some()
}

async fn catalogue(admin: &Client) -> String {
    let rows = admin.query(CATALOGUE, &[]).await.unwrap();
    rows.iter()
        .flat_map(|row| [row.get::<_, String>(0), "\n".to_owned()])
        .collect()
}
