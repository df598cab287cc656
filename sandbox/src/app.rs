//! What every handler shares, and the one way from a move to its notice.
//!
//! cashier, control → **`App::act`** → `trade` moves → the provider drafts → `delivery` sends.
//!
//! Invariant: a move and the notice it causes are recorded under one lock, so no paid trade lacks its notice.
//! Not here: HTTP (`cashier`, `control`), the meaning of a move (`trade`).
//! Failure: [`ActError`], told to a person by the cashier and to a program by the control API.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::{Notify, Semaphore};
use tollgate_shared::time::Timestamp;

use crate::clock::Clock;
use crate::config::{Config, Merchant};
use crate::notice::Draft;
use crate::trade::{Action, Method, Outcome, Provider, Refused, Trade};
use crate::world::{Locked, World};
use crate::{delivery, ecpay, mock, payuni};

/// The sandbox's parts; cloning shares them.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Parts>);

/// The parts themselves.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) world: Locked,
    pub(crate) http: reqwest::Client,
    /// Wakes the scheduler: a clock was moved, or a delivery ended.
    pub(crate) wake: Notify,
    pub(crate) deliveries: Semaphore,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// A move that is wanted, and how its notice is to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) action: Action,
    pub(crate) method: Option<Method>,
    /// Values put in place of the notice's own before it is sealed.
    pub(crate) replacements: Vec<(String, String)>,
    /// Whether to send a notice at all; a lost notice is a case of its own.
    pub(crate) notify: bool,
}

impl Wish {
    pub(crate) const fn plain(action: Action, method: Option<Method>) -> Self {
        Self {
            action,
            method,
            replacements: Vec::new(),
            notify: true,
        }
    }
}

/// Why nothing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ActError {
    #[error("there is no such trade")]
    UnknownTrade,
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl App {
    pub(crate) fn new(config: Config) -> Result<Self, reqwest::Error> {
        let http = delivery::client(config.answer_limit)?;
        Ok(Self(Arc::new(Parts {
            config,
            clock: Clock::default(),
            world: Locked::default(),
            http,
            wake: Notify::new(),
            deliveries: Semaphore::new(delivery::CONCURRENT),
        })))
    }

    /// Makes a move and records its notice; the id of the notice, where there is one, is for the caller to deliver.
    pub(crate) fn act(
        &self,
        provider: Provider,
        trade_no: &str,
        wish: &Wish,
    ) -> Result<Option<u64>, ActError> {
        let now = self.clock.now();
        self.world.with(|world| {
            let (trade, numbers) = world
                .trade_mut(provider, trade_no)
                .ok_or(ActError::UnknownTrade)?;
            let outcome = trade.act(wish.action, wish.method, numbers, now)?;
            let trade = trade.clone();
            let draft = if wish.notify {
                self.draft(&trade, &outcome, now)
            } else {
                None
            };
            Ok(draft.map(|draft| announce(world, &trade, draft, &wish.replacements, now)))
        })
    }

    /// Sends a notice's first delivery beside the caller, as a provider does behind the customer's back.
    pub(crate) fn deliver_later(&self, notice: Option<u64>) {
        if let Some(id) = notice {
            let app = self.clone();
            tokio::spawn(async move { delivery::deliver(&app, id).await });
        }
    }

    fn draft(&self, trade: &Trade, outcome: &Outcome, now: Timestamp) -> Option<Draft> {
        match trade.provider {
            Provider::Ecpay => {
                ecpay::notice::draft(self.ecpay_merchant(&trade.merchant_id)?, trade, outcome, now)
            }
            Provider::Payuni => {
                payuni::notice::draft(self.payuni_merchant(&trade.merchant_id)?, trade, outcome, now)
            }
            Provider::Mock => mock::draft(&self.config.mock_secret, trade, outcome, now),
        }
    }

    pub(crate) fn ecpay_merchant(&self, id: &str) -> Option<&Merchant> {
        self.config.ecpay.iter().find(|merchant| merchant.id == id)
    }

    pub(crate) fn payuni_merchant(&self, id: &str) -> Option<&Merchant> {
        self.config.payuni.iter().find(|merchant| merchant.id == id)
    }
}

fn announce(
    world: &mut World,
    trade: &Trade,
    mut draft: Draft,
    replacements: &[(String, String)],
    now: Timestamp,
) -> u64 {
    draft.replace(replacements);
    world.announce(&trade.trade_no, &trade.order_number, draft, now)
}
