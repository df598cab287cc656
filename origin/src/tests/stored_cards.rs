//! Charges that we make ourselves with a stored card (PAYUNi `/api/credit`): once, whatever is lost on the way.

use std::time::Duration;

use serde_json::json;
use tollgate_shared::form::encode;

use super::notices::{PAYUNI, payuni_with, trade_no};
use super::provider::{FakeProvider, Scripted, fields, payuni_reply};
use super::stage::{Stage, settings};
use crate::clock::Clock as _;
use crate::db::{Tx, look};
use crate::subscriptions::{self, Asked, CancelWhen};

const HASH: &str = "hash-of-the-card";

pub(super) async fn stage(fake: &FakeProvider) -> Stage {
    let mut settings = settings();
    settings.insert("PAYUNI_BASE_URL".into(), fake.base.clone());
    settings.insert("PAYUNI_QUERY_SPACING_MS".into(), "0".into());
    settings.insert("PAYUNI_SUBSCRIPTIONS".into(), "token".into());
    Stage::start_with(settings).await
}

/// A subscription whose first charge stored a card, a month later, when the second is to be sent: its order number.
pub(super) async fn due(stage: &Stage, card: &[(&str, &str)]) -> String {
    let body = json!({ "planId": "pro-monthly", "provider": "payuni" });
    let (_, order) = stage.buy("u1", body).await;
    stage
        .apply(&payuni_with(&order, 300, ["SUCCESS", "1"], card))
        .await;
    stage.clock.advance(Duration::from_hours(24 * 30));
    let swept = subscriptions::sweep(&stage.origin, 10).await.unwrap();
    assert_eq!((swept.claimed, swept.effects), (1, 1));
    let charges = look::rows(&stage.admin, "subscription_charges").await;
    assert_eq!((charges.len(), &charges[0]["status"]), (1, &json!("unsent")));
    charges[0]["order_number"].as_str().unwrap().to_owned()
}

pub(super) async fn charge_status(stage: &Stage, order: &str) -> String {
    let row = look::row(&stage.admin, "subscription_charges", "order_number", order).await;
    row["status"].as_str().unwrap().to_owned()
}

pub(super) async fn subscription_status(stage: &Stage) -> String {
    let row = look::row(&stage.admin, "saas_subscriptions", "user_id", "u1").await;
    row["status"].as_str().unwrap().to_owned()
}

pub(super) fn card() -> Vec<(&'static str, &'static str)> {
    vec![("CreditHash", HASH), ("CreditLife", "1230"), ("Card4No", "4242")]
}

/// `/api/credit`'s answer: charged, refused or undecided.
pub(super) fn answer(order: &str, status: &str, trade_status: &str) -> Scripted {
    payuni_reply(&[
        ("Status", status),
        ("Message", "words"),
        ("MerID", PAYUNI[0]),
        ("MerTradeNo", order),
        ("TradeNo", &trade_no(order)),
        ("TradeAmt", "300"),
        ("TradeStatus", trade_status),
        ("PaymentType", "1"),
        ("AuthDay", "20261221"),
        ("AuthTime", "100010"),
    ])
}

/// `/api/trade/query`'s answer about a charge that was made.
pub(super) fn found(order: &str) -> Scripted {
    payuni_reply(&[
        ("Status", "SUCCESS"),
        ("Result[0][MerTradeNo]", order),
        ("Result[0][TradeNo]", &trade_no(order)),
        ("Result[0][TradeAmt]", "300"),
        ("Result[0][TradeStatus]", "1"),
        ("Result[0][PaymentType]", "1"),
        ("Result[0][PaymentDay]", "2026-12-21 10:00:10"),
        ("Result[0][DataSource]", "A"),
    ])
}

pub(super) fn not_found() -> Scripted {
    payuni_reply(&[("Status", "QUERY03001"), ("Message", "no such order")])
}

async fn assert_charged_once(stage: &Stage, order: &str) {
    assert_eq!(charge_status(stage, order).await, "paid");
    assert_eq!(subscription_status(stage).await, "active");
    assert_eq!(stage.count("ledger transactions").await, 2);
    assert_eq!(stage.count("ledger faults").await, 0);
    assert_eq!(stage.count("outbox pending").await, 0);
}

