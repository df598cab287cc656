//! A database for one stack, on the server that is there or on one of its own.
//!
//! `Stack::start` → **`StackDatabase`** → the origin's URL, and a client for looking at the ledger.
//!
//! Invariant: two stacks never share a database. A server that others use is never killed.
//! Failure: the server's own message.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio_postgres::{Client, NoTls};

use crate::config::Config;
use crate::run::postgres::{Durability, Postgres};

/// A server, and one database on it.
#[derive(Debug)]
pub struct StackDatabase {
    /// For `kill` and `restart`, if the stack asked for an own server.
    pub postgres: Postgres,
    server_url: String,
    name: String,
    url: String,
}

impl StackDatabase {
    /// Creates a database; `own` starts a server with full durability for it.
    pub(super) async fn start(config: &Config, own: bool, log: PathBuf) -> Result<Self> {
        let postgres = match (own, &config.test_database_url) {
            (true, _) => Postgres::start_own(config, Durability::Full, log).await?,
            (false, Some(url)) => Postgres::shared(url),
            (false, None) => Postgres::start(config, Durability::None, log).await?,
        };
        let server_url = postgres.url().to_owned();
        let name = random_name()?;
        let url = with_database(&server_url, &name);
        connect(&server_url)
            .await?
            .batch_execute(&create(&name))
            .await
            .context("create the stack's database")?;
        Ok(Self {
            postgres,
            server_url,
            name,
            url,
        })
    }

    /// The superuser's URL of the stack's database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A superuser's client on the stack's database.
    pub async fn client(&self) -> Result<Client> {
        connect(&self.url).await
    }

    pub(super) async fn stop(self) -> Result<()> {
        let drop_it = connect(&self.server_url)
            .await?
            .batch_execute(&remove(&self.name))
            .await;
        drop_it.context("drop the stack's database")?;
        self.postgres.stop().await
    }
}

/// A connection whose other half runs by itself.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .context("connect to Postgres")?;
    drop(tokio::spawn(connection)); // it ends with the client
    Ok(client)
}

/// Names come from `random_name`: letters, digits and underscores.
fn create(name: &str) -> String {
    format!("create database {name}")
}

fn remove(name: &str) -> String {
    format!("drop database if exists {name} with (force)")
}

fn random_name() -> Result<String> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).context("ask the system for randomness")?;
    Ok(format!("tollgate_stack_{}", hex::encode(bytes)))
}

/// The same server and parameters, another database.
#[must_use]
pub fn with_database(url: &str, name: &str) -> String {
    let (base, parameters) = url
        .split_once('?')
        .map_or((url, None), |(base, rest)| (base, Some(rest)));
    let after_scheme = base.find("://").map_or(0, |at| at.saturating_add(3));
    let path = base.get(after_scheme..).and_then(|rest| rest.find('/'));
    let server = path
        .and_then(|at| base.get(..after_scheme.saturating_add(at)))
        .unwrap_or(base);
    let parameters = parameters.map(|rest| format!("?{rest}")).unwrap_or_default();
    format!("{server}/{name}{parameters}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_of_a_url_changes() {
        let change = |url| with_database(url, "new");
        assert_eq!(change("postgres://u:p@h:5/old"), "postgres://u:p@h:5/new");
        assert_eq!(
            change("postgres://u@h/old?sslmode=require"),
            "postgres://u@h/new?sslmode=require"
        );
        assert_eq!(change("postgres://h"), "postgres://h/new");
    }
}
