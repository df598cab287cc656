//! A card that was bound for the first charge of a subscription, as apply learns of it (PU-7).
//!
//! apply (binding) → **`note_binding`** → the contract's number, a fact → refold.
//!
//! Invariants: it is one fact, whoever tells it how often; where no day was agreed for the first charge it is none, and the
//! charge itself is the news. No attempt and no period is written. Not here: money, the payment (`apply`).

use tollgate_shared::event::CardBinding;

use super::NewFact;
use super::attempt::note_contract_number;
use super::refold::refold_row;
use crate::apply::Step;
use crate::db::DbError;
use crate::db::payments::Payment;
use crate::db::subscriptions::{self, facts};
use crate::domain::subscription::Noted;

/// The only one of its kind in a subscription.
const KEY: &str = "card_bound";

/// Notes that a card was bound and recomputes the subscription of the payment, if it is one's.
pub(crate) async fn note_binding(
    step: Step<'_>,
    payment: &Payment,
    binding: &CardBinding,
) -> Result<(), DbError> {
    let Some(mut subscription) = subscriptions::lock_of_payment(step.tx, payment.id).await? else {
        return Ok(());
    };
    note_contract_number(step, &mut subscription, binding.contract_number.as_ref()).await?;
    if subscription.anchor.is_some() {
        let fact = NewFact {
            key: KEY.to_owned(),
            noted: Noted::CardBound,
            reason: None,
            actor: "provider".to_owned(),
            occurred_at: step.occurred_at(),
        };
        facts::insert(step.tx, subscription.id, &fact, step.now).await?;
    }
    refold_row(step.tx, step.subscriptions, &subscription, step.now).await?;
    Ok(())
}
