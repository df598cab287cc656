//! Trades: what a customer or the provider's console would do, done by a program.
//!
//! `POST /control/v1/trades/{provider}/{order}/{pay|fail|close|issue-code|pay-code|simulate|period}` → **`act`**.
//!
//! Body, every member optional: `{"method": "ATM", "fields": {"TradeAmt": "1"}, "notify": true, "wait": true,
//! "failed": false}`. `fields` replaces values of the notice before it is sealed (a genuine MAC over a wrong amount);
//! `notify: false` loses the notice; `wait: false` answers before its first delivery has ended.
//! Invariant: the answer shows the trade after the move. Not here: moves (`trade`).
//! Failure: 404 without such an order, 409 where the trade cannot make the move now.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::notices::view as notice_view;
use super::{Fault, answered, read};
use crate::app::{App, Wish};
use crate::delivery::deliver;
use crate::trade::{Action, Method, Provider, Trade};

/// Replaced fields of one notice, and the longest value: enough for every field a provider sends.
const FIELDS_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    method: Option<String>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    #[serde(default = "yes")]
    notify: bool,
    #[serde(default = "yes")]
    wait: bool,
    #[serde(default)]
    failed: bool,
}

const fn yes() -> bool {
    true
}

/// `GET /control/v1/trades/{provider}/{order}`.
pub(super) async fn show(
    State(app): State<App>,
    Path(path): Path<(String, String)>,
) -> Result<Response, Fault> {
    let (provider, trade_no) = find(&app, &path.0, &path.1)?;
    Ok(answered(&view(&app, provider, &trade_no)))
}

/// Makes a move.
pub(super) async fn act(
    State(app): State<App>,
    Path((provider, order, action)): Path<(String, String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let (provider, trade_no) = find(&app, &provider, &order)?;
    let options: Options = read(body)?;
    let wait = options.wait;
    let notice = app.act(provider, &trade_no, &wish(&action, options)?)?;
    match notice {
        Some(id) if wait => deliver(&app, id).await,
        later => app.deliver_later(later),
    }
    Ok(answered(&view(&app, provider, &trade_no)))
}

/// The newest trade of the order.
pub(super) fn find(app: &App, provider: &str, order: &str) -> Result<(Provider, String), Fault> {
    let provider = Provider::from_path(provider).ok_or(Fault::Unknown("provider"))?;
    let trade_no = app.world.with(|world| {
        world
            .newest_of_order(provider, order)
            .map(|trade| trade.trade_no.clone())
    });
    trade_no
        .map(|trade_no| (provider, trade_no))
        .ok_or(Fault::Unknown("order"))
}

fn wish(action: &str, options: Options) -> Result<Wish, Fault> {
    let action = match action {
        "pay" => Action::Pay,
        "fail" => Action::Fail,
        "close" => Action::Close,
        "issue-code" => Action::IssueCode,
        "pay-code" => Action::PayCode,
        "simulate" => Action::Simulate,
        "period" => Action::Period {
            failed: options.failed,
        },
        _ => return Err(Fault::Unknown("action")),
    };
    if options.fields.len() > FIELDS_MAX || options.fields.values().any(|value| value.len() > VALUE_BYTES_MAX)
    {
        return Err(Fault::Value {
            member: "fields",
            expected: "at most 64 fields of at most 1024 bytes",
        });
    }
    let method = options
        .method
        .map(|name| Method::from_wire(&name).ok_or(UNKNOWN_METHOD))
        .transpose()?;
    Ok(Wish {
        action,
        method,
        replacements: options.fields.into_iter().collect(),
        notify: options.notify,
    })
}

const UNKNOWN_METHOD: Fault = Fault::Value {
    member: "method",
    expected: "a payment method in ECPay's spelling, such as Credit or ATM",
};

fn view(app: &App, provider: Provider, trade_no: &str) -> Value {
    app.world.with(|world| {
        let Some(trade) = world.trade(provider, trade_no) else {
            return Value::Null;
        };
        let notices: Vec<Value> = world.notices_of(trade).flat_map(notice_view).collect();
        let mut view = trade_view(trade);
        if let Some(map) = view.as_object_mut() {
            map.insert("notices".into(), notices.into());
        }
        view
    })
}

fn trade_view(trade: &Trade) -> Value {
    json!({
        "provider": trade.provider.as_str(),
        "merchantId": trade.merchant_id,
        "orderNumber": trade.order_number,
        "tradeNo": trade.trade_no,
        "amount": trade.amount.get(),
        "status": trade.status.as_str(),
        "method": trade.method.map(Method::as_str),
        "methods": trade.methods.iter().map(|method| method.as_str()).collect::<Vec<_>>(),
        "createdAt": trade.created_at.to_string(),
        "settledAt": trade.settled_at.map(|at| at.to_string()),
        "cashierPath": format!("/{}/cashier/{}", trade.provider.as_str(), trade.trade_no),
        "request": trade.request,
        "plan": trade.contract.as_ref().map(|contract| json!({
            "timesTotal": contract.terms.times_total,
            "amount": contract.terms.amount.get(),
            "firstAmount": contract.terms.first_amount.get(),
            "periodTradeNo": contract.terms.period_trade_no,
            "charges": contract.charges.iter().map(|charge| json!({
                "number": charge.number,
                "tradeNo": charge.trade_no,
                "gwsr": charge.gwsr,
                "amount": charge.amount.get(),
                "succeeded": charge.succeeded,
                "at": charge.at.to_string(),
            })).collect::<Vec<_>>(),
        })),
    })
}
