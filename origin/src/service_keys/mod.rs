//! Service keys: who calls the service API, and what that caller may do.
//!
//! `Authorization: Bearer tgk_…` → **`admit`** (parse → look up by id → compare → scope) → the route.
//!
//! A key is `tgk_`, 32 hex digits of its id, `_`, 64 hex digits of 256 random bits. At rest is only the SHA-256 of the
//! whole text: against 256 random bits there is nothing to guess and no table to look up, so the salt and the slowness
//! that passwords need would only slow down every call. A caller has two valid keys, to change over without a gap.
//! Invariants: a `Caller` exists only for a key whose hash was compared, in constant time, and that has the scope.
//! Ids are public, so nothing is lost where an unknown one is answered a moment sooner. A revoked key is refused
//! everywhere within `FRESH`, which is how long a process believes what it has read.
//! Not here: which companies a caller may touch (all of its team's). Failure: `KeyError`; a database that cannot be
//! asked refuses (503).

pub mod manage;

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;
use tollgate_shared::problem::Problem;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use crate::Origin;
use crate::db::service_keys::{ValidKey, find_valid};
use crate::db::{Database, DbError};
use crate::http::answer::{internal, unavailable};

/// How long a key that was read counts as valid.
pub(crate) const FRESH: Duration = Duration::from_secs(5);
const PREFIX: &str = "tgk_";
const SECRET_HEX_LENGTH: usize = 64;

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)+) => {
        /// What a key may do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Scope {
            $($(#[$doc])* $name,)+
        }

        impl Scope {
            /// Every scope.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// As the command line, the table and refusals write it.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)+
                }
            }
        }
    };
}

scopes! {
    /// Balances, history, records.
    Read = "tokens:read",
    /// Deduct, reserve, settle, release.
    Deduct = "tokens:deduct",
    /// Take a deduction back.
    Compensate = "tokens:compensate",
    /// Give tokens.
    Grant = "tokens:grant",
    /// Report how a metered job ended.
    Report = "jobs:report",
    /// Where users' notices go.
    Notices = "notices",
    /// Subscriptions and figures over them.
    SubscriptionsRead = "subscriptions:read",
    /// End, pause, resume, try again.
    SubscriptionsWrite = "subscriptions:write",
    /// Ask for refunds, and see them.
    Refunds = "refunds:write",
}

impl std::str::FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(label: &str) -> Result<Self, UnknownScope> {
        let known = Self::ALL.iter().copied().find(|scope| scope.label() == label);
        known.ok_or(UnknownScope)
    }
}

/// A text that names no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be tokens:read, tokens:deduct, tokens:compensate, tokens:grant, jobs:report, notices, subscriptions:read, \
     subscriptions:write or refunds:write"
)]
pub struct UnknownScope;

/// Somebody whose key was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The name under which the key was made.
    pub(crate) name: String,
}

/// Why a call is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// No Authorization header.
    #[error("the call has no service key")]
    Missing,
    /// Not the shape of a key, unknown, revoked, or of another secret: all the same to the caller.
    #[error("the service key is not accepted")]
    Refused,
    /// The key may not do this.
    #[error("the service key of {caller} lacks {}", .scope.label())]
    Scope {
        /// Whose key.
        caller: String,
        /// What it lacks.
        scope: Scope,
    },
    /// The keys could not be read.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl KeyError {
    /// The answer to the caller.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::Missing => Problem::new(401, "service-key-required", "This call needs a service key")
                .detail("Send Authorization: Bearer and a key of `tollgate service-key create`."),
            Self::Refused => Problem::new(401, "service-key-refused", "The service key is not accepted")
                .detail("It is malformed, unknown or revoked."),
            Self::Scope { scope, .. } => {
                Problem::new(403, "scope-missing", "The service key may not do this")
                    .with("scope", scope.label())
                    .detail(format!("Make a key with --scope {}.", scope.label()))
            }
            Self::Db(error) if error.is_unavailable() => unavailable(),
            Self::Db(_) => internal(),
        }
    }
}

