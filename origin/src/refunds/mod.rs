//! Refunds that somebody asks for, in full or in part (PM-8): from the request to the entries.
//!
//! service API, an upgrade → **request** (refusals → row → effect) → `effects::refund` calls the provider → **`book`**;
//! for a method without a refund call an operator pays it back → **`settle_by_hand`** → `book`.
//!
//! Invariants: the payment is locked first, so nothing of its charges moves meanwhile; a refund is one row, whoever asks how
//! often (the key), and is booked once, in the transaction that ends it as done; what is not known to have happened
//! is not booked. A provider's own notice of the same refund ends the row too (`apply::refund`), and is not booked again.
//! Failure: [`RefundError`]; a refusal has written nothing.

pub(crate) mod book;

use serde::Serialize;
use serde_json::json;
use tollgate_shared::id::PaymentId;
use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use crate::apply::ApplyError;
use crate::db::outbox::{self, NewEffect};
use crate::db::refunds::{self, Charge, NewRefund, Refund, RefundStatus};
use crate::db::{DbError, Retry, Tx};
use crate::domain::backoff;
use crate::domain::refund::{ChargeFacts, RefundRefusal, decide, has_refund_call};
use crate::effects::REFUND;
use crate::entropy;

/// What an operator reads of a refund that no program can make.
const NO_CALL: &str = "the method has no refund call: pay it back by hand, then confirm it here";

/// What an operator reads of a refund that met another one of its charge.
const AFTER_ANOTHER: &str =
    "another refund of the charge has not ended: pay this one back when it has, then confirm it here";

/// A request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Of which payment.
    pub(crate) payment: PaymentId,
    /// Of which charge, by the provider's number; may be left out where the payment has only one.
    pub(crate) charge: Option<&'a str>,
    /// How much; `None`: what is left.
    pub(crate) amount: Option<Minor>,
    /// Why, for people.
    pub(crate) reason: &'a str,
    /// `service:<caller>`, `admin:<caller>`, `schedule`.
    pub(crate) actor: &'a str,
    /// Names the request among all; the caller's scope is part of it.
    pub(crate) key: &'a str,
}

/// A refund as callers see it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    /// Its id.
    pub(crate) id: String,
    /// Of which payment.
    pub(crate) payment_id: String,
    /// Of which charge, by the provider's number.
    pub(crate) provider_payment_id: String,
    /// How much, in whole minor units.
    pub(crate) amount: i64,
    /// In which currency.
    pub(crate) currency: &'static str,
    /// `requested`, `unknown`, `done`, `refused` or `manual`.
    pub(crate) status: &'static str,
    /// Why it was asked for.
    pub(crate) reason: String,
    /// By whom.
    pub(crate) requested_by: String,
    /// What went wrong, or what an operator has to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// When it was asked for.
    pub(crate) created_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finished_at: Option<String>,
}

/// Why a refund was not begun or not ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefundError {
    /// It is not allowed; nothing was written.
    #[error(transparent)]
    Refused(#[from] RefundRefusal),
    /// There is no such refund.
    #[error("there is no such refund")]
    Unknown,
    /// It has ended otherwise.
    #[error("the refund has ended as {0}")]
    Ended(&'static str),
    /// The books or the database did not do their work.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl From<DbError> for RefundError {
    fn from(error: DbError) -> Self {
        Self::Apply(ApplyError::Db(error))
    }
}

impl Retry for RefundError {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Apply(error) => error.is_conflict(),
            Self::Refused(_) | Self::Unknown | Self::Ended(_) => false,
        }
    }
}

/// Begins a refund, once for each key.
pub(crate) async fn request(tx: &Tx, asked: &Asked<'_>, now: Timestamp) -> Result<View, RefundError> {
    let payment = refunds::lock_payment(tx, asked.payment)
        .await?
        .ok_or(RefundRefusal::UnknownCharge)?;
    let charges = refunds::charges(tx, payment.id).await?;
    if let Some(known) = refunds::find_by_key(tx, asked.key).await? {
        return Ok(repeated(&known, asked)?);
    }
    let charge = named(&charges, asked.charge)?;
    let amount = decide(facts(charge), asked.amount)?;
    // After this point it must succeed.
    let by_call = has_refund_call(&payment.provider, charge.method.as_deref(), charge.of_period);
    let new = NewRefund {
        id: entropy::uuid_v7(now).map_err(DbError::from)?,
        payment: payment.id,
        charge: charge.id,
        operation_key: asked.key,
        amount_minor: amount,
        reason: asked.reason,
        requested_by: asked.actor,
        status: if by_call {
            (RefundStatus::Requested, None)
        } else {
            (RefundStatus::Manual, Some(NO_CALL))
        },
    };
    refunds::insert(tx, &new, now).await?;
    if by_call {
        outbox::insert(tx, &effect(&new), now).await?;
    } else {
        tracing::warn!(refund.id = %new.id, "refund {} is for an operator", new.id);
    }
    view(tx, new.id).await?.ok_or(RefundError::Unknown)
}

/// The same for a refund that is decided: while another one of the charge has not ended, it is an operator's to make.
pub(crate) async fn request_decided(tx: &Tx, asked: &Asked<'_>, now: Timestamp) -> Result<View, RefundError> {
    match request(tx, asked, now).await {
        Err(RefundError::Refused(RefundRefusal::UnderWay)) => leave_to_operator(tx, asked, now).await,
        answer => answer,
    }
}

