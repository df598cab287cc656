//! A periodic contract: what was agreed, what has been charged, and what falls due next.
//!
//! checkout agrees → the customer pays → **[`Contract`]** ⇄ `play` charges what is due; provider calls and control
//! stop, resume and retry it.
//!
//! Invariants: a charge is stamped with the time it was due, also when the clock jumped over it; a period is charged
//! with success at most once; a contract that has ended is never charged again. After six periods in a row whose
//! charge failed an ECPay contract ends by itself (§1.5; "in a row" is unconfirmed, and retries are not counted); a
//! PAYUNi contract does not. A failed period does not lengthen a contract (unconfirmed, §1.5), so its `ExecStatus`
//! becomes 2 only when every period was paid. Periods that fall due while PAYUNi's contract is suspended are passed
//! over (A.8: it resumes at the nearest period).
//! Not here: days (`schedule`), the bank's answer (`bank`), what is told (`telling`), field names.
//! Failure: [`Unable`], which each provider words in its own codes.

pub(crate) mod bank;
pub(crate) mod schedule;
pub(crate) mod telling;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::civil::Date;
use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use self::bank::Bank;
use self::schedule::{Cadence, Schedule, day_at, instant};
use self::telling::Telling;
use crate::numbers::Numbers;
use crate::trade::Provider;

/// After this many failures in a row an ECPay contract ends.
const FAILURES_MAX: usize = 6;

/// What was agreed.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) provider: Provider,
    /// Charges in all, the first included.
    pub(crate) times_total: u32,
    /// Amount of a later charge.
    pub(crate) amount: Minor,
    /// Amount of period 1.
    pub(crate) first_amount: Minor,
    pub(crate) cadence: Cadence,
    /// When on its day a period is charged.
    pub(crate) charge_minute_of_day: u32,
    /// The provider's number of the contract (PAYUNi), empty where it has none.
    pub(crate) period_trade_no: String,
}

/// Where a contract stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The customer has not paid yet.
    Agreed,
    Running,
    Suspended,
    /// Ended by the merchant.
    Canceled,
    /// Ended by itself after failures.
    Stopped,
    /// Every period was paid.
    Completed,
}

impl State {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Agreed => "agreed",
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Canceled => "canceled",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
        }
    }

    /// Whether nothing will be charged any more, whatever is asked.
    pub(crate) const fn ended(self) -> bool {
        matches!(self, Self::Canceled | Self::Stopped | Self::Completed)
    }
}

/// Why an attempt was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Scheduled,
    /// The merchant asked again for a period that had failed.
    Retry,
}

/// One attempt to charge a period.
#[derive(Debug, Clone)]
pub(crate) struct Charge {
    /// The period, counted from 1.
    pub(crate) number: u32,
    /// The day the period was due.
    pub(crate) due_on: Date,
    pub(crate) cause: Cause,
    /// The provider's number of this charge; longer than a `u64` at ECPay.
    pub(crate) trade_no: String,
    /// ECPay's authorisation number; "0" for some failed charges (§1.5).
    pub(crate) gwsr: String,
    pub(crate) amount: Minor,
    pub(crate) succeeded: bool,
    /// The chosen code of a decline.
    pub(crate) code: Option<String>,
    pub(crate) at: Timestamp,
}

/// A retry that waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Queued {
    period: u32,
    at: Timestamp,
}

/// Why a contract cannot do what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unable {
    NotBegun,
    Ended,
    NotRunning,
    NotSuspended,
    /// There is no failed charge of that kind to be tried again, or one is being tried already.
    NothingFailed,
    NoSuchPeriod,
}

/// A contract.
#[derive(Debug, Clone)]
pub(crate) struct Contract {
    pub(crate) terms: Terms,
    pub(crate) state: State,
    /// Whether paying at the cashier charges period 1, or only binds the card for a later day (PAYUNi `FType`).
    pub(crate) first_charge_now: bool,
    /// Every attempt, in order.
    pub(crate) charges: Vec<Charge>,
    pub(crate) bank: Bank,
    pub(crate) telling: Telling,
    schedule: Option<Schedule>,
    next_period: u32,
    /// When that period is due; kept, because every contract is asked for it again and again.
    next_at: Option<Timestamp>,
    queued: Option<Queued>,
    suspended_periods: BTreeSet<u32>,
}

impl Contract {
    /// A contract that begins when the customer pays; `None` where its days cannot be told.
    pub(crate) fn agreed(terms: Terms, now: Timestamp) -> Option<Self> {
        let mut contract = Self {
            terms,
            state: State::Agreed,
            first_charge_now: true,
            charges: Vec::new(),
            bank: Bank::default(),
            telling: Telling::default(),
            schedule: None,
            next_period: 1,
            next_at: None,
            queued: None,
            suspended_periods: BTreeSet::new(),
        };
        contract.settle_days(now)?;
        Some(contract)
    }

