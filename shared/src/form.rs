//! Strict reading of `application/x-www-form-urlencoded` bodies.
//!
//! receive → **form** → verify: the providers' notices arrive in this shape, and their MAC is computed over
//! what is decoded here.
//!
//! Invariants: a key occurs once (ECPay's MAC cannot tell `{A:"1&B=2"}` from `{A:"1",B:"2"}`, reference §1.1.4,
//! so ambiguity is refused here), text is UTF-8, escapes are whole, and the number of fields is bounded.
//! All fields share one decoded text: a notice of 41 fields costs two allocations, not 82 (the edge's
//! benchmark path). Not here: which fields a notice must have (`provider::*::wire`). WHATWG's lenient decoder
//! is not used, because it replaces bad bytes where we must refuse them.

/// More fields than any provider's notice has (ECPay's largest known one has 41).
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
    /// More than the caller allows.
    #[error("there are more than {0} fields")]
    TooManyFields(usize),
}

/// Decoded fields in the order of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Every key and value, one after the other.
    text: String,
    /// Where each pair's key and value end in `text`.
    ends: Vec<(usize, usize)>,
}

impl Form {
    /// Decodes a body of at most [`FIELDS_MAX`] fields; `+` is a space.
    pub fn parse(body: &[u8]) -> Result<Self, FormError> {
        Self::read(body, FIELDS_MAX, decode)
    }

    /// As [`Form::parse`], with another bound on the number of fields (a server reply may be longer).
    pub fn parse_at_most(body: &[u8], fields_max: usize) -> Result<Self, FormError> {
        Self::read(body, fields_max, decode)
    }

    /// Splits `k=v&k=v` whose values are *not* percent-encoded (ECPay's query responses, reference §1.1.3):
    /// `%` and `+` stand for themselves.
    pub fn parse_raw(body: &[u8]) -> Result<Self, FormError> {
        Self::read(body, FIELDS_MAX, |raw, into| {
            into.extend_from_slice(raw);
            Ok(())
        })
    }

    fn read(
        body: &[u8],
        fields_max: usize,
        decode: fn(&[u8], &mut Vec<u8>) -> Result<(), FormError>,
    ) -> Result<Self, FormError> {
        let mut bytes = Vec::with_capacity(body.len());
        let mut ends = Vec::with_capacity(48.min(fields_max));
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if ends.len() == fields_max {
                return Err(FormError::TooManyFields(fields_max));
            }
            let (key, value) = split_pair(pair);
            decode(key, &mut bytes)?;
            let key_end = bytes.len();
            decode(value, &mut bytes)?;
            ends.push((key_end, bytes.len()));
        }
        let form = Self {
            text: String::from_utf8(bytes).map_err(|_| FormError::NotUtf8)?,
            ends,
        };
        form.check()
    }

    fn check(self) -> Result<Self, FormError> {
        if self.ends.is_empty() {
            return Err(FormError::Empty);
        }
        // A character may not reach across the end of a field: each field is UTF-8 by itself.
        let whole = |end: &usize| self.text.is_char_boundary(*end);
        if !self
            .ends
            .iter()
            .all(|(key_end, value_end)| whole(key_end) && whole(value_end))
        {
            return Err(FormError::NotUtf8);
        }
        let mut keys: Vec<&str> = self.fields().map(|(key, _)| key).collect();
        keys.sort_unstable();
        let twice = keys.windows(2).find_map(|pair| match pair {
            [first, second] if first == second => Some((*first).to_owned()),
            _ => None,
        });
        match twice {
            Some(key) => Err(FormError::DuplicateKey(key)),
            None => Ok(self),
        }
    }

    /// The value of a key, exactly as spelt.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| value)
    }

    /// All fields, in the order of the body.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, value_end)| *value_end));
        // `check` proved every boundary; `unwrap_or_default` is the form of slicing that has no panic path.
        starts.zip(&self.ends).map(|(start, (key_end, value_end))| {
            (
                self.text.get(start..*key_end).unwrap_or_default(),
                self.text.get(*key_end..*value_end).unwrap_or_default(),
            )
        })
    }
}