#[tokio::test]
async fn ec_2_a_due_period_is_charged_once_though_its_mark_was_lost() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let order = due(&stage, &card()).await;
    fake.will([answer(&order, "SUCCESS", "1")]);
    tokio::join!(stage.drain(), stage.drain());
    assert_charged_once(&stage, &order).await;
    let sent = fake.seen();
    assert_eq!(fake.paths(), ["/api/credit"]);
    assert_eq!(sent[0].fields["CreditHash"], HASH);
    assert_eq!(sent[0].fields["MerTradeNo"], order);
    let forget = "update tollgate.outbox set status = 'pending', done_at = null, next_attempt_at = created_at \
                  where kind = 'subscription_charge'";
    stage.admin.execute(forget, &[]).await.unwrap();
    stage.drain().await;
    assert_eq!(fake.paths(), ["/api/credit"], "it has its result");
    assert_charged_once(&stage, &order).await;
}

#[tokio::test]
async fn ec_2_a_charge_whose_answer_was_lost_is_asked_for_and_not_sent_again() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let order = due(&stage, &card()).await;
    fake.will([Scripted::Lost, found(&order)]);
    stage.drain().await;
    assert_eq!(charge_status(&stage, &order).await, "unknown");
    stage.after(Duration::from_mins(1)).await;
    assert_eq!(fake.paths(), ["/api/credit", "/api/trade/query"]);
    assert_charged_once(&stage, &order).await;
}

#[tokio::test]
async fn ec_2_a_charge_that_payuni_never_heard_of_is_sent_again_late_and_under_its_number() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let order = due(&stage, &card()).await;
    fake.will([
        Scripted::Lost,
        not_found(),
        not_found(),
        answer(&order, "SUCCESS", "1"),
    ]);
    stage.drain().await;
    stage.after(Duration::from_mins(1)).await;
    stage.after(Duration::from_mins(10)).await;
    assert_eq!(fake.paths(), ["/api/credit", "/api/trade/query"], "too early");
    stage.after(Duration::from_mins(10)).await;
    let query = "/api/trade/query";
    assert_eq!(fake.paths(), ["/api/credit", query, query, "/api/credit"]);
    let sent = fake.seen();
    assert_eq!(sent[0].fields["MerTradeNo"], sent[3].fields["MerTradeNo"]);
    assert_charged_once(&stage, &order).await;
}

#[tokio::test]
async fn ec_2_a_charge_that_the_bank_has_not_decided_is_asked_for_later() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let order = due(&stage, &card()).await;
    fake.will([answer(&order, "UNKNOWN", "0"), found(&order)]);
    stage.drain().await;
    assert_eq!(charge_status(&stage, &order).await, "unknown");
    stage.after(Duration::from_mins(14)).await;
    assert_eq!(fake.paths(), ["/api/credit"]);
    stage.after(Duration::from_mins(2)).await;
    assert_eq!(fake.paths(), ["/api/credit", "/api/trade/query"]);
    assert_charged_once(&stage, &order).await;
}

#[tokio::test]
async fn ec_1_a_refused_card_and_a_refused_call_both_begin_dunning() {
    for sealed in [true, false] {
        let fake = FakeProvider::start().await;
        let stage = stage(&fake).await;
        let order = due(&stage, &card()).await;
        fake.will([if sealed {
            answer(&order, "CREDIT05", "2")
        } else {
            let refusal = json!({ "Status": "CREDIT02025", "Message": "no such token" });
            Scripted::Answer(200, refusal.to_string())
        }]);
        stage.drain().await;
        assert_eq!(charge_status(&stage, &order).await, "failed");
        assert_eq!(subscription_status(&stage).await, "past_due");
        assert_eq!(stage.count("ledger transactions").await, 1);
    }
}

#[tokio::test]
async fn ec_1_without_a_stored_card_nothing_is_sent_and_dunning_begins() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let order = due(&stage, &[]).await;
    stage.drain().await;
    assert!(fake.seen().is_empty());
    assert_eq!(charge_status(&stage, &order).await, "failed");
    assert_eq!(subscription_status(&stage).await, "past_due");
}

#[tokio::test]
async fn pu_6_a_subscription_that_ended_before_its_charge_was_sent_is_not_charged() {
    for when in [CancelWhen::Now, CancelWhen::PeriodEnd] {
        let fake = FakeProvider::start().await;
        let stage = stage(&fake).await;
        let order = due(&stage, &card()).await;
        let row = look::row(&stage.admin, "saas_subscriptions", "user_id", "u1").await;
        let asked = &Asked {
            subscription: row["id"].as_str().unwrap().parse().unwrap(),
            actor: "user",
            key: "k1",
            now: stage.clock.now(),
        };
        let context = stage.origin.subscriptions();
        let cancel = |tx: Tx| async move { subscriptions::cancel(&tx, context, asked, when).await };
        stage.origin.database.run_tx("cancel", cancel).await.unwrap();
        stage.drain().await;
        assert!(fake.seen().is_empty(), "{when:?}");
        assert_eq!(charge_status(&stage, &order).await, "failed");
    }
}

