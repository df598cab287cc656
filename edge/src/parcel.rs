//! A verified notice as it goes from the gate to its inbox, and as the inbox keeps it.
//!
//! forward → **parcel** → `inbox`, which stores these bytes as they are and makes an `Envelope` of them when it
//! delivers. A format of our own, because it is read back by nobody else, is a third of the envelope's JSON and
//! costs one copy to write; the version byte lets rows outlive a deployment.
//!
//! Layout: version, 16 bytes delivery id, i64 time of receipt (ms), then key, order, source, notice, headers
//! (`name: value` lines), body, each with a u32 length in front; numbers little-endian.
//! Invariant: the body is byte for byte what the provider sent. A parcel that cannot be read is `None`.

use tollgate_shared::envelope::Envelope;
use tollgate_shared::event::Event;
use tollgate_shared::id::DeliveryId;
use tollgate_shared::provider::Unverified;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

const VERSION: u8 = 1;

/// A parcel, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parcel<'a> {
    /// Follows the delivery.
    pub(crate) delivery: DeliveryId,
    /// When the edge received it.
    pub(crate) received_at: Timestamp,
    /// The event key: the row's identity.
    pub(crate) key: &'a str,
    /// Events of one order keep their order; an event without one is its own.
    pub(crate) order: &'a str,
    source: &'a str,
    notice: &'a str,
    headers: &'a str,
    raw: &'a [u8],
}

/// What keeps its order together: source and order number, or the event alone.
pub(crate) fn order_key(event: &Event) -> String {
    match &event.order {
        Some(order) => format!("{}:{order}", event.source),
        None => event.key.as_str().to_owned(),
    }
}

/// Writes a parcel.
pub(crate) fn encode(
    event: &Event,
    order: &str,
    unverified: &Unverified<'_>,
    delivery: DeliveryId,
) -> Vec<u8> {
    let headers: Vec<[&str; 4]> = unverified
        .headers
        .iter()
        .map(|(name, value)| [name.as_str(), ": ", value.as_str(), "\n"])
        .collect();
    let headers = headers.concat().concat();
    let parts: [&[u8]; 6] = [
        event.key.as_str().as_bytes(),
        order.as_bytes(),
        event.source.as_str().as_bytes(),
        unverified.notice.as_bytes(),
        headers.as_bytes(),
        unverified.body,
    ];
    let mut bytes = Vec::with_capacity(
        parts
            .iter()
            .fold(64, |sum: usize, part| sum.saturating_add(part.len())),
    );
    bytes.push(VERSION);
    bytes.extend_from_slice(delivery.as_uuid().as_bytes());
    bytes.extend_from_slice(&unverified.received_at.unix_ms().to_le_bytes());
    for part in parts {
        // No part is longer than the body's cap of 64 KiB.
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

impl<'a> Parcel<'a> {
    /// Reads a parcel.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (delivery, rest) = rest.split_first_chunk::<16>()?;
        let (received_at, mut rest) = rest.split_first_chunk::<8>()?;
        if *version != VERSION {
            return None;
        }
        let parcel = Self {
            delivery: DeliveryId::from_uuid(Uuid::from_bytes(*delivery)),
            received_at: Timestamp::from_unix_ms(i64::from_le_bytes(*received_at)),
            key: text(&mut rest)?,
            order: text(&mut rest)?,
            source: text(&mut rest)?,
            notice: text(&mut rest)?,
            headers: text(&mut rest)?,
            raw: part(&mut rest)?,
        };
        rest.is_empty().then_some(parcel)
    }

    /// What the origin reads. `None` if the source's name is none: nothing that we wrote.
    pub(crate) fn envelope(&self) -> Option<Envelope> {
        let headers = self.headers.lines().filter_map(|line| line.split_once(": "));
        Some(Envelope {
            source: self.source.parse().ok()?,
            notice: self.notice.to_owned(),
            key: self.key.to_owned(),
            received_at: self.received_at,
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            raw: self.raw.to_vec(),
        })
    }
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (part, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(part(rest)?).ok()
}

#[cfg(test)]
mod tests {
    use super::{Parcel, encode, order_key};
    use proptest::prelude::{any, proptest};
    use tollgate_shared::event::{Event, EventKey, Fact};
    use tollgate_shared::id::{DeliveryId, SourceId};
    use tollgate_shared::provider::Unverified;
    use tollgate_shared::time::Timestamp;
    use uuid::Uuid;

    fn event(order: Option<&str>) -> Event {
        let source: SourceId = "ecpay".parse().unwrap();
        Event {
            key: EventKey::new(&source, &["3002607", "payment", "T01", "paid"]),
            source,
            merchant: None,
            order: order.map(|order| order.parse().unwrap()),
            test: false,
            occurred_at: None,
            fact: Fact::Acknowledged { reason: "test" },
        }
    }

    fn encoded(raw: &[u8]) -> Vec<u8> {
        let headers = [("webhook-id".to_owned(), "msg_1".to_owned())];
        let unverified = Unverified {
            notice: "payment",
            headers: &headers,
            body: raw,
            received_at: Timestamp::from_unix_ms(7),
        };
        encode(
            &event(Some("T01")),
            "ecpay:T01",
            &unverified,
            DeliveryId::from_uuid(Uuid::from_bytes([9; 16])),
        )
    }

    #[test]
    fn orders_stay_together_and_orderless_events_apart() {
        assert_eq!(order_key(&event(Some("T01"))), "ecpay:T01");
        assert_eq!(order_key(&event(None)), "ecpay:3002607:payment:T01:paid");
    }

    proptest! {
        #[test]
        fn ed_4_the_body_arrives_byte_for_byte(raw in any::<Vec<u8>>()) {
            let bytes = encoded(&raw);
            let parcel = Parcel::decode(&bytes).unwrap();
            assert_eq!((parcel.key, parcel.order), ("ecpay:3002607:payment:T01:paid", "ecpay:T01"));
            let envelope = parcel.envelope().unwrap();
            assert_eq!(envelope.raw, raw);
            assert_eq!(envelope.notice, "payment");
            assert_eq!(envelope.headers, [("webhook-id".to_owned(), "msg_1".to_owned())]);
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            Parcel::decode(&bytes).and_then(|parcel| parcel.envelope());
        }

        #[test]
        fn a_cut_parcel_is_none(cut in 0_usize..150) {
            let bytes = encoded(b"body");
            if let Some(front) = bytes.get(..cut) && cut < bytes.len() {
                assert_eq!(Parcel::decode(front), None);
            }
        }
    }
}
