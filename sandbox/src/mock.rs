//! The mock provider: an address with the order in it, a cashier, and a signed JSON notice.
//!
//! `GET /mock/checkout?orderNumber=…&amount=…&currency=…&notifyUrl=…&returnUrl=…` → **`checkout`** → cashier →
//! **`draft`** → `delivery` → **`sealed`**.
//!
//! Invariants: opening the same address again shows the same trade, because browsers repeat a GET; the message id
//! stays the same over all deliveries of a notice, the stamp and so the signature do not (Standard Webhooks).
//! Not here: codes and periods; the mock knows card payments only. Failure: a page that names the parameter.

use std::collections::BTreeMap;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use tollgate_shared::money::Minor;
use tollgate_shared::secret::Secret;
use tollgate_shared::time::Timestamp;

use crate::app::App;
use crate::notice::{Draft, Kind, Seal, Sealed};
use crate::standard_webhooks::sign;
use crate::trade::{Method, Outcome, Provider, Status, Trade};
use crate::{answer, cashier, form, page};

const PARAMETERS: [&str; 5] = ["orderNumber", "amount", "currency", "notifyUrl", "returnUrl"];

/// The merchant the mock's trades belong to; it has no accounts.
const MERCHANT: &str = "mock";

/// Opens a trade, or shows the one that the address opened before.
pub(crate) async fn checkout(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    match open(&app, query.unwrap_or_default().as_bytes()) {
        Ok(trade) => cashier::opened(&app, &trade),
        Err(text) => answer::page(
            StatusCode::BAD_REQUEST,
            page::refusal(Provider::Mock, "400", &text),
        ),
    }
}

fn open(app: &App, query: &[u8]) -> Result<Trade, String> {
    let fields = form::parse(query).map_err(|error| error.to_string())?;
    if let Some(unknown) = fields.names().find(|name| !PARAMETERS.contains(name)) {
        return Err(format!("{unknown} is not a parameter of the mock provider"));
    }
    let request = fields.into_map();
    let amount = check(&request)?;
    let now = app.clock.now();
    app.world.with(|world| {
        let order_number = request.get("orderNumber").cloned().unwrap_or_default();
        if let Some(known) = world.order_of(Provider::Mock, MERCHANT, &order_number) {
            let same = known.request == request;
            return if same {
                Ok(known.clone())
            } else {
                Err("orderNumber belongs to another order".into())
            };
        }
        let trade_no = world.numbers.trade_no(Provider::Mock, now);
        let trade = trade(request, order_number, trade_no, amount, now);
        world.open(trade.clone()).map_err(|full| full.to_string())?;
        Ok(trade)
    })
}

fn check(request: &BTreeMap<String, String>) -> Result<Minor, String> {
    let text = |name: &str| request.get(name).map_or("", String::as_str);
    if !(1..=64).contains(&text("orderNumber").len()) {
        return Err("orderNumber: 1 to 64 bytes".into());
    }
    if text("currency") != "TWD" {
        return Err("currency: TWD".into());
    }
    for name in ["notifyUrl", "returnUrl"] {
        let url = reqwest::Url::parse(text(name));
        if !url.is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            return Err(format!("{name}: an absolute http or https address"));
        }
    }
    let amount = Minor::from_decimal(text("amount")).filter(|amount| *amount > Minor::ZERO);
    amount.ok_or_else(|| "amount: whole TWD above 0".into())
}

fn trade(
    request: BTreeMap<String, String>,
    order_number: String,
    trade_no: String,
    amount: Minor,
    now: Timestamp,
) -> Trade {
    Trade {
        provider: Provider::Mock,
        merchant_id: MERCHANT.into(),
        order_number,
        trade_no,
        gwsr: String::new(),
        amount,
        description: "Tollgate".into(),
        request,
        methods: vec![Method::Credit],
        method: None,
        status: Status::Open,
        created_at: now,
        settled_at: None,
        settlements: std::collections::BTreeMap::new(),
        credit_hash: None,
        decline_code: None,
        unknown_until: None,
        contract: None,
    }
}

/// The notice of a move; the fields are the members of `data`, before them the type.
pub(crate) fn draft(secret: &Secret, trade: &Trade, outcome: &Outcome, _now: Timestamp) -> Option<Draft> {
    let (kind, code, message) = match outcome {
        Outcome::Paid => ("payment.paid", "", ""),
        Outcome::Failed => ("payment.failed", "declined", "The card was declined"),
        Outcome::CodeIssued | Outcome::Simulated | Outcome::Charged(_) | Outcome::Closed => return None,
    };
    let amount = trade.amount.to_string();
    let fields = [
        ("type", kind),
        ("orderNumber", &trade.order_number),
        ("amount", &amount),
        ("currency", "TWD"),
        ("tradeNo", &trade.trade_no),
        ("code", code),
        ("message", message),
    ];
    Some(Draft {
        kind: Kind::Payment,
        url: trade.field("notifyUrl").to_owned(),
        simulated: false,
        fields: fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        seal: Seal::Mock {
            secret: secret.clone(),
        },
    })
}

/// The bytes of one delivery.
pub(crate) fn sealed(secret: &Secret, fields: &[(String, String)], id: &str, now: Timestamp) -> Sealed {
    let mut kind = String::new();
    let mut data = serde_json::Map::new();
    for (name, value) in fields {
        match name.as_str() {
            "type" => kind.clone_from(value),
            // A replaced amount that is no number goes out as it is: a receiver must stand that.
            "amount" => drop(
                data.insert(
                    name.clone(),
                    value
                        .parse::<i64>()
                        .map_or_else(|_| json!(value), |number| json!(number)),
                ),
            ),
            _ => drop(data.insert(name.clone(), json!(value))),
        }
    }
    let body = json!({ "type": kind, "data": data }).to_string();
    let stamp = now.unix_seconds().to_string();
    let signature = sign(secret, id, &stamp, body.as_bytes()).unwrap_or_default();
    let headers = vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", stamp),
        ("webhook-signature", signature),
    ];
    Sealed {
        content_type: "application/json",
        headers,
        body,
    }
}
