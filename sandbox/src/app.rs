//! What every handler shares, and the one way from a move to its notice.
//!
//! cashier, control → **`App::act`** → `trade` moves → the provider drafts → `delivery` sends.
//!
//! Invariant: a move and the notice it causes are recorded under one lock, so no paid trade lacks its notice.
//! Not here: HTTP (`cashier`, `control`), the meaning of a move (`trade`).
//! Failure: [`ActError`], told to a person by the cashier and to a program by the control API.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify, Semaphore};
use tollgate_shared::time::Timestamp;

use crate::clock::Clock;
use crate::config::{Config, Merchant};
use crate::contract::Charge;
use crate::contract::telling::Fault;
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
    /// Held by whoever plays what falls due, so that it happens in order.
    pub(crate) playing: Mutex<()>,
    /// Where the mail sink listens.
    pub(crate) mail_address: SocketAddr,
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
    pub(crate) fn new(config: Config, mail_address: SocketAddr) -> Result<Self, reqwest::Error> {
        let http = delivery::client(config.answer_limit)?;
        Ok(Self(Arc::new(Parts {
            config,
            clock: Clock::default(),
            world: Locked::default(),
            http,
            wake: Notify::new(),
            deliveries: Semaphore::new(delivery::CONCURRENT),
            playing: Mutex::new(()),
            mail_address,
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
            let mut trade = trade.clone();
            if binds_card(&trade, &outcome) {
                trade.credit_hash = Some(world.tokens.bind(&trade, &mut world.numbers, now));
                world.replace(trade.clone());
            }
            let draft = if wish.notify {
                self.draft(&trade, &outcome, now)
            } else {
                None
            };
            Ok(draft.map(|draft| announce(world, &trade, draft, &wish.replacements, now)))
        })
    }

    /// Records the notice of an outcome, for the caller to deliver or hold back.
    pub(crate) fn record_notice(
        &self,
        world: &mut World,
        trade: &Trade,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Option<u64> {
        let draft = self.draft(trade, outcome, now)?;
        Some(announce(world, trade, draft, &[], now))
    }

    /// Lets a contract do what it has due at an instant; the notices to be delivered now.
    pub(crate) fn play_contract(
        &self,
        world: &mut World,
        provider: Provider,
        trade_no: &str,
        at: Timestamp,
    ) -> Option<u64> {
        let (trade, numbers) = world.trade_mut(provider, trade_no)?;
        let charge = trade.contract.as_mut()?.play(at, numbers)?;
        self.tell_charge(world, provider, trade_no, &charge, at)
    }

    /// Records the notice of a charge, bent as a test wished; its id, where it is to be delivered now.
    pub(crate) fn tell_charge(
        &self,
        world: &mut World,
        provider: Provider,
        trade_no: &str,
        charge: &Charge,
        at: Timestamp,
    ) -> Option<u64> {
        let (trade, _) = world.trade_mut(provider, trade_no)?;
        let telling = &mut trade.contract.as_mut()?.telling;
        if !charge.succeeded && !telling.failures_told {
            return None;
        }
        let fault = telling.fault_of_next(charge.due_on);
        if fault.lost {
            return None;
        }
        let trade = trade.clone();
        let draft = self.draft(&trade, &Outcome::Charged(charge.clone()), at)?;
        let notice = announce(world, &trade, draft, &wrong_amount(provider, fault), at);
        if fault.late.is_zero() {
            return Some(notice);
        }
        world.hold(notice, at.plus(fault.late));
        None
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

/// A paid card order of PAYUNi that asked for a token (A.11: agreed or forced).
fn binds_card(trade: &Trade, outcome: &Outcome) -> bool {
    trade.provider == Provider::Payuni
        && matches!(outcome, Outcome::Paid)
        && trade.method == Some(Method::Credit)
        && matches!(trade.field("UseTokenType"), "1" | "3")
        && !trade.field("CreditToken").is_empty()
}

fn wrong_amount(provider: Provider, fault: Fault) -> Vec<(String, String)> {
    let name = match provider {
        Provider::Ecpay => "Amount",
        Provider::Payuni | Provider::Mock => "AuthAmt",
    };
    let wrong = fault.amount.map(|amount| (name.to_owned(), amount.to_string()));
    wrong.into_iter().collect()
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
