//! `/api/service/v1/users/{user}/notice-preferences`: where a user's notices go, in which language, and which do not.
//!
//! your backend → **these** (key with `notices` → user → body) → `db::notices`.
//!
//! Invariants: PUT writes the whole of it, so every member must be there and a repeat changes nothing more; DELETE
//! forgets the address and keeps the rest. A kind, a locale or an address that cannot be used is refused before anything
//! is written. GET of a user who never told answers what holds: no address, zh-TW, nothing muted.
//! Not here: whether the address is the user's; the backend vouches for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Deserializer, Serialize};
use tollgate_shared::id::UserId;

use super::call::{Call, admit};
use super::error::ServiceError;
use crate::Origin;
use crate::db::{DbError, Tx, notices};
use crate::http::answer::json;
use crate::notices::{EmailAddress, Locale, NoticeKind, Preferences};
use crate::service_keys::Scope;

type UserInPath = Result<Path<String>, PathRejection>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutRequest {
    /// Null says that there is none; absence would say nothing.
    #[serde(deserialize_with = "present")]
    email: Option<String>,
    locale: String,
    muted: Vec<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    user_id: &'a str,
    email: Option<&'a str>,
    locale: &'static str,
    muted: Vec<&'static str>,
}

/// What holds for the user.
pub(super) async fn get(
    State(origin): State<Arc<Origin>>,
    user: UserInPath,
    request: Request,
) -> Result<Response, ServiceError> {
    admit(&origin, request.headers(), Scope::Notices).await?;
    let user = &user_of(user)?;
    let read = |tx: Tx| async move { notices::preferences(&tx, user).await };
    let preferences = run(&origin, "notice_preferences_read", read).await?;
    Ok(answer(user, &preferences.unwrap_or_default()))
}

/// Writes what the user wants, whole.
pub(super) async fn put(
    State(origin): State<Arc<Origin>>,
    user: UserInPath,
    request: Request,
) -> Result<Response, ServiceError> {
    let call: Call<PutRequest> = Call::read(&origin, request, Scope::Notices).await?;
    let (user, preferences) = (&user_of(user)?, &wanted(&call.body)?);
    let now = origin.clock.now();
    let write = |tx: Tx| async move { notices::put_preferences(&tx, user, preferences, now).await };
    run(&origin, "notice_preferences_put", write).await?;
    Ok(answer(user, preferences))
}

/// Forgets the user's address.
pub(super) async fn delete(
    State(origin): State<Arc<Origin>>,
    user: UserInPath,
    request: Request,
) -> Result<Response, ServiceError> {
    admit(&origin, request.headers(), Scope::Notices).await?;
    let (user, now) = (&user_of(user)?, origin.clock.now());
    let write = |tx: Tx| async move {
        notices::erase_address(&tx, user, now).await?;
        notices::preferences(&tx, user).await
    };
    let preferences = run(&origin, "notice_address_erase", write).await?;
    Ok(answer(user, &preferences.unwrap_or_default()))
}

async fn run<T, F>(origin: &Origin, name: &'static str, body: impl Fn(Tx) -> F) -> Result<T, ServiceError>
where
    F: Future<Output = Result<T, DbError>>,
{
    origin.database.run_tx(name, body).await.map_err(ServiceError::Db)
}

fn user_of(user: UserInPath) -> Result<UserId, ServiceError> {
    let user = user.map(|Path(user)| user).unwrap_or_default();
    user.parse().map_err(ServiceError::field("user"))
}

fn wanted(asked: &PutRequest) -> Result<Preferences, ServiceError> {
    let email = asked.email.as_deref().map(str::parse::<EmailAddress>);
    let locale = Locale::from_tag(&asked.locale).ok_or(ServiceError::Field {
        field: "locale",
        rule: "zh-TW or en",
    })?;
    Ok(Preferences {
        email: email.transpose().map_err(ServiceError::field("email"))?,
        locale,
        muted: muted(&asked.muted)?,
    })
}

fn muted(labels: &[String]) -> Result<BTreeSet<NoticeKind>, ServiceError> {
    let mut muted = BTreeSet::new();
    for label in labels {
        let kind = NoticeKind::from_label(label).filter(|kind| kind.can_be_muted());
        if !kind.is_some_and(|kind| muted.insert(kind)) {
            return Err(ServiceError::Field {
                field: "muted",
                rule: "kinds of notices that can be muted, each once",
            });
        }
    }
    Ok(muted)
}

fn answer(user: &UserId, preferences: &Preferences) -> Response {
    let body = Body {
        user_id: user.as_str(),
        email: preferences.email.as_ref().map(EmailAddress::expose),
        locale: preferences.locale.tag(),
        muted: preferences.muted.iter().map(|kind| kind.label()).collect(),
    };
    json(StatusCode::OK, &body)
}

/// A member that may be null and must be there: serde takes the absence of a plain Option for null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}
