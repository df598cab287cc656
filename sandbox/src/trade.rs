//! A trade at a fake provider and the moves it can make.
//!
//! checkout → **trade** ⇄ cashier, control → `notice`: the provider modules say what a move looks like on the wire.
//!
//! Invariants: a move is refused before anything changes; money arrives once in a trade (a declined trade may still
//! be paid, as at a real cashier where the customer tries another card).
//! Not here: periods (`contract`), field names and codes of a provider (`ecpay`, `payuni`, `mock`), sending (`delivery`).
//! Failure: a [`Refused`] that the cashier shows and the control API answers as 409.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use crate::contract::{Charge, Contract, Unable};
use crate::numbers::Numbers;
use crate::settlement::Settlement;

/// Whose trade it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Provider {
    Ecpay,
    Payuni,
    Mock,
}

impl Provider {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ecpay => "ecpay",
            Self::Payuni => "payuni",
            Self::Mock => "mock",
        }
    }

    pub(crate) fn from_path(segment: &str) -> Option<Self> {
        [Self::Ecpay, Self::Payuni, Self::Mock]
            .into_iter()
            .find(|provider| provider.as_str() == segment)
    }
}

/// A way to pay. The names on the wire are ECPay's; the other providers use a few of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Credit,
    WebAtm,
    Atm,
    Cvs,
    Barcode,
    ApplePay,
    Twqr,
    Bnpl,
    WeiXin,
    DigitalPayment,
}

impl Method {
    pub(crate) const ALL: [Self; 10] = [
        Self::Credit,
        Self::WebAtm,
        Self::Atm,
        Self::Cvs,
        Self::Barcode,
        Self::ApplePay,
        Self::Twqr,
        Self::Bnpl,
        Self::WeiXin,
        Self::DigitalPayment,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Credit => "Credit",
            Self::WebAtm => "WebATM",
            Self::Atm => "ATM",
            Self::Cvs => "CVS",
            Self::Barcode => "BARCODE",
            Self::ApplePay => "ApplePay",
            Self::Twqr => "TWQR",
            Self::Bnpl => "BNPL",
            Self::WeiXin => "WeiXin",
            Self::DigitalPayment => "DigitalPayment",
        }
    }

    pub(crate) fn from_wire(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }

    /// Whether the customer gets a code first and pays later, elsewhere.
    pub(crate) const fn issues_code(self) -> bool {
        matches!(self, Self::Atm | Self::Cvs | Self::Barcode)
    }
}

/// Where a trade stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Open,
    CodeIssued,
    Paid,
    Failed,
    Closed,
}

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::CodeIssued => "code_issued",
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }
}

/// A trade at a provider.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_field_names,
    reason = "a trade number is what providers call it"
)]
pub(crate) struct Trade {
    pub(crate) provider: Provider,
    pub(crate) merchant_id: String,
    pub(crate) order_number: String,
    pub(crate) trade_no: String,
    pub(crate) gwsr: String,
    pub(crate) amount: Minor,
    pub(crate) description: String,
    /// The checked request, by the provider's own field names.
    pub(crate) request: BTreeMap<String, String>,
    /// What the cashier offers.
    pub(crate) methods: Vec<Method>,
    /// What the customer chose.
    pub(crate) method: Option<Method>,
    pub(crate) status: Status,
    pub(crate) created_at: Timestamp,
    pub(crate) settled_at: Option<Timestamp>,
    pub(crate) contract: Option<Contract>,
    /// Where the money of its card charges is, by the number of the charge; made when first asked for.
    pub(crate) settlements: BTreeMap<String, Settlement>,
    /// The stored card that this payment bound (PAYUNi).
    pub(crate) credit_hash: Option<String>,
    /// The chosen code of a decline.
    pub(crate) decline_code: Option<String>,
    /// Until then the provider itself does not know the result.
    pub(crate) unknown_until: Option<Timestamp>,
}

/// A move, asked for by a person at the cashier or by the control API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Pay,
    Fail,
    Close,
    IssueCode,
    PayCode,
    Simulate,
    Period { failed: bool },
}

/// What a move did.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Paid,
    Failed,
    CodeIssued,
    /// The merchant's console pressed "simulate payment": a notice without money.
    Simulated,
    /// A period was charged, or its charge was declined.
    Charged(Charge),
    /// The customer left; nobody is told.
    Closed,
}

/// Why a move is not possible now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the trade is already paid")]
    AlreadyPaid,
    #[error("a code is issued; pay the code")]
    CodeOutstanding,
    #[error("no code has been issued")]
    NoCode,
    #[error("this method issues a code first")]
    CodeFirst,
    #[error("this method issues no code")]
    NotACodeMethod,
    #[error("the cashier does not offer this method for this order")]
    NotOffered,
    #[error("the order is not a periodic one")]
    NoPlan,
    #[error("the first charge has not been made")]
    PlanNotStarted,
    #[error("the contract has ended")]
    PlanEnded,
    #[error("this provider has no simulated payment")]
    NoSimulation,
}

