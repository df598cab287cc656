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
use crate::domain::subscription::{EndReason, Fact, Noted, What, unanswered_since};
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

/// Whether an attempt is known of that we were told after the newest request for one: by our clock, as the standing reads it.
pub(super) fn is_answered(known: &[Fact]) -> bool {
    unanswered_since(known).is_none()
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

#[cfg(test)]
mod tests {
    use tollgate_shared::time::Timestamp;

    use super::is_answered;
    use crate::domain::subscription::{Fact, Noted, RetrySlot, What};

    /// asked at second 1000 | the attempt's own clock | when we were told | answered?
    const TABLE: [(i64, i64, bool); 4] = [
        (990, 1_005, true),
        (400, 1_005, true),
        (1_030, 995, false),
        (2_000, 999, false),
    ];

    #[test]
    fn ec_2_an_answer_is_what_we_were_told_after_the_request_whatever_the_providers_clock_says() {
        let fact = |key: &str, occurred: i64, told: i64, what| Fact {
            key: key.to_owned(),
            occurred_at: Timestamp::from_unix_seconds(occurred),
            told_at: Timestamp::from_unix_seconds(told),
            what,
        };
        let asked = What::Noted(Noted::RetryAsked(RetrySlot::Manual));
        let declined = What::Declined {
            period: None,
            hard: false,
            numbered: true,
        };
        for (occurred, told, answered) in TABLE {
            let known = [
                fact("retry", 1_000, 1_000, asked.clone()),
                fact("attempt", occurred, told, declined.clone()),
            ];
            assert_eq!(is_answered(&known), answered, "{occurred} {told}");
        }
    }
}
