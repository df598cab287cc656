//! Being woken by Postgres: one connection of its own that listens.
//!
//! outbox insert → NOTIFY at commit → **listen** → `work` looks at the queue now instead of at its next poll.
//!
//! Invariant: only a hint. Nothing is lost with a notification, because polling stands behind it; a broken
//! connection ends [`listen`] with the error, and the caller listens again after a while.

use std::future::poll_fn;
use std::pin::pin;

use tokio_postgres::{AsyncMessage, NoTls};
use tollgate_shared::secret::Secret;

use super::{DbError, connect, outbox};

/// Calls `wake` once when listening has begun and once a notification, until the connection breaks.
pub(crate) async fn listen(url: &Secret, wake: impl Fn()) -> Result<(), DbError> {
    let mut config = connect::config(url.expose())?;
    config.application_name("tollgate listen");
    let (client, mut connection) = config.connect(NoTls).await?;
    let begin = async {
        client
            .batch_execute(&format!("listen {}", outbox::CHANNEL))
            .await?;
        // What was written before we listened is found by the look that this causes.
        wake();
        std::future::pending::<Result<(), tokio_postgres::Error>>().await
    };
    let mut begin = pin!(begin);
    poll_fn(|context| {
        if let std::task::Poll::Ready(Err(error)) = begin.as_mut().poll(context) {
            return std::task::Poll::Ready(Err(DbError::from(error)));
        }
        loop {
            match connection.poll_message(context) {
                std::task::Poll::Ready(Some(Ok(AsyncMessage::Notification(_)))) => wake(),
                std::task::Poll::Ready(Some(Ok(_))) => {}
                std::task::Poll::Ready(Some(Err(error))) => return std::task::Poll::Ready(Err(error.into())),
                std::task::Poll::Ready(None) => return std::task::Poll::Ready(Ok(())),
                std::task::Poll::Pending => return std::task::Poll::Pending,
            }
        }
    })
    .await
}
