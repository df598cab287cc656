//! Randomness from the operating system, and the ids that are made of it.
//!
//! Used by checkout (payment ids, order numbers), inbox (event ids), outbox and leases.
//!
//! Invariants: ids are UUIDv7 of the caller's clock, so that index pages fill in order and a test clock shows in
//! them; those that one process makes within a millisecond ascend (the outbox sends a user's events in the order of
//! their ids where their times are equal). A system without randomness is an error, never a weaker id.
//! Not here: which text an order number is (`domain::order_number`).

use std::sync::atomic::{AtomicU32, Ordering};

use tollgate_shared::time::Timestamp;
use uuid::Uuid;

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoEntropy;

/// Random bytes of the operating system.
pub(crate) fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], NoEntropy> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(|_| NoEntropy)?;
    Ok(bytes)
}

/// How many ids this process has made; 26 bits of it are used, and 67 million do not fit into a millisecond.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A new UUIDv7 (RFC 9562 §5.7): time, a counter of 26 bits (§6.2, method 1), 48 random bits.
pub(crate) fn uuid_v7(now: Timestamp) -> Result<Uuid, NoEntropy> {
    let unix_ms = u64::try_from(now.unix_ms()).unwrap_or_default();
    let count = MADE.fetch_add(1, Ordering::Relaxed);
    // The version takes the upper four bits of the first byte, the variant the upper two of the third.
    let [_, _, first, second] = (count >> 14).to_be_bytes();
    let [_, _, third, fourth] = count.to_be_bytes();
    let mut behind_time: [u8; 10] = random()?;
    for (byte, counted) in behind_time
        .iter_mut()
        .zip([first & 0x0f, second, third & 0x3f, fourth])
    {
        *byte = counted;
    }
    Ok(uuid::Builder::from_unix_timestamp_millis(unix_ms, &behind_time).into_uuid())
}

#[cfg(test)]
mod tests {
    use tollgate_shared::time::Timestamp;

    use super::uuid_v7;

    #[test]
    fn ids_sort_by_time_and_ascend_within_a_millisecond() {
        let early = uuid_v7(Timestamp::from_unix_ms(1_760_000_000_000)).unwrap();
        let same = uuid_v7(Timestamp::from_unix_ms(1_760_000_000_000)).unwrap();
        let late = uuid_v7(Timestamp::from_unix_ms(1_760_000_000_001)).unwrap();
        assert!(early < same && same < late);
        let many: Vec<_> = (0..100_000)
            .map(|_| uuid_v7(Timestamp::from_unix_ms(1_760_000_000_000)).unwrap())
            .collect();
        assert!(many.is_sorted(), "the counter carries from byte to byte");
        assert_eq!(early.get_version_num(), 7);
    }
}
