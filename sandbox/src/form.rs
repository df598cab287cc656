//! Form bodies as a provider reads them.
//!
//! cashier posts, checkout forms, queries → **`parse`** → field tables.
//!
//! Invariant: written apart from `tollgate_shared::form` (on the WHATWG decoder), because the sandbox checks what
//! Tollgate sends; a body both refuse or both read is evidence, one decoder agreeing with itself is not.
//! Not here: which fields are allowed. Failure: [`FormError`], worded for an error page.

use std::collections::BTreeMap;

/// The most fields of any known request (`AioCheckOut` has 43), doubled.
const FIELDS_MAX: usize = 96;

/// Why a body is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    #[error("the form has no fields")]
    Empty,
    #[error("the form has more than {FIELDS_MAX} fields")]
    TooMany,
    #[error("the form is not UTF-8")]
    NotUtf8,
    #[error("{0} occurs twice")]
    Twice(String),
}

/// Decoded fields, in the order of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value, empty where the field is absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// All fields but one.
    pub(crate) fn without(&self, name: &str) -> Vec<(String, String)> {
        self.0
            .iter()
            .filter(|(known, _)| known != name)
            .cloned()
            .collect()
    }

    pub(crate) fn into_map(self) -> BTreeMap<String, String> {
        self.0.into_iter().collect()
    }
}

/// Decodes a body.
pub(crate) fn parse(body: &[u8]) -> Result<Fields, FormError> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(body) {
        if fields.len() == FIELDS_MAX {
            return Err(FormError::TooMany);
        }
        // The decoder puts U+FFFD where bytes were not UTF-8.
        if name.contains('\u{fffd}') || value.contains('\u{fffd}') {
            return Err(FormError::NotUtf8);
        }
        if fields.iter().any(|(known, _)| *known == name) {
            return Err(FormError::Twice(name.into_owned()));
        }
        fields.push((name.into_owned(), value.into_owned()));
    }
    if fields.is_empty() {
        Err(FormError::Empty)
    } else {
        Ok(Fields(fields))
    }
}

/// Encodes fields as a body.
pub(crate) fn encode(fields: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::{FormError, parse};

    #[test]
    fn what_is_ambiguous_is_refused() {
        for (body, expected) in [
            (&b""[..], FormError::Empty),
            (b"a=1&a=2", FormError::Twice("a".into())),
            (b"a=1&%61=2", FormError::Twice("a".into())),
            (b"a=%ff", FormError::NotUtf8),
        ] {
            assert_eq!(parse(body), Err(expected));
        }
        let many = (0..200)
            .map(|index| format!("k{index}=1"))
            .collect::<Vec<_>>()
            .join("&");
        assert_eq!(parse(many.as_bytes()), Err(FormError::TooMany));
    }
}
