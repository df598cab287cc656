//! A charge of ours that no answer ended: a person looks in the provider's console and says what became of it.
//!
//! service API, `tollgate subscription settle-charge` → **`settle_charge`** (audit trail → refusals → an observation) →
//! inbox → apply, as the provider's own answer would have gone: there is one road to the ledger.
//!
//! Invariants: only a held charge can be ended (`db::subscriptions::held`), so nobody speaks beside an attempt that is under
//! way; the payment is locked before the charge is looked at, as apply locks it, so two words, or a word and a late notice,
//! come one after the other. To say the same twice is no error. Every word is on record before anything else happens.
//! Failure: [`SettleError`]; a refusal has written nothing but that record.

use serde_json::json;
use tollgate_shared::id::ProviderPaymentId;
use tollgate_shared::money::Money;
use tollgate_shared::provider::Observation;
use tollgate_shared::provider::payuni::credit::StoredCharge;
use tollgate_shared::provider::payuni::observe::{self, ByHand};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{SubscriptionId, View, view};
use crate::Origin;
use crate::db::admin_actions::{self, AdminAction};
use crate::db::event_log::{self, Line};
use crate::db::subscriptions::held::{self, OwnCharge};
use crate::db::{DbError, Retry, Tx, payments};
use crate::entropy;
use crate::gateway::provider::Shop;
use crate::inbox::{AcceptError, accept_observed_in};

/// What the person found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The card was charged with the whole amount, under this number of the provider.
    Paid(ProviderPaymentId),
    /// It was not, or what it was charged was paid back at the provider.
    Failed,
}

/// A word about a charge.
#[derive(Debug, Clone)]
pub(crate) struct Decision<'a> {
    /// Which charge.
    pub(crate) charge: Uuid,
    /// Of which subscription, where the caller says so.
    pub(crate) of: Option<SubscriptionId>,
    /// What became of it.
    pub(crate) ended: Ended,
    /// `admin:<caller>` or `service:<caller>`.
    pub(crate) actor: &'a str,
    /// How they know, for whoever reads the record.
    pub(crate) note: &'a str,
}

/// Why a charge is not ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettleError {
    /// There is none of this id.
    #[error("there is no such charge")]
    Unknown,
    /// It has its result already.
    #[error("the charge has ended as {0}")]
    Ended(String),
    /// It is still being sent or asked for.
    #[error("the charge is still under way")]
    UnderWay,
    /// It cannot have been paid.
    #[error("the charge was never sent")]
    NeverSent,
    /// The provider's number is another charge's.
    #[error("another charge is booked under this number")]
    NumberTaken,
    /// Its shop is not configured here, or charges no cards of ours.
    #[error("the shop of this charge is not configured here")]
    NoShop,
    /// The inbox did not take it, or apply did not make it the charge's result.
    #[error("the charge could not be ended: {0}")]
    NotApplied(&'static str),
    /// The inbox.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Retry for SettleError {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Accept(error) => error.is_conflict(),
            Self::Db(error) => error.is_conflict(),
            Self::Unknown
            | Self::Ended(_)
            | Self::UnderWay
            | Self::NeverSent
            | Self::NumberTaken
            | Self::NoShop
            | Self::NotApplied(_) => false,
        }
    }
}

/// Ends a held charge as a person found it; the subscription afterwards.
pub(crate) async fn settle_charge(origin: &Origin, decision: &Decision<'_>) -> Result<View, SettleError> {
    let now = origin.clock.now();
    let record = |tx: Tx| async move { record(&tx, decision, now).await };
    origin.database.run_tx("admin_action", record).await?;
    let settle = |tx: Tx| async move { settle(origin, &tx, decision, now).await };
    origin.database.run_tx("charge_by_hand", settle).await
}

async fn record(tx: &Tx, decision: &Decision<'_>, now: Timestamp) -> Result<(), DbError> {
    let (ended, number) = match &decision.ended {
        Ended::Paid(number) => ("paid", Some(number.as_str())),
        Ended::Failed => ("failed", None),
    };
    let action = AdminAction {
        id: entropy::uuid_v7(now)?,
        actor: decision.actor.to_owned(),
        action: "settle_charge",
        target: decision.charge.to_string(),
        details: json!({ "as": ended, "providerPaymentId": number, "note": decision.note }),
    };
    admin_actions::insert(tx, &action, now).await
}

async fn settle(
    origin: &Origin,
    tx: &Tx,
    decision: &Decision<'_>,
    now: Timestamp,
) -> Result<View, SettleError> {
    let charge = locked(tx, decision).await?;
    if !is_repeat(tx, &charge, &decision.ended).await? {
        refuse(tx, &charge, &decision.ended).await?;
        // After this point the word must become the charge's result.
        let told = observation(origin, &charge, (&decision.ended, now))?;
        apply(origin, tx, &charge, (&told, now)).await?;
    }
    let view = view(tx, origin.subscriptions(), charge.subscription, now).await?;
    view.ok_or(SettleError::Unknown)
}