async fn leave_to_operator(tx: &Tx, asked: &Asked<'_>, now: Timestamp) -> Result<View, RefundError> {
    let charges = refunds::charges(tx, asked.payment).await?;
    let charge = named(&charges, asked.charge)?;
    let alone = ChargeFacts {
        under_way: false,
        ..facts(charge)
    };
    let new = NewRefund {
        id: entropy::uuid_v7(now).map_err(DbError::from)?,
        payment: asked.payment,
        charge: charge.id,
        operation_key: asked.key,
        amount_minor: decide(alone, asked.amount)?,
        reason: asked.reason,
        requested_by: asked.actor,
        status: (RefundStatus::Manual, Some(AFTER_ANOTHER)),
    };
    refunds::insert(tx, &new, now).await?;
    tracing::warn!(refund.id = %new.id, "refund {} is for an operator", new.id);
    view(tx, new.id).await?.ok_or(RefundError::Unknown)
}

/// The same request again; another one under its key is refused.
fn repeated(known: &Refund, asked: &Asked<'_>) -> Result<View, RefundRefusal> {
    let same = known.payment == asked.payment
        && asked
            .charge
            .is_none_or(|number| number == known.charge.number.as_str())
        && asked
            .amount
            .is_none_or(|amount| amount == known.money.amount_minor);
    if same {
        Ok(View::from(known))
    } else {
        Err(RefundRefusal::KeyReused)
    }
}

fn named<'a>(charges: &'a [Charge], number: Option<&str>) -> Result<&'a Charge, RefundRefusal> {
    match (number, charges) {
        (Some(number), _) => charges
            .iter()
            .find(|charge| charge.number.as_str() == number)
            .ok_or(RefundRefusal::UnknownCharge),
        (None, [only]) => Ok(only),
        (None, []) => Err(RefundRefusal::UnknownCharge),
        (None, [_, _, ..]) => Err(RefundRefusal::ChargeNotNamed),
    }
}

const fn facts(charge: &Charge) -> ChargeFacts {
    ChargeFacts {
        amount_minor: charge.money.amount_minor,
        refunded_minor: charge.refunded_minor,
        under_way: charge.under_way,
    }
}

fn effect(new: &NewRefund<'_>) -> NewEffect {
    NewEffect {
        id: new.id,
        operation_key: format!("{REFUND}:{}", new.id),
        kind: REFUND,
        ordering_key: Some(format!("payment:{}", new.payment)),
        payload: json!({ "refundId": new.id.to_string() }),
        delivery: None,
        attempts_max: backoff::PROVIDER.attempts_max,
    }
}

/// What an operator found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The money went back.
    Done,
    /// It did not, and will not.
    Refused,
}

/// Ends a refund that waits for an operator. To say the same twice is no error.
pub(crate) async fn settle_by_hand(
    tx: &Tx,
    id: Uuid,
    verdict: Verdict,
    happened: &book::Happened,
) -> Result<View, RefundError> {
    let known = refunds::find(tx, id).await?.ok_or(RefundError::Unknown)?;
    let payment = refunds::lock_payment(tx, known.payment)
        .await?
        .ok_or(RefundError::Unknown)?;
    // Read again under the lock.
    let refund = refunds::find(tx, id).await?.ok_or(RefundError::Unknown)?;
    match (refund.status, verdict) {
        (RefundStatus::Done, Verdict::Done) | (RefundStatus::Refused, Verdict::Refused) => {}
        (RefundStatus::Manual, Verdict::Done) => book::done(tx, &payment, &refund, happened).await?,
        (RefundStatus::Manual, Verdict::Refused) => {
            let ended = (RefundStatus::Refused, Some("an operator: not paid back"));
            refunds::end(tx, id, ended, happened.now).await?;
        }
        (status, _) => return Err(RefundError::Ended(status.label())),
    }
    view(tx, id).await?.ok_or(RefundError::Unknown)
}

/// A refund.
pub(crate) async fn view(tx: &Tx, id: Uuid) -> Result<Option<View>, DbError> {
    Ok(refunds::find(tx, id).await?.as_ref().map(View::from))
}

/// The refunds of a payment, the oldest first.
pub(crate) async fn of_payment(tx: &Tx, payment: PaymentId) -> Result<Vec<View>, DbError> {
    let known = refunds::of_payment(tx, payment).await?;
    Ok(known.iter().map(View::from).collect())
}

/// What operators have to do.
pub(crate) async fn for_operators(tx: &Tx) -> Result<Vec<View>, DbError> {
    Ok(refunds::manual(tx).await?.iter().map(View::from).collect())
}

impl From<&Refund> for View {
    fn from(refund: &Refund) -> Self {
        Self {
            id: refund.id.to_string(),
            payment_id: refund.payment.to_string(),
            provider_payment_id: refund.charge.number.to_string(),
            amount: refund.money.amount_minor.get(),
            currency: refund.money.currency.code(),
            status: refund.status.label(),
            reason: refund.reason.clone(),
            requested_by: refund.requested_by.clone(),
            note: refund.last_error.clone(),
            created_at: refund.created_at.to_string(),
            finished_at: refund.finished_at.map(|at| at.to_string()),
        }
    }
}
