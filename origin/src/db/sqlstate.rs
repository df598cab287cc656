//! The SQLSTATEs that our stored functions raise, as an enum.
//!
//! `migrations/functions/*.sql` raise → **`Refusal`**, **`TokenRefusal`** → `db::ledger` and `db::tokens` give it to the
//! caller as a value.
//!
//! Invariant: this enum and the codes raised in `migrations/` are the same set, in the same order of precedence; a
//! test compares them. Messages and details are for people and may change, codes and columns may not.

use tokio_postgres::error::SqlState;

macro_rules! refusals {
    ($(#[$enum_doc:meta])* $refusal:ident { $($(#[$doc:meta])* $name:ident = $code:literal,)+ }) => {
        $(#[$enum_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $refusal {
            $($(#[$doc])* $name,)+
        }

        impl $refusal {
            /// Every refusal, in order of precedence.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The SQLSTATE.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }

            /// The refusal of a code; `None` for codes that are not of this class.
            #[must_use]
            pub fn from_sqlstate(state: &SqlState) -> Option<Self> {
                Self::ALL.iter().copied().find(|refusal| refusal.code() == state.code())
            }
        }
    };
}

refusals! {
    /// Why the ledger refused, in order of precedence: of several reasons the first is told.
    Refusal {
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
}

refusals! {
    /// Why a token function refused. Deductions and reservations answer most of these as a result (`error_code`, the
    /// name of the variant), because a refusal for lack of balance is recorded; the other functions raise them.
    TokenRefusal {
        /// An argument is missing or out of range.
        InvalidRequest = "TK001",
        /// The company has never had tokens.
        CompanyNotFound = "TK002",
        /// The key was used with other parameters; the differing field is named.
        IdempotencyKeyReused = "TK003",
        /// The key is under way elsewhere, or belongs to a reservation that is not settled yet.
        DeductionInProgress = "TK004",
        /// The tokens that can be spent are fewer than asked for.
        InsufficientBalance = "TK005",
        /// No record of the company has the key.
        RecordNotFound = "TK006",
        /// A settlement of more than was reserved.
        MoreThanReserved = "TK007",
        /// Nothing is reserved under the key: it was settled, released or refused.
        NotReserved = "TK008",
        /// Nothing was deducted under the key, so there is nothing to take back.
        NotDeducted = "TK009",
        /// The reservation of this key was released.
        Released = "TK010",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::{Refusal, TokenRefusal};

    /// Codes of one class in the text of a folder's SQL files.
    fn raised_in(folder: &Path, class: &str) -> BTreeSet<String> {
        let mut codes = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let sql = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let raised = sql
                .split("errcode = '")
                .skip(1)
                .filter_map(|rest| rest.split('\'').next());
            codes.extend(raised.filter(|code| code.starts_with(class)).map(str::to_owned));
        }
        codes
    }

    /// Every code of `class` that `migrations/` raises.
    fn raised(class: &str) -> BTreeSet<String> {
        let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
        let mut raised = raised_in(&migrations.join("functions"), class);
        raised.extend(raised_in(&migrations.join("versioned"), class));
        raised
    }

    #[test]
    fn the_enum_and_the_functions_know_the_same_codes() {
        let known: BTreeSet<String> = Refusal::ALL
            .iter()
            .map(|refusal| refusal.code().to_owned())
            .collect();
        assert_eq!(raised("LG"), known);
    }

    /// Some are only ever answered as a result, by name; the rest is raised.
    #[test]
    fn the_functions_raise_or_answer_every_token_refusal() {
        let known: BTreeSet<String> = TokenRefusal::ALL
            .iter()
            .map(|refusal| refusal.code().to_owned())
            .collect();
        let answered = ["TK004", "TK005", "TK010"].map(str::to_owned);
        assert_eq!(&raised("TK") | &BTreeSet::from(answered), known);
        let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/functions");
        let batch = std::fs::read_to_string(functions.join("deduct_tokens_batch.sql")).unwrap();
        for refusal in [
            TokenRefusal::InvalidRequest,
            TokenRefusal::CompanyNotFound,
            TokenRefusal::IdempotencyKeyReused,
            TokenRefusal::DeductionInProgress,
            TokenRefusal::InsufficientBalance,
        ] {
            assert!(batch.contains(&format!("'{refusal:?}'")), "{refusal:?}");
        }
    }

    #[test]
    fn codes_ascend_in_the_order_of_precedence() {
        let codes: Vec<&str> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        assert!(codes.is_sorted(), "{codes:?}");
        assert!(Refusal::ALL.is_sorted());
    }
}
