//! The page on which a customer gives PAYUNi a new card (A.8, #/7/331).
//!
//! `/api/period/exchange` → its address → **`show`** → a button → **`press`** → the contract's card is good.
//!
//! Invariants: an address is good once and for sixty minutes of the sandbox's clock; a new card lifts every decline, as
//! the control API's `"card": "good"` does, and charges nothing: the merchant asks for the retry.
//! Not here: PAYUNi's result form, whose fields are not documented. Failure: a 404 page for an unknown or used address.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use tollgate_shared::time::Timestamp;

use crate::app::App;
use crate::contract::bank::Bank;
use crate::numbers::Numbers;
use crate::trade::Provider;
use crate::{answer, page};

const LIFETIME: Duration = Duration::from_hours(1);

/// Addresses in one run.
const PAGES_MAX: usize = 10_000;

/// The addresses that were given out.
#[derive(Debug, Default)]
pub(crate) struct Exchanges(BTreeMap<String, (String, Timestamp)>);

impl Exchanges {
    /// Gives an address out; `None` where too many are open.
    pub(crate) fn open(&mut self, numbers: &mut Numbers, trade_no: &str, now: Timestamp) -> Option<String> {
        self.0.retain(|_, (_, until)| now < *until);
        if self.0.len() >= PAGES_MAX {
            return None;
        }
        let name = format!("X{}{:06}", now.unix_seconds(), numbers.serial());
        self.0
            .insert(name.clone(), (trade_no.to_owned(), now.plus(LIFETIME)));
        Some(name)
    }

    fn trade_no(&self, name: &str, now: Timestamp) -> Option<&str> {
        let (trade_no, until) = self.0.get(name)?;
        (now < *until).then_some(trade_no.as_str())
    }
}

/// `GET /payuni/exchange/{name}`.
pub(crate) async fn show(State(app): State<App>, Path(name): Path<String>) -> Response {
    let now = app.clock.now();
    let known = app
        .world
        .with(|world| world.exchanges.trade_no(&name, now).is_some());
    if !known {
        return unknown();
    }
    let button = format!(
        r#"<form method="post" action="/payuni/exchange/{}"><button class="main" data-action="exchange">{}</button></form>"#,
        page::escape(&name),
        page::both("更換信用卡", "Use a new card")
    );
    said(("更換信用卡", "Change the card"), &button)
}

/// `POST /payuni/exchange/{name}`.
pub(crate) async fn press(State(app): State<App>, Path(name): Path<String>) -> Response {
    let now = app.clock.now();
    let changed = app.world.with(|world| {
        let trade_no = world.exchanges.trade_no(&name, now)?.to_owned();
        world.exchanges.0.remove(&name);
        let (trade, _) = world.trade_mut(Provider::Payuni, &trade_no)?;
        trade.contract.as_mut()?.bank = Bank::default();
        Some(())
    });
    match changed {
        Some(()) => said(("換卡成功", "The card was changed"), ""),
        None => unknown(),
    }
}

fn said((chinese, english): (&str, &str), more: &str) -> Response {
    let body = format!(
        r#"<section class="card"><h1>{}</h1>{more}</section>"#,
        page::both(chinese, english)
    );
    answer::page(StatusCode::OK, page::frame(Provider::Payuni, english, &body))
}

fn unknown() -> Response {
    answer::page(
        StatusCode::NOT_FOUND,
        page::refusal(
            Provider::Payuni,
            "404",
            "The address was used, has expired, or never was",
        ),
    )
}
