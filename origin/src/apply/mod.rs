//! Step 6, apply: what an event does to payments, users and the ledger.
//!
//! inbox → **apply** (load → ask `domain` → write) → ledger, event log, outbox.
//!
//! Invariants: everything an event does is in one transaction (a savepoint of the inbox's); locks are taken in one
//! order: payment, the user's ledger accounts, the subscription, the user, and last the company with its token accounts,
//! which is the lock that spending waits for (what spends tokens locks companies alone, so nothing waits in a circle). An
//! event that does not match what we ordered is a dispute and a success. Nothing in here calls the network. Each kind of
//! fact has its file; the match below has no default, so a new kind of fact does not compile until it is decided.
//! Failure: [`ApplyError`]; the inbox keeps the event and tries again.

mod binding;
mod book;
mod code;
mod decline;
mod dispute;
mod recompute;
mod record;
mod refund;
mod settle;
mod tokens;

use tollgate_shared::event::{Event, Fact};
use tollgate_shared::id::{DeliveryId, InboxEventId};
use tollgate_shared::time::Timestamp;

use crate::db::ledger::LedgerError;
use crate::db::payments::{self, Payment};
use crate::db::tokens::TokenError;
use crate::db::{DbError, Retry, Tx};
use crate::ledger::PostingError;
use crate::subscriptions::{Context, FoundBy};

use decline::Refused;
pub(crate) use recompute::{payment_by_time, user as recompute_user};

/// An event being applied.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    /// The transaction.
    pub(crate) tx: &'a Tx,
    /// What happened.
    pub(crate) event: &'a Event,
    /// Its row in the inbox.
    pub(crate) inbox_event: InboxEventId,
    /// The delivery that brought it first.
    pub(crate) delivery: DeliveryId,
    /// When the edge received it.
    pub(crate) received_at: Timestamp,
    /// When this is applied, by the origin's clock.
    pub(crate) now: Timestamp,
    /// Whether user-core wants to know.
    pub(crate) to_user_core: bool,
    /// Who told: the provider unasked, or asked.
    pub(crate) found_by: FoundBy,
    /// The rules of subscriptions.
    pub(crate) subscriptions: Context<'a>,
}

impl Step<'_> {
    /// When it happened: as the provider tells it, else when we heard of it.
    pub(crate) fn occurred_at(&self) -> Timestamp {
        self.event.occurred_at.unwrap_or(self.received_at)
    }

    /// Finds and locks the payment that the event speaks of: by its own number, or by that of a charge that we made.
    async fn payment(&self) -> Result<Option<Payment>, DbError> {
        let Some(order) = &self.event.order else {
            return Ok(None);
        };
        let source = self.event.source.as_str();
        match payments::lock_by_order(self.tx, source, order).await? {
            Some(payment) => Ok(Some(payment)),
            None => payments::lock_by_charge(self.tx, source, order).await,
        }
    }
}

/// What applying did: `inbox_events.outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A charge settled.
    Settled,
    /// The charge had settled before, told by another notice.
    KnownCharge,
    /// A charge was paid back.
    Refunded,
    /// A refused attempt was noted.
    DeclineNoted,
    /// A card was bound for charges to come; no money moved.
    CardBound,
    /// Payment instructions were stored.
    CodeStored,
    /// The bank has not decided; the payment waits longer.
    Held,
    /// A simulated notice was logged.
    TestLogged,
    /// An event of a carried source was logged.
    Carried,
    /// Understood, nothing to do.
    Acknowledged,
    /// It does not match what we ordered: a person decides.
    Disputed,
}

impl Outcome {
    /// The word in the inbox.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::KnownCharge => "known_charge",
            Self::Refunded => "refunded",
            Self::DeclineNoted => "decline_noted",
            Self::CardBound => "card_bound",
            Self::CodeStored => "code_stored",
            Self::Held => "held",
            Self::TestLogged => "test_logged",
            Self::Carried => "carried",
            Self::Acknowledged => "acknowledged",
            Self::Disputed => "disputed",
        }
    }
}

/// Why an event could not be applied now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The database did not do its work.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The ledger refused the posting.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The posting does not balance; ours always should.
    #[error(transparent)]
    Posting(#[from] PostingError),
    /// The token system did not do its work.
    #[error(transparent)]
    Tokens(#[from] TokenError),
}

impl Retry for ApplyError {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Db(error) => error.is_conflict(),
            Self::Ledger(error) => error.is_conflict(),
            Self::Tokens(error) => error.is_conflict(),
            Self::Posting(_) => false,
        }
    }
}

impl ApplyError {
    /// True where the whole transaction is lost, so that not even the failure can be noted in it.
    pub(crate) fn loses_transaction(&self) -> bool {
        match self {
            Self::Db(error) | Self::Ledger(LedgerError::Db(error)) | Self::Tokens(TokenError::Db(error)) => {
                error.is_conflict() || error.is_unavailable()
            }
            Self::Ledger(LedgerError::Refused { .. })
            | Self::Tokens(TokenError::Refused { .. })
            | Self::Posting(_) => false,
        }
    }
}

/// Applies one event.
pub(crate) async fn apply(step: Step<'_>) -> Result<Outcome, ApplyError> {
    if step.event.test {
        return record::test(step).await;
    }
    match &step.event.fact {
        Fact::Paid(charge) => settle::settle(step, charge, None).await,
        Fact::PeriodPaid(charge, period) => settle::settle(step, charge, Some(period)).await,
        Fact::PaymentFailed(decline) => decline::note(step, decline, Refused::Attempt).await,
        Fact::PaymentCanceled(decline) => decline::note(step, decline, Refused::Canceled).await,
        Fact::PeriodFailed(decline, period) => decline::note(step, decline, Refused::Period(period)).await,
        Fact::CardBound(binding) => binding::note(step, binding).await,
        Fact::CodeIssued(code) => code::store(step, code).await,
        Fact::PaymentHeld(undecided) => code::wait_for_bank(step, undecided).await,
        Fact::Refunded(charge) => refund::refund(step, charge).await,
        Fact::Foreign { event_type, .. } => record::carried(step, event_type).await,
        Fact::Acknowledged { .. } => Ok(Outcome::Acknowledged),
    }
}
