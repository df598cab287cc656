//! Payments and the charges that settle them (PM-2).
//!
//! checkout inserts → apply locks by order number, adds charges, writes the recomputed state → status reads.
//!
//! Invariants: a payment is locked before it is judged; one charge of a provider is one row, whoever tells of it
//! how often (the unique key decides, not a look beforehand). Not here: what the state is (`domain::standing`).

mod charges;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use tollgate_shared::id::{MerchantId, OrderNumber, PaymentId, PlanId, UserId};
use tollgate_shared::money::{Minor, Money};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::plans::{self, money, unreadable};
use super::{Database, DbError, Instant, Tx};
use crate::domain::standing::PaymentStatus;
use crate::domain::tokens::TokenAmount;

pub(crate) use self::charges::{
    Inserted, NewCharge, insert_charge, mark_refunded, operation_keys, settled_at, sum_charges,
};

/// A payment to be.
#[derive(Debug, Clone)]
pub(crate) struct NewPayment {
    /// Its id.
    pub(crate) id: PaymentId,
    /// Who pays.
    pub(crate) user: UserId,
    /// For what.
    pub(crate) plan: PlanId,
    /// The amount of its only charge, or of the first.
    pub(crate) price: Money,
    /// The provider's name.
    pub(crate) provider: &'static str,
    /// The shop; `None` at a provider that knows no shops.
    pub(crate) merchant: Option<MerchantId>,
    /// Our number at the provider.
    pub(crate) order: OrderNumber,
    /// The method that was asked for.
    pub(crate) method: Option<String>,
    /// When it is given up.
    pub(crate) pending_until: Timestamp,
}

impl NewPayment {
    /// The shop as the tables hold it: empty at a provider that knows no shops.
    pub(super) fn merchant_column(&self) -> &str {
        merchant_column(self.merchant.as_ref())
    }
}

/// A payment as apply judges it, its row locked.
#[derive(Debug, Clone)]
pub(crate) struct Payment {
    /// Its id.
    pub(crate) id: PaymentId,
    /// Who pays.
    pub(crate) user: UserId,
    /// For what.
    pub(crate) plan: PlanId,
    /// The amount of its only charge, or of the first.
    pub(crate) price: Money,
    /// The amount of a later one.
    pub(crate) period_price: Money,
    /// The provider's name.
    pub(crate) provider: String,
    /// The shop; `None` at a provider that knows no shops.
    pub(crate) merchant: Option<MerchantId>,
    /// The chosen day of the first charge, of a contract that the provider runs (PU-7).
    pub(crate) first_charge_on: Option<Date>,
    /// Whether its plan is charged periodically.
    pub(crate) periodic: bool,
    /// The tokens that a charge of its plan buys.
    pub(crate) tokens: Option<TokenAmount>,
    /// The provider's number of the charge that was told last.
    pub(crate) provider_payment_id: Option<String>,
    /// How to pay later.
    pub(crate) instructions: Option<Instructions>,
    /// The notes that are facts.
    pub(crate) notes: Notes,
    /// When it is given up.
    pub(crate) pending_until: Timestamp,
}

/// Facts about a payment that are neither charges nor columns: `payments.metadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Notes {
    /// The refusal that happened last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
    /// That it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) canceled: Option<Canceled>,
    /// The card that was bound last, for a first charge on a chosen day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) card_bound: Option<CardBound>,
}

impl Notes {
    /// Whether it failed: what was refused before a card was bound was another try at the cashier.
    pub(crate) fn is_failed(&self) -> bool {
        let bound_at = self.card_bound.as_ref().map(|bound| bound.at_ms);
        let failure = self.failure.as_ref();
        failure.is_some_and(|failure| bound_at.is_none_or(|bound_at| bound_at < failure.occurred_at_ms))
    }
}

/// A card that was bound (PU-7). Ordered by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CardBound {
    /// When.
    pub(crate) at_ms: Timestamp,
    /// The provider's number of the authorisation that bound it; no charge has it.
    pub(crate) provider_payment_id: Option<String>,
}

/// A refused attempt. Ordered by time, then by key, so that the last one is the same in any order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failure {
    /// When.
    pub(crate) occurred_at_ms: Timestamp,
    /// The event's key.
    pub(crate) key: String,
    /// The provider's code.
    pub(crate) code: String,
    /// The provider's words.
    pub(crate) message: String,
}

impl Failure {
    /// Code and words, as people read them.
    pub(crate) fn text(&self) -> String {
        match (self.code.as_str(), self.message.as_str()) {
            ("", message) => message.to_owned(),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        }
    }
}

/// A payment that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Canceled {
    /// When.
    pub(crate) at_ms: Timestamp,
    /// `timeout`.
    pub(crate) reason: String,
}

