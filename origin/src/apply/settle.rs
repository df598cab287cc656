//! A charge that succeeded: the only charge of an order, or one of a period.
//!
//! `Fact::Paid`, `Fact::PeriodPaid` → **settle** → charge, ledger, payment, user, event log.
//!
//! Invariant: a charge settles at most once, by the unique key of its row and again by the ledger's operation key;
//! which notice tells it, and how often, does not matter. A paid notice settles whatever the payment's state: money
//! that moved is booked. Not here: money that is paid back (`refund`).

use tollgate_shared::event::{Charge, Period};

use super::{ApplyError, Outcome, Step, dispute, recompute};
use crate::announce::{Announcement, Kind, announce};
use crate::db::ledger::{self, Occasion};
use crate::db::payments::{self, Inserted, NewCharge, Payment};
use crate::domain::charge::{self, DisputeKind, Ordered, Told};
use crate::entropy;
use crate::ledger::Posting;

/// Settles a charge, or disputes it.
pub(super) async fn settle(
    step: Step<'_>,
    charge: &Charge,
    period: Option<&Period>,
) -> Result<Outcome, ApplyError> {
    let Some(payment) = step.payment().await? else {
        return dispute::record(step, DisputeKind::UnknownOrder, None, charge).await;
    };
    if let Err(kind) = check(step, &payment, charge, period) {
        return dispute::record(step, kind, Some(&payment), charge).await;
    }
    match book(step, &payment, charge, period).await? {
        Inserted::OfAnotherPayment => {
            dispute::record(step, DisputeKind::ChargeOfAnotherOrder, Some(&payment), charge).await
        }
        Inserted::Known { .. } => Ok(Outcome::KnownCharge),
        Inserted::New => {
            recompute::payment(step, payment.clone(), Some(charge.provider_payment_id.as_str())).await?;
            recompute::user(step.tx, &payment.user, step.now).await?;
            Ok(Outcome::Settled)
        }
    }
}

/// Whether the charge is one that we ordered.
pub(super) fn check(
    step: Step<'_>,
    payment: &Payment,
    charge: &Charge,
    period: Option<&Period>,
) -> Result<(), DisputeKind> {
    let ordered = Ordered {
        merchant: payment.merchant.clone(),
        price: payment.price,
        periodic: payment.periodic,
    };
    let told = Told {
        merchant: step.event.merchant.as_ref(),
        money: charge.money,
        period: period.is_some(),
    };
    charge::check(&ordered, &told)
}

/// Writes the charge, its ledger transaction and the news of it; the payment's state is the caller's to recompute.
pub(super) async fn book(
    step: Step<'_>,
    payment: &Payment,
    charge: &Charge,
    period: Option<&Period>,
) -> Result<Inserted, ApplyError> {
    let new = NewCharge {
        id: entropy::uuid_v7(step.now).map_err(crate::db::DbError::from)?,
        payment,
        charge,
        period,
        inbox_event: step.inbox_event.as_uuid(),
        occurred_at: step.occurred_at(),
    };
    let inserted = payments::insert_charge(step.tx, &new, step.now).await?;
    if inserted != Inserted::New {
        return Ok(inserted);
    }
    // After this point the charge must settle.
    let merchant = payment.merchant.as_ref().map_or("", |merchant| merchant.as_str());
    let posting = Posting::settle(
        &payment.user,
        &step.event.source,
        merchant,
        &charge.provider_payment_id,
        charge.money,
    )?;
    ledger::post(step.tx, &posting, occasion(step)).await?;
    announce(
        step.tx,
        &news(step, payment, charge, Kind::Success),
        step.to_user_core,
        step.now,
    )
    .await?;
    Ok(inserted)
}

/// When, and by which delivery, for the ledger.
pub(super) fn occasion(step: Step<'_>) -> Occasion {
    Occasion {
        occurred_at: step.occurred_at(),
        recorded_at: step.now,
        delivery: Some(step.delivery),
    }
}

/// The news of a charge.
pub(super) fn news(step: Step<'_>, payment: &Payment, charge: &Charge, kind: Kind) -> Announcement {
    Announcement {
        kind,
        fact: format!("{}:{}", payment.id, charge.provider_payment_id),
        user: payment.user.to_string(),
        plan: payment.plan.to_string(),
        money: charge.money,
        payment: payment.id,
        provider: payment.provider.clone(),
        provider_payment_id: Some(charge.provider_payment_id.to_string()),
        reason: None,
        delivery: Some(step.delivery),
        occurred_at: step.occurred_at(),
    }
}
