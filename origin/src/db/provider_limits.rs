//! When a shop may be asked about next, over all instances.
//!
//! `gateway::limiter` → **provider limits** → Postgres.
//!
//! Invariants: turns are given out one after the other under the row's lock, so two instances never hold the same one; a
//! silence is only ever made longer. Not here: how far apart turns are, and what is done with one (`gateway::limiter`).

use std::time::Duration;

use tollgate_shared::id::MerchantId;
use tollgate_shared::time::Timestamp;

use super::{DbError, Instant, Tx};

/// A shop at a provider.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShopKey<'a> {
    /// The provider's name.
    pub(crate) provider: &'a str,
    /// The provider's number of the shop.
    pub(crate) merchant: &'a MerchantId,
}

/// Takes the shop's next turn and says when it begins; `None` while the shop is silent.
pub(crate) async fn take_turn(
    tx: &Tx,
    shop: ShopKey<'_>,
    length: Duration,
    now: Timestamp,
) -> Result<Option<Timestamp>, DbError> {
    let sql = "insert into tollgate.provider_limits as shop (provider, merchant_id, next_call_at) \
               values ($1, $2, $3::timestamptz + $4::bigint * interval '1 millisecond') \
               on conflict (provider, merchant_id) do update \
               set next_call_at = greatest(shop.next_call_at, $3) + $4 * interval '1 millisecond' \
               where shop.silent_until is null or shop.silent_until <= $3 \
               returning shop.next_call_at - $4 * interval '1 millisecond' as begins_at";
    let length_ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    let merchant = shop.merchant.as_str();
    let row = tx
        .query_opt(sql, &[&shop.provider, &merchant, &Instant(now), &length_ms])
        .await?;
    row.map(|row| Ok(row.try_get::<_, Instant>("begins_at")?.0))
        .transpose()
}

/// Until when the shop is silent, if it is.
pub(crate) async fn silent_until(
    tx: &Tx,
    shop: ShopKey<'_>,
    now: Timestamp,
) -> Result<Option<Timestamp>, DbError> {
    let sql = "select silent_until from tollgate.provider_limits \
               where provider = $1 and merchant_id = $2 and silent_until > $3";
    let row = tx
        .query_opt(sql, &[&shop.provider, &shop.merchant.as_str(), &Instant(now)])
        .await?;
    row.map(|row| Ok(row.try_get::<_, Instant>("silent_until")?.0))
        .transpose()
}

/// Makes the shop silent, for every instance.
pub(crate) async fn silence(
    tx: &Tx,
    shop: ShopKey<'_>,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "insert into tollgate.provider_limits as shop (provider, merchant_id, next_call_at, silent_until) \
               values ($1, $2, $4, $3) on conflict (provider, merchant_id) do update \
               set silent_until = greatest(shop.silent_until, $3)";
    tx.execute(
        sql,
        &[
            /* provider */ &shop.provider,
            /* merchant_id */ &shop.merchant.as_str(),
            /* until */ &Instant(until),
            /* now */ &Instant(now),
        ],
    )
    .await?;
    Ok(())
}
