//! Commands of whoever ends what no answer of a provider ended: `subscription held-charges`, `subscription settle-charge`;
//! and of whoever knows what no notice told: `subscription contract-number` (`contract_number`).
//!
//! main → **these** → `crate::subscriptions`, and one JSON line an answer on standard output.
//!
//! Invariant: `settle-charge` needs the whole configuration, because its word takes the road of the provider's own answers
//! (the shop's keys, the inbox, apply); running it again with the same word changes nothing. Failure: [`CommandError`].

mod contract_number;

use serde_json::{Value, json};
use tollgate_shared::id::ProviderPaymentId;
use tollgate_shared::secret::Secret;
use uuid::Uuid;

use super::{CommandError, print_line};
use crate::Origin;
use crate::config::Config;
use crate::db::subscriptions::held::{self, OwnCharge};
use crate::db::{Database, PoolSettings, Tx};
use crate::subscriptions::{Decision, Ended, settle_charge};
use crate::telemetry::Chain;

#[cfg(test)]
pub(crate) use self::contract_number::{GiveError, give};
pub use self::contract_number::{NumberArguments, contract_number};

/// Who asks, in the records.
const ACTOR: &str = "admin:command";

/// What became of a charge.
#[derive(Debug, Clone)]
pub struct SettleArguments {
    /// Which charge.
    pub charge: Uuid,
    /// The provider's number of it, if it was paid; `None`: it was not.
    pub paid_as: Option<ProviderPaymentId>,
    /// How the person knows.
    pub note: String,
}

/// `tollgate subscription held-charges`: what waits for a person, oldest first.
pub async fn held_charges(database_url: &Secret) -> Result<(), CommandError> {
    let database = Database::new(&PoolSettings::new(database_url.clone()))?;
    let read = |tx: Tx| async move { held::all(&tx).await };
    for charge in database.run_tx("held_charges", read).await? {
        print_line(&line(&charge))?;
    }
    Ok(())
}

fn line(charge: &OwnCharge) -> Value {
    json!({
        "event": "held_charge",
        "id": charge.id,
        "subscriptionId": charge.subscription,
        "userId": charge.user,
        "provider": charge.provider,
        "orderNumber": charge.order,
        "period": charge.period,
        "amount": charge.money.amount_minor.get(),
        "sentAt": charge.sent_at.map(|at| at.to_string()),
        "createdAt": charge.created_at.to_string(),
        "lastError": charge.last_error,
    })
}

/// `tollgate subscription settle-charge`: what a person found of it.
pub async fn settle(config: Config, arguments: &SettleArguments) -> Result<(), CommandError> {
    let origin = Origin::new(config)?;
    let decision = &Decision {
        charge: arguments.charge,
        of: None,
        ended: match &arguments.paid_as {
            Some(number) => Ended::Paid(number.clone()),
            None => Ended::Failed,
        },
        actor: ACTOR,
        note: &arguments.note,
    };
    let view = settle_charge(&origin, decision).await;
    let view = view.map_err(|error| CommandError::Settle(Chain(&error).to_string()))?;
    print_line(&json!({ "event": "settled", "charge": arguments.charge, "subscription": view }))?;
    Ok(())
}
