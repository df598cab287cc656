//! Commands of whoever pays money back: `refund request`, `refund list`, `refund confirm`, `refund reject`.
//!
//! main → **refunds** → `crate::refunds`, and one JSON line an answer on standard output.
//!
//! Invariant: a request carries a key, so that running the command again asks for the same refund. A refund that waits for
//! an operator ends only by `confirm` (the money went back, it is booked) or `reject`. Failure: [`CommandError`].

use serde_json::{Value, json};
use tollgate_shared::id::PaymentId;
use tollgate_shared::money::Minor;
use tollgate_shared::secret::Secret;
use uuid::Uuid;

use super::{CommandError, print_line};
use crate::clock::{Clock as _, SystemClock};
use crate::db::{Database, PoolSettings, Tx};
use crate::refunds::book::Happened;
use crate::refunds::{self, Asked, Verdict, View};

/// Who asks, in the records.
const ACTOR: &str = "admin:command";

/// What to pay back.
#[derive(Debug, Clone)]
pub struct RefundArguments {
    /// Of which payment.
    pub payment: PaymentId,
    /// Of which charge, by the provider's number.
    pub charge: Option<String>,
    /// Whole TWD; `None`: what is left.
    pub amount_minor: Option<i64>,
    /// Why.
    pub reason: String,
    /// Names the request.
    pub key: String,
}

/// `tollgate refund request`.
pub async fn request(database_url: &Secret, arguments: &RefundArguments) -> Result<(), CommandError> {
    let database = Database::new(&PoolSettings::new(database_url.clone()))?;
    let key = format!("{ACTOR}:{}", arguments.key);
    let asked = &Asked {
        payment: arguments.payment,
        charge: arguments.charge.as_deref(),
        amount: arguments.amount_minor.map(Minor::new),
        reason: &arguments.reason,
        actor: ACTOR,
        key: &key,
    };
    let now = SystemClock.now();
    let request = |tx: Tx| async move { refunds::request(&tx, asked, now).await };
    let view = database.run_tx("refund_request", request).await;
    print_line(&line(&view.map_err(|error| refused(&error))?))?;
    Ok(())
}

/// `tollgate refund list`: what waits for an operator, or the refunds of a payment.
pub async fn list(database_url: &Secret, payment: Option<PaymentId>) -> Result<(), CommandError> {
    let database = Database::new(&PoolSettings::new(database_url.clone()))?;
    let read = |tx: Tx| async move {
        match payment {
            Some(payment) => refunds::of_payment(&tx, payment).await,
            None => refunds::for_operators(&tx).await,
        }
    };
    for view in database.run_tx("refund_list", read).await? {
        print_line(&line(&view))?;
    }
    Ok(())
}

/// `tollgate refund confirm | reject`: what an operator found. `to_user_core`: whether its events are delivered.
pub async fn settle(
    database_url: &Secret,
    id: Uuid,
    paid_back: bool,
    to_user_core: bool,
) -> Result<(), CommandError> {
    let database = Database::new(&PoolSettings::new(database_url.clone()))?;
    let now = SystemClock.now();
    let verdict = if paid_back {
        Verdict::Done
    } else {
        Verdict::Refused
    };
    let happened = &Happened {
        at: now,
        now,
        delivery: None,
        to_user_core,
    };
    let settle = |tx: Tx| async move { refunds::settle_by_hand(&tx, id, verdict, happened).await };
    let view = database.run_tx("refund_by_hand", settle).await;
    print_line(&line(&view.map_err(|error| refused(&error))?))?;
    Ok(())
}

fn refused(error: &refunds::RefundError) -> CommandError {
    CommandError::Refund(crate::telemetry::Chain(error).to_string())
}

fn line(view: &View) -> Value {
    json!({ "event": "refund", "refund": view })
}
