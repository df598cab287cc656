//! Refunds, and what is paid back of each charge.
//!
//! `refunds` (after it has locked the payment), `effects::refund` → **these tables' SQL** → Postgres.
//!
//! Invariants: the payment's row is the lock of its charges and refunds, so two requests for one charge come one after the
//! other; `payment_charges.refunded_amount` is moved only with the refund that ends as done, and the table's check keeps
//! it within the charge. Not here: what may be paid back (`domain::refund`), the entries (`refunds::book`).

use tokio_postgres::Row;
use tollgate_shared::id::{OrderNumber, PaymentId, ProviderPaymentId};
use tollgate_shared::money::{Minor, Money};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::payments::{self, Payment};
use super::plans::{money, unreadable};
use super::{DbError, Instant, Tx};

/// Where a refund stands: `refunds.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefundStatus {
    /// Not sent yet.
    Requested,
    /// Sent, and no answer read.
    Unknown,
    /// The money went back, and is booked.
    Done,
    /// The provider said no.
    Refused,
    /// An operator pays it back, or looks what became of it.
    Manual,
}

impl RefundStatus {
    const ALL: [Self; 5] = [
        Self::Requested,
        Self::Unknown,
        Self::Done,
        Self::Refused,
        Self::Manual,
    ];

    /// The label in the table and in answers.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Unknown => "unknown",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Manual => "manual",
        }
    }

    /// Whether nothing more will happen to it.
    pub(crate) const fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Refused)
    }
}

/// A charge that can be paid back.
#[derive(Debug, Clone)]
pub(crate) struct Charge {
    /// Its row.
    pub(crate) id: Uuid,
    /// The provider's number of it.
    pub(crate) number: ProviderPaymentId,
    /// What was charged.
    pub(crate) money: Money,
    /// What was paid back of it.
    pub(crate) refunded_minor: Minor,
    /// How it was paid.
    pub(crate) method: Option<String>,
    /// When it was charged.
    pub(crate) charged_at: Timestamp,
    /// Whether it was told as a period's; the first of a contract may be told as a payment.
    pub(crate) of_period: bool,
    /// Whether a refund of it has not ended.
    pub(crate) under_way: bool,
}

/// A refund.
#[derive(Debug, Clone)]
pub(crate) struct Refund {
    /// Its id.
    pub(crate) id: Uuid,
    /// Of which payment.
    pub(crate) payment: PaymentId,
    /// Our number of the payment at the provider.
    pub(crate) order: OrderNumber,
    /// Of which charge.
    pub(crate) charge: Charge,
    /// How much.
    pub(crate) money: Money,
    /// Why, as it was asked for.
    pub(crate) reason: String,
    /// By whom.
    pub(crate) requested_by: String,
    /// Where it stands.
    pub(crate) status: RefundStatus,
    /// What went wrong last, or what the operator has to do.
    pub(crate) last_error: Option<String>,
    /// When it was asked for.
    pub(crate) created_at: Timestamp,
    /// When it ended.
    pub(crate) finished_at: Option<Timestamp>,
}

/// Locks a payment by its id.
pub(crate) async fn lock_payment(tx: &Tx, id: PaymentId) -> Result<Option<Payment>, DbError> {
    let sql = format!("{} where payment.id = $1 for update of payment", payments::SELECT);
    tx.query_opt(&sql, &[&id.as_uuid()])
        .await?
        .as_ref()
        .map(payments::read)
        .transpose()
}

const CHARGE: &str = "charge.id as charge_id, charge.provider_payment_id as charge_number, \
     charge.amount as charge_amount, charge.currency as charge_currency, charge.refunded_amount as charge_refunded, \
     charge.method as charge_method, charge.occurred_at as charged_at, \
     charge.period_order_number is not null as charge_of_period, \
     exists (select from tollgate.refunds open where open.charge_id = charge.id \
         and open.status in ('requested', 'unknown', 'manual')) as under_way";

/// The charges of a payment, the oldest first.
pub(crate) async fn charges(tx: &Tx, payment: PaymentId) -> Result<Vec<Charge>, DbError> {
    let sql = format!(
        "select {CHARGE} from tollgate.payment_charges charge where charge.payment_id = $1 \
         order by charge.occurred_at, charge.id"
    );
    let rows = tx.query(&sql, &[&payment.as_uuid()]).await?;
    rows.iter().map(read_charge).collect()
}

fn read_charge(row: &Row) -> Result<Charge, DbError> {
    Ok(Charge {
        id: row.try_get("charge_id")?,
        number: row
            .try_get::<_, String>("charge_number")?
            .try_into()
            .map_err(|_| unreadable("payment_charges.provider_payment_id"))?,
        money: money(row, "charge_amount", "charge_currency")?,
        refunded_minor: Minor::new(row.try_get("charge_refunded")?),
        method: row.try_get("charge_method")?,
        charged_at: row.try_get::<_, Instant>("charged_at")?.0,
        of_period: row.try_get("charge_of_period")?,
        under_way: row.try_get("under_way")?,
    })
}

/// A refund to be.
#[derive(Debug)]
pub(crate) struct NewRefund<'a> {
    /// Its id.
    pub(crate) id: Uuid,
    /// Of which payment.
    pub(crate) payment: PaymentId,
    /// Of which charge.
    pub(crate) charge: Uuid,
    /// The name of the effect.
    pub(crate) operation_key: &'a str,
    /// How much.
    pub(crate) amount_minor: Minor,
    /// Why.
    pub(crate) reason: &'a str,
    /// By whom.
    pub(crate) requested_by: &'a str,
    /// `requested`, or `manual` with what the operator has to do.
    pub(crate) status: (RefundStatus, Option<&'a str>),
}