impl Trade {
    /// The value of a field of the request, empty where it was not sent.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.request.get(name).map_or("", String::as_str)
    }

    /// Makes a move. On `Err` nothing has changed.
    pub(crate) fn act(
        &mut self,
        action: Action,
        method: Option<Method>,
        numbers: &mut Numbers,
        now: Timestamp,
    ) -> Result<Outcome, Refused> {
        match action {
            Action::Pay => self.settle(method, numbers, now),
            Action::Fail => self.decline(method, numbers, now),
            Action::Close => Ok(self.close()),
            Action::IssueCode => self.issue_code(method),
            Action::PayCode => self.pay_code(now),
            Action::Simulate => self.simulate(method),
            Action::Period { failed } => self.charge_period(!failed, numbers, now),
        }
    }

    fn settle(
        &mut self,
        method: Option<Method>,
        numbers: &mut Numbers,
        now: Timestamp,
    ) -> Result<Outcome, Refused> {
        let method = self.choose_instant(method)?;
        // After this point the payment must succeed.
        self.method = Some(method);
        self.status = Status::Paid;
        self.settled_at = Some(now);
        self.gwsr = numbers.gwsr();
        Ok(self.first_charge(now).unwrap_or(Outcome::Paid))
    }

    fn decline(
        &mut self,
        method: Option<Method>,
        numbers: &mut Numbers,
        now: Timestamp,
    ) -> Result<Outcome, Refused> {
        let method = self.choose_instant(method)?;
        self.method = Some(method);
        self.status = Status::Failed;
        self.settled_at = Some(now);
        self.gwsr = numbers.gwsr();
        Ok(Outcome::Failed)
    }

    /// Period 1 is the payment itself, so it carries the trade's own number.
    fn first_charge(&mut self, now: Timestamp) -> Option<Outcome> {
        let charge = self.contract.as_mut()?.begin(&self.trade_no, &self.gwsr, now)?;
        // ECPay announces period 1 as an ordinary payment; PAYUNi announces it as a period.
        (self.provider == Provider::Payuni).then_some(Outcome::Charged(charge))
    }

    fn choose_instant(&self, method: Option<Method>) -> Result<Method, Refused> {
        match self.status {
            Status::Paid => return Err(Refused::AlreadyPaid),
            Status::CodeIssued => return Err(Refused::CodeOutstanding),
            Status::Open | Status::Failed | Status::Closed => {}
        }
        let method = match method {
            Some(method) => method,
            None => self
                .methods
                .iter()
                .copied()
                .find(|offered| !offered.issues_code())
                .ok_or(Refused::CodeFirst)?,
        };
        if !self.methods.contains(&method) {
            return Err(Refused::NotOffered);
        }
        if method.issues_code() {
            Err(Refused::CodeFirst)
        } else {
            Ok(method)
        }
    }

    /// Closing the window of a trade that is settled, or whose code is out, changes nothing.
    fn close(&mut self) -> Outcome {
        if matches!(self.status, Status::Open | Status::Failed) {
            self.status = Status::Closed;
        }
        Outcome::Closed
    }

    fn issue_code(&mut self, method: Option<Method>) -> Result<Outcome, Refused> {
        match self.status {
            Status::Paid => return Err(Refused::AlreadyPaid),
            Status::CodeIssued => return Err(Refused::CodeOutstanding),
            Status::Open | Status::Failed | Status::Closed => {}
        }
        let offered = || self.methods.iter().copied().find(|offered| offered.issues_code());
        let method = method.or_else(offered).ok_or(Refused::NotACodeMethod)?;
        if !method.issues_code() {
            return Err(Refused::NotACodeMethod);
        }
        if !self.methods.contains(&method) {
            return Err(Refused::NotOffered);
        }
        self.method = Some(method);
        self.status = Status::CodeIssued;
        Ok(Outcome::CodeIssued)
    }

    fn pay_code(&mut self, now: Timestamp) -> Result<Outcome, Refused> {
        match self.status {
            Status::Paid => Err(Refused::AlreadyPaid),
            Status::Open | Status::Failed | Status::Closed => Err(Refused::NoCode),
            Status::CodeIssued => {
                self.status = Status::Paid;
                self.settled_at = Some(now);
                Ok(Outcome::Paid)
            }
        }
    }

    /// The status stays: a simulated payment moves no money, and the trade can still be paid.
    fn simulate(&mut self, method: Option<Method>) -> Result<Outcome, Refused> {
        if self.provider != Provider::Ecpay {
            return Err(Refused::NoSimulation);
        }
        let method = method
            .or(self.method)
            .or_else(|| self.methods.first().copied())
            .ok_or(Refused::NotOffered)?;
        if !self.methods.contains(&method) {
            return Err(Refused::NotOffered);
        }
        self.method = Some(method);
        Ok(Outcome::Simulated)
    }

    fn charge_period(
        &mut self,
        succeeded: bool,
        numbers: &mut Numbers,
        now: Timestamp,
    ) -> Result<Outcome, Refused> {
        let contract = self.contract.as_mut().ok_or(Refused::NoPlan)?;
        contract
            .charge_next(succeeded, numbers, now)
            .map(Outcome::Charged)
            .map_err(|unable| match unable {
                Unable::NotBegun => Refused::PlanNotStarted,
                Unable::Ended
                | Unable::NotRunning
                | Unable::NotSuspended
                | Unable::NothingFailed
                | Unable::NoSuchPeriod => Refused::PlanEnded,
            })
    }
}
