//! Randomness from the operating system, and the ids that are made of it.
//!
//! Used by checkout (payment ids, order numbers), inbox (event ids), outbox and leases.
//!
//! Invariant: ids are UUIDv7 of the caller's clock, so that index pages fill in order and a test clock shows in
//! them. A system without randomness is an error, never a weaker id.
//! Not here: which text an order number is (`domain::order_number`).

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

/// A new UUIDv7 (RFC 9562 §5.7).
pub(crate) fn uuid_v7(now: Timestamp) -> Result<Uuid, NoEntropy> {
    let unix_ms = u64::try_from(now.unix_ms()).unwrap_or_default();
    Ok(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random()?).into_uuid())
}

#[cfg(test)]
mod tests {
    use tollgate_shared::time::Timestamp;

    use super::uuid_v7;

    #[test]
    fn ids_sort_by_time_and_differ_within_a_millisecond() {
        let early = uuid_v7(Timestamp::from_unix_ms(1_760_000_000_000)).unwrap();
        let same = uuid_v7(Timestamp::from_unix_ms(1_760_000_000_000)).unwrap();
        let late = uuid_v7(Timestamp::from_unix_ms(1_760_000_000_001)).unwrap();
        assert!(early < late && same < late && early != same);
        assert_eq!(early.get_version_num(), 7);
    }
}
