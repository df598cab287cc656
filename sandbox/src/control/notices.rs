//! Notices: what was sent and what came back, and sending again at once.
//!
//! `GET /control/v1/notices?order=…` → **`list`**: one object a delivery, in the order of sending.
//! `POST /control/v1/trades/{provider}/{order}/notices/resend` → **`resend`**: `{"which": "unacknowledged" | "all"}`;
//! without it the unacknowledged ones, or all where every one is acknowledged.
//!
//! Invariant: a forced delivery is sealed anew like any re-send (`RtnMsg` `paid`), and does not stop the schedule.
//! Not here: sending (`delivery`). Failure: 404 without such an order.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::trades::find;
use super::{Fault, answered, read};
use crate::app::App;
use crate::delivery::deliver;
use crate::world::{Answer, Notice, NoticeState};

/// Deliveries listed without an order, the newest; with an order all are listed.
const LISTED_MAX: usize = 1000;

#[derive(Deserialize)]
pub(super) struct Filter {
    order: Option<String>,
}

/// Lists deliveries.
pub(super) async fn list(State(app): State<App>, Query(filter): Query<Filter>) -> Response {
    let mut listed: Vec<Value> = app.world.with(|world| {
        let wanted = |notice: &&Notice| {
            filter
                .order
                .as_ref()
                .is_none_or(|order| *order == notice.order_number)
        };
        world.notices.values().filter(wanted).flat_map(view).collect()
    });
    let surplus = if filter.order.is_some() {
        0
    } else {
        listed.len().saturating_sub(LISTED_MAX)
    };
    answered(&json!({ "notices": listed.split_off(surplus) }))
}

/// The deliveries of a notice.
pub(super) fn view(notice: &Notice) -> Vec<Value> {
    let deliveries = notice.deliveries.iter().map(|delivery| {
        let (status, body, error) = match &delivery.answer {
            Answer::Awaited => (None, None, None),
            Answer::Http { status, body } => (Some(*status), Some(body.as_str()), None),
            Answer::Lost(reason) => (None, None, Some(*reason)),
        };
        json!({
            "noticeId": notice.name(),
            "provider": notice.provider.as_str(),
            "orderNumber": notice.order_number,
            "tradeNo": notice.trade_no,
            "kind": notice.draft.kind.as_str(),
            "simulated": notice.draft.simulated,
            "url": notice.draft.url,
            "attempt": delivery.attempt,
            "sentAt": delivery.sent_at.to_string(),
            "contentType": delivery.sealed.content_type,
            "headers": delivery.sealed.headers.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "body": delivery.sealed.body,
            "status": status,
            "responseBody": body,
            "error": error,
            "acknowledged": delivery.acknowledged,
            "noticeState": notice.state.as_str(),
        })
    });
    deliveries.collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    which: Option<Which>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Which {
    Unacknowledged,
    All,
}

/// Sends again and waits for the answers.
pub(super) async fn resend(
    State(app): State<App>,
    Path((provider, order)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let (provider, trade_no) = find(&app, &provider, &order)?;
    let options: Options = read(body)?;
    let ids = app.world.with(|world| {
        let notices = world
            .trade(provider, &trade_no)
            .map(|trade| world.notices_of(trade).collect::<Vec<_>>());
        chosen(&notices.unwrap_or_default(), options.which)
    });
    for id in &ids {
        deliver(&app, *id).await;
    }
    let deliveries: Vec<Value> = app.world.with(|world| {
        let last = |id: &u64| world.notices.get(id).and_then(|notice| view(notice).pop());
        ids.iter().filter_map(last).collect()
    });
    Ok(answered(&json!({ "notices": deliveries })))
}

fn chosen(notices: &[&Notice], which: Option<Which>) -> Vec<u64> {
    let open: Vec<u64> = notices
        .iter()
        .filter(|notice| notice.state != NoticeState::Acknowledged)
        .map(|notice| notice.id)
        .collect();
    let all = || notices.iter().map(|notice| notice.id).collect();
    match which {
        Some(Which::Unacknowledged) => open,
        Some(Which::All) => all(),
        None => {
            if open.is_empty() {
                all()
            } else {
                open
            }
        }
    }
}
