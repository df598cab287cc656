//! Asking a provider about an order: what its answer tells, and what it says of the payment (OP-5).
//!
//! `effects::payment_poll`, `commands::reconcile` → **ask** → observations for the inbox, and the provider's own word.
//! `effects::subscription_poll`, `commands::reconcile` → **`ask_contract`** → the same of every period.
//!
//! Invariant: nothing is concluded here; what moves money goes through the inbox. Not here: when to ask.

use std::collections::BTreeMap;

use tollgate_shared::id::{OrderNumber, ProviderPaymentId};
use tollgate_shared::provider::Observation;
use tollgate_shared::provider::ecpay::query::{self, Query, TradeStatus};
use tollgate_shared::provider::ecpay::{Ecpay, period_info};
use tollgate_shared::provider::payuni::period_calls::{self, PeriodSchedule};
use tollgate_shared::provider::payuni::{Payuni, trade_calls};
use tollgate_shared::provider::{ecpay, payuni};
use tollgate_shared::time::Timestamp;

use crate::db::subscriptions::Subscription;
use crate::domain::subscription::EndReason;
use crate::domain::subscription::contract_end::{ecpay_end, payuni_end};
use crate::effects::Undone;
use crate::gateway::limiter::Line;
use crate::gateway::provider::Shop;

/// How many calls it takes.
pub(crate) const ASK_CALLS: u32 = 1;

/// How many calls it takes at most to ask about a contract.
pub(crate) const CONTRACT_CALLS: u32 = 2;

/// What the provider says of an order.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// What it tells, ready for the inbox.
    pub(crate) observations: Vec<Observation>,
    /// Whether it says that the order is paid.
    pub(crate) paid: bool,
}

/// Asks about an order.
pub(crate) async fn ask(
    line: &mut Line<'_>,
    shop: Shop<'_>,
    order: &OrderNumber,
    now: Timestamp,
) -> Result<Told, Undone> {
    match shop {
        Shop::Ecpay { shop, base_url } => {
            let request = query::request(shop, base_url, Query::TradeInfo, order, now);
            let answer = line.post(&request).await?;
            let info = query::trade_info(shop, &answer).map_err(unreadable)?;
            let observed = ecpay::observe::payment(shop, &answer).map_err(unreadable)?;
            Ok(Told {
                observations: observed.into_iter().collect(),
                paid: info.status == TradeStatus::Paid,
            })
        }
        Shop::Payuni { shop, base_url } => {
            let request = trade_calls::query_request(shop, base_url, order, now)
                .ok_or_else(|| Undone::Again("the shop's keys seal nothing".to_owned()))?;
            let answer = line.post(&request).await?;
            match payuni::observe::trades(shop, &answer) {
                Ok(observations) => Ok(Told {
                    paid: trade_calls::trades(shop, &answer)
                        .map_err(unreadable)?
                        .iter()
                        .any(|trade| trade.status == trade_calls::TradeStatus::Paid),
                    observations,
                }),
                // The customer never got as far as paying.
                Err(error) if trade_calls::is_unknown_trade(&error) => Ok(Told {
                    observations: Vec::new(),
                    paid: false,
                }),
                Err(error) => Err(unreadable(error)),
            }
        }
    }
}

/// What a provider says of a contract.
#[derive(Debug, Clone)]
pub(crate) struct ToldOfContract {
    /// Every charge and every refusal, oldest first, ready for the inbox.
    pub(crate) observations: Vec<Observation>,
    /// Why it is over, if it is.
    pub(crate) end: Option<EndReason>,
    /// Charges of an unsigned answer that the signed one does not cover yet.
    pub(crate) unvouched: usize,
    /// Periods whose newest attempt was refused, and when, where a schedule shows them (PAYUNi).
    pub(crate) refused: BTreeMap<u32, Timestamp>,
}

/// Asks about a contract.
pub(crate) async fn ask_contract(
    line: &mut Line<'_>,
    shop: Shop<'_>,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<ToldOfContract, Undone> {
    match shop {
        Shop::Ecpay { shop, base_url } => {
            contract_at_ecpay(line, &subscription.order, (shop, base_url), now).await
        }
        Shop::Payuni { shop, base_url } => {
            let number = contract_number(subscription)?;
            contract_at_payuni(line, &number, (shop, base_url)).await
        }
    }
}

/// PAYUNi's number of a contract, which its first notice told.
pub(crate) fn contract_number(subscription: &Subscription) -> Result<ProviderPaymentId, Undone> {
    let told = subscription.contract_number.as_deref();
    told.and_then(|number| number.parse().ok())
        .ok_or_else(|| Undone::Again("the provider's number of the contract is not known yet".to_owned()))
}

async fn contract_at_ecpay(
    line: &mut Line<'_>,
    order: &OrderNumber,
    (ecpay, base_url): (&Ecpay, &str),
    now: Timestamp,
) -> Result<ToldOfContract, Undone> {
    let request = query::request(ecpay, base_url, Query::TradeInfo, order, now);
    let trade_info = line.post(&request).await?;
    let request = query::request(ecpay, base_url, Query::PeriodInfo, order, now);
    let period_info = line.post(&request).await?;
    let found = ecpay::observe::periods(ecpay, &trade_info, &period_info).map_err(unreadable)?;
    let info = period_info::read(&period_info).map_err(unreadable)?;
    // Before the first charge there is no contract that could end.
    let has_begun = !found.told.is_empty();
    Ok(ToldOfContract {
        end: has_begun.then(|| ecpay_end(&info)).flatten(),
        observations: found.told,
        unvouched: found.unvouched,
        refused: BTreeMap::new(),
    })
}

async fn contract_at_payuni(
    line: &mut Line<'_>,
    number: &ProviderPaymentId,
    (payuni, base_url): (&Payuni, &str),
) -> Result<ToldOfContract, Undone> {
    let request = period_calls::query_request(payuni, base_url, number)
        .ok_or_else(|| Undone::Again("the shop's keys seal nothing".to_owned()))?;
    let answer = line.post(&request).await?;
    let schedule = period_calls::schedule(payuni, &answer).map_err(unreadable)?;
    Ok(ToldOfContract {
        observations: payuni::observe::periods(payuni, &answer).map_err(unreadable)?,
        end: payuni_end(&schedule),
        unvouched: 0,
        refused: refused(&schedule),
    })
}

fn refused(schedule: &PeriodSchedule) -> BTreeMap<u32, Timestamp> {
    let refused = schedule.periods.iter().filter(|period| period.failed);
    refused
        .filter_map(|period| Some((period.number, period.updated_at?)))
        .collect()
}

fn unreadable(error: impl std::error::Error + 'static) -> Undone {
    Undone::Again(crate::telemetry::Chain(&error).to_string())
}
