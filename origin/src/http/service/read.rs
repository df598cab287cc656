//! The calls that read: balance now and at a past time, history by pages, the record of a key.
//!
//! `call` → **these** → `db::tokens` → `wire`.
//!
//! Invariant: a key's record is shown with its company only; another company's is 404 like one that never was. A
//! cursor is a place in the order (instant and id of the last record), so records that arrive meanwhile neither shift
//! nor repeat a page. Not here: balances for browsers (the edge's).

use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::call::{admit, company, query};
use super::error::ServiceError;
use super::wire::{BalanceBody, HistoryBody, RecordBody};
use crate::Origin;
use crate::db::Tx;
use crate::db::sqlstate::TokenRefusal;
use crate::db::tokens::{self, PAGE_MAX, Record, TokenKey};
use crate::http::answer::json;
use crate::service_keys::Scope;

/// Records on a page that does not say.
const PAGE: i32 = 50;
/// 1970 to 9999: jiff knows earlier years than Postgres does.
const INSTANTS_MS: RangeInclusive<i64> = 0..=253_402_300_799_999;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BalanceQuery {
    company_id: String,
    at: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryQuery {
    company_id: String,
    limit: Option<i32>,
    cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordQuery {
    company_id: String,
}

/// `GET balance?company_id=…[&at=…]`.
pub(super) async fn balance(
    State(origin): State<Arc<Origin>>,
    request: Request,
) -> Result<Response, ServiceError> {
    admit(&origin, request.headers(), Scope::Read).await?;
    let asked: BalanceQuery = query(request.uri())?;
    let (company, now) = (&company(&asked.company_id)?, origin.clock.now());
    let past = asked.at.as_deref().map(|at| past(at, now)).transpose()?;
    let read = |tx: Tx| async move {
        match past {
            Some(at) => tokens::balance_at(&tx, company, at, now).await,
            None => tokens::balance(&tx, company, now).await,
        }
    };
    let balance = origin.database.run_tx("tokens_balance", read).await?;
    let of_now = past.is_none();
    let body = BalanceBody {
        company_id: company.to_string(),
        monthly: balance.monthly,
        promotional: balance.promotional,
        purchased: balance.purchased,
        total: balance.total,
        reserved: of_now.then_some(balance.reserved),
        available: of_now.then_some(balance.available()),
        at: past.unwrap_or(now).to_string(),
    };
    Ok(json(StatusCode::OK, &body))
}

/// `GET history?company_id=…[&limit=…][&cursor=…]`.
pub(super) async fn history(
    State(origin): State<Arc<Origin>>,
    request: Request,
) -> Result<Response, ServiceError> {
    admit(&origin, request.headers(), Scope::Read).await?;
    let asked: HistoryQuery = query(request.uri())?;
    let (company, limit) = (&company(&asked.company_id)?, asked.limit.unwrap_or(PAGE));
    if !(1..=PAGE_MAX).contains(&limit) {
        let rule = "from 1 to 500";
        return Err(ServiceError::Field { field: "limit", rule });
    }
    let before = asked.cursor.as_deref().map(place).transpose()?;
    let read = |tx: Tx| async move { tokens::history(&tx, company, before, limit).await };
    let records = origin.database.run_tx("tokens_history", read).await?;
    let full = i32::try_from(records.len()).is_ok_and(|count| count == limit);
    let body = HistoryBody {
        next_cursor: records.last().filter(|_| full).map(cursor),
        records: records.iter().map(RecordBody::from).collect(),
    };
    Ok(json(StatusCode::OK, &body))
}

/// `GET records/{key}?company_id=…`.
pub(super) async fn record(
    State(origin): State<Arc<Origin>>,
    key: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ServiceError> {
    admit(&origin, request.headers(), Scope::Read).await?;
    let asked: RecordQuery = query(request.uri())?;
    let key = key.map(|Path(key)| key).unwrap_or_default();
    let key: TokenKey = key.parse().map_err(ServiceError::field("key"))?;
    let (key, company) = (&key, &company(&asked.company_id)?);
    let read = |tx: Tx| async move { tokens::record_by_key(&tx, key, company).await };
    match origin.database.run_tx("tokens_record", read).await? {
        Some(record) => Ok(json(StatusCode::OK, &RecordBody::from(&record))),
        None => Err(ServiceError::Refused {
            refusal: TokenRefusal::RecordNotFound,
            field: None,
            result: None,
        }),
    }
}

/// An RFC 3339 instant.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let instant: jiff::Timestamp = text.parse().ok()?;
    let known = INSTANTS_MS.contains(&instant.as_millisecond());
    known.then(|| Timestamp::from_unix_ms(instant.as_millisecond()))
}

fn past(text: &str, now: Timestamp) -> Result<Timestamp, ServiceError> {
    let rule = "an RFC 3339 instant that is not in the future";
    let at = instant(text).filter(|at| *at <= now);
    at.ok_or(ServiceError::Field { field: "at", rule })
}

fn cursor(last: &Record) -> String {
    format!("{}_{}", last.created_at.unix_ms(), last.id.simple())
}

fn place(cursor: &str) -> Result<(Timestamp, Uuid), ServiceError> {
    let read = || {
        let (ms, id) = cursor.split_once('_')?;
        let at = Timestamp::from_unix_ms(ms.parse().ok()?);
        let known = INSTANTS_MS.contains(&at.unix_ms());
        Some((at, Uuid::try_parse(id).ok()?)).filter(|_| known)
    };
    let rule = "a next_cursor of an earlier page";
    read().ok_or(ServiceError::Field {
        field: "cursor",
        rule,
    })
}
