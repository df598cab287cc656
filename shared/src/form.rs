//! Strict reading of `application/x-www-form-urlencoded` bodies.
//!
//! receive → **form** → verify: the providers' notices arrive in this shape, and their MAC is computed over
//! what is decoded here.
//!
//! Invariants: a key occurs once (ECPay's MAC cannot tell `{A:"1&B=2"}` from `{A:"1",B:"2"}`, reference §1.1.4,
//! so ambiguity is refused here), text is UTF-8, escapes are whole, and the number of fields is bounded.
//! Not here: which fields a notice must have (`provider::*::wire`). WHATWG's lenient decoder is not used,
//! because it replaces bad bytes where we must refuse them.

/// More fields than any provider sends (ECPay's largest known notice has 41).
pub const FIELDS_MAX: usize = 128;

/// Why a body is not a form that we read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// No fields at all.
    #[error("the body is empty")]
    Empty,
    /// A `%` without two hex digits behind it.
    #[error("a percent escape is broken")]
    BrokenEscape,
    /// Bytes that are not UTF-8 (often a Latin-1 or Big5 sender).
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// The same key twice.
    #[error("the field {0:?} occurs twice")]
    DuplicateKey(String),
    /// More than [`FIELDS_MAX`].
    #[error("there are more than {FIELDS_MAX} fields")]
    TooManyFields,
}

/// Decoded fields in the order of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Decodes a body; `+` is a space.
    pub fn parse(body: &[u8]) -> Result<Self, FormError> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if fields.len() == FIELDS_MAX {
                return Err(FormError::TooManyFields);
            }
            let (key, value) = split_pair(pair);
            let key = decode(key)?;
            if fields.iter().any(|(known, _)| *known == key) {
                return Err(FormError::DuplicateKey(key));
            }
            fields.push((key, decode(value)?));
        }
        if fields.is_empty() { Err(FormError::Empty) } else { Ok(Self(fields)) }
    }

    /// The value of a key, exactly as spelt.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// All fields, in the order of the body.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
}

fn decode(raw: &[u8]) -> Result<String, FormError> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex_pair(bytes.next(), bytes.next())?,
            plain => *plain,
        });
    }
    String::from_utf8(decoded).map_err(|_| FormError::NotUtf8)
}

fn hex_pair(high: Option<&u8>, low: Option<&u8>) -> Result<u8, FormError> {
    let high = high.and_then(|digit| hex_digit(*digit)).ok_or(FormError::BrokenEscape)?;
    let low = low.and_then(|digit| hex_digit(*digit)).ok_or(FormError::BrokenEscape)?;
    Ok((high << 4) | low)
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(digit.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{FIELDS_MAX, Form, FormError};

    #[test]
    fn good_bodies_decode() {
        let form = Form::parse(b"RtnMsg=%E4%BA%A4%E6%98%93+ok&Empty=&a%3Db=1%262&flag").unwrap();
        assert_eq!(form.get("RtnMsg"), Some("交易 ok"));
        assert_eq!(form.get("Empty"), Some(""));
        assert_eq!(form.get("a=b"), Some("1&2"));
        assert_eq!(form.get("flag"), Some(""));
        assert_eq!(form.get("rtnmsg"), None);
    }

    #[test]
    fn bad_bodies_are_refused_with_the_reason() {
        let many: String = (0..=FIELDS_MAX).map(|index| format!("k{index}=1&")).collect();
        for (body, expected) in [
            (&b""[..], FormError::Empty),
            (b"&&", FormError::Empty),
            (b"a=1&a=2", FormError::DuplicateKey("a".into())),
            (b"a=1&%61=2", FormError::DuplicateKey("a".into())),
            (b"a=%4", FormError::BrokenEscape),
            (b"a=%zz", FormError::BrokenEscape),
            (b"a=%", FormError::BrokenEscape),
            (b"a=\xff", FormError::NotUtf8),
            (b"a=%ff", FormError::NotUtf8),
            (many.as_bytes(), FormError::TooManyFields),
        ] {
            assert_eq!(Form::parse(body), Err(expected), "{:?}", String::from_utf8_lossy(body));
        }
    }
}