    /// The days count from the day of paying, which may be another one than that of the checkout.
    fn settle_days(&mut self, now: Timestamp) -> Option<()> {
        let today = day_at(now)?;
        let schedule = self.terms.cadence.schedule(today)?;
        self.first_charge_now = schedule.day_of(1)? <= today;
        self.reschedule(schedule);
        Some(())
    }

    /// Begins; period 1 is charged under the trade's own numbers, unless only the card is bound.
    pub(crate) fn begin(&mut self, trade_no: &str, gwsr: &str, now: Timestamp) -> Option<Charge> {
        self.settle_days(now)?;
        self.state = State::Running;
        if !self.first_charge_now {
            return None;
        }
        let numbers = (trade_no.to_owned(), gwsr.to_owned());
        Some(self.attempt(self.next_period, Cause::Scheduled, true, numbers, now))
    }

    /// Charges the next period now, by hand, with the result that is asked for.
    pub(crate) fn charge_next(
        &mut self,
        succeeded: bool,
        numbers: &mut Numbers,
        now: Timestamp,
    ) -> Result<Charge, Unable> {
        self.check_not_ended()?;
        if self.next_period > self.terms.times_total {
            return Err(Unable::Ended);
        }
        let drawn = self.draw(numbers, now);
        Ok(self.attempt(self.next_period, Cause::Scheduled, succeeded, drawn, now))
    }

