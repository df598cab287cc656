//! Upgrades by a new contract: a checkout that replaces, and what its first charge does to the old one.

use serde_json::{Value, json};

use super::{
    DAY, at_ecpay, change, everything, notices, preview, previewed, put_plans, row, row_of_order, steps,
    type_of,
};
use crate::clock::Clock as _;
use crate::db::{Tx, look};
use crate::subscriptions::{self, Asked, CancelWhen};
use crate::tests::notices::{Ecpay, Notice};
use crate::tests::stage::Stage;

/// pro-monthly of `u1` at ECPay, paid fifteen days ago.
async fn stage() -> (Stage, String) {
    let stage = Stage::start().await;
    put_plans(&stage).await;
    let old = at_ecpay(&stage, "u1").await;
    stage.clock.advance(DAY * 15);
    (stage, old)
}

/// Places max-monthly in place of the old one: the order number.
async fn replacing(stage: &Stage, old: &str) -> String {
    let body = json!({ "planId": "max-monthly", "replaces": old });
    stage.buy("u1", body).await.1
}

/// Its first charge, on 6 December.
fn first_charge(order: &str) -> Notice {
    let at = "2026/12/06 10:00:00";
    Ecpay::paid(order, 900).with("PaymentDate", at).signed()
}

/// Charge, amount and status of the refunds.
async fn refunds(stage: &Stage) -> Vec<(i64, String)> {
    let rows = look::rows(&stage.admin, "refunds").await;
    let told = |row: &Value| {
        (
            row["amount"].as_i64().unwrap(),
            row["status"].as_str().unwrap().to_owned(),
        )
    };
    rows.iter().map(told).collect()
}

async fn effects(stage: &Stage, kind: &str) -> usize {
    let rows = look::rows(&stage.admin, "outbox").await;
    rows.iter().filter(|row| row["kind"] == kind).count()
}

async fn cancel(stage: &Stage, id: &str, when: CancelWhen) {
    let asked = &Asked {
        subscription: id.parse().unwrap(),
        actor: "user",
        key: "cancel",
        now: stage.clock.now(),
    };
    let context = stage.origin.subscriptions();
    let cancel = |tx: Tx| async move { subscriptions::cancel(&tx, context, asked, when).await };
    stage.origin.database.run_tx("cancel", cancel).await.unwrap();
}

#[tokio::test]
async fn pm_8_the_first_charge_of_a_new_contract_ends_the_old_one_and_pays_back_its_unused_days() {
    let (stage, old) = stage().await;
    let before = everything(&stage).await;
    let told = preview(&stage, &old, "max-monthly").await.unwrap();
    assert_eq!(
        (told.way, told.credit_minor, told.due_minor, told.refund_minor),
        ("new_contract", 140, 900, 140)
    );
    assert_eq!(told.next_charge_at.as_deref(), Some("2027-01-05T16:00:00Z"));
    assert_eq!(everything(&stage).await, before, "a preview books nothing");

    let order = replacing(&stage, &old).await;
    let pending = row_of_order(&stage, &order).await;
    assert_eq!(
        (&pending["replaces_id"], &pending["status"]),
        (&json!(old), &json!("pending"))
    );
    assert_eq!(
        row(&stage, &old).await["status"],
        "active",
        "untouched until the other is paid"
    );
    assert_eq!(effects(&stage, "subscription_cancel").await, 0);

    stage.apply(&first_charge(&order)).await;
    let ended = row(&stage, &old).await;
    assert_eq!(
        (&ended["status"], &ended["end_reason"]),
        (&json!("canceled"), &json!("replaced"))
    );
    assert_eq!(row_of_order(&stage, &order).await["status"], "active");
    assert_eq!(refunds(&stage).await, [(140, "requested".to_owned())]);
    assert_eq!(
        effects(&stage, "subscription_cancel").await,
        1,
        "the old contract would charge again"
    );
    assert_eq!(effects(&stage, "refund").await, 1);
    assert_eq!(type_of(&stage, "u1").await, "max");
    assert_eq!(
        steps(&stage, &old).await,
        ["activated", "replaced pro-monthly max-monthly"]
    );
    assert_eq!(
        notices(&stage, "u1").await,
        ["payment_received", "payment_received"]
    );
    assert_eq!(stage.count("ledger transactions").await, 2);
    assert_eq!(stage.count("ledger faults").await, 0);

    let applied = everything(&stage).await;
    stage.apply(&first_charge(&order)).await;
    assert_eq!(everything(&stage).await, applied, "told twice is once");
    let next = Ecpay::period(&order, 900, "10010001", "2027/01/06 10:00:00", 2);
    stage.clock.advance(DAY * 31);
    stage.apply(&next.signed()).await;
    assert_eq!(refunds(&stage).await.len(), 1, "the first charge alone replaces");
}

