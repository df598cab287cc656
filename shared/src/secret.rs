//! Secrets that cannot be printed, and the pair of keys that a rotation needs.
//!
//! Used by every signature check and by the configuration of edge and origin.
//!
//! Invariant (DESIGN.md, 8): `Debug` shows no byte of a secret and there is no `Display`, so a secret reaches
//! a log or an error body only through an explicit `expose`, which is easy to search for.
//! Not here: where secrets come from (`config`), comparing them (always in constant time, in `crypto`).

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// A secret text: a HashKey, an HMAC key, a token.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes the text and wipes it when dropped.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// The text itself. Give it to a cipher or a MAC, to nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// A key in use and, while a rotation lasts, the one before it.
///
/// Checks accept both; signing uses `current` only. Removing `previous` ends the rotation.
#[derive(Debug, Clone)]
pub struct Rotating<K> {
    /// Signs, and is tried first.
    pub current: K,
    /// Still accepted.
    pub previous: Option<K>,
}

impl<K> Rotating<K> {
    /// The keys in the order in which a check tries them.
    pub fn accepted(&self) -> impl Iterator<Item = &K> {
        std::iter::once(&self.current).chain(self.previous.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::{Rotating, Secret};

    #[test]
    fn invariant_8_debug_shows_nothing() {
        let keys = Rotating {
            current: Secret::new("pwFHCqoQZGmho4w6".into()),
            previous: None,
        };
        assert_eq!(
            format!("{keys:?}"),
            "Rotating { current: Secret(…), previous: None }"
        );
    }
}
