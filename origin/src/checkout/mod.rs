//! Checkout: a user, a plan and a provider become a pending payment and the way to pay it (PM-3).
//!
//! `http::checkout` → **checkout** (key → plan → coverage → form → write) → the customer's browser → the provider.
//!
//! Invariants: one effect a user and idempotency key, decided under the user's row lock; a refusal writes nothing
//! and pins nothing to the key; the answer is stored with the payment and a repeat gets the same one. No network
//! call is made: a provider's form is signed, not fetched.
//! Not here: who the user is (the edge's session), limits of a provider (`form`).

pub(crate) mod form;
mod refusal;
#[cfg(test)]
mod tests;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tollgate_shared::id::{DeliveryId, OrderNumber, PaymentId, PlanId, UserId};
use tollgate_shared::money::Money;
use tollgate_shared::provider::CheckoutForm;
use tollgate_shared::time::Timestamp;

use crate::Origin;
use crate::announce::{Announcement, Kind, announce};
use crate::apply::recompute_user;
use crate::config::PaymentProvider;
use crate::db::checkouts::{self, NewKey, Stored};
use crate::db::payments::{self, NewPayment};
use crate::db::subscriptions::{self, NewSubscription};
use crate::db::{DbError, Tx, company_members, plans, users};
use crate::domain::coverage::{Holding, covered};
use crate::domain::order_number::order_number;
use crate::domain::plan::{FirstCharge, KindWanted, Plan, Schedule};
use crate::domain::subscription::Mode;
use crate::domain::subscription::schedule::taipei_date;
use crate::entropy;
use crate::subscriptions::{SubscriptionId, replaceable};

pub(crate) use refusal::PlaceError;

/// Draws of an order number before giving up; one clash needs the same millisecond and 55 equal bits.
const DRAWS_MAX: u32 = 3;
/// PAYUNi prints no limit; a card that is bound for longer has seldom the same date of expiry.
const FIRST_CHARGE_DAYS_MAX: i32 = 365;

/// What is asked for; stored under the idempotency key. An unknown member is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Request {
    /// The plan to pay for.
    pub(crate) plan_id: PlanId,
    /// With whom; `None`: the configured default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<String>,
    /// How, in the provider's words; `None`: by card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    /// `YYYY-MM-DD` in Asia/Taipei: the day of the first charge, of a plan that lets it be chosen (PU-7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_charge_on: Option<String>,
    /// The user's subscription that it takes the place of once it is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaces: Option<SubscriptionId>,
    /// Which plans the caller's route sells.
    #[serde(default)]
    pub(crate) kind: Kinds,
}

/// Which plans a route sells, as the edge says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kinds {
    /// `/api/payments/checkout`.
    #[default]
    Any,
    /// `/create-payment`.
    OneTime,
    /// `/create-subscription`.
    Subscription,
}

impl From<Kinds> for KindWanted {
    fn from(kinds: Kinds) -> Self {
        match kinds {
            Kinds::Any => Self::Any,
            Kinds::OneTime => Self::OneTime,
            Kinds::Subscription => Self::Subscription,
        }
    }
}

/// The way to pay: a page to open, or a form to post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    /// The payment to poll.
    pub(crate) payment_id: PaymentId,
    /// With whom.
    pub(crate) provider: String,
    /// Our number there.
    pub(crate) order_number: OrderNumber,
    /// In whole minor units.
    pub(crate) amount: i64,
    /// ISO 4217.
    pub(crate) currency: String,
    /// `pending`.
    pub(crate) status: String,
    /// A page to open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checkout_url: Option<String>,
    /// A form to post.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) form: Option<CheckoutForm>,
}

/// A checkout as the edge hands it over.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Who pays.
    pub(crate) user: UserId,
    /// The caller's name for this effect.
    pub(crate) key: String,
    /// What is asked for.
    pub(crate) request: Request,
    /// The call's id in the logs.
    pub(crate) delivery: DeliveryId,
    /// When the call came in, by the origin's clock.
    pub(crate) now: Timestamp,
}

/// An answer, new or repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    /// What the page is told.
    pub(crate) answer: Answer,
    /// Whether it was given before.
    pub(crate) repeated: bool,
}

/// Places a payment, or repeats what was answered under the key.
pub(crate) async fn place(origin: &Origin, call: &Call) -> Result<Placed, PlaceError> {
    let mut draws = 0_u32;
    loop {
        let random = u64::from_le_bytes(entropy::random().map_err(DbError::from)?);
        let number = order_number(call.now, random).ok_or(PlaceError::OrderNumberTaken)?;
        draws = draws.saturating_add(1);
        match place_as(origin, call, number).await {
            Err(PlaceError::OrderNumberTaken) if draws < DRAWS_MAX => {}
            result => return result,
        }
    }
}

