//! Asking a provider about an order: what its answer tells, and what it says of the payment (OP-5).
//!
//! `effects::payment_poll`, `commands::reconcile` → **ask** → observations for the inbox, and the provider's own word.
//!
//! Invariant: nothing is concluded here; what moves money goes through the inbox. Not here: when to ask.

use tollgate_shared::id::OrderNumber;
use tollgate_shared::provider::Observation;
use tollgate_shared::provider::ecpay::query::{self, Query, TradeStatus};
use tollgate_shared::provider::payuni::trade_calls;
use tollgate_shared::provider::{ecpay, payuni};
use tollgate_shared::time::Timestamp;

use crate::effects::Undone;
use crate::gateway::limiter::Line;
use crate::gateway::provider::Shop;

/// How many calls it takes.
pub(crate) const ASK_CALLS: u32 = 1;

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

fn unreadable(error: impl std::error::Error + 'static) -> Undone {
    Undone::Again(crate::telemetry::Chain(&error).to_string())
}
