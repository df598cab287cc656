//! The tokens that a charge buys: given when it settles, taken back when it is paid back (TB-1).
//!
//! settle, refund → **tokens** → `token_grant`, `token_revoke_grant`, event log; where they cannot follow, a dispute.
//!
//! Invariants: the grant has the charge's key, so a charge gives once, whichever notices tell it; money is booked whether
//! or not its tokens can follow it. The grant knows its company: one that the buyer has left since is the one that pays.
//! The caller has locked payment and user; the company is locked here, last (`apply`).
//! Not here: who may buy tokens (checkout refuses a user without a company), what is left of a grant (the functions).
//! Failure: [`ApplyError`]; a refusal of the grant is no failure, it would be refused again for ever.

use serde_json::json;
use tollgate_shared::event::Charge;

use super::{ApplyError, Step, book, dispute, record};
use crate::db::payments::Payment;
use crate::db::tokens::{self, BucketKind, Grant, Revocation, TokenError, TokenKey};
use crate::db::{DbError, company_members};
use crate::domain::charge::DisputeKind;
use crate::domain::tokens::TokenAmount;
use crate::ledger::settle_key;

/// Among purchased buckets the oldest is spent first.
const PRIORITY: i16 = 100;

/// Gives what the charge buys, if its plan sells tokens.
pub(super) async fn give(step: Step<'_>, payment: &Payment, charge: &Charge) -> Result<(), ApplyError> {
    let Some(amount) = payment.tokens else {
        return Ok(());
    };
    let key = key(step, payment, charge)?;
    let Some(company) = company_members::company_of(step.tx, &payment.user).await? else {
        return not_given(step, payment, (&key, amount), "the user is in no company").await;
    };
    let details = json!({ "companyId": company.as_str(), "tokens": amount.get() });
    let grant = Grant {
        key,
        company,
        kind: BucketKind::Purchased,
        amount,
        priority: PRIORITY,
        expires_at: None,
    };
    match step.tx.savepoint(tokens::grant(step.tx, &grant, step.now)).await {
        Ok(_) => Ok(record::tokens(step, payment, charge, ("tokens_granted", details)).await?),
        Err(refusal @ TokenError::Refused { .. }) => {
            not_given(step, payment, (&grant.key, amount), &refusal.to_string()).await
        }
        Err(error @ TokenError::Db(_)) => Err(error.into()),
    }
}

async fn not_given(
    step: Step<'_>,
    payment: &Payment,
    (key, amount): (&TokenKey, TokenAmount),
    reason: &str,
) -> Result<(), ApplyError> {
    // With its key, so that whoever gives them later gives what a refund will find.
    let received = json!({ "tokens": amount.get(), "idempotencyKey": key.as_str(), "reason": reason });
    dispute::record_tokens(step, DisputeKind::TokensNotGranted, payment, received).await
}

/// Takes back what is left of what the charge bought; what is not left is for a person.
pub(super) async fn take_back(step: Step<'_>, payment: &Payment, charge: &Charge) -> Result<(), ApplyError> {
    if payment.tokens.is_none() {
        return Ok(());
    }
    let key = key(step, payment, charge)?;
    let Some(revocation) = tokens::revoke_grant(step.tx, &key, step.now).await? else {
        // Nothing was given: the settlement left a dispute that says why.
        return Ok(());
    };
    let told = told(&revocation);
    record::tokens(step, payment, charge, ("tokens_revoked", told.clone())).await?;
    if revocation.revoked == revocation.granted {
        return Ok(());
    }
    dispute::record_tokens(step, DisputeKind::RefundedTokensSpent, payment, told).await
}

fn told(revocation: &Revocation) -> serde_json::Value {
    json!({
        "companyId": revocation.company_id,
        "tokens": revocation.granted,
        "takenBack": revocation.revoked,
        "spent": revocation.spent(),
        "held": revocation.held,
    })
}

/// The charge's own key; its parts are of visible ASCII and together far below the longest key.
fn key(step: Step<'_>, payment: &Payment, charge: &Charge) -> Result<TokenKey, DbError> {
    let text = settle_key(
        &step.event.source,
        book::merchant(payment),
        &charge.provider_payment_id,
    );
    text.parse().map_err(|_| DbError::Unreadable {
        column: "payment_charges.provider_payment_id",
    })
}
