//! Everything the sandbox remembers, behind one lock.
//!
//! Every handler and the delivery loop → **`Locked::with`** → trades, notices, sink.
//!
//! Invariants: the lock is taken by a closure, so it cannot be held over an `await`; every collection is bounded, and
//! what is dropped is stated where the bound is; an order number that was used stays used (ECPay: "unique for ever").
//! Not here: what a move means (`trade`), sending (`delivery`). Nothing survives a restart, on purpose.
//! Failure: [`Full`], answered as 503; a poisoned lock is taken over, since every change is a single assignment or push.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tollgate_shared::time::Timestamp;

use crate::ecpay::settlement_file::OneAMinute;
use crate::limiter::Limiter;
use crate::mail::Mails;
use crate::notice::{Draft, Sealed};
use crate::numbers::Numbers;
use crate::payuni::exchange_page::Exchanges;
use crate::sink::Sink;
use crate::tokens::Tokens;
use crate::trade::{Provider, Status, Trade};
use crate::turnstile::Visitors;

/// Trades in one run: at about 2 KiB each, 200 MB. They are not dropped, because a dropped order number would be free again.
const TRADES_MAX: usize = 100_000;

/// Notices in one run, at about 3 KiB each with their deliveries; beyond it the oldest settled ones are dropped.
const NOTICES_MAX: usize = 50_000;

/// Deliveries kept of one notice; forced re-sends beyond it drop the oldest record.
const DELIVERIES_MAX: usize = 32;

/// The sandbox holds as many trades as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox holds {TRADES_MAX} trades, its limit; restart it")]
pub(crate) struct Full;

/// Whether more deliveries will follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoticeState {
    Pending,
    Acknowledged,
    GivenUp,
}

impl NoticeState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Acknowledged => "acknowledged",
            Self::GivenUp => "given_up",
        }
    }
}

/// One delivery of a notice and what came back.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) attempt: u32,
    pub(crate) sent_at: Timestamp,
    pub(crate) sealed: Sealed,
    pub(crate) answer: Answer,
    pub(crate) acknowledged: bool,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Nothing yet.
    Awaited,
    /// An HTTP answer; the body is cut at `delivery::ANSWER_KEPT`.
    Http { status: u16, body: String },
    /// No answer at all, and why.
    Lost(&'static str),
}

/// A notice with its deliveries.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    pub(crate) id: u64,
    pub(crate) provider: Provider,
    pub(crate) order_number: String,
    pub(crate) trade_no: String,
    pub(crate) draft: Draft,
    pub(crate) state: NoticeState,
    pub(crate) attempts: u32,
    pub(crate) next_at: Timestamp,
    /// The schedule has picked it up; its delivery waits for its turn.
    pub(crate) claimed: bool,
    /// Deliveries on their way.
    pub(crate) in_flight: u32,
    pub(crate) deliveries: Vec<Delivery>,
}

impl Notice {
    /// The name of the notice towards the outside (a Standard Webhooks id, for the mock). The trade's number carries
    /// the time, so a restarted sandbox does not use a name again, which a receiver would take for a repeat.
    pub(crate) fn name(&self) -> String {
        format!("msg_{}_{}", self.trade_no, self.id)
    }

    pub(crate) fn record(&mut self, delivery: Delivery) {
        if self.deliveries.len() >= DELIVERIES_MAX {
            self.deliveries.remove(0);
        }
        self.deliveries.push(delivery);
    }
}

/// Trades, notices and what the sink received.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) numbers: Numbers,
    pub(crate) notices: BTreeMap<u64, Notice>,
    pub(crate) sink: Sink,
    pub(crate) limiter: Limiter,
    pub(crate) mails: Mails,
    pub(crate) settlement_files: OneAMinute,
    pub(crate) tokens: Tokens,
    pub(crate) exchanges: Exchanges,
    pub(crate) visitors: Visitors,
    trades: BTreeMap<(Provider, String), Trade>,
    /// Order numbers to trade numbers, oldest first.
    orders: BTreeMap<(Provider, String), Vec<String>>,
    /// The trades that have a contract.
    contracts: BTreeSet<(Provider, String)>,
    /// Notices that are held back until their time.
    held: BTreeSet<(Timestamp, u64)>,
}

impl World {
    /// Adds a trade.
    pub(crate) fn open(&mut self, trade: Trade) -> Result<(), Full> {
        if self.trades.len() >= TRADES_MAX {
            return Err(Full);
        }
        let order = (trade.provider, trade.order_number.clone());
        self.orders.entry(order).or_default().push(trade.trade_no.clone());
        if trade.contract.is_some() {
            self.contracts.insert((trade.provider, trade.trade_no.clone()));
        }
        self.trades
            .insert((trade.provider, trade.trade_no.clone()), trade);
        Ok(())
    }

    /// The paid trades of a merchant.
    pub(crate) fn paid_trades(&self, provider: Provider, merchant_id: &str) -> Vec<Trade> {
        let paid = |trade: &&Trade| {
            trade.provider == provider && trade.merchant_id == merchant_id && trade.status == Status::Paid
        };
        self.trades.values().filter(paid).cloned().collect()
    }

    /// Puts a trade in place of its former self.
    pub(crate) fn replace(&mut self, trade: Trade) {
        self.trades
            .insert((trade.provider, trade.trade_no.clone()), trade);
    }

    /// A trade by the provider's number.
    pub(crate) fn trade(&self, provider: Provider, trade_no: &str) -> Option<&Trade> {
        self.trades.get(&(provider, trade_no.to_owned()))
    }

    /// A trade by the provider's number, to move it. The number generator comes along because a move draws from it.
    pub(crate) fn trade_mut(
        &mut self,
        provider: Provider,
        trade_no: &str,
    ) -> Option<(&mut Trade, &mut Numbers)> {
        let trade = self.trades.get_mut(&(provider, trade_no.to_owned()))?;
        Some((trade, &mut self.numbers))
    }