/// A key as a caller presents it.
#[derive(Clone, Copy)]
struct Presented {
    id: Uuid,
    hash: [u8; 32],
}

/// The keys that this process has read lately; only valid ones, so it is as small as the table.
#[derive(Debug, Default)]
pub(crate) struct Keyring(RwLock<BTreeMap<Uuid, Read>>);

#[derive(Debug, Clone)]
struct Read {
    key: ValidKey,
    at: Timestamp,
}

impl Keyring {
    async fn find(&self, database: &Database, id: Uuid, now: Timestamp) -> Result<Option<ValidKey>, DbError> {
        if let Some(key) = self.fresh(id, now) {
            return Ok(Some(key));
        }
        let found = find_valid(database, id).await?;
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match &found {
            Some(key) => keys.insert(
                id,
                Read {
                    key: key.clone(),
                    at: now,
                },
            ),
            None => keys.remove(&id),
        };
        Ok(found)
    }

    fn fresh(&self, id: Uuid, now: Timestamp) -> Option<ValidKey> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let read = keys.get(&id).filter(|read| read.at.distance(now) < FRESH)?;
        Some(read.key.clone())
    }
}

/// Lets a call in, or says why not.
pub(crate) async fn admit(origin: &Origin, headers: &HeaderMap, scope: Scope) -> Result<Caller, KeyError> {
    let presented = presented(headers)?;
    let found = origin
        .keyring
        .find(&origin.database, presented.id, origin.clock.now());
    let key = found.await?.ok_or(KeyError::Refused)?;
    if !bool::from(key.hash.as_slice().ct_eq(&presented.hash)) {
        return Err(KeyError::Refused);
    }
    if !key.scopes.iter().any(|held| held == scope.label()) {
        return Err(KeyError::Scope {
            caller: key.caller,
            scope,
        });
    }
    Ok(Caller { name: key.caller })
}

fn presented(headers: &HeaderMap) -> Result<Presented, KeyError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(KeyError::Missing)?;
    // Two of them could be read as either.
    if values.next().is_some() {
        return Err(KeyError::Refused);
    }
    let text = value.to_str().map_err(|_| KeyError::Refused)?;
    let (scheme, key) = text.split_once(' ').ok_or(KeyError::Refused)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(KeyError::Refused);
    }
    parse(key).ok_or(KeyError::Refused)
}

fn parse(key: &str) -> Option<Presented> {
    let (id, secret) = key.strip_prefix(PREFIX)?.split_once('_')?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if id.len() != 32 || secret.len() != SECRET_HEX_LENGTH || !(id.bytes().chain(secret.bytes())).all(is_hex)
    {
        return None;
    }
    Some(Presented {
        id: Uuid::try_parse(id).ok()?,
        hash: hash(key),
    })
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::{Scope, UnknownScope, hash, parse};

    #[test]
    fn a_key_has_one_spelling() {
        let (id, secret) = ("0123456789abcdef0123456789abcdef", "a".repeat(64));
        let key = format!("tgk_{id}_{secret}");
        let read = parse(&key).unwrap();
        assert_eq!(
            (read.id.simple().to_string().as_str(), read.hash),
            (id, hash(&key))
        );
        for wrong in [
            String::new(),
            key.to_uppercase(),
            format!("{key} "),
            format!("tgk_{id}_{}", "a".repeat(63)),
            format!("tgk_{id}_{}", "a".repeat(65)),
            format!("tgk_{id}_{}", "g".repeat(64)),
            format!("tgk_{}_{secret}", "0".repeat(31)),
            format!("tgk_{id}{secret}"),
            format!("key_{id}_{secret}"),
        ] {
            assert!(parse(&wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_scope_is_read_as_it_is_written() {
        for scope in Scope::ALL {
            assert_eq!(scope.label().parse(), Ok(*scope));
            assert!(UnknownScope.to_string().contains(scope.label()));
        }
        assert_eq!("tokens:".parse::<Scope>(), Err(UnknownScope));
    }
}
