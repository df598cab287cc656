//! PAYUNi's number of a contract (PeriodTradeNo), where its first notice was lost: told to operators, and given by one.
//!
//! apply → **`tell_missing`** → the event log. `tollgate subscription contract-number` → **`begin`** → the provider is asked
//! whose contract it is → **`give`** → the row.
//!
//! A query by our order number finds the charge and not the contract, and without the number a contract can be neither polled,
//! retried, paused nor ended. Invariants: a number is stored only where PAYUNi's own answer about it names our order, and one that is
//! known is never replaced; whoever asks is on record before anything is asked. Nothing here calls the network.
//! Failure: [`NumberError`], which has written nothing but that record.

use serde_json::json;
use tollgate_shared::id::{OrderNumber, ProviderPaymentId};
use tollgate_shared::time::Timestamp;

use super::SubscriptionId;
use super::event_line::about;
use crate::db::admin_actions::{self, AdminAction};
use crate::db::event_log::{self, Line};
use crate::db::subscriptions::{self, Subscription};
use crate::db::{DbError, Retry, Tx};
use crate::domain::subscription::Mode;
use crate::entropy;

/// Why a contract's number is not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NumberError {
    /// There is none of this id.
    #[error("there is no such subscription")]
    Unknown,
    /// Its provider gives contracts no number, or runs none for it.
    #[error("this subscription has no contract with a number of its own")]
    NoContract,
    /// It has one, and not this.
    #[error("the contract is known under the number {0}")]
    Known(String),
    /// The provider says that the number is another order's.
    #[error("the provider says that this number is of order {0}")]
    OtherOrder(OrderNumber),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Retry for NumberError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Db(error) if error.is_conflict())
    }
}

/// A number that somebody read in the provider's console.
#[derive(Debug, Clone)]
pub(crate) struct Given<'a> {
    /// Of which subscription.
    pub(crate) subscription: SubscriptionId,
    /// The provider's number of the contract.
    pub(crate) number: &'a ProviderPaymentId,
    /// `admin:<caller>`.
    pub(crate) actor: &'a str,
    /// How they know, for whoever reads the record.
    pub(crate) note: &'a str,
}

/// Writes down who wants what.
pub(crate) async fn record(tx: &Tx, given: &Given<'_>, now: Timestamp) -> Result<(), DbError> {
    let action = AdminAction {
        id: entropy::uuid_v7(now)?,
        actor: given.actor.to_owned(),
        action: "contract_number",
        target: given.subscription.to_string(),
        details: json!({ "number": given.number, "note": given.note }),
    };
    admin_actions::insert(tx, &action, now).await
}

/// Whether the number is to be asked about: the subscription, or `None` where it is known already.
pub(crate) async fn begin(tx: &Tx, given: &Given<'_>) -> Result<Option<Subscription>, NumberError> {
    let found = subscriptions::find(tx, given.subscription).await?;
    let subscription = found.ok_or(NumberError::Unknown)?;
    check(&subscription, given.number)
}

fn check(
    subscription: &Subscription,
    number: &ProviderPaymentId,
) -> Result<Option<Subscription>, NumberError> {
    if subscription.provider != "payuni" || subscription.mode != Mode::ProviderRun {
        return Err(NumberError::NoContract);
    }
    match subscription.contract_number.as_deref() {
        Some(known) if known == number.as_str() => Ok(None),
        Some(known) => Err(NumberError::Known(known.to_owned())),
        None => Ok(Some(subscription.clone())),
    }
}

/// Stores a number that the provider says is of this order.
pub(crate) async fn give(tx: &Tx, given: &Given<'_>, order: &OrderNumber) -> Result<(), NumberError> {
    let locked = subscriptions::lock(tx, given.subscription).await?;
    let subscription = locked.ok_or(NumberError::Unknown)?;
    if check(&subscription, given.number)?.is_none() {
        return Ok(());
    }
    let is_ours = order.as_str().eq_ignore_ascii_case(subscription.order.as_str());
    if !is_ours {
        return Err(NumberError::OtherOrder(order.clone()));
    }
    // After this point the number is the contract's.
    subscriptions::set_contract_number(tx, subscription.id, given.number.as_str()).await?;
    Ok(())
}

/// A contract was charged, and its number is not known: a notice may still tell it, else somebody has to.
pub(super) async fn tell_missing(
    tx: &Tx,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<(), DbError> {
    if event_log::insert(tx, &missing(subscription, now)?, now).await? {
        tracing::warn!(subscription.id = %subscription.id, "PAYUNi's number of the contract of subscription {} is not known", subscription.id);
    }
    Ok(())
}

fn missing(subscription: &Subscription, now: Timestamp) -> Result<Line, DbError> {
    let event_type = "subscription_number_missing";
    let key = format!("{event_type}:{}", subscription.id);
    Ok(Line {
        reason: Some("the notice that tells the contract's number did not come".to_owned()),
        details: json!({ "subscriptionId": subscription.id, "orderNumber": subscription.order }),
        ..about(subscription, event_type, key, now)?
    })
}
