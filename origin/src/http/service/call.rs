//! A call of the service API on its way in: key, scope, body, idempotency key.
//!
//! axum → **[`admit`], [`Call::read`]** → `write`, `read`.
//!
//! Invariants: the key is checked before a byte of the body is read; a body is at most 16 KiB and one JSON object with
//! the documented members, each once. The idempotency key is in the header or in the body; where it is in both, they
//! are the same one. Failure: [`ServiceError`].

use axum::extract::Request;
use axum::http::{HeaderMap, Uri};
use serde::de::DeserializeOwned;

use super::error::ServiceError;
use crate::Origin;
use crate::domain::tokens::{CompanyId, TokenAmount, TokenKey};
use crate::http::body::{self, CALL_BYTES_MAX};
use crate::service_keys::{self, Caller, Scope};

const KEY_HEADER: &str = "idempotency-key";

/// A call whose key has the scope, and its body.
pub(super) struct Call<T> {
    headers: HeaderMap,
    /// The name of the key's holder.
    pub(super) caller: String,
    pub(super) body: T,
}

impl<T: DeserializeOwned> Call<T> {
    /// Lets a call in and reads its body.
    pub(super) async fn read(origin: &Origin, request: Request, scope: Scope) -> Result<Self, ServiceError> {
        let (parts, bytes) = request.into_parts();
        let caller = admit(origin, &parts.headers, scope).await?;
        let bytes = body::read(&parts.headers, bytes, CALL_BYTES_MAX).await?;
        let body = body::parse(&parts.headers, &bytes, CALL_BYTES_MAX)?;
        Ok(Self {
            headers: parts.headers,
            caller: caller.name,
            body,
        })
    }

    /// The idempotency key, of the header or of the body.
    pub(super) fn key(&self, in_body: Option<&str>) -> Result<TokenKey, ServiceError> {
        let mut values = self.headers.get_all(KEY_HEADER).iter();
        let in_header = values.next().map(|value| value.to_str().unwrap_or_default());
        if values.next().is_some() {
            return Err(ServiceError::TwoKeys);
        }
        match (in_header, in_body) {
            (None, None) => Err(ServiceError::NoKey),
            (Some(header), Some(body)) if header != body => Err(ServiceError::TwoKeys),
            (Some(key), _) | (None, Some(key)) => key.parse().map_err(ServiceError::field("idempotency_key")),
        }
    }
}

/// Lets a call in.
pub(super) async fn admit(
    origin: &Origin,
    headers: &HeaderMap,
    scope: Scope,
) -> Result<Caller, ServiceError> {
    let caller = service_keys::admit(origin, headers, scope).await?;
    tracing::debug!(service.caller = %caller.name, service.scope = scope.label(), "a service call");
    Ok(caller)
}

/// The query of a call, each parameter once and documented.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, ServiceError> {
    let query = axum::extract::Query::try_from_uri(uri).map_err(|_| ServiceError::Query)?;
    Ok(query.0)
}

/// A company id of a member or parameter.
pub(super) fn company(text: &str) -> Result<CompanyId, ServiceError> {
    text.parse().map_err(ServiceError::field("company_id"))
}

/// A number of tokens of a member.
pub(super) fn amount(tokens: i64) -> Result<TokenAmount, ServiceError> {
    TokenAmount::new(tokens).map_err(ServiceError::field("amount"))
}
