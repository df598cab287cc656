//! `/api/service/v1/…/subscriptions`: what a team's backend reads of subscriptions and wishes for them.
//!
//! your backend → **these** (key and scope → id → body → idempotency key) → `crate::subscriptions`.
//!
//! Invariants: every wish has an idempotency key (what a person found of a charge needs none: the charge ends once), which counts for its caller and its kind of wish: a repeat finds the
//! wish and answers how the subscription is now. A refusal writes nothing. What the provider has to do is an effect, so
//! no call waits for it. Not here: refusals' words (`http::subscriptions`), figures (`figures`).

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use tollgate_shared::id::UserId;
use tollgate_shared::money::Minor;

use super::call::{Call, admit};
use super::error::ServiceError;
use super::refunds::prose;
use crate::Origin;
use crate::db::Tx;
use crate::http::answer::json;
use crate::http::plan_change::{ChangeBody, PreviewBody};
use crate::http::subscriptions::{When, of_user};
use crate::service_keys::Scope;
use crate::subscriptions::{
    self, Asked, CancelWhen, ChangeError, Decision, Ended, SettleError, SubscriptionId, View, WantedPlan,
};

type InPath = Result<Path<String>, PathRejection>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    when: When,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoBody {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SettleBody {
    r#as: As,
    provider_payment_id: Option<String>,
    note: String,
}

/// What became of a charge, on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum As {
    Paid,
    Failed,
}

impl SettleBody {
    fn ended(&self) -> Result<Ended, ServiceError> {
        match (self.r#as, &self.provider_payment_id) {
            (As::Paid, Some(number)) => {
                let number = number.parse().map_err(ServiceError::field("providerPaymentId"))?;
                Ok(Ended::Paid(number))
            }
            (As::Failed, None) => Ok(Ended::Failed),
            (As::Paid, None) | (As::Failed, Some(_)) => Err(ServiceError::Field {
                field: "providerPaymentId",
                rule: "the provider's number of a charge that was paid, and absent of one that was not",
            }),
        }
    }
}

/// What is wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Cancel(When),
    Pause,
    Resume,
    Retry,
    CardChanged,
}

impl Wish {
    const fn label(self) -> &'static str {
        match self {
            Self::Cancel(when) => when.label(),
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::CardChanged => "card_changed",
        }
    }

    async fn make(self, tx: &Tx, origin: &Origin, asked: &Asked<'_>) -> Result<View, ChangeError> {
        let context = origin.subscriptions();
        match self {
            Self::Cancel(when) => subscriptions::cancel(tx, context, asked, CancelWhen::from(when)).await,
            Self::Pause => subscriptions::pause(tx, context, asked).await,
            Self::Resume => subscriptions::resume(tx, context, asked).await,
            Self::Retry => subscriptions::retry_now(tx, context, asked).await,
            Self::CardChanged => subscriptions::card_changed(tx, context, asked).await,
        }
    }
}

/// `GET users/{user}/subscriptions`.
pub(super) async fn list(
    State(origin): State<Arc<Origin>>,
    user: InPath,
    request: Request,
) -> Result<Response, ServiceError> {
    admit(&origin, request.headers(), Scope::SubscriptionsRead).await?;
    let user: UserId = text(user).parse().map_err(ServiceError::field("user"))?;
    let listed = of_user(&origin, &user).await.map_err(ServiceError::Db)?;
    Ok(json(StatusCode::OK, &listed))
}

/// `GET subscriptions/{id}`.
pub(super) async fn get(
    State(origin): State<Arc<Origin>>,
    id: InPath,
    request: Request,
) -> Result<Response, ServiceError> {
    admit(&origin, request.headers(), Scope::SubscriptionsRead).await?;
    let (origin, id, now) = (&origin, subscription(id)?, origin.clock.now());
    let read = |tx: Tx| async move { subscriptions::view(&tx, origin.subscriptions(), id, now).await };
    let view = origin.database.run_tx("subscription_view", read).await;
    let view = view.map_err(ServiceError::Db)?.ok_or(ChangeError::Unknown)?;
    Ok(json(StatusCode::OK, &view))
}

/// `POST subscriptions/{id}/cancel`.
pub(super) async fn cancel(
    State(origin): State<Arc<Origin>>,
    id: InPath,
    request: Request,
) -> Result<Response, ServiceError> {
    let call: Call<CancelBody> = Call::read(&origin, request, Scope::SubscriptionsWrite).await?;
    let wish = Wish::Cancel(call.body.when);
    noted(&origin, id, &call, wish).await
}

/// `POST subscriptions/{id}/pause`.
pub(super) async fn pause(
    State(origin): State<Arc<Origin>>,
    id: InPath,
    request: Request,
) -> Result<Response, ServiceError> {
    plain(&origin, id, request, Wish::Pause).await
}

