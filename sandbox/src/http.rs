//! The routes of all fakes, and what is refused before any of them.
//!
//! TCP → **`router`** → `ecpay`, `payuni`, `mock`, `turnstile`, `cashier`, `control`.
//!
//! Invariant: no body is read beyond 64 KiB; an unknown path and a wrong method are problem documents.
//! A refused checkout is answered 400 with the provider's code in the page: whether the real ones use another status
//! with their error pages is not known, and a test must not mistake an error page for a cashier.
//! Not here: what the fakes check. Nothing here fails.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use tollgate_shared::problem::Problem;

use crate::app::App;
use crate::trade::{Provider, Trade};
use crate::{answer, cashier, control, ecpay, form, mock, page, payuni, turnstile};

const BODY_BYTES_MAX: usize = 64 * 1024;

/// Every route of the sandbox.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/health", get(|| async { "ok" }))
        .route("/ecpay/Cashier/AioCheckOut/V5", post(ecpay_checkout))
        .route("/ecpay/Cashier/QueryTradeInfo/V5", post(ecpay_query))
        .route(
            "/ecpay/Cashier/QueryCreditCardPeriodInfo",
            post(ecpay_period_info),
        )
        .route("/ecpay/Cashier/CreditCardPeriodAction", post(ecpay_period_action))
        .route("/ecpay/CreditDetail/DoAction", post(ecpay_do_action))
        .route("/ecpay/PaymentMedia/TradeNoAio", post(ecpay_settlement_file))
        .route("/payuni/api/upp", post(payuni_upp))
        .route("/payuni/api/period/Page", post(payuni_period))
        .merge(payuni_calls())
        .route("/mock/checkout", get(mock::checkout))
        .route("/turnstile/v0/siteverify", post(turnstile::siteverify))
        .route("/{provider}/cashier/{trade}", get(cashier::show))
        .route("/{provider}/cashier/{trade}/{button}", post(cashier::press))
        .merge(control::routes())
        .fallback(|| async { answer::problem(&Problem::new(404, "not-found", "Not found")) })
        .method_not_allowed_fallback(|| async {
            answer::problem(&Problem::new(
                405,
                "method-not-allowed",
                "The method is not allowed here",
            ))
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
}

async fn ecpay_checkout(State(app): State<App>, body: Bytes) -> Response {
    match ecpay::checkout::open(&app, &body) {
        Ok(trade) => cashier::opened(&app, &trade),
        Err(refusal) => refused(Provider::Ecpay, &refusal.code.to_string(), &refusal.text),
    }
}

async fn ecpay_query(State(app): State<App>, body: Bytes) -> Response {
    ecpay_call(&app, &body, |app, body| {
        answer::text(ecpay::query::answer(app, body))
    })
}

async fn ecpay_period_info(State(app): State<App>, body: Bytes) -> Response {
    ecpay_call(&app, &body, |app, body| {
        answer::json(StatusCode::OK, &ecpay::period_info::answer(app, body))
    })
}

async fn ecpay_period_action(State(app): State<App>, body: Bytes) -> Response {
    ecpay_call(&app, &body, |app, body| {
        answer::text(ecpay::period_action::answer(app, body))
    })
}

async fn ecpay_do_action(State(app): State<App>, body: Bytes) -> Response {
    ecpay_call(&app, &body, |app, body| {
        answer::text(ecpay::do_action::answer(app, body))
    })
}

/// On another host at ECPay (vendor…), with a rule of its own for how often.
async fn ecpay_settlement_file(State(app): State<App>, body: Bytes) -> Response {
    answer::file(ecpay::settlement_file::answer(&app, &body))
}

/// Who asks too often gets a bare 403, whatever was asked (reference §1.6).
fn ecpay_call(app: &App, body: &[u8], work: impl FnOnce(&App, &[u8]) -> Response) -> Response {
    let fields = form::parse(body).ok();
    let merchant = fields.as_ref().map(|fields| fields.text("MerchantID"));
    let known = merchant.filter(|id| app.ecpay_merchant(id).is_some());
    let (limit, now) = (app.config.ecpay_call_limit, app.clock.now());
    let admitted = known.is_none_or(|id| app.world.with(|world| world.limiter.admits(limit, id, now)));
    if admitted {
        work(app, body)
    } else {
        StatusCode::FORBIDDEN.into_response()
    }
}

async fn payuni_upp(State(app): State<App>, body: Bytes) -> Response {
    payuni_opened(&app, payuni::checkout::upp(&app, &body))
}

async fn payuni_period(State(app): State<App>, body: Bytes) -> Response {
    payuni_opened(&app, payuni::checkout::period(&app, &body))
}

/// What a merchant's server asks PAYUNi.
fn payuni_calls() -> Router<App> {
    Router::new()
        .route("/payuni/api/trade/query", payuni_call(payuni::query::answer))
        .route(
            "/payuni/api/trade/close",
            payuni_call(payuni::charge_calls::close),
        )
        .route(
            "/payuni/api/trade/cancel",
            payuni_call(payuni::charge_calls::cancel),
        )
        .route(
            "/payuni/api/period/mdfStatus",
            payuni_call(payuni::contract_status::answer),
        )
        .route(
            "/payuni/api/period/query",
            payuni_call(payuni::contract_query::answer),
        )
        .route(
            "/payuni/api/period/Modify",
            payuni_call(payuni::contract_change::modify),
        )
        .route("/payuni/api/period/exchange", post(payuni_exchange))
        .route("/payuni/api/credit", post(payuni_credit))
        .route(
            "/payuni/api/credit_bind/cancel",
            payuni_call(payuni::credit::remove),
        )
        .route(
            "/payuni/exchange/{name}",
            get(payuni::exchange_page::show).post(payuni::exchange_page::press),
        )
}

fn payuni_call(answer: fn(&App, &[u8]) -> serde_json::Value) -> MethodRouter<App> {
    post(async move |State(app): State<App>, body: Bytes| answer::json(StatusCode::OK, &answer(&app, &body)))
}

/// The address in the reply is that under which the sandbox was called.
async fn payuni_exchange(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Response {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let base_url = format!("http://{}", host.unwrap_or("127.0.0.1"));
    answer::json(
        StatusCode::OK,
        &payuni::contract_change::exchange(&app, &body, &base_url),
    )
}

async fn payuni_credit(State(app): State<App>, body: Bytes) -> Response {
    match payuni::credit::charge(&app, &body) {
        Some(reply) => answer::json(StatusCode::OK, &reply),
        None => answer::broken(),
    }
}

fn payuni_opened(app: &App, opened: Result<Trade, payuni::envelope::Refusal>) -> Response {
    match opened {
        Ok(trade) => cashier::opened(app, &trade),
        Err(refusal) => refused(Provider::Payuni, refusal.code, &refusal.text),
    }
}

fn refused(provider: Provider, code: &str, text: &str) -> Response {
    tracing::info!(
        provider.name = provider.as_str(),
        refusal.code = code,
        "a checkout was refused"
    );
    answer::page(StatusCode::BAD_REQUEST, page::refusal(provider, code, text))
}

/// A page for whoever opens the address in a browser.
async fn index() -> Response {
    let rows = [
        ("ECPay", "/ecpay"),
        ("PAYUNi", "/payuni"),
        ("Mock", "/mock"),
        ("Control", "/control/v1"),
        ("Sink", "/sink/{name}"),
    ];
    let rows: String = rows
        .map(|(name, path)| page::row(name, "", &format!("<code>{path}</code>")))
        .concat();
    let body = format!(
        r#"<h1>{}</h1><section class="card"><dl>{rows}</dl></section>"#,
        page::both("測試用金流", "Payment sandbox")
    );
    answer::page(
        StatusCode::OK,
        page::frame(Provider::Mock, "Tollgate sandbox", &body),
    )
}
