//! Checkout's idempotency keys: one effect a user and key, with what was asked and answered.
//!
//! checkout looks a key up under the user's lock → inserts it with the payment → a repeat reads the answer.
//!
//! Invariant: the key stands in the same transaction as the payment it names, so neither is ever without the
//! other. Not here: how a repeat that differs is told (`checkout`).

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_postgres::types::Json;
use tollgate_shared::id::{PaymentId, UserId};
use tollgate_shared::time::Timestamp;

use super::{DbError, Instant, Tx};

/// What was asked and answered under a key.
#[derive(Debug, Clone)]
pub(crate) struct Stored<R, A> {
    /// The canonical request.
    pub(crate) request: R,
    /// What the page was told.
    pub(crate) answer: A,
}

/// What stands under a user's key.
pub(crate) async fn find<R: DeserializeOwned, A: DeserializeOwned>(
    tx: &Tx,
    user: &UserId,
    key: &str,
) -> Result<Option<Stored<R, A>>, DbError> {
    let sql = "select request, response from tollgate.checkout_requests where user_id = $1 and idempotency_key = $2";
    let Some(row) = tx.query_opt(sql, &[&user.as_str(), &key]).await? else {
        return Ok(None);
    };
    let request: serde_json::Value = row.try_get("request")?;
    let answer: serde_json::Value = row.try_get("response")?;
    let unreadable = |_| DbError::Unreadable {
        column: "checkout_requests.response",
    };
    Ok(Some(Stored {
        request: serde_json::from_value(request).map_err(unreadable)?,
        answer: serde_json::from_value(answer).map_err(unreadable)?,
    }))
}

/// A key to be.
#[derive(Debug)]
pub(crate) struct NewKey<'a, R, A> {
    /// Whose.
    pub(crate) user: &'a UserId,
    /// The caller's name for the effect.
    pub(crate) key: &'a str,
    /// SHA-256 of the canonical request.
    pub(crate) fingerprint: [u8; 32],
    /// The canonical request.
    pub(crate) request: &'a R,
    /// The payment that was made.
    pub(crate) payment: PaymentId,
    /// What the page was told.
    pub(crate) answer: &'a A,
}

/// Writes a key.
pub(crate) async fn insert<R, A>(tx: &Tx, new: &NewKey<'_, R, A>, now: Timestamp) -> Result<(), DbError>
where
    R: Serialize + std::fmt::Debug + Sync,
    A: Serialize + std::fmt::Debug + Sync,
{
    let sql = "insert into tollgate.checkout_requests (user_id, idempotency_key, fingerprint, request, payment_id, \
               response, created_at) values ($1, $2, $3, $4, $5, $6, $7)";
    tx.execute(
        sql,
        &[
            /* user_id */ &new.user.as_str(),
            /* idempotency_key */ &new.key,
            /* fingerprint */ &new.fingerprint.as_slice(),
            /* request */ &Json(new.request),
            /* payment_id */ &new.payment.as_uuid(),
            /* response */ &Json(new.answer),
            /* created_at */ &Instant(now),
        ],
    )
    .await?;
    Ok(())
}
