//! A refund that happened: the charge, the entries, the news, payment and user, and the tokens that went with it.
//!
//! `effects::refund`, an operator, a provider's own notice → **done**, in the transaction that ends the refund.
//!
//! Invariants: the caller holds the payment's lock; a refund that has ended is not booked again (its row's state, then the
//! ledger's operation key, which is the refund's own). Tokens that were bought with the charge go back when all of the
//! charge is paid back, not with a part of it, and so does the period that it paid for. Locks in `apply`'s order: payment,
//! ledger accounts, subscription, user, company.

use serde_json::json;
use tollgate_shared::id::{DeliveryId, MerchantId, SourceId};
use tollgate_shared::time::Timestamp;

use crate::announce::{Announcement, Kind, announce};
use crate::apply::{ApplyError, payment_by_time, recompute_user};
use crate::db::event_log::{self, Line};
use crate::db::ledger::{self, Occasion};
use crate::db::payments::Payment;
use crate::db::refunds::{self, Refund, RefundStatus};
use crate::db::subscriptions::attempts;
use crate::db::{DbError, Tx, tokens};
use crate::entropy;
use crate::ledger::{Posting, settle_key};

/// When a refund happened, and how we know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Happened {
    /// When.
    pub(crate) at: Timestamp,
    /// When we write it down.
    pub(crate) now: Timestamp,
    /// The delivery that told it; an answer to our own call has none.
    pub(crate) delivery: Option<DeliveryId>,
    /// Whether user-core wants to know.
    pub(crate) to_user_core: bool,
}

/// Ends a refund as done and books it, unless it has ended.
pub(crate) async fn done(
    tx: &Tx,
    payment: &Payment,
    refund: &Refund,
    happened: &Happened,
) -> Result<(), ApplyError> {
    if !refunds::end(tx, refund.id, (RefundStatus::Done, None), happened.now).await? {
        return Ok(());
    }
    // After this point the refund must be booked.
    let amount = refund.money.amount_minor;
    let whole = refunds::add_to_charge(tx, refund.charge.id, amount, happened.at).await?;
    let provider = source(payment)?;
    let merchant = payment.merchant.as_ref().map_or("", MerchantId::as_str);
    let part = refund.id.to_string();
    let charge = &refund.charge.number;
    let posting = Posting::refund_part(&payment.user, &provider, merchant, (charge, &part), refund.money)?;
    let occasion = Occasion {
        occurred_at: happened.at,
        recorded_at: happened.now,
        delivery: happened.delivery,
    };
    ledger::post(tx, &posting, occasion).await?;
    announce(
        tx,
        &news(payment, refund, happened),
        happened.to_user_core,
        happened.now,
    )
    .await?;
    if whole {
        attempts::take_back(tx, payment.id, charge.as_str(), happened.now).await?;
    }
    payment_by_time(tx, payment.clone(), happened.now).await?;
    recompute_user(tx, &payment.user, happened.now).await?;
    if whole {
        let key = settle_key(&provider, merchant, charge);
        take_back_tokens(tx, payment, refund, (&key, happened)).await?;
    }
    Ok(())
}

fn source(payment: &Payment) -> Result<SourceId, DbError> {
    payment.provider.parse().map_err(|_| DbError::Unreadable {
        column: "payments.provider",
    })
}

fn news(payment: &Payment, refund: &Refund, happened: &Happened) -> Announcement {
    Announcement {
        kind: Kind::Refunded,
        fact: format!("{}:{}:{}", payment.id, refund.charge.number, refund.id),
        user: payment.user.to_string(),
        plan: payment.plan.to_string(),
        money: refund.money,
        payment: payment.id,
        provider: payment.provider.clone(),
        provider_payment_id: Some(refund.charge.number.to_string()),
        reason: Some(refund.reason.clone()),
        delivery: happened.delivery,
        occurred_at: happened.at,
    }
}

/// What is left of a pack goes back; what was spent stands in the log, for a person.
async fn take_back_tokens(
    tx: &Tx,
    payment: &Payment,
    refund: &Refund,
    (key, happened): (&str, &Happened),
) -> Result<(), ApplyError> {
    if payment.tokens.is_none() {
        return Ok(());
    }
    let key = key.parse().map_err(|_| DbError::Unreadable {
        column: "payment_charges.provider_payment_id",
    })?;
    let Some(revocation) = tokens::revoke_grant(tx, &key, happened.now).await? else {
        return Ok(());
    };
    let line = Line {
        id: entropy::uuid_v7(happened.now).map_err(DbError::from)?,
        operation_key: format!("tokens_revoked:refund:{}", refund.id),
        event_type: "tokens_revoked",
        user: Some(payment.user.to_string()),
        plan: Some(payment.plan.to_string()),
        money: None,
        payment: Some(payment.id),
        provider: Some(payment.provider.clone()),
        provider_payment_id: Some(refund.charge.number.to_string()),
        reason: Some(refund.reason.clone()),
        details: json!({
            "companyId": revocation.company_id,
            "tokens": revocation.granted,
            "takenBack": revocation.revoked,
            "spent": revocation.spent(),
            "held": revocation.held,
        }),
        delivery: happened.delivery,
        occurred_at: happened.at,
    };
    event_log::insert(tx, &line, happened.now).await?;
    Ok(())
}