/// While a charge is under way the subscription renews itself as ever: it is not sold a second time beside itself.
#[tokio::test]
async fn pm_3_pm_8_a_subscription_whose_charge_is_under_way_is_not_sold_a_second_time() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    due(&stage, &card()).await;
    let again = json!({ "planId": "pro-monthly", "provider": "payuni" });
    fake.will([Scripted::Lost]);
    for (days, problem) in [
        (0, "plan-covered"),
        (0, "plan-covered"),
        (10, "subscription-running"),
    ] {
        stage.clock.advance(Duration::from_hours(24 * days));
        assert_eq!(stage.user("u1").await["auto_renew"], true);
        let refused = stage.checkout("u1", "again", again.clone()).await;
        assert_eq!((refused.status, refused.problem()), (409, problem));
        stage.drain().await;
    }
    assert_eq!(stage.count("payments active").await, 1);
}

/// Who resumes after a due day wants the service: the period that runs is charged at once, and once.
#[tokio::test]
async fn pu_6_a_subscription_of_ours_that_is_resumed_after_its_due_day_is_charged_at_once() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let (_, first) = stage
        .buy("u1", json!({ "planId": "pro-monthly", "provider": "payuni" }))
        .await;
    stage
        .apply(&payuni_with(&first, 300, ["SUCCESS", "1"], &card()))
        .await;
    stage.clock.advance(Duration::from_mins(10));
    let row = look::row(&stage.admin, "saas_subscriptions", "user_id", "u1").await;
    let wish = async |key: &str, is_pause: bool| {
        let asked = &Asked {
            subscription: row["id"].as_str().unwrap().parse().unwrap(),
            actor: "user",
            key,
            now: stage.clock.now(),
        };
        let context = stage.origin.subscriptions();
        let change = |tx: Tx| async move {
            if is_pause {
                subscriptions::pause(&tx, context, asked).await
            } else {
                subscriptions::resume(&tx, context, asked).await
            }
        };
        stage.origin.database.run_tx("wish", change).await.unwrap()
    };
    wish("k1", true).await;
    stage.after(Duration::from_hours(24 * 40)).await;
    assert_eq!(fake.paths(), [""; 0]);
    assert_eq!(look::rows(&stage.admin, "subscription_charges").await.len(), 0);
    wish("k2", false).await;
    wish("k2", false).await;
    let charges = look::rows(&stage.admin, "subscription_charges").await;
    assert_eq!((charges.len(), &charges[0]["period_number"]), (1, &json!(2)));
    let order = charges[0]["order_number"].as_str().unwrap();
    fake.will([answer(order, "SUCCESS", "1")]);
    stage.drain().await;
    assert_charged_once(&stage, order).await;
    let row = look::row(&stage.admin, "saas_subscriptions", "user_id", "u1").await;
    assert_eq!(
        row["paid_until"], "2027-01-21T16:00:00+00:00",
        "to the end of its own period"
    );
}

/// The first payment is no contract: it asks the customer to have the card kept, by the order's own number.
#[tokio::test]
async fn pu_6_ec_2_the_checkout_of_a_subscription_of_ours_asks_for_the_card_to_be_kept() {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let body = json!({ "planId": "pro-monthly", "provider": "payuni" });
    let placed = stage.checkout("u1", "key-1", body).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let form = &placed.body["form"];
    assert_eq!(form["action"], format!("{}/api/upp", fake.base));
    let outer: Vec<(String, String)> = serde_json::from_value(form["fields"].clone()).unwrap();
    let outer = encode(outer.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let inner = fields(outer.as_bytes());
    let order = placed.body["orderNumber"].as_str().unwrap();
    for (name, value) in [
        ("MerTradeNo", order),
        ("TradeAmt", "300"),
        ("Credit", "1"),
        ("UseTokenType", "3"),
        ("CreditToken", order),
        ("CreditTokenType", "1"),
    ] {
        assert_eq!(inner[name], value, "{name}: {inner:?}");
    }
    let of_contract = |name: &&String| name.starts_with("Period") || name.starts_with('F');
    let of_contract: Vec<&String> = inner.keys().filter(of_contract).collect();
    assert!(
        of_contract.is_empty(),
        "PAYUNi would charge beside us: {of_contract:?}"
    );
    let body = json!({ "planId": "pro-monthly", "provider": "payuni", "method": "ATM" });
    let refused = stage.checkout("u2", "key-1", body).await;
    assert_eq!(
        (refused.status, refused.problem()),
        (422, "unknown-method"),
        "no card, nothing to keep"
    );
    assert_eq!(stage.count("payments pending").await, 1);
}
