//! `tollgate subscription contract-number`: PAYUNi's number of a contract, from its console (OP-4, OP-5).
//!
//! main → **`contract_number`** → record → `/api/period/query` about the number → `subscriptions::number::give` → what the
//! same answer tells of periods goes to the inbox.
//!
//! Invariants: PAYUNi is asked with no transaction open, and its word that the number is our order's comes before the number is
//! stored; to say the same twice changes nothing. Turns with the provider are waited for.
//! Failure: [`CommandError::ContractNumber`] with the reason; nothing is stored then.

use serde_json::json;
use tollgate_shared::id::{MerchantId, OrderNumber, ProviderPaymentId};
use tollgate_shared::provider::Observation;
use tollgate_shared::provider::payuni::reply::ReplyError;
use tollgate_shared::provider::payuni::{observe, period_calls};

use super::{ACTOR, CommandError, print_line};
use crate::Origin;
use crate::commands::reconcile::wait_for_turn;
use crate::config::Config;
use crate::db::Tx;
use crate::effects::{Undone, feed};
use crate::gateway::provider::{CallError, Shop};
use crate::gateway::user_core::Client;
use crate::subscriptions::SubscriptionId;
use crate::subscriptions::number::{self, Given, NumberError};
use crate::telemetry::Chain;

/// A contract's number, as it is written on the command line.
#[derive(Debug, Clone)]
pub struct NumberArguments {
    /// Of which subscription.
    pub subscription: uuid::Uuid,
    /// The provider's number of the contract.
    pub number: ProviderPaymentId,
    /// How the person knows.
    pub note: String,
}

/// `tollgate subscription contract-number`.
pub async fn contract_number(config: Config, arguments: &NumberArguments) -> Result<(), CommandError> {
    let origin = Origin::new(config)?;
    let given = &Given {
        subscription: SubscriptionId::from_uuid(arguments.subscription),
        number: &arguments.number,
        actor: ACTOR,
        note: &arguments.note,
    };
    let stored = give(&origin, &Client::new()?, given).await;
    let is_new = stored.map_err(|reason| CommandError::ContractNumber(reason.to_string()))?;
    print_line(&json!({
        "event": "contract_number",
        "subscription": arguments.subscription,
        "number": arguments.number,
        "new": is_new,
    }))?;
    Ok(())
}

/// Why a number was not stored, or what it tells was not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GiveError {
    /// It may not be.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// The shop is not configured here.
    #[error("the shop of this subscription is not configured here")]
    NoShop,
    /// PAYUNi was not asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// PAYUNi does not know the number, or its answer cannot be read.
    #[error("PAYUNi tells of no such contract: {0}")]
    NotTold(String),
    /// The number is stored; the inbox did not take what it tells.
    #[error("the number is stored; its periods are asked for later: {0}")]
    NotFed(String),
}

impl From<crate::db::DbError> for GiveError {
    fn from(error: crate::db::DbError) -> Self {
        Self::Number(error.into())
    }
}

/// Stores the number of a contract that PAYUNi says is ours; `false` where it was known.
pub(crate) async fn give(origin: &Origin, client: &Client, given: &Given<'_>) -> Result<bool, GiveError> {
    let now = origin.clock.now();
    let record = |tx: Tx| async move { number::record(&tx, given, now).await };
    origin.database.run_tx("admin_action", record).await?;
    let begin = |tx: Tx| async move { number::begin(&tx, given).await };
    let Some(subscription) = origin.database.run_tx("contract_number", begin).await? else {
        return Ok(false);
    };
    let merchant: Option<MerchantId> = subscription.merchant.parse().ok();
    let shop = merchant
        .and_then(|merchant| Shop::of(origin, &subscription.provider, &merchant))
        .ok_or(GiveError::NoShop)?;
    let (order, told) = ask(origin, client, shop, given.number).await?;
    let order = &order;
    let store = |tx: Tx| async move { number::give(&tx, given, order).await };
    origin.database.run_tx("contract_number", store).await?;
    feed(origin, shop, &told).await.map_err(not_fed)?;
    Ok(true)
}

/// Whose contract it is, and what became of its periods.
async fn ask(
    origin: &Origin,
    client: &Client,
    shop: Shop<'_>,
    number: &ProviderPaymentId,
) -> Result<(OrderNumber, Vec<Observation>), GiveError> {
    let Shop::Payuni {
        shop: payuni,
        base_url,
    } = shop
    else {
        return Err(NumberError::NoContract.into());
    };
    let not_told = |error: ReplyError| GiveError::NotTold(Chain(&error).to_string());
    let request = period_calls::query_request(payuni, base_url, number).ok_or(GiveError::NoShop)?;
    let mut line = wait_for_turn(origin, client, shop, 1).await?;
    let answer = line.post(&request).await?;
    let schedule = period_calls::schedule(payuni, &answer).map_err(not_told)?;
    if schedule.period_trade_no != *number {
        return Err(GiveError::NotTold(
            "the answer is about another number".to_owned(),
        ));
    }
    let told = observe::periods(payuni, &answer).map_err(not_told)?;
    Ok((schedule.order, told))
}

fn not_fed(undone: Undone) -> GiveError {
    GiveError::NotFed(match undone {
        Undone::Again(reason) | Undone::Never(reason) => reason,
        Undone::NotBefore(_, reason) => reason.to_owned(),
        Undone::Turn(at) => format!("its turn is at {at}"),
    })
}
