//! Changes in place: subscriptions that we charge by a stored card.

use serde_json::json;

use super::{
    DAY, change, everything, notices, preview, previewed, put_plans, row, row_of_order, steps, type_of,
};
use crate::clock::Clock as _;
use crate::db::{Tx, look};
use crate::subscriptions::{self, Asked, CancelWhen, ChangeError};
use crate::tests::notices::{PAYUNI, payuni_with, trade_no};
use crate::tests::provider::{FakeProvider, Scripted, payuni_reply};
use crate::tests::stage::Stage;
use crate::tests::stored_cards::{self, card};

/// pro-monthly of `u1`, charged today with a card that is stored: its id.
async fn bought(stage: &Stage) -> String {
    put_plans(stage).await;
    let body = json!({ "planId": "pro-monthly", "provider": "payuni" });
    let (_, order) = stage.buy("u1", body).await;
    let first = payuni_with(&order, 300, ["SUCCESS", "1"], &card());
    stage.apply(&first).await;
    row_of_order(stage, &order).await["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The newest charge of ours: order number, purpose, amount.
async fn charge(stage: &Stage) -> (String, String, i64) {
    let sql = "select order_number, purpose, amount from tollgate.subscription_charges \
               order by created_at desc, id desc limit 1";
    let row = stage.admin.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

/// `/api/credit`'s answer of an amount.
fn answer(order: &str, amount: i64, [status, trade_status]: [&str; 2]) -> Scripted {
    payuni_reply(&[
        ("Status", status),
        ("Message", "words"),
        ("MerID", PAYUNI[0]),
        ("MerTradeNo", order),
        ("TradeNo", &trade_no(order)),
        ("TradeAmt", &amount.to_string()),
        ("TradeStatus", trade_status),
        ("PaymentType", "1"),
        ("AuthDay", "20261206"),
        ("AuthTime", "100010"),
    ])
}

async fn is_sound(stage: &Stage) {
    assert_eq!(stage.count("ledger faults").await, 0);
    assert_eq!(stage.count("outbox dead").await, 0);
    assert_eq!(stage.count("disputes amount_mismatch").await, 0);
}

#[tokio::test]
async fn pm_8_an_upgrade_in_place_charges_the_difference_once_and_then_changes_the_plan() {
    let fake = FakeProvider::start().await;
    let stage = stored_cards::stage(&fake).await;
    let id = bought(&stage).await;
    stage.after(DAY * 15).await;
    let before = everything(&stage).await;
    let told = preview(&stage, &id, "max-monthly").await.unwrap();
    assert_eq!(
        (told.way, told.credit_minor, told.due_minor),
        ("in_place_now", 140, 280)
    );
    assert_eq!((told.refund_minor, told.next_charge_minor), (0, Some(900)));
    assert_eq!(told.next_charge_at.as_deref(), Some("2026-12-21T01:00:00Z"));
    assert_eq!(everything(&stage).await, before, "a preview books nothing");

    change(&stage, &id, "max-monthly", "k1").await.unwrap();
    let (order, purpose, amount) = charge(&stage).await;
    assert_eq!((purpose.as_str(), amount), ("proration", 280));
    assert_eq!(
        row(&stage, &id).await["plan_id"],
        "pro-monthly",
        "not before it is paid"
    );
    assert_eq!(
        previewed(&stage, &id, "basic-monthly").await,
        "an attempt to charge is under way"
    );
    let asked = everything(&stage).await;
    change(&stage, &id, "max-monthly", "k1").await.unwrap();
    assert_eq!(everything(&stage).await, asked, "a repeat changes nothing");

    fake.will([answer(&order, 280, ["SUCCESS", "1"])]);
    stage.drain().await;
    let after = row(&stage, &id).await;
    assert_eq!(
        (&after["plan_id"], &after["amount"]),
        (&json!("max-monthly"), &json!(900))
    );
    assert_eq!(
        (&after["status"], &after["periods_paid"]),
        (&json!("active"), &json!(1))
    );
    assert_eq!(
        after["next_charge_at"], "2026-12-21T01:00:00+00:00",
        "the same day as before"
    );
    assert_eq!(type_of(&stage, "u1").await, "max");
    assert_eq!(
        steps(&stage, &id).await,
        ["activated", "plan_changed pro-monthly max-monthly"]
    );
    assert_eq!(notices(&stage, "u1").await, ["payment_received", "plan_changed"]);
    assert_eq!(stage.count("ledger transactions").await, 2);
    // What was just paid is worth its days, too: the way back down is no way to money.
    assert_eq!(
        previewed(&stage, &id, "pro-monthly").await,
        "in_place_next_period 0 0 0"
    );
    assert_eq!(
        previewed(&stage, &id, "max-monthly").await,
        "the subscription cannot become this plan: It is the plan in force."
    );

    stage.clock.advance(DAY * 15);
    subscriptions::sweep(&stage.origin, 10).await.unwrap();
    let (order, purpose, amount) = charge(&stage).await;
    assert_eq!((purpose.as_str(), amount), ("period", 900));
    fake.will([answer(&order, 900, ["SUCCESS", "1"])]);
    stage.drain().await;
    assert_eq!(row(&stage, &id).await["periods_paid"], 2);
    assert_eq!(stage.count("log subscription_plan_changed").await, 1);
    is_sound(&stage).await;
}

#[tokio::test]
async fn pm_8_a_refused_difference_changes_nothing_and_begins_no_dunning() {
    let fake = FakeProvider::start().await;
    let stage = stored_cards::stage(&fake).await;
    let id = bought(&stage).await;
    stage.after(DAY * 15).await;
    change(&stage, &id, "max-monthly", "k1").await.unwrap();
    let (order, _, amount) = charge(&stage).await;
    fake.will([answer(&order, amount, ["CREDIT05", "2"])]);
    stage.drain().await;
    let after = row(&stage, &id).await;
    assert_eq!(
        (&after["plan_id"], &after["amount"]),
        (&json!("pro-monthly"), &json!(300))
    );
    assert_eq!(
        (&after["status"], &after["failure_count"]),
        (&json!("active"), &json!(0))
    );
    assert_eq!(after["next_charge_at"], "2026-12-21T01:00:00+00:00");
    assert_eq!(
        steps(&stage, &id).await,
        ["activated", "plan_change_failed pro-monthly max-monthly"]
    );
    assert_eq!(
        notices(&stage, "u1").await,
        ["payment_received", "plan_change_failed"]
    );
    assert_eq!(type_of(&stage, "u1").await, "pro");
    assert_eq!(stage.count("ledger transactions").await, 1);
    // A new wish is a new charge.
    change(&stage, &id, "max-monthly", "k2").await.unwrap();
    let (order, _, amount) = charge(&stage).await;
    fake.will([answer(&order, amount, ["SUCCESS", "1"])]);
    stage.drain().await;
    assert_eq!(row(&stage, &id).await["plan_id"], "max-monthly");
    is_sound(&stage).await;
}

#[tokio::test]
async fn pm_8_a_downgrade_waits_for_the_next_charge_and_can_be_taken_back() {
    let fake = FakeProvider::start().await;
    let stage = stored_cards::stage(&fake).await;
    let id = bought(&stage).await;
    stage.after(DAY * 15).await;
    let view = change(&stage, &id, "basic-monthly", "k1").await.unwrap();
    assert_eq!(
        (view.plan_id.as_str(), view.next_plan_id.as_deref()),
        ("pro-monthly", Some("basic-monthly"))
    );
    assert_eq!(previewed(&stage, &id, "pro-monthly").await, "revoke 0 0 0");
    stage.clock.advance(DAY / 24);
    let view = change(&stage, &id, "pro-monthly", "k2").await.unwrap();
    assert_eq!(view.next_plan_id, None);
    stage.clock.advance(DAY / 24);
    change(&stage, &id, "basic-monthly", "k3").await.unwrap();
    // The price that was shown is the price that is charged.
    let dearer = "update tollgate.plans set amount = 120 where id = 'basic-monthly'";
    stage.admin.execute(dearer, &[]).await.unwrap();

    stage.clock.advance(DAY * 15);
    subscriptions::sweep(&stage.origin, 10).await.unwrap();
    let (order, purpose, amount) = charge(&stage).await;
    assert_eq!((purpose.as_str(), amount), ("period", 100));
    assert_eq!(type_of(&stage, "u1").await, "pro", "until it is paid");
    fake.will([answer(&order, 100, ["SUCCESS", "1"])]);
    stage.drain().await;
    let after = row(&stage, &id).await;
    assert_eq!(
        (&after["plan_id"], &after["amount"]),
        (&json!("basic-monthly"), &json!(100))
    );
    assert_eq!(
        (&after["next_plan_id"], &after["periods_paid"]),
        (&json!(null), &json!(2))
    );
    assert_eq!(type_of(&stage, "u1").await, "basic");
    assert_eq!(
        steps(&stage, &id).await,
        [
            "activated",
            "plan_change_scheduled pro-monthly basic-monthly",
            "plan_change_revoked basic-monthly pro-monthly",
            "plan_change_scheduled pro-monthly basic-monthly",
            "plan_changed pro-monthly basic-monthly",
            "renewed",
        ]
    );
    assert_eq!(stage.count("ledger transactions").await, 2);
    is_sound(&stage).await;
}

#[tokio::test]
async fn pm_8_on_the_last_day_of_a_period_an_upgrade_costs_nothing_and_is_at_once() {
    let fake = FakeProvider::start().await;
    let stage = stored_cards::stage(&fake).await;
    let id = bought(&stage).await;
    stage.after(DAY * 29).await;
    assert_eq!(previewed(&stage, &id, "max-monthly").await, "in_place_now 0 0 0");
    change(&stage, &id, "max-monthly", "k1").await.unwrap();
    assert_eq!(row(&stage, &id).await["plan_id"], "max-monthly");
    assert_eq!(type_of(&stage, "u1").await, "max");
    assert_eq!(stage.count("card charges proration unsent").await, 0);
    stage.clock.advance(DAY);
    subscriptions::sweep(&stage.origin, 10).await.unwrap();
    assert_eq!(charge(&stage).await.2, 900);
    is_sound(&stage).await;
}

/// The period's charge would be of the wrong plan, whichever way the other ends.
#[tokio::test]
async fn pm_8_a_period_waits_for_the_difference_that_is_under_way() {
    let fake = FakeProvider::start().await;
    let stage = stored_cards::stage(&fake).await;
    let id = bought(&stage).await;
    stage.after(DAY * 28).await;
    change(&stage, &id, "max-monthly", "k1").await.unwrap();
    let (order, _, amount) = charge(&stage).await;
    assert_eq!(amount, 20, "⌊900 × 1 / 30⌋ − ⌊300 × 1 / 30⌋");
    fake.will([answer(&order, amount, ["UNKNOWN", "0"])]);
    stage.drain().await;
    // The bank decides two days later.
    stage.clock.advance(DAY * 2);
    subscriptions::sweep(&stage.origin, 10).await.unwrap();
    assert_eq!(charge(&stage).await.0, order, "no other charge");
    let told = payuni_with(&order, amount, ["SUCCESS", "1"], &card());
    stage.apply(&told).await;
    assert_eq!(
        charge(&stage).await.2,
        900,
        "and then the period, in the new plan"
    );
    is_sound(&stage).await;
}

#[tokio::test]
async fn pm_8_a_difference_that_is_paid_after_the_end_is_paid_back() {
    let fake = FakeProvider::start().await;
    let stage = stored_cards::stage(&fake).await;
    let id = bought(&stage).await;
    stage.after(DAY * 15).await;
    change(&stage, &id, "max-monthly", "k1").await.unwrap();
    let (order, _, amount) = charge(&stage).await;
    fake.will([answer(&order, amount, ["UNKNOWN", "0"])]);
    stage.drain().await;
    let asked = &Asked {
        subscription: id.parse().unwrap(),
        actor: "user",
        key: "k2",
        now: stage.clock.now(),
    };
    let context = stage.origin.subscriptions();
    let cancel = |tx: Tx| async move { subscriptions::cancel(&tx, context, asked, CancelWhen::Now).await };
    stage.origin.database.run_tx("cancel", cancel).await.unwrap();
    stage
        .apply(&payuni_with(&order, amount, ["SUCCESS", "1"], &card()))
        .await;
    let refunds = look::rows(&stage.admin, "refunds").await;
    assert_eq!((refunds.len(), &refunds[0]["amount"]), (1, &json!(amount)));
    assert_eq!(row(&stage, &id).await["plan_id"], "pro-monthly");
    assert_eq!(steps(&stage, &id).await, ["activated", "canceled"]);
}

#[tokio::test]
async fn pm_8_a_change_that_cannot_be_writes_nothing() {
    let fake = FakeProvider::start().await;
    let stage = stored_cards::stage(&fake).await;
    let id = bought(&stage).await;
    stage.after(DAY * 15).await;
    let before = everything(&stage).await;
    for (plan, expected) in [
        ("nowhere", "no such plan"),
        (
            "pro-month",
            "the subscription cannot become this plan: It does not renew itself; buy it at checkout.",
        ),
        (
            "pro-monthly",
            "the subscription cannot become this plan: It is the plan in force.",
        ),
        ("pro-yearly", "the change takes a checkout"),
    ] {
        let refused = change(&stage, &id, plan, "k1").await.unwrap_err();
        assert_eq!(refused.to_string(), expected, "{plan}");
    }
    let nowhere = change(
        &stage,
        "01997c5e-0000-7000-8000-000000000001",
        "max-monthly",
        "k1",
    )
    .await;
    assert!(matches!(nowhere, Err(ChangeError::Unknown)), "{nowhere:?}");
    assert_eq!(everything(&stage).await, before);
}

/// The plan's terms would change under a subscription that has come to it without a payment of its own.
#[tokio::test]
async fn pm_8_the_terms_of_a_plan_that_a_subscription_has_become_stay() {
    let fake = FakeProvider::start().await;
    let stage = stored_cards::stage(&fake).await;
    let id = bought(&stage).await;
    stage.after(DAY * 29).await;
    change(&stage, &id, "max-monthly", "k1").await.unwrap();
    let now = stage.clock.now();
    let put = |tx: Tx| async move {
        let plan = crate::db::plans::find(&tx, &"max-monthly".parse().unwrap()).await?;
        let other = crate::domain::plan::Plan {
            kind: crate::domain::plan::PlanKind::OneTime {
                subscription_type: None,
                duration_days: None,
            },
            ..plan.unwrap()
        };
        crate::db::plans::put(&tx, &other, now).await
    };
    let put = stage.origin.database.run_tx("plan", put).await.unwrap();
    assert_eq!(put, crate::db::plans::Put::TermsInUse);
}
