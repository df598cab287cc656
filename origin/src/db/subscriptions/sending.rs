//! Charges of ours on their way to the provider: what is to be sent, and what was.
//!
//! `effects::subscription_charge` → **these statements** → `subscription_charges`, `payment_credentials`.
//!
//! Invariant: a charge that has its result is not marked again. Whoever marks holds the lease on the charge's effect, in
//! the same transaction. Not here: results (`charges::finish`, by apply), the intention (`charges::insert`).

use tokio_postgres::Row;
use tollgate_shared::event::StoredCredential;
use tollgate_shared::id::OrderNumber;
use tollgate_shared::money::Minor;
use tollgate_shared::secret::Secret;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::unreadable;
use crate::db::{DbError, Instant, Tx};
use crate::subscriptions::SubscriptionId;

/// A charge to send.
#[derive(Debug, Clone)]
pub(crate) struct Charging {
    /// Its row's id.
    pub(crate) id: Uuid,
    /// Of which subscription.
    pub(crate) subscription: SubscriptionId,
    /// Our number of it at the provider.
    pub(crate) order: OrderNumber,
    /// How much, in the subscription's currency.
    pub(crate) amount_minor: Minor,
    /// How far it is.
    pub(crate) progress: Progress,
}

/// How far a charge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It was not sent, or the provider certainly did not get it.
    Unsent,
    /// It was sent last at this instant, and no answer was read.
    Unknown(Timestamp),
    /// It has its result.
    Finished,
}

/// A charge by its row.
pub(crate) async fn find(tx: &Tx, id: Uuid) -> Result<Option<Charging>, DbError> {
    let sql = "select id, subscription_id, order_number, amount, status, sent_at \
               from tollgate.subscription_charges where id = $1";
    tx.query_opt(sql, &[&id]).await?.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<Charging, DbError> {
    Ok(Charging {
        id: row.try_get("id")?,
        subscription: SubscriptionId::from_uuid(row.try_get("subscription_id")?),
        order: row
            .try_get::<_, String>("order_number")?
            .try_into()
            .map_err(|_| unreadable("subscription_charges.order_number"))?,
        amount_minor: Minor::new(row.try_get("amount")?),
        progress: progress(row)?,
    })
}

fn progress(row: &Row) -> Result<Progress, DbError> {
    let sent_at: Option<Instant> = row.try_get("sent_at")?;
    Ok(match row.try_get("status")? {
        "unsent" => Progress::Unsent,
        "unknown" => {
            let sent_at = sent_at.ok_or_else(|| unreadable("subscription_charges.sent_at"))?;
            Progress::Unknown(sent_at.0)
        }
        _ => Progress::Finished,
    })
}

/// Whether news of a charge is in the inbox and not applied yet.
pub(crate) async fn has_news(tx: &Tx, id: Uuid) -> Result<bool, DbError> {
    let sql = "select from tollgate.subscription_charges charge \
               join tollgate.saas_subscriptions subscription on subscription.id = charge.subscription_id \
               join tollgate.inbox_events told on told.source = subscription.provider \
                   and told.order_number = charge.order_number and told.status = 'pending' \
               where charge.id = $1 limit 1";
    Ok(tx.query_opt(sql, &[&id]).await?.is_some())
}

/// Notes that a charge is about to be sent; `false` where it has its result.
pub(crate) async fn note_sending(tx: &Tx, id: Uuid, now: Timestamp) -> Result<bool, DbError> {
    let sql = "update tollgate.subscription_charges set status = 'unknown', sent_at = $2 \
               where id = $1 and status in ('unsent', 'unknown')";
    Ok(tx.execute(sql, &[&id, &Instant(now)]).await? == 1)
}

/// Notes that the provider certainly did not get what was sent at this instant.
pub(crate) async fn note_unsent(tx: &Tx, id: Uuid, sent_at: Timestamp) -> Result<(), DbError> {
    let sql = "update tollgate.subscription_charges set status = 'unsent', sent_at = null \
               where id = $1 and status = 'unknown' and sent_at = $2";
    tx.execute(sql, &[&id, &Instant(sent_at)]).await?;
    Ok(())
}

/// The card of a subscription, as far as we know it.
pub(crate) async fn credential(tx: &Tx, id: SubscriptionId) -> Result<Option<StoredCredential>, DbError> {
    let sql = "select credit_hash, expires, card_last4 from tollgate.payment_credentials \
               where subscription_id = $1 and replaced_at is null";
    let row = tx.query_opt(sql, &[&id.as_uuid()]).await?;
    row.map(|row| {
        Ok(StoredCredential {
            hash: Secret::new(row.try_get("credit_hash")?),
            expires: row.try_get("expires")?,
            card_last4: row.try_get("card_last4")?,
        })
    })
    .transpose()
}
