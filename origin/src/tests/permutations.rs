//! Order of arrival: the final state depends only on the set of facts.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::notices::{Ecpay, Notice, payuni};
use super::stage::Stage;
use crate::db::look;

/// Every order of the indices `0..length` (Heap's algorithm).
fn permutations(length: usize) -> Vec<Vec<usize>> {
    fn permute(size: usize, items: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
        if size <= 1 {
            found.push(items.clone());
            return;
        }
        for index in 0..size {
            permute(size - 1, items, found);
            items.swap(if size.is_multiple_of(2) { index } else { 0 }, size - 1);
        }
    }
    let mut found = Vec::new();
    permute(length, &mut (0..length).collect(), &mut found);
    found
}

/// What is left of a purchase when ids, order numbers and times of writing are taken away.
async fn final_state(stage: &Stage, user: &str, payment: &str, order: &str) -> Value {
    let (row, user_row) = (stage.payment(payment).await, stage.user(user).await);
    let owner = format!("user:{user}");
    let mut entries: Vec<String> = look::rows(&stage.admin, "ledger_entry")
        .await
        .iter()
        .filter(|entry| entry["owner"] == owner.as_str())
        .map(|entry| format!("{} {}", entry["account_kind"], entry["amount"]))
        .collect();
    entries.sort();
    let mut told: BTreeMap<String, i64> = BTreeMap::new();
    for line in look::rows(&stage.admin, "event_log")
        .await
        .iter()
        .filter(|line| line["payment_id"] == payment)
    {
        *told.entry(line["event_type"].to_string()).or_default() += 1;
    }
    let number = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        let is_gwsr = text.bytes().all(|byte| byte.is_ascii_digit());
        if is_gwsr {
            text.chars().last().into_iter().collect()
        } else {
            text.to_owned()
        }
    };
    let compared = json!({
        "payment": [row["status"], row["error_message"], number(&row["provider_payment_id"]), row["instructions"], row["pending_until"]],
        "user": [
            user_row["payment_status"], user_row["subscription_type"], user_row["subscription_expires_at"],
            user_row["auto_renew"], number(&user_row["last_payment_reference"]),
        ],
        "entries": entries,
        "tokens": tokens_of(stage, user).await,
        "log": told,
    });
    serde_json::from_str(
        &compared
            .to_string()
            .replace(order, "ORDER")
            .replace(payment, "PAYMENT"),
    )
    .unwrap()
}

/// The purchased tokens of a user's own company.
async fn tokens_of(stage: &Stage, user: &str) -> Value {
    let companies = look::rows(&stage.admin, "company_subscriptions").await;
    let own = companies.iter().find(|company| company["company_id"] == user);
    own.map_or(Value::Null, |company| company["purchased_balance"].clone())
}

/// Sends the facts of one purchase in every order, each to a user of its own; all must end alike.
async fn all_orders_end_alike(body: Value, facts: fn(&str) -> Vec<Notice>) -> Value {
    let stage = Stage::start().await;
    let mut first: Option<Value> = None;
    for (number, order_of_arrival) in permutations(facts("X").len()).into_iter().enumerate() {
        let user = format!("user-{number}");
        let (payment, order) = stage.buy(&user, body.clone()).await;
        let notices = facts(&order);
        for index in &order_of_arrival {
            stage.apply(&notices[*index]).await;
        }
        let left = final_state(&stage, &user, &payment, &order).await;
        assert_eq!(
            first.get_or_insert_with(|| left.clone()),
            &left,
            "{order_of_arrival:?}"
        );
    }
    let tally = stage.tally().await;
    assert_eq!(
        (tally["ledger sum"], tally["ledger faults"], tally["token faults"]),
        (0, 0, 0)
    );
    first.unwrap()
}

#[test]
fn permutations_are_all_of_them() {
    for (length, expected) in [(1, 1), (3, 6), (5, 120)] {
        let found: std::collections::BTreeSet<Vec<usize>> = permutations(length).into_iter().collect();
        assert_eq!(found.len(), expected);
    }
}