    /// When something falls due by itself.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let period = self.next_period_at();
        let retry = self.queued.filter(|_| self.state == State::Running);
        match (period, retry.map(|queued| queued.at)) {
            (Some(period), Some(retry)) => Some(period.min(retry)),
            (period, retry) => period.or(retry),
        }
    }

    /// When the next period is due, `None` where none will be charged.
    pub(crate) fn next_period_at(&self) -> Option<Timestamp> {
        let alive = matches!(self.state, State::Running | State::Suspended);
        if !alive || self.next_period > self.terms.times_total {
            return None;
        }
        self.next_at
    }

    /// When a period is or was due.
    pub(crate) fn due_at(&self, period: u32) -> Option<Timestamp> {
        instant(
            self.schedule.as_ref()?.day_of(period)?,
            self.terms.charge_minute_of_day,
        )
    }

    /// Does what falls due at `at`; `None` where a period is passed over.
    pub(crate) fn play(&mut self, at: Timestamp, numbers: &mut Numbers) -> Option<Charge> {
        let running = self.state == State::Running;
        if let Some(queued) = self.queued.take_if(|queued| running && queued.at <= at) {
            return Some(self.charge(queued.period, Cause::Retry, numbers, at));
        }
        let period = self.next_period;
        if self.state == State::Suspended || self.suspended_periods.contains(&period) {
            self.move_on(period);
            return None;
        }
        Some(self.charge(period, Cause::Scheduled, numbers, at))
    }

    /// Asks the bank.
    fn charge(&mut self, period: u32, cause: Cause, numbers: &mut Numbers, at: Timestamp) -> Charge {
        let approved = self.bank.approves(self.day_of(period, at), day_of(at));
        let drawn = self.draw(numbers, at);
        self.attempt(period, cause, approved, drawn, at)
    }

    fn draw(&self, numbers: &mut Numbers, at: Timestamp) -> (String, String) {
        (numbers.period_trade_no(self.terms.provider, at), numbers.gwsr())
    }

    /// A period's due day: that of its first attempt, else that of the schedule.
    fn day_of(&self, period: u32, at: Timestamp) -> Date {
        let first = self.charges.iter().find(|charge| charge.number == period);
        let scheduled = || self.schedule.as_ref()?.day_of(period);
        first
            .map(|charge| charge.due_on)
            .or_else(scheduled)
            .unwrap_or_else(|| day_of(at))
    }

    fn attempt(
        &mut self,
        number: u32,
        cause: Cause,
        succeeded: bool,
        (trade_no, gwsr): (String, String),
        at: Timestamp,
    ) -> Charge {
        let gwsr = if !succeeded && self.hides_gwsr() {
            "0".into()
        } else {
            gwsr
        };
        let charge = Charge {
            number,
            due_on: self.day_of(number, at),
            cause,
            trade_no,
            gwsr,
            amount: if number == 1 {
                self.terms.first_amount
            } else {
                self.terms.amount
            },
            succeeded,
            code: self.bank.code.clone().filter(|_| !succeeded),
            at,
        };
        self.charges.push(charge.clone());
        if cause == Cause::Scheduled {
            self.move_on(number);
        }
        self.settle_state();
        charge
    }

    /// Every third failure at ECPay has no authorisation number (§1.5).
    fn hides_gwsr(&self) -> bool {
        let failures = self.charges.iter().filter(|charge| !charge.succeeded).count();
        self.terms.provider == Provider::Ecpay && self.telling.odd_log && failures.rem_euclid(3) == 1
    }

    fn settle_state(&mut self) {
        let paid = u32::try_from(self.succeeded().count()).unwrap_or(u32::MAX);
        if paid >= self.terms.times_total {
            self.state = State::Completed;
        } else if self.terms.provider == Provider::Ecpay && self.failures_in_row() >= FAILURES_MAX {
            self.state = State::Stopped;
        }
    }

    fn failures_in_row(&self) -> usize {
        let failed = self.charges.iter().rev().take_while(|charge| !charge.succeeded);
        failed.filter(|charge| charge.cause == Cause::Scheduled).count()
    }

    /// The charges that succeeded.
    pub(crate) fn succeeded(&self) -> impl Iterator<Item = &Charge> {
        self.charges.iter().filter(|charge| charge.succeeded)
    }

    fn check_not_ended(&self) -> Result<(), Unable> {
        match self.state {
            State::Agreed => Err(Unable::NotBegun),
            State::Canceled | State::Stopped | State::Completed => Err(Unable::Ended),
            State::Running | State::Suspended => Ok(()),
        }
    }

    /// Queues another attempt of the latest charge, which must have failed (ECPay `ReAuth`, §1.7.2).
    pub(crate) fn queue_retry_of_latest(&mut self, at: Timestamp) -> Result<(), Unable> {
        self.check_not_ended()?;
        if self.state != State::Running {
            return Err(Unable::NotRunning);
        }
        let latest = self.charges.last().filter(|charge| !charge.succeeded);
        let period = latest.ok_or(Unable::NothingFailed)?.number;
        if self.queued.is_some() {
            return Err(Unable::NothingFailed);
        }
        self.queued = Some(Queued { period, at });
        Ok(())
    }

    /// Tries a failed period again at once (PAYUNi `reauth`, A.8).
    pub(crate) fn retry(
        &mut self,
        period: u32,
        numbers: &mut Numbers,
        now: Timestamp,
    ) -> Result<Charge, Unable> {
        self.check_not_ended()?;
        let mut attempts = self
            .charges
            .iter()
            .filter(|charge| charge.number == period)
            .peekable();
        if attempts.peek().is_none() || attempts.any(|charge| charge.succeeded) {
            return Err(Unable::NothingFailed);
        }
        Ok(self.charge(period, Cause::Retry, numbers, now))
    }

    /// Ends for ever. Refunds nothing.
    pub(crate) fn cancel(&mut self) -> Result<(), Unable> {
        self.check_not_ended()?;
        self.state = State::Canceled;
        self.queued = None;
        Ok(())
    }

    pub(crate) fn suspend(&mut self) -> Result<(), Unable> {
        self.check_not_ended()?;
        if self.state == State::Suspended {
            return Err(Unable::NotRunning);
        }
        self.state = State::Suspended;
        Ok(())
    }

    pub(crate) fn resume(&mut self) -> Result<(), Unable> {
        self.check_not_ended()?;
        if self.state != State::Suspended {
            return Err(Unable::NotSuspended);
        }
        self.state = State::Running;
        Ok(())
    }

    /// Suspends or resumes one period that lies ahead.
    pub(crate) fn suspend_period(&mut self, period: u32, suspended: bool) -> Result<(), Unable> {
        self.check_not_ended()?;
        if !(self.next_period..=self.terms.times_total).contains(&period) {
            return Err(Unable::NoSuchPeriod);
        }
        match (suspended, self.suspended_periods.contains(&period)) {
            (true, false) => drop(self.suspended_periods.insert(period)),
            (false, true) => drop(self.suspended_periods.remove(&period)),
            (true, true) => return Err(Unable::NotRunning),
            (false, false) => return Err(Unable::NotSuspended),
        }
        Ok(())
    }

    /// Whether a period that lies ahead will be passed over.
    pub(crate) fn is_suspended(&self, period: u32) -> bool {
        self.state == State::Suspended || self.suspended_periods.contains(&period)
    }

    /// The period that is charged next.
    pub(crate) const fn next_period(&self) -> u32 {
        self.next_period
    }

    /// A period is done, or was passed over.
    fn move_on(&mut self, period: u32) {
        self.next_period = period.saturating_add(1);
        self.next_at = self.due_at(self.next_period);
    }

    /// Puts the periods ahead on other days.
    pub(crate) fn reschedule(&mut self, schedule: Schedule) {
        self.schedule = Some(schedule);
        self.next_at = self.due_at(self.next_period);
    }

    /// Puts the periods ahead on listed days; today and days that were charged are passed over.
    pub(crate) fn relist(&mut self, days: impl Iterator<Item = Date>, today: Date) {
        let mut all: Vec<Date> = (1..self.next_period)
            .filter_map(|period| self.schedule.as_ref()?.day_of(period))
            .collect();
        let mut ahead: Vec<Date> = days.filter(|day| *day > today).collect();
        ahead.sort();
        all.extend(ahead);
        self.terms.times_total = u32::try_from(all.len()).unwrap_or(u32::MAX);
        self.reschedule(Schedule::Listed(all));
    }
}

/// A clock beyond jiff's years has no day; the first day stands in, which no schedule holds.
fn day_of(at: Timestamp) -> Date {
    day_at(at).unwrap_or_default()
}
