//! Our number for an order, as a provider will accept it.
//!
//! checkout makes one → the provider echoes it in every notice → `apply` finds the payment by it.
//!
//! Invariant: 20 characters of `[0-9A-Z]`, which ECPay (`[0-9A-Za-z]{1,20}`, unique for ever per merchant,
//! reference §1.3.1) and PAYUNi's period page (`[A-Za-z0-9-]`, 25) both take. Capitals only, so that a provider
//! that folds case cannot make two of ours one. Not here: uniqueness, which the database's index decides.

use tollgate_shared::id::OrderNumber;
use tollgate_shared::time::Timestamp;

/// Crockford's base 32: no I, L, O, U, so a person can read one out.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 9 characters hold 45 bits of milliseconds: until the year 3084.
const TIME_CHARACTERS: u32 = 9;
/// 11 characters hold 55 random bits: a clash within one millisecond needs about 190 million orders in it.
const RANDOM_CHARACTERS: u32 = 11;

/// The order number of an instant and 64 random bits, of which 55 are used.
pub(crate) fn order_number(now: Timestamp, random: u64) -> Option<OrderNumber> {
    let unix_ms = u64::try_from(now.unix_ms()).unwrap_or_default();
    let mut text = String::with_capacity(20);
    push_base32(&mut text, unix_ms, TIME_CHARACTERS);
    push_base32(&mut text, random, RANDOM_CHARACTERS);
    OrderNumber::try_from(text).ok()
}

fn push_base32(text: &mut String, number: u64, characters: u32) {
    for position in (0..characters).rev() {
        let digit = number.wrapping_shr(position.saturating_mul(5)) & 31;
        let index = usize::try_from(digit).unwrap_or_default();
        text.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'0')));
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::time::Timestamp;

    use super::order_number;

    #[test]
    fn numbers_are_20_capitals_or_digits_and_sort_by_time() {
        let early = order_number(Timestamp::from_unix_ms(1_760_000_000_000), u64::MAX).unwrap();
        let late = order_number(Timestamp::from_unix_ms(1_760_000_000_001), 0).unwrap();
        assert!(early < late, "{early} {late}");
        for number in [&early, &late] {
            assert_eq!(number.as_str().len(), 20);
            assert!(
                number
                    .as_str()
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
            );
        }
        assert_eq!(
            early.as_str(),
            "1K76DG5800ZZZZZZZZZZ".replace("1K76DG5800", &early.as_str()[..10])
        );
    }

    #[test]
    fn every_random_bit_that_is_used_shows() {
        let now = Timestamp::from_unix_ms(1_760_000_000_000);
        let zero = order_number(now, 0).unwrap();
        for bit in 0..55 {
            assert_ne!(order_number(now, 1 << bit).unwrap(), zero, "bit {bit}");
        }
    }
}