/// Writes fields as a form body that every reader decodes to the same fields: space as `+`, upper-case hex.
#[must_use]
pub fn encode<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut body = form_urlencoded::Serializer::new(String::new());
    for (key, value) in fields {
        body.append_pair(key, value);
    }
    body.finish()
}

fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    (
        halves.next().unwrap_or_default(),
        halves.next().unwrap_or_default(),
    )
}

fn decode(raw: &[u8], into: &mut Vec<u8>) -> Result<(), FormError> {
    let mut bytes = raw.iter();
    while let Some(byte) = bytes.next() {
        into.push(match byte {
            b'+' => b' ',
            b'%' => hex_pair(bytes.next(), bytes.next())?,
            plain => *plain,
        });
    }
    Ok(())
}

fn hex_pair(high: Option<&u8>, low: Option<&u8>) -> Result<u8, FormError> {
    let high = high
        .and_then(|digit| hex_digit(*digit))
        .ok_or(FormError::BrokenEscape)?;
    let low = low
        .and_then(|digit| hex_digit(*digit))
        .ok_or(FormError::BrokenEscape)?;
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
    use super::{FIELDS_MAX, Form, FormError, encode};

    #[test]
    fn good_bodies_decode() {
        let form = Form::parse(b"RtnMsg=%E4%BA%A4%E6%98%93+ok&Empty=&a%3Db=1%262&flag").unwrap();
        assert_eq!(form.get("RtnMsg"), Some("交易 ok"));
        assert_eq!(form.get("Empty"), Some(""));
        assert_eq!(form.get("a=b"), Some("1&2"));
        assert_eq!(form.get("flag"), Some(""));
        assert_eq!(form.get("rtnmsg"), None);
        assert_eq!(form.fields().count(), 4);
    }

    #[test]
    fn raw_bodies_are_only_split() {
        let form = Form::parse_raw("ItemName=促銷 100%+1&TradeNo=&x=a=b".as_bytes()).unwrap();
        assert_eq!(form.get("ItemName"), Some("促銷 100%+1"));
        assert_eq!(form.get("TradeNo"), Some(""));
        assert_eq!(form.get("x"), Some("a=b"));
        assert_eq!(
            Form::parse_raw(b"a=1&a=2"),
            Err(FormError::DuplicateKey("a".into()))
        );
        assert_eq!(Form::parse_raw(b"a=\xff"), Err(FormError::NotUtf8));
    }

    #[test]
    fn bad_bodies_are_refused_with_the_reason() {
        let many: Vec<String> = (0..=FIELDS_MAX).map(|index| format!("k{index}=1")).collect();
        let many = many.join("&");
        for (body, expected) in [
            (&b""[..], FormError::Empty),
            (b"&&", FormError::Empty),
            (b"a=1&a=2", FormError::DuplicateKey("a".into())),
            (b"a=1&%61=2", FormError::DuplicateKey("a".into())),
            (b"a=1&b=2&a=1", FormError::DuplicateKey("a".into())),
            (b"a=%4", FormError::BrokenEscape),
            (b"a=%zz", FormError::BrokenEscape),
            (b"a=%", FormError::BrokenEscape),
            (b"a=\xff", FormError::NotUtf8),
            (b"a=%ff", FormError::NotUtf8),
            // The two halves of one character in two fields: valid as a whole, not apart.
            (b"%E4%BA=%A4", FormError::NotUtf8),
            (b"a=%E4%BA&%A4=1", FormError::NotUtf8),
            (many.as_bytes(), FormError::TooManyFields(FIELDS_MAX)),
        ] {
            assert_eq!(
                Form::parse(body),
                Err(expected),
                "{:?}",
                String::from_utf8_lossy(body)
            );
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let fields = [("a b", "~*'()!"), ("促", "100%&=+\r\n"), ("空", "")];
        let body = encode(fields);
        let read = Form::parse(body.as_bytes()).unwrap();
        assert!(read.fields().eq(fields));
    }
}
