//! Users: the row of PM-1 that says what a person has paid for.
//!
//! checkout makes and locks the row → apply recomputes it from all of the user's charges.
//!
//! Invariant: whoever recomputes a user holds the row's lock first, and reads the charges after it; two charges
//! of one user that settle at once cannot each miss the other. Payments are locked before users, everywhere.
//! Not here: what the standing is (`domain::standing`).

use tokio_postgres::Row;
use tollgate_shared::id::UserId;
use tollgate_shared::time::Timestamp;

use super::{DbError, Instant, Tx, plans};
use crate::domain::coverage::Holding;
use crate::domain::standing::{PaymentStatus, UserCharge, UserStanding, UserSubscription};

/// Makes the user's row where there is none, locks it, and says what the user holds.
pub(crate) async fn ensure_locked(tx: &Tx, user: &UserId, now: Timestamp) -> Result<Holding, DbError> {
    let insert = "insert into tollgate.users (id, created_at, updated_at) values ($1, $2, $2) \
                  on conflict (id) do nothing";
    tx.execute(insert, &[&user.as_str(), &Instant(now)]).await?;
    let select = "select subscription_type, subscription_expires_at, auto_renew from tollgate.users \
                  where id = $1 for update";
    let row = tx.query_one(select, &[&user.as_str()]).await?;
    Ok(Holding {
        subscription_type: row.try_get("subscription_type")?,
        expires_at: row
            .try_get::<_, Option<Instant>>("subscription_expires_at")?
            .map(|instant| instant.0),
        auto_renew: row.try_get("auto_renew")?,
    })
}

/// Locks the user's row, so that the facts read next are complete.
pub(crate) async fn lock(tx: &Tx, user: &UserId) -> Result<(), DbError> {
    tx.query_one(
        "select id from tollgate.users where id = $1 for update",
        &[&user.as_str()],
    )
    .await?;
    Ok(())
}

/// Every charge of the user, of whichever payment, with what its plan gives.
pub(crate) async fn charges(tx: &Tx, user: &UserId) -> Result<Vec<UserCharge>, DbError> {
    let sql = format!(
        "select charge.occurred_at, charge.status, charge.provider, charge.provider_payment_id, \
         exists (select from tollgate.saas_subscriptions subscription \
                 where subscription.payment_id = payment.id) as is_of_subscription, {} \
         from tollgate.payment_charges charge \
         join tollgate.payments payment on payment.id = charge.payment_id \
         join tollgate.plans plan on plan.id = payment.plan_id \
         where payment.user_id = $1 order by charge.occurred_at, charge.id",
        plans::COLUMNS
    );
    tx.query(&sql, &[&user.as_str()])
        .await?
        .iter()
        .map(user_charge)
        .collect()
}

fn user_charge(row: &Row) -> Result<UserCharge, DbError> {
    let plan = plans::read(row)?;
    Ok(UserCharge {
        paid_at: row.try_get::<_, Instant>("occurred_at")?.0,
        refunded: row.try_get::<_, &str>("status")? == "refunded",
        is_of_subscription: row.try_get("is_of_subscription")?,
        span: plan.span(),
        renews_itself: plan.renews_itself(),
        subscription_type: plan.subscription_type().map(str::to_owned),
        provider: row.try_get("provider")?,
        reference: row.try_get("provider_payment_id")?,
    })
}

/// Every subscription of the user that a charge came for, as it was last recomputed.
pub(crate) async fn subscriptions(tx: &Tx, user: &UserId) -> Result<Vec<UserSubscription>, DbError> {
    let sql = format!(
        "select subscription.access_until, \
         subscription.next_charge_at is not null or (subscription.mode = 'merchant_run' \
             and subscription.status = 'past_due' and subscription.cancel_at is null) as renews_itself, \
         subscription.downgraded_at is not null as is_downgraded, paid.provider_payment_id, paid.occurred_at, \
         subscription.provider, {} from tollgate.saas_subscriptions subscription \
         join tollgate.plans plan on plan.id = subscription.plan_id \
         join lateral (select provider_payment_id, occurred_at from tollgate.subscription_payments \
             where subscription_id = subscription.id and status = 'paid' \
             order by occurred_at desc, provider_payment_id desc limit 1) paid on true \
         where subscription.user_id = $1 order by subscription.id",
        plans::COLUMNS
    );
    tx.query(&sql, &[&user.as_str()])
        .await?
        .iter()
        .map(user_subscription)
        .collect()
}

fn user_subscription(row: &Row) -> Result<UserSubscription, DbError> {
    let plan = plans::read(row)?;
    Ok(UserSubscription {
        subscription_type: plan
            .subscription_type()
            .ok_or_else(|| plans::unreadable("plans.subscription_type"))?
            .to_owned(),
        access_until: row
            .try_get::<_, Option<Instant>>("access_until")?
            .map(|instant| instant.0),
        is_downgraded: row.try_get("is_downgraded")?,
        renews_itself: row.try_get("renews_itself")?,
        paid_at: row.try_get::<_, Instant>("occurred_at")?.0,
        provider: row.try_get("provider")?,
        reference: row.try_get("provider_payment_id")?,
    })
}

/// The status of the user's newest payment.
pub(crate) async fn latest_payment_status(tx: &Tx, user: &UserId) -> Result<PaymentStatus, DbError> {
    let sql = "select status::text as status from tollgate.payments where user_id = $1 \
               order by created_at desc, id desc limit 1";
    match tx.query_opt(sql, &[&user.as_str()]).await? {
        None => Ok(PaymentStatus::None),
        Some(row) => PaymentStatus::from_label(row.try_get("status")?)
            .ok_or_else(|| plans::unreadable("payments.status")),
    }
}

/// Writes what was recomputed.
pub(crate) async fn save(
    tx: &Tx,
    user: &UserId,
    standing: &UserStanding,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "update tollgate.users set payment_status = $2::text::tollgate.payment_status, \
               last_payment_provider = $3, last_payment_reference = $4, auto_renew = $5, subscription_type = $6, \
               subscription_expires_at = $7, updated_at = $8 where id = $1";
    let (provider, reference) = standing.last_payment.clone().unzip();
    tx.execute(
        sql,
        &[
            /* id */ &user.as_str(),
            /* payment_status */ &standing.payment_status.label(),
            /* last_payment_provider */ &provider,
            /* last_payment_reference */ &reference,
            /* auto_renew */ &standing.auto_renew,
            /* subscription_type */ &standing.subscription_type,
            /* subscription_expires_at */ &standing.expires_at.map(Instant),
            /* updated_at */ &Instant(now),
        ],
    )
    .await?;
    Ok(())
}
