//! Headers of a message, unfolded and made readable.
//!
//! a kept mail → **[`parse`]** → `GET /control/v1/mails`.
//!
//! Invariant: names in lower case; folded lines are joined (RFC 5322 §2.2.3); encoded words in UTF-8 are decoded, in base64
//! and in Q (RFC 2047), white space between two of them dropped. What is neither is shown as it stands.
//! Not here: bodies. Nothing here fails.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The headers of a raw message; of a name that occurs twice, the first.
pub(crate) fn parse(raw: &str) -> BTreeMap<String, String> {
    let head = raw.split_once("\r\n\r\n").map_or(raw, |(head, _)| head);
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let mut headers = BTreeMap::new();
    for (name, value) in unfolded.lines().filter_map(|line| line.split_once(':')) {
        headers
            .entry(name.to_ascii_lowercase())
            .or_insert_with(|| readable(value.trim()));
    }
    headers
}

fn readable(value: &str) -> String {
    let mut words: Vec<(bool, String)> = Vec::new();
    for word in value.split(' ') {
        match decoded(word) {
            Some(text) => words.push((true, text)),
            None => words.push((false, word.to_owned())),
        }
    }
    let mut text = String::new();
    let mut before = None;
    for (encoded, word) in words {
        // White space between two encoded words belongs to the folding, not to the text.
        if before.is_some_and(|before| !(before && encoded)) {
            text.push(' ');
        }
        text.push_str(&word);
        before = Some(encoded);
    }
    text
}

/// One encoded word: `=?utf-8?B?…?=` or `=?utf-8?Q?…?=`.
fn decoded(word: &str) -> Option<String> {
    let inner = word.strip_prefix("=?")?.strip_suffix("?=")?;
    let mut parts = inner.splitn(3, '?');
    let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let bytes = match encoding {
        "B" | "b" => STANDARD.decode(text).ok()?,
        "Q" | "q" => from_q(text)?,
        _ => return None,
    };
    String::from_utf8(bytes).ok()
}

fn from_q(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'_' => b' ',
            b'=' => {
                let pair = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?
            }
            plain => plain,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn headers_are_unfolded_and_encoded_words_read() {
        let raw = "Subject: =?utf-8?b?5omj5qy+?=\r\n =?UTF-8?Q?=E5=A4=B1=E6=95=97_?= (1)\r\nX-Plain: a\r\n\tb\r\nTo: =?big5?B?pOw=?=\r\n\r\nSubject: body";
        let headers = parse(raw);
        assert_eq!(headers["subject"], "扣款失敗  (1)");
        assert_eq!(headers["x-plain"], "a b");
        assert_eq!(headers["to"], "=?big5?B?pOw=?=", "another charset stays as it is");
        assert_eq!(headers.len(), 3, "the body is none");
    }
}
