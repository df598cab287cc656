//! What every effect on a subscription begins with and may find out: the row, its shop, and that the contract is over.
//!
//! `subscription_*` → **load** → a call → **`note_end`** → `subscriptions::note_fact`.
//!
//! Invariant: the row is read, not locked: it may change during the call, so nothing is concluded from it but where to
//! ask; what a call finds is a fact, and the refold decides. Not here: the calls.

use serde_json::Value;
use tollgate_shared::id::{MerchantId, ProviderPaymentId};
use tollgate_shared::time::Timestamp;

use super::{Desk, Undone};
use crate::db::subscriptions::{self, Subscription, facts};
use crate::db::{DbError, Tx};
use crate::domain::subscription::{EndReason, Fact, Noted, What};
use crate::gateway::provider::Shop;
use crate::polls::contract_number;
use crate::subscriptions::{NewFact, SubscriptionId, note_fact};

/// A subscription, and where its contract is.
pub(super) struct Contract<'a> {
    pub(super) subscription: Subscription,
    pub(super) shop: Shop<'a>,
}

/// Loads the subscription that a payload names.
pub(super) async fn load<'a>(desk: Desk<'a>, payload: &Value) -> Result<Contract<'a>, Undone> {
    let id = SubscriptionId::from_uuid(super::id(payload, "subscriptionId")?);
    let find = |tx: Tx| async move { subscriptions::find(&tx, id).await };
    let found = desk.origin.database.run_tx("subscription_load", find).await?;
    let subscription = found.ok_or_else(|| Undone::Never("there is no such subscription".to_owned()))?;
    let merchant: Option<MerchantId> = subscription.merchant.parse().ok();
    let shop = super::shop(desk.origin, &subscription.provider, merchant.as_ref())?;
    Ok(Contract { subscription, shop })
}

impl Contract<'_> {
    /// PAYUNi's number of the contract, which its first notice told.
    pub(super) fn number(&self) -> Result<ProviderPaymentId, Undone> {
        contract_number(&self.subscription)
    }

    /// Whether it was over when it was loaded.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.subscription.status.as_str(), "canceled" | "ended")
    }
}

/// What is known of a subscription.
pub(super) async fn known(desk: Desk<'_>, id: SubscriptionId) -> Result<Vec<Fact>, Undone> {
    let load = |tx: Tx| async move { facts::load(&tx, id).await };
    Ok(desk.origin.database.run_tx("subscription_facts", load).await?)
}

/// Whether somebody on our side wanted the end.
pub(super) fn is_end_ours(known: &[Fact]) -> bool {
    known.iter().any(|fact| {
        matches!(
            fact.what,
            What::Noted(Noted::CancelNowAsked | Noted::CancelAtEndAsked | Noted::Replaced)
        )
    })
}

/// Whether an attempt is known that was made after the newest request for one. The provider's clock may be a minute off.
pub(super) fn is_answered(known: &[Fact]) -> bool {
    let asked = known
        .iter()
        .filter(|fact| matches!(fact.what, What::Noted(Noted::RetryAsked(_))))
        .map(|fact| fact.told_at.unix_ms())
        .max();
    let tried = known
        .iter()
        .filter(|fact| matches!(fact.what, What::Charged { .. } | What::Declined { .. }))
        .map(|fact| fact.occurred_at.unix_ms())
        .max();
    asked
        .zip(tried)
        .is_some_and(|(asked, tried)| tried.saturating_add(60_000) >= asked)
}

/// Notes that the provider's contract is over, once for each reason.
pub(super) async fn note_end(
    desk: Desk<'_>,
    id: SubscriptionId,
    reason: EndReason,
    now: Timestamp,
) -> Result<(), Undone> {
    let fact = &NewFact {
        key: format!("provider_ended:{}", reason.label()),
        noted: Noted::ProviderEnded(reason),
        reason: None,
        actor: "provider".to_owned(),
        occurred_at: now,
    };
    let context = desk.origin.subscriptions();
    let note = |tx: Tx| async move { note_fact(&tx, context, id, fact.clone(), now).await };
    desk.origin
        .database
        .run_tx("subscription_ended", note)
        .await
        .map_err(|error: DbError| error.into())
}
