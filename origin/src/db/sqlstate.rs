//! The SQLSTATEs that our stored functions raise, as an enum.
//!
//! `migrations/functions/*.sql` raise → **`Refusal`** → `db::ledger` gives it to the caller as a value.
//!
//! Invariant: this enum and the codes raised in `migrations/` are the same set, in the same order of precedence; a
//! test compares them. Messages and details are for people and may change, codes and columns may not.

use tokio_postgres::error::SqlState;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)+) => {
        /// Why the ledger refused, in order of precedence: of several reasons the first is told.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Refusal {
            $($(#[$doc])* $name,)+
        }

        impl Refusal {
            /// Every refusal, in order of precedence.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The SQLSTATE.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }
        }
    };
}

refusals! {
    /// An argument is missing, or the arrays of entries do not fit together.
    Malformed = "LG001",
    /// There are no entries.
    Empty = "LG002",
    /// There are more entries than one transaction may have.
    TooManyEntries = "LG003",
    /// An amount is zero or has more than fifteen digits.
    AmountOutOfRange = "LG004",
    /// The accounts are not in ascending order, or one comes twice.
    NotAscending = "LG005",
    /// The entries of a unit do not sum to zero.
    Unbalanced = "LG006",
    /// The operation key was used for something else; the differing field is named.
    OperationKeyReused = "LG007",
    /// An account that must not go below zero would.
    InsufficientBalance = "LG008",
    /// A balance would leave 64 bits.
    BalanceOutOfRange = "LG009",
    /// The account is open with another flag; the flag is named.
    AccountFlagDiffers = "LG010",
}

impl Refusal {
    /// The refusal of a code; `None` for codes that are not ours.
    #[must_use]
    pub fn from_sqlstate(state: &SqlState) -> Option<Self> {
        Self::ALL.iter().copied().find(|refusal| refusal.code() == state.code())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::Refusal;

    /// Codes of our own class in the text of a folder's SQL files.
    fn raised_in(folder: &Path) -> BTreeSet<String> {
        let mut codes = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let sql = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let raised = sql.split("errcode = '").skip(1).filter_map(|rest| rest.split('\'').next());
            codes.extend(raised.map(str::to_owned));
        }
        codes
    }

    #[test]
    fn the_enum_and_the_functions_know_the_same_codes() {
        let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
        let mut raised = raised_in(&migrations.join("functions"));
        raised.extend(raised_in(&migrations.join("versioned")));
        let known: BTreeSet<String> = Refusal::ALL.iter().map(|refusal| refusal.code().to_owned()).collect();
        assert_eq!(raised, known);
    }

    #[test]
    fn codes_ascend_in_the_order_of_precedence() {
        let codes: Vec<&str> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        assert!(codes.is_sorted(), "{codes:?}");
        assert!(Refusal::ALL.is_sorted());
    }
}