/// Inserts a refund.
pub(crate) async fn insert(tx: &Tx, new: &NewRefund<'_>, now: Timestamp) -> Result<(), DbError> {
    let sql = "insert into tollgate.refunds (id, charge_id, payment_id, operation_key, amount, reason, requested_by, \
               status, last_error, created_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let (status, todo) = new.status;
    tx.execute(
        sql,
        &[
            /* id */ &new.id,
            /* charge_id */ &new.charge,
            /* payment_id */ &new.payment.as_uuid(),
            /* operation_key */ &new.operation_key,
            /* amount */ &new.amount_minor.get(),
            /* reason */ &new.reason,
            /* requested_by */ &new.requested_by,
            /* status */ &status.label(),
            /* last_error */ &todo,
            /* now */ &Instant(now),
        ],
    )
    .await?;
    Ok(())
}

fn select(condition: &str) -> String {
    format!(
        "select refund.id, refund.payment_id, payment.order_number, refund.amount, payment.currency, refund.reason, \
         refund.requested_by, refund.status, refund.last_error, refund.created_at, refund.finished_at, {CHARGE} \
         from tollgate.refunds refund join tollgate.payments payment on payment.id = refund.payment_id \
         join tollgate.payment_charges charge on charge.id = refund.charge_id where {condition} \
         order by refund.created_at, refund.id"
    )
}

fn read(row: &Row) -> Result<Refund, DbError> {
    let status: &str = row.try_get("status")?;
    Ok(Refund {
        id: row.try_get("id")?,
        payment: PaymentId::from_uuid(row.try_get("payment_id")?),
        order: row
            .try_get::<_, String>("order_number")?
            .try_into()
            .map_err(|_| unreadable("payments.order_number"))?,
        charge: read_charge(row)?,
        money: money(row, "amount", "currency")?,
        reason: row.try_get("reason")?,
        requested_by: row.try_get("requested_by")?,
        status: RefundStatus::ALL
            .into_iter()
            .find(|known| known.label() == status)
            .ok_or_else(|| unreadable("refunds.status"))?,
        last_error: row.try_get("last_error")?,
        created_at: row.try_get::<_, Instant>("created_at")?.0,
        finished_at: row.try_get::<_, Option<Instant>>("finished_at")?.map(|at| at.0),
    })
}

/// A refund by its id.
pub(crate) async fn find(tx: &Tx, id: Uuid) -> Result<Option<Refund>, DbError> {
    let row = tx.query_opt(&select("refund.id = $1"), &[&id]).await?;
    row.as_ref().map(read).transpose()
}

/// A refund by its operation key.
pub(crate) async fn find_by_key(tx: &Tx, key: &str) -> Result<Option<Refund>, DbError> {
    let row = tx
        .query_opt(&select("refund.operation_key = $1"), &[&key])
        .await?;
    row.as_ref().map(read).transpose()
}

/// The refunds of a payment, the oldest first.
pub(crate) async fn of_payment(tx: &Tx, payment: PaymentId) -> Result<Vec<Refund>, DbError> {
    let rows = tx
        .query(&select("refund.payment_id = $1"), &[&payment.as_uuid()])
        .await?;
    rows.iter().map(read).collect()
}

/// Refunds that wait for an operator.
pub(crate) async fn manual(tx: &Tx) -> Result<Vec<Refund>, DbError> {
    let rows = tx.query(&select("refund.status = 'manual'"), &[]).await?;
    rows.iter().map(read).collect()
}

/// Moves a refund to another state that is not its end; `false` where it has ended.
pub(crate) async fn set_open(
    tx: &Tx,
    id: Uuid,
    status: RefundStatus,
    todo: Option<&str>,
) -> Result<bool, DbError> {
    let sql = "update tollgate.refunds set status = $2, last_error = coalesce($3, last_error) \
               where id = $1 and status in ('requested', 'unknown', 'manual')";
    Ok(tx.execute(sql, &[&id, &status.label(), &todo]).await? == 1)
}

/// Ends a refund; `false` where it had ended.
pub(crate) async fn end(
    tx: &Tx,
    id: Uuid,
    (status, reason): (RefundStatus, Option<&str>),
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "update tollgate.refunds set status = $2, last_error = $3, finished_at = $4 \
               where id = $1 and status in ('requested', 'unknown', 'manual')";
    Ok(tx
        .execute(sql, &[&id, &status.label(), &reason, &Instant(now)])
        .await?
        == 1)
}

/// Adds to what was paid back of a charge; `true` where all of it is paid back now.
pub(crate) async fn add_to_charge(
    tx: &Tx,
    charge: Uuid,
    amount: Minor,
    occurred_at: Timestamp,
) -> Result<bool, DbError> {
    let sql = "update tollgate.payment_charges set refunded_amount = refunded_amount + $2, \
               status = case when refunded_amount + $2 = amount then 'refunded' else status end, \
               refunded_at = case when refunded_amount + $2 = amount then $3::timestamptz end \
               where id = $1 returning status";
    let row = tx
        .query_one(sql, &[&charge, &amount.get(), &Instant(occurred_at)])
        .await?;
    Ok(row.try_get::<_, &str>("status")? == "refunded")
}
