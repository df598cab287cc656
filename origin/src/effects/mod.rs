//! Effects at the providers: what subscriptions, refunds and reconciliation decided, done over the wire.
//!
//! outbox row (written by `subscriptions`, `refunds`, `work`) → **effects** (load → call → write) → facts, inbox events.
//!
//! Invariants: loading and writing are short transactions, and none is open during a call (DESIGN.md, 6). A row may be
//! made twice (a crash between call and mark), so every kind is safe to repeat: a change of a contract takes "it is so
//! already" for success, and what moves money is asked for before it is sent again. A call that may not go yet is
//! postponed without spending an attempt.
//! Not here: what is decided (`domain`), leases and retries (`work::outbox`), the wire (`gateway`, `shared::provider`).

mod contract;
mod payment_poll;
pub(crate) mod refund;
mod subscription_cancel;
pub(crate) mod subscription_charge;
mod subscription_pause;
mod subscription_poll;
mod subscription_retry;

use std::time::Duration;

use serde_json::Value;
use tollgate_shared::id::MerchantId;
use tollgate_shared::provider::{Observation, ServerRequest};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use crate::Origin;
use crate::db::outbox::{self, Claimed};
use crate::db::{DbError, Tx};
use crate::gateway::limiter::{Line, Turn, turn};
use crate::gateway::provider::{CallError, Shop};
use crate::gateway::user_core::Client;
use crate::inbox::accept_observed;
use crate::subscriptions::{CANCEL, CHARGE, PAUSE, POLL, RESUME, RETRY};
use crate::telemetry::Chain;
use subscription_pause::Wanted;

/// Paying a charge back: `{refundId}`.
pub(crate) const REFUND: &str = "refund";

/// Asking what became of a payment: `{paymentId}`.
pub(crate) const PAYMENT_POLL: &str = "payment_poll";

/// Every kind of effect that is made here, as `outbox.kind` has it.
pub(crate) const KINDS: &[&str] = &[PAYMENT_POLL, REFUND, CANCEL, CHARGE, PAUSE, POLL, RESUME, RETRY];

/// Why an effect was not made, as its row keeps it for a person; no secret and no personal data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Undone {
    /// It failed; another attempt may succeed.
    Again(String),
    /// It failed, and no other attempt can succeed.
    Never(String),
    /// It has a turn with the provider at this instant.
    Turn(Timestamp),
    /// It may not be tried before this instant.
    NotBefore(Timestamp, &'static str),
}

impl From<DbError> for Undone {
    fn from(error: DbError) -> Self {
        Self::Again(Chain(&error).to_string())
    }
}

impl From<CallError> for Undone {
    fn from(error: CallError) -> Self {
        Self::Again(error.to_string())
    }
}

/// What every handler works with.
#[derive(Clone, Copy)]
pub(crate) struct Desk<'a> {
    /// The service.
    pub(crate) origin: &'a Origin,
    /// The client of outbound calls.
    pub(crate) client: &'a Client,
    /// The effect's row in the outbox, and the lease on it.
    pub(crate) lease: (Uuid, Uuid),
    /// How often the effect was tried, this time included.
    pub(crate) attempts: i32,
    /// When the effect's turn with the provider is, where it was given one.
    pub(crate) turn_at: Option<Timestamp>,
}

impl<'a> Desk<'a> {
    /// A line for so many calls to a shop, or the instant to come back at.
    pub(crate) async fn line(&self, shop: Shop<'a>, calls: u32) -> Result<Line<'a>, Undone> {
        match turn(self.origin, self.client, shop, calls, self.turn_at).await? {
            Turn::Now(line) => Ok(line),
            Turn::From(at) => Err(Undone::Turn(at)),
            Turn::Silent(until) => Err(Undone::NotBefore(
                until,
                "the provider wants no calls for a while",
            )),
        }
    }
}

impl Desk<'_> {
    /// Whether the row is still ours, held until the transaction ends: asked before anything is sent that must not be
    /// sent by two.
    pub(crate) async fn holds(&self, tx: &Tx) -> Result<bool, DbError> {
        let (id, token) = self.lease;
        outbox::hold(tx, id, token).await
    }
}

/// An id of a payload. A row of another form was written by a newer program.
fn id(payload: &Value, name: &str) -> Result<Uuid, Undone> {
    let text = payload.get(name).and_then(Value::as_str);
    text.and_then(|text| Uuid::try_parse(text).ok())
        .ok_or_else(|| Undone::Never(format!("the payload has no {name}")))
}

/// The shop, with its keys.
fn shop<'a>(origin: &'a Origin, provider: &str, merchant: Option<&MerchantId>) -> Result<Shop<'a>, Undone> {
    merchant
        .and_then(|merchant| Shop::of(origin, provider, merchant))
        .ok_or_else(|| Undone::Again(format!("this shop at {provider} is not configured here")))
}

/// An answer that nobody can read; another try may find a better one.
fn unreadable(error: impl std::error::Error + 'static) -> Undone {
    Undone::Again(Chain(&error).to_string())
}

/// A sealed request. Keys of another length are a fault at start, so there always is one.
fn keys(request: Option<ServerRequest>) -> Result<ServerRequest, Undone> {
    request.ok_or_else(|| Undone::Again("the shop's keys seal nothing".to_owned()))
}

/// Feeds what a provider answered to the inbox, oldest first. What is known already changes nothing.
pub(crate) async fn feed(origin: &Origin, shop: Shop<'_>, told: &[Observation]) -> Result<(), Undone> {
    let source = shop
        .key()
        .provider
        .parse()
        .map_err(|_| Undone::Never("the provider is no source".to_owned()))?;
    for observation in told {
        let now = origin.clock.now();
        accept_observed(origin, &source, observation, now)
            .await
            .map_err(|error| Undone::Again(Chain(&error).to_string()))?;
    }
    Ok(())
}

/// How long a row is ours: longer than the longest call (a charge) with the calls beside it.
pub(crate) const LEASE: Duration = Duration::from_mins(5);

/// Makes one effect.
pub(crate) async fn make(desk: Desk<'_>, claimed: &Claimed) -> Result<(), Undone> {
    match claimed.kind.as_str() {
        PAYMENT_POLL => payment_poll::make(desk, &claimed.payload).await,
        REFUND => refund::make(desk, &claimed.payload).await,
        CANCEL => subscription_cancel::make(desk, &claimed.payload).await,
        CHARGE => subscription_charge::make(desk, &claimed.payload).await,
        PAUSE => subscription_pause::make(desk, &claimed.payload, Wanted::Rest).await,
        POLL => subscription_poll::make(desk, &claimed.payload).await,
        RESUME => subscription_pause::make(desk, &claimed.payload, Wanted::GoOn).await,
        RETRY => subscription_retry::make(desk, &claimed.payload).await,
        kind => Err(Undone::Never(format!("{kind} is not made here"))),
    }
}