    /// The newest trade of an order number, whichever merchant's.
    pub(crate) fn newest_of_order(&self, provider: Provider, order_number: &str) -> Option<&Trade> {
        let trade_no = self.orders.get(&(provider, order_number.to_owned()))?.last()?;
        self.trade(provider, trade_no)
    }

    /// The newest trade of an order number of one merchant.
    pub(crate) fn order_of(
        &self,
        provider: Provider,
        merchant_id: &str,
        order_number: &str,
    ) -> Option<&Trade> {
        let trade_nos = self.orders.get(&(provider, order_number.to_owned()))?;
        let trades = trade_nos
            .iter()
            .rev()
            .filter_map(|trade_no| self.trade(provider, trade_no));
        trades.into_iter().find(|trade| trade.merchant_id == merchant_id)
    }

    /// Adds a notice that is due at once, and says its id.
    pub(crate) fn announce(
        &mut self,
        trade_no: &str,
        order_number: &str,
        draft: Draft,
        now: Timestamp,
    ) -> u64 {
        self.drop_oldest_settled();
        let id = self.numbers.serial();
        let notice = Notice {
            id,
            provider: draft.seal.provider(),
            order_number: order_number.to_owned(),
            trade_no: trade_no.to_owned(),
            draft,
            state: NoticeState::Pending,
            attempts: 0,
            next_at: now,
            claimed: false,
            in_flight: 0,
            deliveries: Vec::new(),
        };
        self.notices.insert(id, notice);
        id
    }

    /// Holds a notice back; `play` sends it when its time has come.
    pub(crate) fn hold(&mut self, notice: u64, until: Timestamp) {
        self.held.insert((until, notice));
    }

    /// The notices whose time has come, no longer held.
    pub(crate) fn release(&mut self, now: Timestamp) -> Vec<u64> {
        let later = self.held.split_off(&(now.plus(Duration::from_millis(1)), 0));
        let released = std::mem::replace(&mut self.held, later);
        released.into_iter().map(|(_, notice)| notice).collect()
    }

    /// When the next thing falls due: a charge, a retry, or a notice that is held back.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let charges = self.contracts.iter().filter_map(|key| self.due_of(key));
        let notices = self.held.first().map(|(until, _)| *until);
        charges.chain(notices).min()
    }

    /// Notices that are on their way, or would be if a task had had its turn: neither held back nor waiting for a repeat.
    pub(crate) fn notices_under_way(&self, now: Timestamp) -> usize {
        let is_held = |id: u64| self.held.iter().any(|(_, held)| *held == id);
        let under_way = |notice: &&Notice| {
            let is_due = notice.state == NoticeState::Pending && notice.next_at <= now;
            notice.in_flight > 0 || notice.claimed || (is_due && !is_held(notice.id))
        };
        self.notices.values().filter(under_way).count()
    }

    /// The contracts that have something due by now.
    pub(crate) fn due_contracts(&self, now: Timestamp) -> Vec<(Provider, String)> {
        let due = |key: &&(Provider, String)| self.due_of(key).is_some_and(|due| due <= now);
        self.contracts.iter().filter(due).cloned().collect()
    }

    fn due_of(&self, key: &(Provider, String)) -> Option<Timestamp> {
        self.trades.get(key)?.contract.as_ref()?.next_due()
    }

    /// The trade to which a charge of a merchant belongs, by the provider's number of the charge.
    pub(crate) fn trade_no_of_charge(
        &self,
        provider: Provider,
        merchant_id: &str,
        number: &str,
    ) -> Option<String> {
        if self.trades.contains_key(&(provider, number.to_owned())) {
            return Some(number.to_owned());
        }
        let mut trades = self.contracts.iter().filter_map(|key| self.trades.get(key));
        let trade = trades.find(|trade| {
            let charges = trade.contract.as_ref().map(|contract| &contract.charges);
            trade.provider == provider
                && trade.merchant_id == merchant_id
                && charges.is_some_and(|charges| charges.iter().any(|charge| charge.trade_no == number))
        });
        trade.map(|trade| trade.trade_no.clone())
    }

    /// The trade of a contract, by PAYUNi's number of it.
    pub(crate) fn contract_no(&self, merchant_id: &str, period_trade_no: &str) -> Option<&Trade> {
        let trades = self.contracts.iter().filter_map(|key| self.trades.get(key));
        trades.into_iter().find(|trade| {
            let number = trade
                .contract
                .as_ref()
                .map(|contract| &contract.terms.period_trade_no);
            trade.merchant_id == merchant_id && number.is_some_and(|number| number == period_trade_no)
        })
    }

    fn drop_oldest_settled(&mut self) {
        if self.notices.len() < NOTICES_MAX {
            return;
        }
        let settled = self
            .notices
            .values()
            .find(|notice| notice.state != NoticeState::Pending && notice.in_flight == 0);
        let oldest = settled
            .map(|notice| notice.id)
            .or_else(|| self.notices.keys().next().copied());
        if let Some(id) = oldest {
            self.notices.remove(&id);
        }
    }

    /// The notices of a trade, oldest first.
    pub(crate) fn notices_of<'a>(&'a self, trade: &'a Trade) -> impl Iterator<Item = &'a Notice> {
        let same =
            move |notice: &&Notice| notice.provider == trade.provider && notice.trade_no == trade.trade_no;
        self.notices.values().filter(same)
    }
}

/// The world behind its lock.
#[derive(Debug, Default)]
pub(crate) struct Locked(Mutex<World>);

impl Locked {
    /// Runs `work` under the lock. There is no other way in, so no guard can live across an `await`.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut World) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
