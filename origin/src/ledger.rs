//! Step 7, ledger: a transaction as a value that balances, before it goes to the database.
//!
//! apply decides → **`Posting`** → `db::ledger::post` → `ledger_post`, which checks it again.
//!
//! Invariant, held here and in `ledger_post.sql` (a pair assertion): the entries of each unit sum to zero, no
//! amount is zero, every account comes once, in ascending order. The fingerprint covers owner, kind and entries, not
//! the times or ids: a notice repeated tomorrow by another delivery is the same transaction.
//! Not here: balances, which only the database knows. Failure: an error value naming the unit or account.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tollgate_shared::id::{ProviderPaymentId, SourceId, UserId};
use tollgate_shared::money::{Currency, Minor, Money};

/// Fifteen digits, as `shared::money` reads amounts and `ledger_post.sql` accepts them.
const AMOUNT_MAX: u64 = 1_000_000_000_000_000;
/// As `ledger_post.sql` accepts them.
const ENTRIES_MAX: usize = 100;
/// Stands before the canonical bytes, so that another form of them is another fingerprint.
const FINGERPRINT_VERSION: &[u8] = b"tollgate ledger posting 1\n";

/// Whose books an account belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner(String);

impl Owner {
    /// A user's own books.
    #[must_use]
    pub fn user(user: &UserId) -> Self {
        Self(format!("user:{user}"))
    }

    /// The owner as the ledger writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a balance counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// New Taiwan dollars.
    Twd,
    /// Tokens of the metered product.
    Token,
    /// Loyalty points.
    Point,
}

impl Unit {
    /// The unit as the ledger writes it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Twd => "TWD",
            Self::Token => "TOKEN",
            Self::Point => "POINT",
        }
    }
}

impl From<Currency> for Unit {
    fn from(currency: Currency) -> Self {
        match currency {
            Currency::Twd => Self::Twd,
        }
    }
}

/// Why entries are no transaction. Each has its twin among the SQLSTATEs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostingError {
    /// LG002.
    #[error("a posting without entries")]
    Empty,
    /// LG003.
    #[error("a posting with more than {ENTRIES_MAX} entries")]
    TooManyEntries,
    /// LG004.
    #[error("an entry of {amount} on {account}: zero, or more than fifteen digits")]
    AmountOutOfRange {
        /// The account's kind.
        account: String,
        /// What it would move.
        amount: Minor,
    },
    /// LG005.
    #[error("two entries on {account}")]
    AccountTwice {
        /// The account's kind.
        account: String,
    },
    /// LG006.
    #[error("entries in {} sum to {sum}", .unit.code())]
    Unbalanced {
        /// The unit that does not balance.
        unit: Unit,
        /// What it sums to.
        sum: i128,
    },
}

/// A balanced transaction, not yet booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    owner: Owner,
    operation_key: String,
    kind: &'static str,
    entries: BTreeMap<(String, &'static str), Minor>,
}

impl Posting {
    /// Checks and sorts the entries: (account kind, unit, signed amount with debit positive).
    pub fn new(
        owner: Owner,
        operation_key: String,
        kind: &'static str,
        entries: &[(&str, Unit, Minor)],
    ) -> Result<Self, PostingError> {
        if entries.is_empty() {
            return Err(PostingError::Empty);
        }
        if entries.len() > ENTRIES_MAX {
            return Err(PostingError::TooManyEntries);
        }
        check_amounts(entries)?;
        let sorted = sort(entries)?;
        check_balance(entries)?;
        Ok(Self {
            owner,
            operation_key,
            kind,
            entries: sorted,
        })
    }

    /// A charge that arrived: the provider owes us, and we have sold.
    pub fn settle(
        user: &UserId,
        provider: &SourceId,
        merchant: &str,
        charge: &ProviderPaymentId,
        money: Money,
    ) -> Result<Self, PostingError> {
        let key = settle_key(provider, merchant, charge);
        Self::sale(user, provider, key, "settle", money.amount_minor, money.currency)
    }

    /// A charge that was paid back: the same two entries, reversed.
    pub fn refund(
        user: &UserId,
        provider: &SourceId,
        merchant: &str,
        charge: &ProviderPaymentId,
        money: Money,
    ) -> Result<Self, PostingError> {
        let key = format!("refund:{provider}:{merchant}:{charge}");
        Self::sale(
            user,
            provider,
            key,
            "refund",
            negated(money.amount_minor),
            money.currency,
        )
    }

