//! A database of its own for every test, cloned from a template that holds the migrated schema.
//!
//! A test → **`TestDatabase::create`** → `Database` (as `tollgate_app`) and `admin` (as the owner of the server).
//!
//! The server is the one of `TOLLGATE_TEST_DATABASE_URL` (a superuser's URL; `cargo xtask test` sets it). The
//! template is named by a hash of every migration file and made once a server, under an advisory lock, so that test
//! processes share it; a new one removes the templates of other versions.
//! Invariant: a clone is dropped with its `TestDatabase`, also when the test panics.
//! Failure: panics with what to do; tests that need a database and have none must not look green.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "test support: a broken set-up ends the test"
)]

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tollgate_shared::secret::Secret;

use crate::db::connect::connect;
use crate::db::{Database, PoolSettings, migrate};
use crate::entropy;

/// Any number that no other program takes on the maintenance database.
const TEMPLATE_LOCK: i64 = 0x7467_7465_7374;
const TEMPLATE_PREFIX: &str = "tollgate_template_";
/// Made and renamed under the lock: whoever holds it and sees one sees a draft whose migration failed.
const DRAFT_PREFIX: &str = "tollgate_draft_";
/// A process of another version may remove our template between making and cloning it.
const CLONE_ATTEMPTS_MAX: u32 = 5;

/// A migrated database for one test; dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    server_url: String,
    name: String,
}

impl TestDatabase {
    /// Clones the template.
    ///
    /// # Panics
    /// Without a server to test on.
    pub async fn create() -> Self {
        let (server_url, name) = (server_url(), random_name("tollgate_test_"));
        let server = connect(&server_url)
            .await
            .expect("connect to TOLLGATE_TEST_DATABASE_URL");
        for _ in 0..CLONE_ATTEMPTS_MAX {
            let template = template(&server, &server_url).await;
            let clone = format!("create database {name} template {template}");
            match server.batch_execute(&clone).await {
                Ok(()) => return Self { server_url, name },
                Err(error) if error.code() == Some(&SqlState::INVALID_CATALOG_NAME) => {}
                Err(error) => panic!("clone {template}: {error:?}"),
            }
        }
        panic!(
            "the template database was removed {CLONE_ATTEMPTS_MAX} times; do several versions test on one server?"
        )
    }

    /// An empty database, for tests of migrating.
    ///
    /// # Panics
    /// Without a server to test on.
    pub async fn create_empty() -> Self {
        let (server_url, name) = (server_url(), random_name("tollgate_test_"));
        let server = connect(&server_url)
            .await
            .expect("connect to TOLLGATE_TEST_DATABASE_URL");
        server
            .batch_execute(&format!("create database {name}"))
            .await
            .expect("create an empty database");
        Self { server_url, name }
    }

    /// The superuser's URL of this database.
    #[must_use]
    pub fn url(&self) -> String {
        url_of(&self.server_url, &self.name)
    }

    /// What the service would use: eight connections as `tollgate_app`.
    #[must_use]
    pub fn database(&self) -> Database {
        self.database_of(8)
    }

    /// The same with another number of connections.
    ///
    /// # Panics
    /// Where the URL cannot be read.
    #[must_use]
    pub fn database_of(&self, connections_max: usize) -> Database {
        let wait = Duration::from_mins(1);
        let settings = PoolSettings {
            connections_max,
            wait,
            ..PoolSettings::new(Secret::new(self.url()))
        };
        Database::new(&settings).expect("a pool of the test database")
    }

    /// A connection as the owner of the server, for looking at and forcing what the service may not.
    ///
    /// # Panics
    /// Without a server to test on.
    pub async fn admin(&self) -> Client {
        connect(&self.url()).await.expect("connect to the test database")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let drop_it = format!("drop database if exists {} with (force)", self.name);
        let server_url = self.server_url.clone();
        // The test's runtime may be the one we are dropped on; it cannot wait for itself.
        let dropper = std::thread::spawn(move || run_alone(&server_url, &drop_it));
        if dropper.join().is_err() {
            tracing::warn!(database.name = %self.name, "a test database was not dropped");
        }
    }
}

