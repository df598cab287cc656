//! Step 4, forward: makes a verified notice durable in its inbox, then answers the provider.
//!
//! verify → **forward** → `inbox` (Durable Object) → origin. All notices of one order go to one inbox, so that
//! they keep their order (ED-5); the inbox is chosen by a hash of (source, order number).
//!
//! Invariant (DESIGN.md, 1): the provider gets its success answer only after the inbox says that the event is
//! durable; new, known and delivered events are answered alike (ED-3). A failing inbox is 503, and the provider
//! comes again. Not here: the hop to the origin (`inbox::deliver`), which no provider waits for.

use tollgate_shared::id::PaymentId;
use tollgate_shared::provider::{SIGNED_HEADERS, Unverified};

use crate::Call;
use crate::answer::{self, Answer};
use crate::receive::{self, Callers};
use crate::route::Named;
use crate::verify::{self, Genuine};
use crate::{parcel, port, task};

/// The inbox took the event; it was not known.
pub(crate) const INBOX_NEW: u16 = 202;
/// The inbox knew the event.
pub(crate) const INBOX_KNOWN: u16 = 200;

/// A provider's notice, from its bytes to its answer.
pub(crate) async fn webhook(call: &Call<'_>, named: Named<'_>, notice: &str) -> Answer {
    match try_webhook(call, named, notice, true).await {
        Ok(answer) | Err(answer) => answer,
    }
}

/// The result of PAYUNi's page, which the customer's browser brings on its way back to the app: kept like a notice, as
/// nothing else tells that a card was bound (PU-7). A browser that is refused or finds the inbox closed can reload.
pub(crate) async fn returned(call: &Call<'_>, payment: &str) -> Answer {
    let Ok(payment) = payment.parse::<PaymentId>() else {
        return answer::not_found();
    };
    let kept = match try_webhook(call, Named::Source("payuni"), "return", true).await {
        Ok(kept) => kept,
        Err(refused) => return refused,
    };
    match &call.settings.return_url {
        Some(page) => Answer::see_other(&format!("{page}?paymentId={payment}"), kept.outcome),
        None => kept,
    }
}

/// Steps 1 to 3 only: what `cargo xtask bench edge` compares with the same checks in JavaScript.
#[cfg(feature = "bench")]
pub(crate) async fn verify_only(call: &Call<'_>) -> Answer {
    match try_webhook(call, Named::Source("ecpay"), "payment", false).await {
        Ok(answer) | Err(answer) => answer,
    }
}

/// What no code of ours may do: `cargo xtask bench edge` sees that the requests after it are answered.
#[cfg(feature = "bench")]
#[expect(
    clippy::panic,
    reason = "only in the build for the benchmark, to see the recovery"
)]
pub(crate) fn panic_on_purpose() -> Answer {
    panic!("on purpose")
}

async fn try_webhook(call: &Call<'_>, named: Named<'_>, notice: &str, keep: bool) -> Result<Answer, Answer> {
    let source =
        verify::source(call.settings, named).map_err(|refusal| Answer::problem(&refusal.problem()))?;
    let body = receive::body(call.request, call.env, call.head, Callers::Providers).await?;
    let headers = if verify::signs_headers(&source) {
        verify::signed_headers(&port::headers(call.request, &SIGNED_HEADERS.join("\n")))
    } else {
        Vec::new()
    };
    let unverified = Unverified {
        notice,
        headers: &headers,
        body: &body,
        received_at: call.head.received_at,
    };
    let genuine = verify::read(call.settings, &source, &unverified)?;
    if keep {
        forward(call, &genuine, &unverified).await
    } else {
        Ok(acknowledged(&genuine, "verified"))
    }
}

async fn forward(call: &Call<'_>, genuine: &Genuine, unverified: &Unverified<'_>) -> Result<Answer, Answer> {
    let order = parcel::order_key(&genuine.event);
    let inbox = inbox_name(&order, call.settings.shards);
    let parcel = parcel::encode(&genuine.event, &order, unverified, call.head.delivery);
    let accepted = task::wait(port::accept(call.env, &inbox, &parcel)).await;
    match accepted.ok().and_then(|status| port::status_of(&status)) {
        Some(status) if status == i64::from(INBOX_NEW) => Ok(acknowledged(genuine, "accepted")),
        Some(status) if status == i64::from(INBOX_KNOWN) => Ok(acknowledged(genuine, "repeated")),
        _ => Err(answer::unavailable(
            "inbox-unavailable",
            "The event cannot be kept now",
        )),
    }
}

fn acknowledged(genuine: &Genuine, outcome: &'static str) -> Answer {
    Answer::acknowledged(genuine.acknowledgement, outcome)
}

/// The inbox of an order.
fn inbox_name(order: &str, shards: u32) -> String {
    format!("inbox-{}", shard_of(order, shards))
}

/// FNV-1a, 64 bit: spreads evenly and needs no key, because only verified order numbers get here.
fn shard_of(order: &str, shards: u32) -> u64 {
    let hash = order.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.checked_rem(u64::from(shards)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{inbox_name, shard_of};
    use std::collections::BTreeMap;

    #[test]
    fn ed_5_an_order_has_one_inbox_and_orders_spread() {
        assert_eq!(inbox_name("ecpay:T01", 16), inbox_name("ecpay:T01", 16));
        let mut counts = BTreeMap::new();
        for number in 0..1600 {
            *counts
                .entry(shard_of(&format!("ecpay:T{number:05}"), 16))
                .or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 16);
        assert!(
            counts.values().all(|count| (50..150).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn the_hash_is_pinned_because_rows_live_in_the_shard_it_chose() {
        assert_eq!(
            ["", "a", "ecpay:T01"].map(|order| shard_of(order, u32::MAX)),
            [1_343_537_162, 895_863_001, 2_783_576_448]
        );
    }
}