/// Places a payment under a given order number.
async fn place_as(origin: &Origin, call: &Call, number: OrderNumber) -> Result<Placed, PlaceError> {
    let payment_id = PaymentId::from_uuid(entropy::uuid_v7(call.now).map_err(DbError::from)?);
    let placed = origin.database.run_tx("checkout", |tx| {
        decide_and_write(origin, tx, call, (payment_id, &number))
    });
    let placed = placed.await?;
    tracing::info!(
        delivery.id = %call.delivery,
        payment.id = %placed.answer.payment_id,
        repeated = placed.repeated,
        "payment {} is to be paid at {}", placed.answer.payment_id, placed.answer.provider
    );
    Ok(placed)
}

async fn decide_and_write(
    origin: &Origin,
    tx: Tx,
    call: &Call,
    (payment, number): (PaymentId, &OrderNumber),
) -> Result<Placed, PlaceError> {
    let holding = users::ensure_locked(&tx, &call.user, call.now).await?;
    if let Some(stored) = checkouts::find::<Request, Answer>(&tx, &call.user, &call.key).await? {
        return repeat(stored, &call.request);
    }
    let plan = sold_plan(&tx, &call.request).await?;
    let first_charge_on = first_charge_on(&plan, &call.request, call.now)?;
    let access_until = replaced_until(origin, &tx, call).await?;
    refuse_covered(&holding, &plan, access_until, call.now)?;
    refuse_running(&tx, call, &plan).await?;
    if plan.tokens().is_some() && company_members::company_of(&tx, &call.user).await?.is_none() {
        return Err(PlaceError::NoCompany);
    }
    let order = form::Order {
        plan: &plan,
        number,
        payment,
        placed_at: call.now,
        first_charge_on,
    };
    let way = form::build(
        origin,
        provider(origin, &call.request)?,
        &order,
        call.request.method.as_deref(),
    )?;
    // After this point the payment must be placed.
    let new = new_payment(origin, call, &plan, (payment, number.clone()), &way);
    write(
        origin,
        &tx,
        call,
        (&plan, &new, first_charge_on),
        answer(&new, way),
    )
    .await
}

/// Until when the subscription that is to be replaced gives access, if it can be replaced by this plan.
async fn replaced_until(origin: &Origin, tx: &Tx, call: &Call) -> Result<Option<Timestamp>, PlaceError> {
    let Some(old) = call.request.replaces else {
        return Ok(None);
    };
    let wanted = (old, &call.user, &call.request.plan_id);
    replaceable(tx, origin.subscriptions(), wanted, call.now)
        .await
        .map_err(PlaceError::from_replaced)
}

/// What the replaced subscription alone covers is no reason to refuse; what covers longer is something else.
fn refuse_covered(
    holding: &Holding,
    plan: &Plan,
    replaced_until: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), PlaceError> {
    let is_replaced =
        replaced_until.is_some() && holding.expires_at.is_some_and(|at| Some(at) <= replaced_until);
    let covered = plan
        .subscription_type()
        .and_then(|held| covered(holding, held, now));
    match covered {
        Some(covered) if !is_replaced => Err(PlaceError::Covered(covered)),
        Some(_) | None => Ok(()),
    }
}

/// A subscription that is owed, downgraded or paused covers nothing, and its contract charges again all the same.
async fn refuse_running(tx: &Tx, call: &Call, plan: &Plan) -> Result<(), PlaceError> {
    let Some(given) = plan.subscription_type() else {
        return Ok(());
    };
    match subscriptions::running(tx, &call.user, given, call.request.replaces).await? {
        Some(subscription) => Err(PlaceError::Running(subscription)),
        None => Ok(()),
    }
}

fn repeat(stored: Stored<Request, Answer>, request: &Request) -> Result<Placed, PlaceError> {
    match differing_field(&stored.request, request) {
        Some(field) => Err(PlaceError::KeyReused { field }),
        None => Ok(Placed {
            answer: stored.answer,
            repeated: true,
        }),
    }
}

/// The first member in which a repeat differs from what was asked under its key.
fn differing_field(before: &Request, now: &Request) -> Option<&'static str> {
    if before.plan_id != now.plan_id {
        Some("planId")
    } else if before.provider != now.provider {
        Some("provider")
    } else if before.method != now.method {
        Some("method")
    } else if before.first_charge_on != now.first_charge_on {
        Some("firstChargeOn")
    } else if before.replaces != now.replaces {
        Some("replaces")
    } else if before.kind != now.kind {
        Some("kind")
    } else {
        None
    }
}

async fn sold_plan(tx: &Tx, request: &Request) -> Result<Plan, PlaceError> {
    let plan = plans::find_available(tx, &request.plan_id)
        .await?
        .filter(Plan::is_sold)
        .ok_or(PlaceError::UnknownPlan)?;
    if plan.is_of(request.kind.into()) {
        Ok(plan)
    } else {
        Err(PlaceError::OtherKind)
    }
}