/// The charge, read again once its payment is locked.
async fn locked(tx: &Tx, decision: &Decision<'_>) -> Result<OwnCharge, SettleError> {
    let found = held::find(tx, decision.charge).await?;
    let is_named = |charge: &OwnCharge| decision.of.is_none_or(|of| of == charge.subscription);
    let charge = found.filter(is_named).ok_or(SettleError::Unknown)?;
    payments::lock_by_charge(tx, &charge.provider, &charge.order).await?;
    held::find(tx, decision.charge).await?.ok_or(SettleError::Unknown)
}

async fn is_repeat(tx: &Tx, charge: &OwnCharge, ended: &Ended) -> Result<bool, DbError> {
    match ended {
        Ended::Paid(number) if charge.status == "paid" => held::is_paid_as(tx, charge, number).await,
        Ended::Failed => Ok(charge.status == "failed"),
        Ended::Paid(_) => Ok(false),
    }
}

async fn refuse(tx: &Tx, charge: &OwnCharge, ended: &Ended) -> Result<(), SettleError> {
    if matches!(charge.status.as_str(), "paid" | "failed") {
        return Err(SettleError::Ended(charge.status.clone()));
    }
    if !charge.is_held {
        return Err(SettleError::UnderWay);
    }
    let Ended::Paid(number) = ended else {
        return Ok(());
    };
    if charge.sent_at.is_none() {
        return Err(SettleError::NeverSent);
    }
    if held::is_booked(tx, charge, number).await? {
        return Err(SettleError::NumberTaken);
    }
    Ok(())
}

/// The word as the inbox takes it. Money moved when the charge was sent; that there is none, is known now.
fn observation(
    origin: &Origin,
    charge: &OwnCharge,
    (ended, now): (&Ended, Timestamp),
) -> Result<Observation, SettleError> {
    let merchant = charge.merchant.as_ref().ok_or(SettleError::NoShop)?;
    let Some(Shop::Payuni { shop, .. }) = Shop::of(origin, &charge.provider, merchant) else {
        return Err(SettleError::NoShop);
    };
    let sent = StoredCharge {
        number: charge.order.clone(),
        money: charge.money,
        description: String::new(),
        notify_url: None,
    };
    let found = match ended {
        Ended::Paid(number) => ByHand::Paid(number, charge.sent_at.unwrap_or(now)),
        Ended::Failed => ByHand::Failed,
    };
    observe::by_hand(shop, &sent, found).map_err(|_| SettleError::NotApplied("its word cannot be sealed"))
}

/// A word that does not become the result is undone with everything beside it, so that nothing half-said is left.
async fn apply(
    origin: &Origin,
    tx: &Tx,
    charge: &OwnCharge,
    (told, now): (&Observation, Timestamp),
) -> Result<(), SettleError> {
    let source = charge.provider.parse().map_err(|_| SettleError::NoShop)?;
    accept_observed_in(origin, tx, &source, told, now).await?;
    let after = held::find(tx, charge.id).await?;
    let has_ended = after.is_some_and(|charge| matches!(charge.status.as_str(), "paid" | "failed"));
    has_ended
        .then_some(())
        .ok_or(SettleError::NotApplied("the log says why"))
}

/// Tells operators, once, of a charge that its effect leaves without a result.
pub(crate) async fn tell_held(tx: &Tx, charge: Uuid, reason: &str, now: Timestamp) -> Result<(), DbError> {
    let Some(charge) = held::find(tx, charge).await? else {
        return Ok(());
    };
    if matches!(charge.status.as_str(), "paid" | "failed") {
        return Ok(());
    }
    if event_log::insert(tx, &line(&charge, reason, now)?, now).await? {
        tracing::error!(
            subscription.id = %charge.subscription,
            charge.id = %charge.id,
            "charge {} of subscription {} has no result and waits for a person", charge.id, charge.subscription
        );
    }
    Ok(())
}

fn line(charge: &OwnCharge, reason: &str, now: Timestamp) -> Result<Line, DbError> {
    let event_type = "subscription_charge_held";
    Ok(Line {
        id: entropy::uuid_v7(now)?,
        operation_key: format!("{event_type}:{}", charge.id),
        event_type,
        user: Some(charge.user.clone()),
        plan: None,
        money: Some(charge.money),
        payment: None,
        provider: Some(charge.provider.clone()),
        provider_payment_id: None,
        reason: Some(reason.to_owned()),
        details: json!({
            "subscriptionId": charge.subscription, "chargeId": charge.id, "period": charge.period,
            "orderNumber": charge.order,
        }),
        delivery: None,
        occurred_at: now,
    })
}

/// A charge that waits for a person, as its customer and callers see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeldCharge {
    /// Its id, by which it is settled.
    pub(crate) id: Uuid,
    /// Of which period.
    pub(crate) period: u32,
    /// In whole minor units.
    pub(crate) amount: i64,
    /// Our number of it at the provider.
    pub(crate) order_number: String,
    /// When it was sent last; absent: never.
    pub(crate) sent_at: Option<String>,
    /// When it was intended.
    pub(crate) created_at: String,
}

impl From<&OwnCharge> for HeldCharge {
    fn from(charge: &OwnCharge) -> Self {
        Self {
            id: charge.id,
            period: charge.period,
            amount: amount(charge.money),
            order_number: charge.order.to_string(),
            sent_at: charge.sent_at.map(|at| at.to_string()),
            created_at: charge.created_at.to_string(),
        }
    }
}

const fn amount(money: Money) -> i64 {
    money.amount_minor.get()
}
