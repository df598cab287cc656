//! Bodies of the internal routes: capped, counted, and JSON of exactly the type that is expected.
//!
//! hop reads the bytes → **body** parses them → the route.
//!
//! Invariants: a body is counted as it is read, whatever Content-Length says; JSON is UTF-8, of a media type that
//! says so, with no unknown and no duplicate key (a key that occurs twice is read differently by different
//! parsers, and the edge and the origin must not differ). Not here: the meaning of a value.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde::de::DeserializeOwned;
use tollgate_shared::problem::Problem;

/// A webhook of 64 KiB (DESIGN.md, Edge) is 87 384 bytes of base64; the rest is for headers and names.
pub(crate) const EVENT_BYTES_MAX: usize = 128 * 1024;
/// A browser call (DESIGN.md, Edge).
pub(crate) const CALL_BYTES_MAX: usize = 16 * 1024;

/// Why a body is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// More bytes than the route takes.
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
    /// The connection broke before the body was whole.
    #[error("the body could not be read")]
    Broken,
    /// Another media type or charset.
    #[error("the body is not declared as UTF-8 JSON")]
    MediaType,
    /// Not the JSON that the route takes. `serde_json`'s own words quote values, which may be personal data.
    #[error("not the JSON of this route, at line {line}, column {column}")]
    Malformed {
        /// From 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
    },
}

impl BodyError {
    /// The answer to the sender.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::TooLong(bytes_max) => Problem::new(413, "body-too-long", "The body is too long")
                .detail(format!("This route takes at most {bytes_max} bytes.")),
            Self::Broken => Problem::new(400, "body-broken", "The body could not be read to its end"),
            Self::MediaType => Problem::new(415, "unsupported-media-type", "The body is not UTF-8 JSON")
                .detail("Send Content-Type: application/json."),
            Self::Malformed { .. } => Problem::new(400, "malformed-body", "The body cannot be read")
                .detail("It must be one JSON object with the documented members, each once."),
        }
    }
}

/// Reads at most `bytes_max`, refusing by Content-Length before reading where it is honest.
pub(crate) async fn read(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, BodyError> {
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|bytes| bytes > bytes_max) {
        return Err(BodyError::TooLong(bytes_max));
    }
    to_bytes(body, bytes_max).await.map_err(|error| {
        // axum boxes http_body_util's LengthLimitError without re-exporting it; its text is its only name.
        let over = std::error::Error::source(&error)
            .is_some_and(|source| source.to_string().contains("length limit"));
        if over {
            BodyError::TooLong(bytes_max)
        } else {
            BodyError::Broken
        }
    })
}

/// Reads a JSON body of a route.
pub(crate) fn parse<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &[u8],
    bytes_max: usize,
) -> Result<T, BodyError> {
    check_media_type(headers)?;
    if body.len() > bytes_max {
        return Err(BodyError::TooLong(bytes_max));
    }
    serde_json::from_slice(body).map_err(|error| BodyError::Malformed {
        line: error.line(),
        column: error.column(),
    })
}

/// `application/json`, with no charset or UTF-8's (RFC 8259 §8.1 knows no other).
pub(crate) fn check_media_type(headers: &HeaderMap) -> Result<(), BodyError> {
    let declared = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .ok_or(BodyError::MediaType)?;
    let mut parts = declared.split(';').map(|part| part.trim().to_ascii_lowercase());
    let is_json = parts.next().is_some_and(|essence| essence == "application/json");
    let is_utf8 = parts.all(|parameter| matches!(parameter.as_str(), "charset=utf-8" | "charset=\"utf-8\""));
    if is_json && is_utf8 {
        Ok(())
    } else {
        Err(BodyError::MediaType)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::CONTENT_TYPE;
    use axum::http::{HeaderMap, HeaderValue};

    use super::check_media_type;

    #[test]
    fn only_utf8_json_is_read() {
        for (declared, taken) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json; charset=\"utf-8\"", true),
            ("application/json; charset=big5", false),
            ("application/json; profile=x", false),
            ("text/json", false),
            ("application/jsonp", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(declared));
            assert_eq!(check_media_type(&headers).is_ok(), taken, "{declared:?}");
        }
        assert!(check_media_type(&HeaderMap::new()).is_err());
    }
}
