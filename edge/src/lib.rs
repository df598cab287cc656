//! The gate: a Cloudflare Worker that receives, verifies, deduplicates and keeps every webhook and browser call.
//!
//! ```text
//! provider ─▶ receive ─▶ verify ─▶ (normalise) ─▶ forward ─▶ inbox (Durable Object) ─▶ origin
//! browser  ─▶ receive ─▶ session ─▶ writing ─▶ checkout │ article ─▶ caller (Durable Object) ─▶ origin │ status ─▶ origin
//! ```
//! A file a step. `route` matches by hand; `port` and `glue.mjs` are the only border to JavaScript; `inbox::store`
//! and `caller::store` hold the only SQL. Everything that decides is pure and is tested natively.
//!
//! Invariants: no panic (it would reset the wasm instance and fail every request in flight), no JavaScript
//! exception through wasm, no setting read per request. Every request is answered and logged in one line.
//! Not here: what an event does to money (`origin`), what a notice means (`shared`).

mod admin;
mod answer;
mod article;
mod caller;
mod checkout;
mod clock;
mod config;
mod cors;
mod csrf;
mod figures;
mod forward;
mod health;
mod inbox;
mod limit;
mod log;
mod origin;
mod parcel;
mod plan_change;
mod port;
mod receive;
mod route;
mod session;
mod status;
mod subscriptions;
mod task;
mod turnstile;
mod verify;
mod writing;

use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use worker::Env;

use crate::answer::Answer;
use crate::config::Settings;
use crate::port::Request;
use crate::receive::Head;
use crate::route::Route;

/// One request with everything that its handler may use.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    pub(crate) env: &'a Env,
    pub(crate) head: &'a Head<'a>,
    pub(crate) settings: &'a Settings,
}

/// The worker's entry, in place of `#[event(fetch)]`: that macro copies method, URL, headers and `cf` of every
/// request into wasm, five crossings of which we need one, and awaits through closures (PERFORMANCE.md).
#[wasm_bindgen]
#[must_use]
pub fn fetch(request: Request, env: Env, _context: JsValue) -> JsValue {
    task::run(async move { answer_to(&request, &env).await.into_response() })
}

async fn answer_to(request: &Request, env: &Env) -> Answer {
    let lines = port::head(request);
    let settings = config::settings(env);
    let Some(head) = Head::parse(&lines) else {
        return answer::not_found();
    };
    let route = route::find(head.method, head.path);
    let call = Call {
        request,
        env,
        head: &head,
        settings: &settings,
    };
    let answer = dispatch(&call, route).await;
    log::request(&head, route.name(), &answer, settings.log_all);
    answer
}

async fn dispatch(call: &Call<'_>, route: Route<'_>) -> Answer {
    match route {
        Route::Webhook(named, notice) => forward::webhook(call, named, notice).await,
        Route::Checkout(kind) => checkout::checkout(call, kind).await,
        Route::Article => article::generate(call).await,
        Route::Return(id) => forward::returned(call, id).await,
        Route::Status(id) => status::status(call, id).await,
        Route::Balance => status::balance(call).await,
        Route::Config => status::config(call).await,
        Route::CsrfToken => csrf::issue(call).await,
        Route::Subscriptions => subscriptions::list(call).await,
        Route::CancelSubscription(id) => subscriptions::cancel(call, id).await,
        Route::PreviewPlan(id) => plan_change::preview(call, id).await,
        Route::ChangePlan(id) => plan_change::change(call, id).await,
        Route::Admin(action) => admin::admin(call, action).await,
        Route::Health => health::health(call).await,
        Route::Stats => figures::stats(call).await,
        Route::Preflight(methods) => {
            cors::preflight(call.settings, &port::headers(call.request, "origin"), methods)
        }
        Route::WrongMethod(allowed) => answer::wrong_method(allowed),
        Route::Unknown => answer::not_found(),
        #[cfg(feature = "bench")]
        Route::BenchVerify => forward::verify_only(call).await,
        #[cfg(feature = "bench")]
        Route::BenchPanic => forward::panic_on_purpose(),
    }
}