/// `POST subscriptions/{id}/resume`.
pub(super) async fn resume(
    State(origin): State<Arc<Origin>>,
    id: InPath,
    request: Request,
) -> Result<Response, ServiceError> {
    plain(&origin, id, request, Wish::Resume).await
}

/// `POST subscriptions/{id}/retry`.
pub(super) async fn retry(
    State(origin): State<Arc<Origin>>,
    id: InPath,
    request: Request,
) -> Result<Response, ServiceError> {
    plain(&origin, id, request, Wish::Retry).await
}

/// `POST subscriptions/{id}/card-changed`.
pub(super) async fn card_changed(
    State(origin): State<Arc<Origin>>,
    id: InPath,
    request: Request,
) -> Result<Response, ServiceError> {
    plain(&origin, id, request, Wish::CardChanged).await
}

/// `POST subscriptions/{id}/charges/{charge}/settle`: what a person found of a charge that no answer ended.
pub(super) async fn settle_charge(
    State(origin): State<Arc<Origin>>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, ServiceError> {
    let call: Call<SettleBody> = Call::read(&origin, request, Scope::SubscriptionsWrite).await?;
    let Path((id, charge)) = path.map_err(|_| SettleError::Unknown)?;
    let of: SubscriptionId = id.parse().map_err(|_| SettleError::Unknown)?;
    let actor = &format!("service:{}", call.caller);
    let decision = &Decision {
        charge: charge.parse().map_err(|_| SettleError::Unknown)?,
        of: Some(of),
        ended: call.body.ended()?,
        actor,
        note: prose("note", &call.body.note)?,
    };
    let view = subscriptions::settle_charge(&origin, decision).await?;
    Ok(json(StatusCode::OK, &view))
}

/// A wish whose body is `{}`.
async fn plain(origin: &Origin, id: InPath, request: Request, wish: Wish) -> Result<Response, ServiceError> {
    let call: Call<NoBody> = Call::read(origin, request, Scope::SubscriptionsWrite).await?;
    noted(origin, id, &call, wish).await
}

/// `POST subscriptions/{id}/change-plan/preview`.
pub(super) async fn preview(
    State(origin): State<Arc<Origin>>,
    id: InPath,
    request: Request,
) -> Result<Response, ServiceError> {
    let call: Call<PreviewBody> = Call::read(&origin, request, Scope::SubscriptionsRead).await?;
    let (origin, id, now) = (&origin, subscription(id)?, origin.clock.now());
    let (context, plan) = (origin.subscriptions(), &call.body.plan_id);
    let preview = |tx: Tx| async move { subscriptions::preview(&tx, context, (id, plan), now).await };
    let preview = origin.database.run_tx("plan_preview", preview).await?;
    Ok(json(StatusCode::OK, &preview))
}

/// `POST subscriptions/{id}/change-plan`.
pub(super) async fn change_plan(
    State(origin): State<Arc<Origin>>,
    id: InPath,
    request: Request,
) -> Result<Response, ServiceError> {
    let call: Call<ChangeBody> = Call::read(&origin, request, Scope::SubscriptionsWrite).await?;
    let (subscription, key) = (subscription(id)?, call.key(None)?);
    let actor = &format!("service:{}", call.caller);
    let key = &format!("{actor}:change_plan:{}:{}", call.body.plan_id, key.as_str());
    let asked = &Asked {
        subscription,
        actor,
        key,
        now: origin.clock.now(),
    };
    let wanted = WantedPlan {
        plan: &call.body.plan_id,
        due_minor: call.body.due_minor.map(Minor::new),
    };
    let context = origin.subscriptions();
    let change = |tx: Tx| async move { subscriptions::change_plan(&tx, context, asked, wanted).await };
    let view = origin.database.run_tx("plan_change", change).await?;
    Ok(json(StatusCode::OK, &view))
}

async fn noted<T: serde::de::DeserializeOwned>(
    origin: &Origin,
    id: InPath,
    call: &Call<T>,
    wish: Wish,
) -> Result<Response, ServiceError> {
    let (subscription, key) = (subscription(id)?, call.key(None)?);
    let actor = &format!("service:{}", call.caller);
    let key = &format!("{actor}:{}:{}", wish.label(), key.as_str());
    let now = origin.clock.now();
    let asked = &Asked {
        subscription,
        actor,
        key,
        now,
    };
    let make = |tx: Tx| async move { wish.make(&tx, origin, asked).await };
    let view = origin.database.run_tx("subscription_wish", make).await?;
    Ok(json(StatusCode::OK, &view))
}

fn subscription(id: InPath) -> Result<SubscriptionId, ServiceError> {
    let unknown = |_| ServiceError::Change(ChangeError::Unknown);
    text(id).parse().map_err(unknown)
}

fn text(part: InPath) -> String {
    part.map(|Path(part)| part).unwrap_or_default()
}
