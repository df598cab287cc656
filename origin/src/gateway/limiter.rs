//! Who may call a provider when: one turn after the other for each shop, over all instances (OP-5).
//!
//! `effects` asks for a **turn** → a [`Line`] to call on, or the instant to come back at → `provider::post`.
//!
//! ECPay answers a caller that is too fast with HTTP 403 and stays deaf to the shop for half an hour (reference §1.6),
//! so turns are kept apart by the provider's spacing, and a 403 silences every instance for [`SILENCE`].
//! Invariants: a turn is taken before the first call and covers every call of the effect; one that lies in the future is
//! not waited for but handed back with its instant, and is still its holder's when the holder comes back in time. A turn
//! whose instant has passed by more than its length is taken anew, or an outage would end in a burst.
//! Not here: retries of what failed (`work::outbox`).

use std::time::Duration;

use tollgate_shared::provider::ServerRequest;
use tollgate_shared::time::Timestamp;

use super::provider::{self, CallError, Shop};
use super::user_core::Client;
use crate::Origin;
use crate::db::{DbError, Tx, provider_limits};

/// "About 30 minutes" (reference §1.6), and some.
const SILENCE: Duration = Duration::from_mins(31);
/// A queue is looked at every second, so a turn is taken up a little late.
const LATENESS: Duration = Duration::from_secs(2);

/// Whether one may call now.
pub(crate) enum Turn<'a> {
    /// Yes, on this line.
    Now(Line<'a>),
    /// From this instant on, which is kept free for whoever asked.
    From(Timestamp),
    /// The provider wants no calls until then.
    Silent(Timestamp),
}

/// The right to make some calls to a shop.
pub(crate) struct Line<'a> {
    origin: &'a Origin,
    client: &'a Client,
    shop: Shop<'a>,
    calls_made: u32,
}

/// Takes a turn for so many calls. `held`: the instant of a turn that was given before.
pub(crate) async fn turn<'a>(
    origin: &'a Origin,
    client: &'a Client,
    shop: Shop<'a>,
    calls: u32,
    held: Option<Timestamp>,
) -> Result<Turn<'a>, DbError> {
    let now = origin.clock.now();
    let length = shop.spacing(origin).saturating_mul(calls);
    let in_time = |from: Timestamp| from <= now && now <= from.plus(length).plus(LATENESS);
    let is_held = length.is_zero() || held.is_some_and(in_time);
    let key = shop.key();
    let take = |tx: Tx| async move {
        if let Some(until) = provider_limits::silent_until(&tx, key, now).await? {
            return Ok(Err(until));
        }
        if is_held {
            return Ok(Ok(now));
        }
        // A silence that began a moment ago ends a silence later.
        let from = provider_limits::take_turn(&tx, key, length, now).await?;
        Ok::<_, DbError>(from.ok_or_else(|| now.plus(SILENCE)))
    };
    Ok(match origin.database.run_tx("provider_turn", take).await? {
        Ok(from) if from <= now => Turn::Now(Line {
            origin,
            client,
            shop,
            calls_made: 0,
        }),
        Ok(from) => Turn::From(from),
        Err(until) => Turn::Silent(until),
    })
}

impl Line<'_> {
    /// Posts a question or a change. A 403 silences the shop.
    pub(crate) async fn post(&mut self, request: &ServerRequest) -> Result<Vec<u8>, CallError> {
        self.call(request, provider::TIME_MAX).await
    }

    /// Posts what makes the provider ask a bank.
    pub(crate) async fn charge(&mut self, request: &ServerRequest) -> Result<Vec<u8>, CallError> {
        self.call(request, provider::CHARGE_TIME_MAX).await
    }

    /// After the spacing, where it is not the first call.
    async fn call(&mut self, request: &ServerRequest, time_max: Duration) -> Result<Vec<u8>, CallError> {
        if self.calls_made > 0 {
            tokio::time::sleep(self.shop.spacing(self.origin)).await;
        }
        self.calls_made = self.calls_made.saturating_add(1);
        let answer = provider::post(self.client, self.shop, request, time_max).await;
        if matches!(answer, Err(CallError::TooFast)) {
            self.silence().await;
        }
        answer
    }

    async fn silence(&self) {
        let (key, now) = (self.shop.key(), self.origin.clock.now());
        let silence =
            |tx: Tx| async move { provider_limits::silence(&tx, key, now.plus(SILENCE), now).await };
        tracing::warn!(
            provider = key.provider,
            "{} answered 403; no calls about this shop for a while",
            key.provider
        );
        if let Err(error) = self.origin.database.run_tx("provider_silence", silence).await {
            // The next caller gets its own 403 and writes it down.
            tracing::warn!(error = %crate::telemetry::Chain(&error), "the silence was not written down");
        }
    }
}