#[tokio::test]
async fn pm_8_facts_of_an_order_may_come_in_any_order() {
    let state = all_orders_end_alike(json!({ "planId": "pro-month", "method": "ATM" }), |order| {
        vec![
            Ecpay::atm_code(order, 300).signed(),
            Ecpay::failed(order, "10100058", "first", "2026/11/21 10:01:00")
                .with("TradeNo", &format!("25{order}"))
                .signed(),
            Ecpay::failed(order, "10100248", "second", "2026/11/21 10:02:00")
                .with("TradeNo", &format!("24{order}"))
                .signed(),
            Ecpay::paid(order, 300).with("SimulatePaid", "1").signed(),
            Ecpay::paid(order, 300).signed(),
        ]
    })
    .await;
    assert_eq!(
        (&state["payment"][0], &state["entries"].as_array().unwrap().len()),
        (&json!("active"), &2)
    );
}

#[tokio::test]
async fn pm_8_refusals_of_an_order_may_come_in_any_order() {
    let state = all_orders_end_alike(json!({ "planId": "pro-month" }), |order| {
        vec![
            Ecpay::failed(order, "10100058", "first", "2026/11/21 10:01:00")
                .with("TradeNo", &format!("25{order}"))
                .signed(),
            Ecpay::failed(order, "10100248", "second", "2026/11/21 10:02:00")
                .with("TradeNo", &format!("24{order}"))
                .signed(),
            Ecpay::atm_code(order, 300).signed(),
        ]
    })
    .await;
    assert_eq!(
        (&state["payment"][0], &state["payment"][1]),
        (&json!("failed"), &json!("10100248: second"))
    );
}

#[tokio::test]
async fn pm_8_a_refund_may_overtake_its_payment() {
    let state = all_orders_end_alike(json!({ "planId": "pro-month", "provider": "payuni" }), |order| {
        vec![
            payuni(order, 300, "UNKNOWN", "8"),
            payuni(order, 300, "ERR01", "2"),
            payuni(order, 300, "SUCCESS", "1"),
            payuni(order, 300, "SUCCESS", "5"),
        ]
    })
    .await;
    assert_eq!(
        (&state["payment"][0], &state["user"][1]),
        (&json!("refunded"), &json!(null))
    );
    assert_eq!(state["entries"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn tb_1_a_packs_refund_may_overtake_its_payment() {
    let state = all_orders_end_alike(json!({ "planId": "pack", "provider": "payuni" }), |order| {
        vec![
            payuni(order, 300, "ERR01", "2"),
            payuni(order, 300, "SUCCESS", "1"),
            payuni(order, 300, "SUCCESS", "5"),
        ]
    })
    .await;
    assert_eq!(
        (&state["payment"][0], &state["tokens"]),
        (&json!("refunded"), &json!(0))
    );
    assert_eq!(
        (
            &state["log"]["\"tokens_granted\""],
            &state["log"]["\"tokens_revoked\""]
        ),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn pm_8_periods_may_come_in_any_order() {
    let state = all_orders_end_alike(json!({ "planId": "pro-monthly" }), |order| {
        // Unique to the order, as ECPay's are to a charge; the state compared keeps the last digit.
        let order_hash = order.bytes().fold(7_u64, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        let gwsr = |number: u32| format!("{}{number}", order_hash % 10_000_000_000);
        vec![
            Ecpay::paid(order, 300)
                .with("PaymentDate", "2026/11/30 10:05:00")
                .signed(),
            Ecpay::period(order, 300, &gwsr(2), "2026/12/30 04:00:00", 2).signed(),
            Ecpay::period(order, 300, &gwsr(3), "2027/01/30 04:00:00", 3).signed(),
            Ecpay::period(order, 300, "0", "2027/02/28 04:00:00", 3)
                .with("RtnCode", "10100058")
                .signed(),
        ]
    })
    .await;
    assert_eq!(
        (&state["payment"][0], &state["user"][2]),
        (&json!("active"), &json!("2027-03-06T20:00:00+00:00")),
        "paid to the end of February, and a week of grace from its refusal"
    );
}
