//! Answers: problem documents for programs, pages for people.
//!
//! Every handler → **`answer`** → axum.
//!
//! Invariant: an error of the control API is `application/problem+json` with words written for the caller; a page
//! carries a policy that lets it load nothing and run no script, and that keeps it out of frames (ECPay's cashier
//! cannot be embedded either, reference §1.3).
//! Not here: which error becomes which answer (`control`, `cashier`). Nothing here fails.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use http_body::Frame;
use tollgate_shared::problem::{CONTENT_TYPE, Problem};

/// No script, nothing from elsewhere. Forms may post anywhere: a result goes back to the shop's own address.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

/// A problem document.
pub(crate) fn problem(problem: &Problem) -> Response<Body> {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], problem.to_json()).into_response()
}

/// JSON for a program.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}

/// A page for a person.
pub(crate) fn page(status: StatusCode, html: String) -> Response<Body> {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (status, headers, html).into_response()
}

/// Plain text, as a provider answers a server.
pub(crate) fn text(body: String) -> Response<Body> {
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
        body,
    )
        .into_response()
}

/// A file in Big5, as it comes.
pub(crate) fn file(bytes: Vec<u8>) -> Response<Body> {
    ([(header::CONTENT_TYPE, "text/csv; charset=big5")], bytes).into_response()
}

/// An answer that never comes: the connection breaks off where the body should begin.
pub(crate) fn broken() -> Response<Body> {
    Body::new(Broken).into_response()
}

/// A body that ends in an error before its first byte.
struct Broken;

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }
}