#[tokio::test]
async fn pm_8_a_contract_of_the_same_type_replaces_exactly_the_one_that_it_names() {
    let (stage, old) = stage().await;
    let yearly = |replaces: Option<&str>| match replaces {
        Some(old) => json!({ "planId": "pro-yearly", "replaces": old }),
        None => json!({ "planId": "pro-yearly" }),
    };
    let refused = stage.checkout("u1", "k-1", yearly(None)).await;
    assert_eq!(
        (refused.status, refused.problem()),
        (409, "plan-covered"),
        "{refused:?}"
    );
    assert!(
        refused.body["detail"].as_str().unwrap().contains("change-plan"),
        "{refused:?}"
    );
    let another = at_ecpay(&stage, "u2").await;
    let refused = stage.checkout("u1", "k-2", yearly(Some(&another))).await;
    assert_eq!((refused.status, refused.problem()), (404, "unknown-subscription"));
    let placed = stage.checkout("u1", "k-3", yearly(Some(&old))).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let other = stage.checkout("u1", "k-3", yearly(None)).await;
    assert_eq!((other.status, &other.body["field"]), (422, &json!("replaces")));
}

#[tokio::test]
async fn pm_8_a_checkout_replaces_only_by_a_dearer_contract_and_only_what_goes_on() {
    let (stage, old) = stage().await;
    for (key, body, status, problem) in [
        (
            "a",
            json!({ "planId": "basic-monthly", "replaces": old }),
            409,
            "no-new-contract",
        ),
        (
            "b",
            json!({ "planId": "pro-month", "replaces": old }),
            409,
            "plan-not-possible",
        ),
        (
            "c",
            json!({ "planId": "pro-monthly", "replaces": old }),
            409,
            "plan-not-possible",
        ),
        (
            "d",
            json!({ "planId": "max-monthly", "replaces": "7" }),
            400,
            "malformed-body",
        ),
        (
            "e",
            json!({ "planId": "max-monthly", "replaces": null, "replace": old }),
            400,
            "malformed-body",
        ),
    ] {
        let refused = stage.checkout("u1", key, body).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (status, problem),
            "{key}: {refused:?}"
        );
    }
    cancel(&stage, &old, CancelWhen::PeriodEnd).await;
    let body = json!({ "planId": "max-monthly", "replaces": old });
    let refused = stage.checkout("u1", "f", body).await;
    assert_eq!((refused.status, refused.problem()), (409, "subscription-ending"));
    assert_eq!(stage.count("subscriptions pending").await, 0);
}

/// Two pages of the cashier are open, and both are paid.
#[tokio::test]
async fn pm_8_of_two_contracts_that_replace_one_the_first_to_be_paid_does() {
    let (stage, old) = stage().await;
    let (one, other) = (replacing(&stage, &old).await, replacing(&stage, &old).await);
    let (one, other) = (first_charge(&one), first_charge(&other));
    tokio::join!(stage.apply(&one), stage.apply(&other));
    stage.clock.advance(DAY / 24);
    // One that lost a conflict waits in the inbox.
    while crate::work::inbox::round(&stage.origin).await.unwrap() == crate::work::Round::Worked {}
    assert_eq!(stage.count("inbox pending").await, 0);
    assert_eq!(refunds(&stage).await, [(140, "requested".to_owned())], "once");
    assert_eq!(
        steps(&stage, &old).await,
        ["activated", "replaced pro-monthly max-monthly"]
    );
    assert_eq!(stage.count("facts replaced").await, 1);
    assert_eq!(
        stage.count("log subscription_replaced_nothing").await,
        1,
        "for a person"
    );
    assert_eq!(stage.count("subscriptions active").await, 2);
    assert_eq!(stage.count("ledger transactions").await, 3);
    assert_eq!(stage.count("ledger faults").await, 0);
}

