//! The cashier: what a customer sees at a fake provider, and the buttons.
//!
//! a checked checkout → **`cashier`** page → a button → `App::act` → the notice goes out behind the customer's back.
//!
//! Invariant: a button answers with a redirect to the page of the trade (303), so reloading never pays twice; the
//! notice is not awaited, because at a real provider it races with the browser (reference §1.4.5).
//! Not here: checking checkout forms (`ecpay::checkout`, `payuni::checkout`, `mock`), what a move does (`trade`).
//! Failure: an unknown trade is a 404 page; a refused move comes back as the page with the reason, 409.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use crate::app::{ActError, App, Wish};
use crate::trade::{Action, Method, Provider, Status, Trade};
use crate::world::Notice;
use crate::{answer, cashier_page, form, page};

/// `GET /{provider}/cashier/{trade}`.
pub(crate) async fn show(
    State(app): State<App>,
    Path((provider, trade_no)): Path<(String, String)>,
) -> Response {
    let Some(provider) = Provider::from_path(&provider) else {
        return no_such_trade(Provider::Mock);
    };
    page_of(&app, provider, &trade_no, StatusCode::OK, None).unwrap_or_else(|| no_such_trade(provider))
}

/// `POST /{provider}/cashier/{trade}/{pay|fail|close|issue-code|pay-code}`, optionally with `method=Credit`.
pub(crate) async fn press(
    State(app): State<App>,
    Path((provider, trade_no, button)): Path<(String, String, String)>,
    body: Bytes,
) -> Response {
    let Some(provider) = Provider::from_path(&provider) else {
        return no_such_trade(Provider::Mock);
    };
    let Some(action) = action(&button) else {
        return no_such_trade(provider);
    };
    // An empty body is a button without a choice.
    let chosen = form::parse(&body)
        .ok()
        .and_then(|fields| Method::from_wire(fields.text("method")));
    match app.act(provider, &trade_no, &Wish::plain(action, chosen)) {
        Ok(notice) => {
            app.deliver_later(notice);
            Redirect::to(&format!("/{}/cashier/{trade_no}", provider.as_str())).into_response()
        }
        Err(ActError::UnknownTrade) => no_such_trade(provider),
        Err(ActError::Refused(reason)) => {
            let page = page_of(
                &app,
                provider,
                &trade_no,
                StatusCode::CONFLICT,
                Some(&reason.to_string()),
            );
            page.unwrap_or_else(|| no_such_trade(provider))
        }
    }
}

fn action(button: &str) -> Option<Action> {
    match button {
        "pay" => Some(Action::Pay),
        "fail" => Some(Action::Fail),
        "close" => Some(Action::Close),
        "issue-code" => Some(Action::IssueCode),
        "pay-code" => Some(Action::PayCode),
        _ => None,
    }
}

/// The page that answers a checkout.
pub(crate) fn opened(app: &App, trade: &Trade) -> Response {
    answer::page(StatusCode::OK, cashier_page::render(app, trade, &[], None))
}

fn page_of(
    app: &App,
    provider: Provider,
    trade_no: &str,
    status: StatusCode,
    note: Option<&str>,
) -> Option<Response> {
    let (trade, notices) = app.world.with(|world| {
        let trade = world.trade(provider, trade_no)?.clone();
        // Only a settled trade shows its notices, so only then are they looked for.
        let notices: Vec<Notice> = match trade.status {
            Status::Open => Vec::new(),
            Status::CodeIssued | Status::Paid | Status::Failed | Status::Closed => {
                world.notices_of(&trade).cloned().collect()
            }
        };
        Some((trade, notices))
    })?;
    Some(answer::page(
        status,
        cashier_page::render(app, &trade, &notices, note),
    ))
}

fn no_such_trade(provider: Provider) -> Response {
    answer::page(
        StatusCode::NOT_FOUND,
        page::refusal(provider, "404", "There is no such trade in this sandbox"),
    )
}
