//! One connection outside the pool: for migrating, and for tests that act as the owner of the database.
//!
//! `migrate`, `testing` → **connect** → a client whose connection task ends when the client is dropped.
//!
//! Not here: the service's own connections (`pool`), which act as `tollgate_app`.
//! Failure: the URL cannot be read, or the server cannot be reached.

use tokio_postgres::{Client, Config, NoTls};

use super::DbError;

/// Reads a URL; its text never reaches an error, because it holds a password.
pub(crate) fn config(database_url: &str) -> Result<Config, DbError> {
    database_url.parse().map_err(|_| DbError::Url)
}

/// Connects as the URL says.
pub async fn connect(database_url: &str) -> Result<Client, DbError> {
    let (client, connection) = config(database_url)?.connect(NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(
                error = %error,
                "a database connection broke"
            );
        }
    });
    Ok(client)
}