/// How a customer can still pay: `payments.instructions`, shown by the status route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instructions {
    /// When the code was issued; the newest stays.
    pub(crate) issued_at_ms: Timestamp,
    /// The provider's name of the method.
    pub(crate) method: String,
    /// The code as it is typed, one part each.
    pub(crate) code_parts: Vec<String>,
    /// Until when it can be paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
}

/// What recomputing a payment changes.
#[derive(Debug, Clone)]
pub(crate) struct PaymentState {
    /// What all facts amount to.
    pub(crate) status: PaymentStatus,
    /// Of the newest charge, else what a notice told.
    pub(crate) provider_payment_id: Option<String>,
    /// Why, of a failed or canceled payment.
    pub(crate) error_message: Option<String>,
    /// `raw_payload`: what was told last, without secrets and personal data.
    pub(crate) told: Option<Value>,
    /// The newest code to pay with.
    pub(crate) instructions: Option<Instructions>,
    /// Facts that are neither charges nor columns: `metadata`.
    pub(crate) notes: Notes,
    /// When it is given up; only ever later.
    pub(crate) pending_until: Timestamp,
}

/// Inserts a pending payment. A taken order number breaks `payments_order_key`.
pub(crate) async fn insert(tx: &Tx, payment: &NewPayment, now: Timestamp) -> Result<(), DbError> {
    let sql = "insert into tollgate.payments (id, user_id, plan_id, amount, currency, provider, merchant_id, \
               order_number, method, pending_until, created_at, updated_at) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)";
    tx.execute(
        sql,
        &[
            /* id */ &payment.id.as_uuid(),
            /* user_id */ &payment.user.as_str(),
            /* plan_id */ &payment.plan.as_str(),
            /* amount */ &payment.price.amount_minor.get(),
            /* currency */ &payment.price.currency.code(),
            /* provider */ &payment.provider,
            /* merchant_id */ &payment.merchant_column(),
            /* order_number */ &payment.order.as_str(),
            /* method */ &payment.method,
            /* pending_until */ &Instant(payment.pending_until),
            /* now */ &Instant(now),
        ],
    )
    .await?;
    Ok(())
}

pub(super) const SELECT: &str = "select payment.id, payment.user_id, payment.plan_id, payment.amount, payment.currency, \
     payment.provider, payment.merchant_id, payment.provider_payment_id, \
     payment.instructions, payment.metadata, payment.pending_until, plan.kind = 'subscription' as periodic, plan.tokens as plan_tokens, \
     coalesce(subscription.amount, payment.amount) as period_amount, \
     case when subscription.mode = 'provider_run' then subscription.anchor_on::text end as first_charge_on \
     from tollgate.payments payment join tollgate.plans plan on plan.id = payment.plan_id \
     left join tollgate.saas_subscriptions subscription on subscription.payment_id = payment.id";

