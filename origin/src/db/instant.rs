//! Instants as Postgres keeps them: microseconds since 2000, in eight bytes.
//!
//! Every `timestamptz` parameter and column → **`Instant`** → `shared::time::Timestamp`.
//!
//! Invariant: an instant that came from a `Timestamp` returns as the same one (milliseconds fit in microseconds);
//! one from elsewhere is rounded down to the millisecond.
//! Failure: `infinity` and instants beyond i64 milliseconds are errors of the statement.

use std::error::Error;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use tollgate_shared::time::Timestamp;

/// 2000-01-01T00:00:00Z, where Postgres begins to count.
const POSTGRES_EPOCH_UNIX_US: i64 = 946_684_800_000_000;

/// A [`Timestamp`] on its way to or from a `timestamptz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant(pub Timestamp);

impl ToSql for Instant {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let unix_us = self.0.unix_ms().checked_mul(1000);
        let postgres_us = unix_us.and_then(|us| us.checked_sub(POSTGRES_EPOCH_UNIX_US));
        postgres_us
            .ok_or("instant out of range")?
            .to_sql(&sent_as(ty), out)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Instant {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let postgres_us = i64::from_sql(&sent_as(ty), raw)?;
        if postgres_us == i64::MAX || postgres_us == i64::MIN {
            return Err("infinity is no instant".into());
        }
        let unix_us = postgres_us
            .checked_add(POSTGRES_EPOCH_UNIX_US)
            .ok_or("instant out of range")?;
        Ok(Self(Timestamp::from_unix_ms(unix_us.div_euclid(1000))))
    }

    accepts!(TIMESTAMPTZ);
}

/// A `timestamptz` has the same eight bytes on the wire as an `int8`.
fn sent_as(_timestamptz: &Type) -> Type {
    Type::INT8
}

#[cfg(test)]
mod tests {
    use tokio_postgres::types::private::BytesMut;
    use tokio_postgres::types::{FromSql as _, ToSql as _, Type};
    use tollgate_shared::time::Timestamp;

    use super::Instant;

    #[test]
    fn instants_return_unchanged_and_the_epoch_is_postgres_own() {
        for unix_ms in [-1, 0, 1, 946_684_800_000, 1_760_000_000_123, 253_402_300_799_999] {
            let instant = Instant(Timestamp::from_unix_ms(unix_ms));
            let mut bytes = BytesMut::new();
            instant.to_sql(&Type::TIMESTAMPTZ, &mut bytes).unwrap();
            assert_eq!(Instant::from_sql(&Type::TIMESTAMPTZ, &bytes).unwrap(), instant);
        }
        assert_eq!(
            Instant::from_sql(&Type::TIMESTAMPTZ, &[0; 8])
                .unwrap()
                .0
                .unix_ms(),
            946_684_800_000
        );
    }

    #[test]
    fn infinity_is_an_error() {
        assert!(Instant::from_sql(&Type::TIMESTAMPTZ, &i64::MAX.to_be_bytes()).is_err());
        assert!(
            Instant(Timestamp::from_unix_ms(i64::MAX))
                .to_sql(&Type::TIMESTAMPTZ, &mut BytesMut::new())
                .is_err()
        );
    }
}
