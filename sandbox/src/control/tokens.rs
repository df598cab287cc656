//! Stored cards: what they were charged, cards that go bad, and answers that go wrong.
//!
//! `GET /control/v1/tokens/payuni/{name}` → **`show`**; the name is the order that bound the card, or its `CreditToken`.
//! `POST …/declines` as for contracts → **`decline`**, `DELETE …/declines` → **`approve`**.
//! `POST …/answers` → **`answers`**: `{"lost": 1}`: the charge is made and the connection breaks off; `{"unknown": 1}`:
//! UNKNOWN, and the result a quarter of an hour later.
//!
//! Invariant: where a name was bound twice, the newest card is meant. Not here: the charge (`payuni::credit`).
//! Failure: 404 without such a card, 400.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::contracts::{Declines, Rules, bank_view};
use super::{Fault, answered, read};
use crate::app::App;
use crate::contract::bank::Bank;
use crate::tokens::{Answers, LIFE, Token};
use crate::trade::{Provider, Trade};
use crate::world::World;

/// Shows a card.
pub(super) async fn show(State(app): State<App>, Path(name): Path<String>) -> Result<Response, Fault> {
    change(&app, &name, |_| {})
}

/// Adds declines, or lifts them all.
pub(super) async fn decline(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let declines: Declines = read(body)?;
    let rules = Rules::read(declines)?;
    change(&app, &name, |token| rules.apply(&mut token.bank))
}

/// Lifts every decline.
pub(super) async fn approve(State(app): State<App>, Path(name): Path<String>) -> Result<Response, Fault> {
    change(&app, &name, |token| token.bank = Bank::default())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    lost: u32,
    #[serde(default)]
    unknown: u32,
}

/// Lets answers go wrong.
pub(super) async fn answers(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let Wanted { lost, unknown } = read(body)?;
    change(&app, &name, |token| token.answers = Answers { lost, unknown })
}

fn change(app: &App, name: &str, work: impl FnOnce(&mut Token)) -> Result<Response, Fault> {
    let shown = app.world.with(|world| {
        let (hash, token) = world.tokens.named(name)?;
        work(token);
        let (hash, token) = (hash.clone(), token.clone());
        Some(view(world, &hash, &token))
    });
    shown.map(|view| answered(&view)).ok_or(Fault::Unknown("token"))
}

fn view(world: &World, hash: &str, token: &Token) -> Value {
    let charges = token.charged.iter();
    let charges = charges.filter_map(|trade_no| world.trade(Provider::Payuni, trade_no));
    json!({
        "creditHash": hash,
        "creditLife": LIFE,
        "creditToken": token.reference,
        "merchantId": token.merchant_id,
        "orderNumber": token.order_number,
        "removed": token.removed,
        "card": bank_view(&token.bank),
        "answers": { "lost": token.answers.lost, "unknown": token.answers.unknown },
        "charges": charges.map(charge_view).collect::<Vec<_>>(),
    })
}

fn charge_view(trade: &Trade) -> Value {
    json!({
        "orderNumber": trade.order_number,
        "tradeNo": trade.trade_no,
        "amount": trade.amount.get(),
        "status": trade.status.as_str(),
        "code": trade.decline_code,
        "at": trade.created_at.to_string(),
        "atUnixMs": trade.created_at.unix_ms(),
    })
}