/// Finds and locks a payment by its number at a provider. Numbers are capitals; ECPay may fold case.
pub(crate) async fn lock_by_order(
    tx: &Tx,
    provider: &str,
    order: &OrderNumber,
) -> Result<Option<Payment>, DbError> {
    let sql = format!(
        "{SELECT} where payment.provider = $1 and payment.order_number = upper($2) for update of payment"
    );
    tx.query_opt(&sql, &[&provider, &order.as_str()])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Finds and locks the payment of a subscription by the number of a charge that we made, as that charge's plan
/// and price are.
pub(crate) async fn lock_by_charge(
    tx: &Tx,
    provider: &str,
    order: &OrderNumber,
) -> Result<Option<Payment>, DbError> {
    let find = "select subscription.payment_id, charge.amount, \
                coalesce(charge.plan_id, subscription.plan_id) as plan_id \
                from tollgate.subscription_charges charge \
                join tollgate.saas_subscriptions subscription on subscription.id = charge.subscription_id \
                where charge.order_number = upper($2) and subscription.provider = $1";
    let Some(found) = tx.query_opt(find, &[&provider, &order.as_str()]).await? else {
        return Ok(None);
    };
    let id: Uuid = found.try_get("payment_id")?;
    let sql = format!("{SELECT} where payment.id = $1 for update of payment");
    let mut payment = read(&tx.query_one(&sql, &[&id]).await?)?;
    payment.price.amount_minor = Minor::new(found.try_get("amount")?);
    payment.period_price = payment.price;
    payment.plan = found
        .try_get::<_, String>("plan_id")?
        .try_into()
        .map_err(|_| unreadable("subscription_charges.plan_id"))?;
    Ok(Some(payment))
}

/// Locks one payment that has waited too long, leaving those that somebody else works on.
pub(crate) async fn lock_overdue(tx: &Tx, now: Timestamp) -> Result<Option<Payment>, DbError> {
    let sql = format!(
        "{SELECT} where payment.status = 'pending' and payment.pending_until <= $1 \
         order by payment.pending_until limit 1 for update of payment skip locked"
    );
    tx.query_opt(&sql, &[&Instant(now)])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

pub(super) fn read(row: &Row) -> Result<Payment, DbError> {
    let merchant: String = row.try_get("merchant_id")?;
    let merchant = (!merchant.is_empty()).then_some(merchant);
    Ok(Payment {
        id: PaymentId::from_uuid(row.try_get("id")?),
        user: row
            .try_get::<_, String>("user_id")?
            .try_into()
            .map_err(|_| unreadable("payments.user_id"))?,
        plan: row
            .try_get::<_, String>("plan_id")?
            .try_into()
            .map_err(|_| unreadable("payments.plan_id"))?,
        price: money(row, "amount", "currency")?,
        period_price: money(row, "period_amount", "currency")?,
        provider: row.try_get("provider")?,
        merchant: merchant
            .map(|text| text.try_into().map_err(|_| unreadable("payments.merchant_id")))
            .transpose()?,
        first_charge_on: row
            .try_get::<_, Option<&str>>("first_charge_on")?
            .map(|day| {
                day.parse()
                    .map_err(|_| unreadable("saas_subscriptions.anchor_on"))
            })
            .transpose()?,
        periodic: row.try_get("periodic")?,
        tokens: plans::tokens(row)?,
        provider_payment_id: row.try_get("provider_payment_id")?,
        instructions: row
            .try_get::<_, Option<Json<Instructions>>>("instructions")?
            .map(|json| json.0),
        notes: row.try_get::<_, Json<Notes>>("metadata")?.0,
        pending_until: row.try_get::<_, Instant>("pending_until")?.0,
    })
}

fn status(row: &Row) -> Result<PaymentStatus, DbError> {
    PaymentStatus::from_label(row.try_get("status")?).ok_or_else(|| unreadable("payments.status"))
}

fn merchant_column(merchant: Option<&MerchantId>) -> &str {
    merchant.map_or("", MerchantId::as_str)
}

/// Writes what was recomputed.
pub(crate) async fn save(
    tx: &Tx,
    id: PaymentId,
    state: &PaymentState,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "update tollgate.payments set status = $2::text::tollgate.payment_status, provider_payment_id = $3, \
               error_message = $4, raw_payload = coalesce($5, raw_payload), instructions = $6, metadata = $7, \
               pending_until = $8, updated_at = $9 where id = $1";
    tx.execute(
        sql,
        &[
            /* id */ &id.as_uuid(),
            /* status */ &state.status.label(),
            /* provider_payment_id */ &state.provider_payment_id,
            /* error_message */ &state.error_message,
            /* raw_payload */ &state.told,
            /* instructions */ &state.instructions.as_ref().map(Json),
            /* metadata */ &Json(&state.notes),
            /* pending_until */ &Instant(state.pending_until),
            /* now */ &Instant(now),
        ],
    )
    .await?;
    Ok(())
}

/// What the status route shows (PM-5).
#[derive(Debug, Clone)]
pub(crate) struct StatusView {
    /// For what.
    pub(crate) plan: String,
    /// Where it stands.
    pub(crate) status: PaymentStatus,
    /// The amount of one charge.
    pub(crate) price: Money,
    /// The provider's name.
    pub(crate) provider: String,
    /// The provider's number.
    pub(crate) provider_payment_id: Option<String>,
    /// Why it failed.
    pub(crate) error_message: Option<String>,
    /// How to pay later.
    pub(crate) instructions: Option<Instructions>,
    /// When any of this changed.
    pub(crate) updated_at: Timestamp,
}

/// A payment of this user; another user's is not found, like one that never was.
pub(crate) async fn find_of_user(
    database: &Database,
    id: PaymentId,
    user: &UserId,
) -> Result<Option<StatusView>, DbError> {
    let sql = "select plan_id, status::text as status, amount, currency, provider, provider_payment_id, \
               error_message, instructions, updated_at from tollgate.payments where id = $1 and user_id = $2";
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(sql).await?;
    let row = connection
        .query_opt(&statement, &[&id.as_uuid(), &user.as_str()])
        .await?;
    row.map(|row| {
        Ok(StatusView {
            plan: row.try_get("plan_id")?,
            status: status(&row)?,
            price: money(&row, "amount", "currency")?,
            provider: row.try_get("provider")?,
            provider_payment_id: row.try_get("provider_payment_id")?,
            error_message: row.try_get("error_message")?,
            instructions: row
                .try_get::<_, Option<Json<Instructions>>>("instructions")?
                .map(|json| json.0),
            updated_at: row.try_get::<_, Instant>("updated_at")?.0,
        })
    })
    .transpose()
}