fn run_alone(server_url: &str, sql: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime to clean up on");
    runtime.block_on(async {
        let server = connect(server_url).await.expect("connect to clean up");
        server.batch_execute(sql).await.expect("drop a test database");
    });
}

/// Makes the template unless it is there. It gets its name last, so a half-made one is never cloned.
async fn template(server: &Client, server_url: &str) -> String {
    let name = format!(
        "{TEMPLATE_PREFIX}{}",
        hex::encode(migrate::files_hash().split_at(8).0)
    );
    server
        .execute("select pg_advisory_lock($1)", &[&TEMPLATE_LOCK])
        .await
        .expect("lock the template");
    if !exists(server, &name).await {
        remove_other_templates(server).await;
        let draft = random_name(DRAFT_PREFIX);
        server
            .batch_execute(&format!("create database {draft}"))
            .await
            .expect("create the template");
        migrate::migrate(&url_of(server_url, &draft))
            .await
            .expect("migrate the template");
        let rename = format!("alter database {draft} rename to {name}");
        until_unused(server, &rename).await;
    }
    server
        .execute("select pg_advisory_unlock($1)", &[&TEMPLATE_LOCK])
        .await
        .expect("unlock the template");
    name
}

async fn exists(server: &Client, name: &str) -> bool {
    let found = server
        .query_opt("select 1 from pg_database where datname = $1", &[&name])
        .await;
    found.expect("look for the template").is_some()
}

/// The migrator's session ends a moment after its client is dropped; `force` is not for renames, so wait for it.
async fn until_unused(server: &Client, sql: &str) {
    let mut result = server.batch_execute(sql).await;
    for _ in 0..500 {
        match &result {
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => {
                server
                    .batch_execute("select pg_sleep(0.01)")
                    .await
                    .expect("wait for the migrator's session to end");
                result = server.batch_execute(sql).await;
            }
            Ok(()) | Err(_) => break,
        }
    }
    result.expect("rename the template");
}

async fn remove_other_templates(server: &Client) {
    let query = "select datname from pg_database where starts_with(datname, $1) or starts_with(datname, $2)";
    let others = server.query(query, &[&TEMPLATE_PREFIX, &DRAFT_PREFIX]).await;
    for row in others.expect("look for old templates") {
        let name: String = row.get(0);
        // Another process may be cloning it; then it stays for the next to remove.
        if let Err(error) = server
            .batch_execute(&format!("drop database if exists {name}"))
            .await
        {
            tracing::debug!(database.name = %name, error = %error, "an old template stays");
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one setting of tests, not of the service"
)]
fn server_url() -> String {
    std::env::var("TOLLGATE_TEST_DATABASE_URL")
        .expect("this test needs a Postgres: run `cargo xtask test`, or set TOLLGATE_TEST_DATABASE_URL to a superuser's URL")
}

/// The URL with another database name; parameters after `?` stay.
fn url_of(server_url: &str, database: &str) -> String {
    let (base, parameters) = match server_url.split_once('?') {
        Some((base, parameters)) => (base, format!("?{parameters}")),
        None => (server_url, String::new()),
    };
    let scheme_end = base.find("://").map_or(0, |at| at.saturating_add(3));
    let (scheme, rest) = base.split_at(scheme_end);
    let host = rest.split('/').next().unwrap_or_default();
    format!("{scheme}{host}/{database}{parameters}")
}

fn random_name(prefix: &str) -> String {
    let bytes: [u8; 8] = entropy::random().expect("random bytes for a database name");
    format!("{prefix}{}", hex::encode(bytes))
}

/// The digest that names the template.
pub(crate) fn digest_of<'a>(texts: impl Iterator<Item = &'a str>) -> [u8; 32] {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(Sha256::digest(text));
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::url_of;

    #[test]
    fn only_the_database_of_a_url_changes() {
        assert_eq!(url_of("postgres://u:p@h:5/postgres", "x"), "postgres://u:p@h:5/x");
        assert_eq!(url_of("postgres://u:p@h:5", "x"), "postgres://u:p@h:5/x");
        assert_eq!(
            url_of("postgres:///postgres?host=/run/pg&user=u", "x"),
            "postgres:///x?host=/run/pg&user=u"
        );
    }
}
