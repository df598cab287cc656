//! What a verified notice says, in one vocabulary for every provider.
//!
//! verify → **normalise makes an `Event`** → forward | inbox → apply.
//!
//! Invariants: only `provider::<name>::normalise` builds an `Event`, and it takes nothing but that provider's
//! `Verified`; the key names the *fact*, never the bytes (ECPay repeats a notice with another RtnMsg and so
//! another MAC). What polling finds is the same event as the notice that told it, under the same key.
//! Not here: whether the fact fits what we ordered (`origin::domain`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::crypto;
use crate::id::{MerchantId, OrderNumber, ProviderPaymentId, SourceId};
use crate::money::Money;
use crate::secret::Secret;
use crate::time::Timestamp;

/// The operation key of an event: source, merchant, kind and the provider's own numbers, joined by `:`.
///
/// Every part has passed an id type, so no part holds a `:`. At most 250 bytes (a Durable Object row key).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventKey(String);

impl EventKey {
    /// Joins the parts of a key. `source` comes first, so that two sources never share a key.
    #[must_use]
    pub fn new(source: &SourceId, parts: &[&str]) -> Self {
        let mut key = source.as_str().to_owned();
        for part in parts {
            key.push(':');
            key.push_str(part);
        }
        Self(key)
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A verified, normalised notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Identity: the same fact always has the same key.
    pub key: EventKey,
    /// Which configured source sent it.
    pub source: SourceId,
    /// The shop it speaks of; `None` for sources that know no shops.
    pub merchant: Option<MerchantId>,
    /// Our order number; events of one order keep their order of arrival. `None`: independent of all others.
    pub order: Option<OrderNumber>,
    /// A simulated payment: recorded, shown, and moving no money.
    pub test: bool,
    /// When the provider says it happened.
    pub occurred_at: Option<Timestamp>,
    /// What happened.
    pub fact: Fact,
}

/// What happened, as the provider tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Money arrived for an order: its only charge, or the first of a periodic order.
    Paid(Charge),
    /// A payment attempt was refused.
    PaymentFailed(Decline),
    /// The provider cancelled the payment. After a charge settled: its authorisation was taken back.
    PaymentCanceled(Decline),
    /// A transfer account or store code was issued; no money yet.
    CodeIssued(IssuedCode),
    /// The bank has not decided (PAYUNi `UNKNOWN`, awaiting review): ask again later.
    PaymentHeld(Decline),
    /// A charge was paid back by the provider's own doing.
    Refunded(Charge),
    /// A charge of a periodic order.
    PeriodPaid(Charge, Period),
    /// A refused charge of a periodic order.
    PeriodFailed(Decline, Period),
    /// A card was bound for charges to come, by an authorisation that is none of them (PU-7).
    CardBound(CardBinding),
    /// An event of a source whose payload Tollgate only carries: its type and JSON payload.
    Foreign {
        /// The source's own name for the kind of event.
        event_type: String,
        /// The payload as JSON text, as received.
        payload: String,
    },
    /// Understood, and there is nothing to do.
    Acknowledged {
        /// Why, for the event log.
        reason: &'static str,
    },
}

/// A charge that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// What was charged.
    pub money: Money,
    /// The provider's number of this charge; refunds and reconciliation ask for it.
    pub provider_payment_id: ProviderPaymentId,
    /// The provider's name of the method (`Credit_CreditCard`, `ATM_TAISHIN`, …).
    pub method: Option<String>,
    /// What lets us charge the same card again, where the customer agreed to it (PAYUNi's CreditHash).
    pub credential: Option<StoredCredential>,
}

/// A stand-in for a card, given out by the provider: it charges the card under our contract and nowhere else.
///
/// Still a secret: whoever holds it and our keys can charge the customer. It has no `Serialize`, its `Debug` shows
/// no byte of it, and two are compared in constant time.
#[derive(Debug, Clone)]
pub struct StoredCredential {
    /// PAYUNi `CreditHash`.
    pub hash: Secret,
    /// Until when it can be charged: `MMYY`, as PAYUNi's CreditLife tells it.
    pub expires: Option<String>,
    /// The last four digits of the card, to show to its owner.
    pub card_last4: Option<String>,
}

impl PartialEq for StoredCredential {
    fn eq(&self, other: &Self) -> bool {
        crypto::equal(self.hash.expose().as_bytes(), other.hash.expose().as_bytes())
            && self.expires == other.expires
            && self.card_last4 == other.card_last4
    }
}

impl Eq for StoredCredential {}

/// A charge that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decline {
    /// What would have been charged, where the notice says so.
    pub money: Option<Money>,
    /// The provider's number of the attempt, where it has one.
    pub provider_payment_id: Option<ProviderPaymentId>,
    /// The provider's code (ECPay RtnCode, PAYUNi Status).
    pub code: String,
    /// The bank's own response code (PAYUNi `ResCode`, two digits of ISO 8583 field 39), where it is told.
    pub bank_code: Option<String>,
    /// The provider's words; for a person, never matched on.
    pub message: String,
}

/// A card that was bound for charges to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardBinding {
    /// What was authorised for it: no period's money.
    pub money: Money,
    /// The provider's number of that authorisation, where it has one.
    pub provider_payment_id: Option<ProviderPaymentId>,
    /// The provider's number of the contract.
    pub contract_number: Option<ProviderPaymentId>,
}

/// How a customer can still pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCode {
    /// What is to be paid.
    pub money: Money,
    /// The provider's number of the trade.
    pub provider_payment_id: ProviderPaymentId,
    /// The method the code is for.
    pub method: String,
    /// The code as a customer types it (bank and account; store code; three barcodes), one part each.
    pub code_parts: Vec<String>,
    /// Until when it can be paid.
    pub expires_at: Option<Timestamp>,
}

/// Which period of a periodic order a charge belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// Unique per period: PAYUNi `PeriodOrderNo`; ECPay has none, so order number and Gwsr (of a refusal: ProcessDate).
    pub period_order_number: String,
    /// The provider's number of the contract (PAYUNi `PeriodTradeNo`; ECPay has none but the order number).
    pub contract_number: Option<ProviderPaymentId>,
    /// The number of the period, 1 for the first, where the notice says so. ECPay tells successes so far.
    pub number: Option<u32>,
    /// How many periods the contract has in all.
    pub total: Option<u32>,
}
