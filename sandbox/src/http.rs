//! The routes of all fakes, and what is refused before any of them.
//!
//! TCP → **`router`** → `ecpay`, `payuni`, `mock`, `cashier`, `control`.
//!
//! Invariant: no body is read beyond 64 KiB; an unknown path and a wrong method are problem documents.
//! A refused checkout is answered 400 with the provider's code in the page: whether the real ones use another status
//! with their error pages is not known, and a test must not mistake an error page for a cashier.
//! Not here: what the fakes check. Nothing here fails.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use tollgate_shared::problem::Problem;

use crate::app::App;
use crate::trade::{Provider, Trade};
use crate::{answer, cashier, control, ecpay, mock, page, payuni};

const BODY_BYTES_MAX: usize = 64 * 1024;

/// Every route of the sandbox.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/health", get(|| async { "ok" }))
        .route("/ecpay/Cashier/AioCheckOut/V5", post(ecpay_checkout))
        .route("/ecpay/Cashier/QueryTradeInfo/V5", post(ecpay_query))
        .route("/payuni/api/upp", post(payuni_upp))
        .route("/payuni/api/period/Page", post(payuni_period))
        .route("/payuni/api/trade/query", post(payuni_query))
        .route("/mock/checkout", get(mock::checkout))
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
    answer::text(ecpay::query::answer(&app, &body))
}

async fn payuni_upp(State(app): State<App>, body: Bytes) -> Response {
    payuni_opened(&app, payuni::checkout::upp(&app, &body))
}

async fn payuni_period(State(app): State<App>, body: Bytes) -> Response {
    payuni_opened(&app, payuni::checkout::period(&app, &body))
}

async fn payuni_query(State(app): State<App>, body: Bytes) -> Response {
    answer::json(StatusCode::OK, &payuni::query::answer(&app, &body))
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