    /// So much of a charge that was paid back, by a refund of ours: `part` names the refund, so a charge can have several.
    pub fn refund_part(
        user: &UserId,
        provider: &SourceId,
        merchant: &str,
        (charge, part): (&ProviderPaymentId, &str),
        money: Money,
    ) -> Result<Self, PostingError> {
        let key = format!("refund:{provider}:{merchant}:{charge}:{part}");
        let amount = negated(money.amount_minor);
        Self::sale(user, provider, key, "refund", amount, money.currency)
    }

    fn sale(
        user: &UserId,
        provider: &SourceId,
        operation_key: String,
        kind: &'static str,
        amount: Minor,
        currency: Currency,
    ) -> Result<Self, PostingError> {
        let clearing = format!("provider_clearing:{provider}");
        let unit = Unit::from(currency);
        let entries = [
            (clearing.as_str(), unit, amount),
            ("sales", unit, negated(amount)),
        ];
        Self::new(Owner::user(user), operation_key, kind, &entries)
    }

    /// Whose books.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The name of the effect.
    #[must_use]
    pub fn operation_key(&self) -> &str {
        &self.operation_key
    }

    /// What kind of transaction.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The entries (account kind, unit, amount), ascending by account.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &'static str, Minor)> {
        self.entries
            .iter()
            .map(|((account, unit), amount)| (account.as_str(), *unit, *amount))
    }

    /// The entries as the three array parameters of `ledger_post`.
    pub(crate) fn columns(&self) -> (Vec<&str>, Vec<&'static str>, Vec<i64>) {
        let accounts = self.entries().map(|(account, _, _)| account).collect();
        let units = self.entries().map(|(_, unit, _)| unit).collect();
        (
            accounts,
            units,
            self.entries().map(|(_, _, amount)| amount.get()).collect(),
        )
    }

    /// SHA-256 over owner, kind and entries, one a line. No part can hold a line break or a tab: the columns' checks
    /// refuse them, and `ledger_post` compares the parts themselves before it compares fingerprints.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(FINGERPRINT_VERSION);
        digest.update(format!("{}\n{}\n", self.owner.as_str(), self.kind));
        for (account, unit, amount) in self.entries() {
            digest.update(format!("{account}\t{unit}\t{amount}\n"));
        }
        digest.finalize().into()
    }
}

/// The operation key of a settled charge, and the idempotency key of the tokens that it buys.
pub(crate) fn settle_key(provider: &SourceId, merchant: &str, charge: &ProviderPaymentId) -> String {
    format!("settle:{provider}:{merchant}:{charge}")
}

/// The one amount without a negative becomes zero, which no posting accepts.
fn negated(amount: Minor) -> Minor {
    amount.checked_neg().unwrap_or(Minor::ZERO)
}

fn check_amounts(entries: &[(&str, Unit, Minor)]) -> Result<(), PostingError> {
    let out_of_range = |amount: Minor| amount == Minor::ZERO || amount.get().unsigned_abs() > AMOUNT_MAX;
    match entries.iter().find(|(_, _, amount)| out_of_range(*amount)) {
        Some((account, _, amount)) => Err(PostingError::AmountOutOfRange {
            account: (*account).to_owned(),
            amount: *amount,
        }),
        None => Ok(()),
    }
}

fn sort(entries: &[(&str, Unit, Minor)]) -> Result<BTreeMap<(String, &'static str), Minor>, PostingError> {
    let mut sorted = BTreeMap::new();
    for (account, unit, amount) in entries {
        if sorted
            .insert(((*account).to_owned(), unit.code()), *amount)
            .is_some()
        {
            return Err(PostingError::AccountTwice {
                account: (*account).to_owned(),
            });
        }
    }
    Ok(sorted)
}

fn check_balance(entries: &[(&str, Unit, Minor)]) -> Result<(), PostingError> {
    let mut sums: BTreeMap<Unit, i128> = BTreeMap::new();
    for (_, unit, amount) in entries {
        let sum = sums.entry(*unit).or_default();
        // A hundred amounts of fifteen digits cannot saturate 128 bits.
        *sum = sum.saturating_add(i128::from(amount.get()));
    }
    match sums.into_iter().find(|(_, sum)| *sum != 0) {
        Some((unit, sum)) => Err(PostingError::Unbalanced { unit, sum }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