/// The day of the first charge, where the plan lets it be chosen: asked for there, refused elsewhere.
fn first_charge_on(plan: &Plan, request: &Request, now: Timestamp) -> Result<Option<Date>, PlaceError> {
    let is_chosen = plan
        .schedule()
        .is_some_and(|schedule| schedule.first_charge == FirstCharge::Date);
    let refused = |reason| Err(PlaceError::FirstChargeOn(reason));
    let text = match &request.first_charge_on {
        Some(text) if is_chosen => text,
        Some(_) => return refused("This plan is charged on the day of the order: leave it out."),
        None if is_chosen => return refused("This plan needs a day for its first charge."),
        None => return Ok(None),
    };
    let day: Option<Date> = text.parse().ok();
    // Other ways of writing a day are read by some and not by others.
    let Some(day) = day.filter(|day| day.to_string() == *text) else {
        return refused("It must be a day like 2026-12-31.");
    };
    let ahead = taipei_date(now).and_then(|today| day.since(today).ok());
    match ahead.map(|ahead| ahead.get_days()) {
        Some(1..=FIRST_CHARGE_DAYS_MAX) => Ok(Some(day)),
        _ => refused("It must be one of the next 365 days, and not today (Asia/Taipei)."),
    }
}

fn provider(origin: &Origin, request: &Request) -> Result<PaymentProvider, PlaceError> {
    match &request.provider {
        None => Ok(origin.config.checkout.default_provider),
        Some(name) => PaymentProvider::from_name(name).ok_or(PlaceError::UnknownProvider),
    }
}

fn new_payment(
    origin: &Origin,
    call: &Call,
    plan: &Plan,
    (id, order): (PaymentId, OrderNumber),
    way: &form::WayToPay,
) -> NewPayment {
    NewPayment {
        id,
        user: call.user.clone(),
        plan: plan.id.clone(),
        price: plan.first_price(),
        provider: way.provider.name(),
        merchant: way.merchant.clone(),
        order,
        method: call.request.method.clone(),
        pending_until: call.now.plus(origin.config.checkout.pending),
    }
}

fn answer(payment: &NewPayment, way: form::WayToPay) -> Answer {
    Answer {
        payment_id: payment.id,
        provider: payment.provider.to_owned(),
        order_number: payment.order.clone(),
        amount: payment.price.amount_minor.get(),
        currency: payment.price.currency.code().to_owned(),
        status: "pending".to_owned(),
        checkout_url: way.checkout_url,
        form: way.form,
    }
}

async fn write(
    origin: &Origin,
    tx: &Tx,
    call: &Call,
    (plan, payment, first_charge_on): (&Plan, &NewPayment, Option<Date>),
    answer: Answer,
) -> Result<Placed, PlaceError> {
    payments::insert(tx, payment, call.now)
        .await
        .map_err(PlaceError::from_insert)?;
    let key = NewKey {
        user: &call.user,
        key: &call.key,
        fingerprint: fingerprint(&call.request),
        request: &call.request,
        payment: payment.id,
        answer: &answer,
    };
    checkouts::insert(tx, &key, call.now).await?;
    if let Some(schedule) = plan.schedule() {
        let new = NewSubscription {
            anchor: first_charge_on,
            replaces: call.request.replaces,
            ..new_subscription(origin, (payment, plan.price, schedule), call.now)?
        };
        subscriptions::insert(tx, &new, call.now).await?;
    }
    recompute_user(tx, &call.user, call.now).await?;
    announce(
        tx,
        &news(call, payment),
        origin.config.user_core.is_some(),
        call.now,
    )
    .await?;
    Ok(Placed {
        answer,
        repeated: false,
    })
}

/// The subscription of a payment, pending until its first charge. Who charges is fixed now.
fn new_subscription<'a>(
    origin: &Origin,
    (payment, price, schedule): (&'a NewPayment, Money, Schedule),
    now: Timestamp,
) -> Result<NewSubscription<'a>, DbError> {
    let is_payuni = payment.provider == PaymentProvider::Payuni.name();
    Ok(NewSubscription {
        id: SubscriptionId::from_uuid(entropy::uuid_v7(now)?),
        payment,
        price,
        mode: if is_payuni {
            origin.config.subscriptions.payuni_mode
        } else {
            Mode::ProviderRun
        },
        schedule,
        anchor: None,
        replaces: None,
    })
}

/// SHA-256 of the request's members in their fixed order.
fn fingerprint(request: &Request) -> [u8; 32] {
    Sha256::digest(serde_json::to_vec(request).unwrap_or_default()).into()
}

fn news(call: &Call, payment: &NewPayment) -> Announcement {
    Announcement {
        kind: Kind::Initiated,
        fact: payment.id.to_string(),
        user: payment.user.to_string(),
        plan: payment.plan.to_string(),
        money: payment.price,
        payment: payment.id,
        provider: payment.provider.to_owned(),
        provider_payment_id: None,
        reason: None,
        delivery: Some(call.delivery),
        occurred_at: call.now,
    }
}