#[tokio::test]
async fn pm_8_what_ended_meanwhile_is_not_paid_back() {
    let (stage, old) = stage().await;
    let order = replacing(&stage, &old).await;
    cancel(&stage, &old, CancelWhen::Now).await;
    let ended = row(&stage, &old).await;
    stage.apply(&first_charge(&order)).await;
    assert_eq!(row(&stage, &old).await["end_reason"], ended["end_reason"]);
    assert_eq!(refunds(&stage).await, []);
    assert_eq!(type_of(&stage, "u1").await, "max");
}

#[tokio::test]
async fn pm_8_a_new_contract_that_is_never_paid_leaves_the_old_one_as_it_was() {
    let (stage, old) = stage().await;
    let before = row(&stage, &old).await;
    let order = replacing(&stage, &old).await;
    let refused = Ecpay::failed(&order, "10100058", "refused", "2026/12/06 10:00:00");
    let refused = refused.with("TradeAmt", "900");
    stage.apply(&refused.signed()).await;
    stage.clock.advance(DAY * 2);
    while crate::work::timeouts::round(&stage.origin).await.unwrap() == crate::work::Round::Worked {}
    assert_eq!(row(&stage, &old).await, before);
    assert_eq!(refunds(&stage).await, []);
    assert_eq!(type_of(&stage, "u1").await, "pro");
}

/// What is already on its way back is not promised a second time, and what cannot be sent now is not forgotten.
#[tokio::test]
async fn pm_8_a_credit_beside_another_refund_is_an_operators_task() {
    let (stage, old) = stage().await;
    let order = replacing(&stage, &old).await;
    let payment = row(&stage, &old).await["payment_id"].as_str().unwrap().to_owned();
    let asked = &crate::refunds::Asked {
        payment: payment.parse().unwrap(),
        charge: None,
        amount: Some(tollgate_shared::money::Minor::new(100)),
        reason: "changed their mind",
        actor: "service:test",
        key: "r-1",
    };
    let now = stage.clock.now();
    let request = |tx: Tx| async move { crate::refunds::request(&tx, asked, now).await };
    stage.origin.database.run_tx("refund", request).await.unwrap();
    assert_eq!(
        previewed(&stage, &old, "max-monthly").await,
        "the subscription cannot become this plan: A refund of the running period has not ended; ask again when it has."
    );
    stage.apply(&first_charge(&order)).await;
    let mut found = refunds(&stage).await;
    found.sort();
    assert_eq!(found, [(100, "requested".to_owned()), (140, "manual".to_owned())]);
    assert_eq!(row(&stage, &old).await["end_reason"], "replaced");
}

#[tokio::test]
async fn pm_8_a_cheaper_contract_follows_the_old_one() {
    let (stage, old) = stage().await;
    let told = preview(&stage, &old, "basic-monthly").await.unwrap();
    assert_eq!(
        (told.way, told.due_minor, told.refund_minor),
        ("next_contract", 0, 0)
    );
    assert_eq!(told.effective_at, "2026-12-21T16:00:00Z");
    assert_eq!(told.buy_from.as_deref(), Some("2026-12-14T16:00:00Z"));
    let view = change(&stage, &old, "basic-monthly", "k1").await.unwrap();
    assert_eq!(view.next_plan_id.as_deref(), Some("basic-monthly"));
    assert_eq!(view.cancel_at.as_deref(), Some("2026-12-21T16:00:00Z"));
    assert_eq!(
        steps(&stage, &old).await,
        ["activated", "cancel_scheduled pro-monthly basic-monthly"]
    );
    assert_eq!(effects(&stage, "subscription_cancel").await, 1);
    assert_eq!(type_of(&stage, "u1").await, "pro", "to the end of what is paid");
    stage.clock.advance(DAY * 10);
    let placed = stage
        .checkout("u1", "k-1", json!({ "planId": "basic-monthly" }))
        .await;
    assert_eq!(placed.status, 201, "{placed:?}");
}
