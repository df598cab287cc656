//! What is done to contracts that a provider runs, against the sandbox: asking for news, retries, ends, pauses.

use std::time::Duration;

use tollgate_shared::provider::ecpay::period_action::{self, PeriodAction};

use super::counterpart::{Counterpart, Wish};
use super::notices::PAYUNI;
use crate::clock::Clock as _;
use crate::db::look;
use crate::subscriptions::{CancelWhen, SubscriptionId};

const DAY: Duration = Duration::from_hours(24);

/// Status and number of each attempt, and who told of it.
async fn attempts(counterpart: &Counterpart, id: SubscriptionId) -> Vec<(String, String)> {
    let view = counterpart.view(id).await;
    let attempts = view.attempts.into_iter();
    attempts
        .map(|attempt| (attempt.status, attempt.found_by))
        .collect()
}

fn told(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(status, found_by)| ((*status).to_owned(), (*found_by).to_owned()))
        .collect()
}

#[tokio::test]
async fn op_5_every_notice_of_a_contract_is_lost_and_asking_finds_the_same() {
    for provider in ["ecpay", "payuni"] {
        let counterpart = Counterpart::start().await;
        let bought = counterpart.subscribe(provider).await;
        assert_eq!(counterpart.view(bought.id).await.status, "active", "{provider}");
        counterpart.after(DAY * 32).await;
        counterpart.after(DAY * 32).await;
        let view = counterpart.view(bought.id).await;
        assert_eq!((view.status, view.periods_paid), ("active", 3), "{provider}");
        let first = if provider == "ecpay" { "poll" } else { "notice" };
        assert_eq!(
            attempts(&counterpart, bought.id).await,
            told(&[("paid", first), ("paid", "poll"), ("paid", "poll")])
        );
        let stage = &counterpart.stage;
        assert_eq!(stage.count("ledger transactions").await, 3);
        assert_eq!(stage.count("ledger faults").await, 0);
        let before = stage.tally().await;
        counterpart.forget("subscription_poll").await;
        stage.drain().await;
        assert_eq!(stage.tally().await, before, "asked again, told nothing new");
    }
}

#[tokio::test]
async fn ec_2_op_5_a_refusal_that_only_asking_found_is_retried_and_recovers() {
    for provider in ["ecpay", "payuni"] {
        let counterpart = Counterpart::start().await;
        let bought = counterpart.subscribe(provider).await;
        let declines = format!("contracts/{}/declines", bought.order);
        counterpart
            .control(&declines, serde_json::json!({ "next": 1 }))
            .await;
        counterpart.after(DAY * 32).await;
        let view = counterpart.view(bought.id).await;
        assert_eq!((view.status, view.failure_count), ("past_due", 1), "{provider}");
        assert_eq!(
            counterpart.effects("subscription_retry").await,
            Vec::<String>::new()
        );
        counterpart.after(DAY).await;
        assert_eq!(
            counterpart.effects("subscription_retry").await,
            ["done"],
            "{provider}"
        );
        counterpart.after(DAY).await;
        let view = counterpart.view(bought.id).await;
        assert_eq!((view.status, view.periods_paid), ("active", 2), "{provider}");
        assert_eq!(counterpart.stage.count("ledger transactions").await, 2);
        let contract = counterpart.contract(&bought.order).await;
        assert_eq!(contract["timesPaid"], 2, "the provider charged once: {contract}");
    }
}

#[tokio::test]
async fn ec_2_a_retry_whose_mark_was_lost_is_not_asked_for_twice() {
    for provider in ["ecpay", "payuni"] {
        let counterpart = Counterpart::start().await;
        let bought = counterpart.subscribe(provider).await;
        let declines = format!("contracts/{}/declines", bought.order);
        counterpart
            .control(&declines, serde_json::json!({ "next": 1 }))
            .await;
        counterpart.after(DAY * 32).await;
        counterpart.after(DAY).await;
        counterpart.pass(Duration::from_mins(5)).await;
        counterpart.forget("subscription_retry").await;
        counterpart.stage.drain().await;
        assert_eq!(
            counterpart.effects("subscription_retry").await,
            ["done"],
            "{provider}"
        );
        let contract = counterpart.contract(&bought.order).await;
        let charges = contract["charges"].as_array().unwrap().len();
        assert_eq!((charges, &contract["timesPaid"]), (3, &2.into()), "{provider}");
    }
}

#[tokio::test]
async fn ec_2_a_retry_that_the_bank_declines_is_made_and_known_though_its_notice_is_lost() {
    let counterpart = Counterpart::start().await;
    let bought = counterpart.subscribe("payuni").await;
    let declines = format!("contracts/{}/declines", bought.order);
    counterpart
        .control(&declines, serde_json::json!({ "card": "bad" }))
        .await;
    for _ in 0..42 {
        counterpart.after(DAY).await;
    }
    assert_eq!(
        counterpart.effects("subscription_retry").await,
        ["done", "done", "done"]
    );
    let view = counterpart.view(bought.id).await;
    let days: Vec<String> = view
        .attempts
        .iter()
        .filter(|attempt| attempt.status == "failed")
        .map(|attempt| attempt.occurred_at.clone())
        .collect();
    assert_eq!(days.len(), 4, "the charge and three retries: {days:?}");
    let codes: Vec<_> = view.attempts[2..]
        .iter()
        .map(|attempt| attempt.error_code.is_some())
        .collect();
    assert_eq!(codes, [true, true, true]);
    let contract = counterpart.contract(&bought.order).await;
    let charges = contract["charges"].as_array().unwrap().len();
    assert_eq!(charges, 5, "the provider tried no more often: {contract}");
    assert_eq!(counterpart.stage.count("ledger transactions").await, 1);
}

#[tokio::test]
async fn pu_6_an_end_is_asked_for_at_the_provider_and_asking_twice_is_no_failure() {
    for provider in ["ecpay", "payuni"] {
        let counterpart = Counterpart::start().await;
        let bought = counterpart.subscribe(provider).await;
        let wish = Wish::Cancel(CancelWhen::PeriodEnd);
        counterpart.ask(bought.id, wish, "k1").await.unwrap();
        counterpart.stage.drain().await;
        assert_eq!(
            counterpart.effects("subscription_cancel").await,
            ["done"],
            "{provider}"
        );
        let ended = counterpart.contract(&bought.order).await["state"].clone();
        counterpart.forget("subscription_cancel").await;
        counterpart.stage.drain().await;
        let history = counterpart.view(bought.id).await.history;
        let confirmed = history.iter().filter(|step| step.kind == "cancel_confirmed");
        assert_eq!(confirmed.count(), 1, "{provider}");
        assert_eq!(
            counterpart.effects("subscription_cancel").await,
            ["done"],
            "{provider}"
        );
        counterpart.after(DAY * 33).await;
        let contract = counterpart.contract(&bought.order).await;
        assert_eq!((&contract["timesPaid"], &contract["state"]), (&1.into(), &ended));
        let view = counterpart.view(bought.id).await;
        assert_eq!(
            (view.status, view.end_reason),
            ("canceled", Some("canceled")),
            "{provider}"
        );
    }
}

#[tokio::test]
async fn op_5_a_contract_that_somebody_stopped_at_ecpay_is_found_stopped() {
    let counterpart = Counterpart::start().await;
    let bought = counterpart.subscribe("ecpay").await;
    let origin = &counterpart.stage.origin;
    let (shop, now) = (
        origin.config.sources.ecpay().unwrap(),
        counterpart.stage.clock.now(),
    );
    let base = origin.config.checkout.ecpay_base_url.as_ref().unwrap().as_str();
    let number = bought.order.split('/').nth(1).unwrap().parse().unwrap();
    let request = period_action::request(
        shop,
        base.trim_end_matches('/'),
        PeriodAction::Cancel,
        &number,
        now,
    );
    counterpart.post(&request).await;
    counterpart.after(DAY * 32).await;
    let view = counterpart.view(bought.id).await;
    assert_eq!(
        (view.status, view.end_reason),
        ("ended", Some("provider_stopped")),
        "{view:?}"
    );
    assert_eq!(view.periods_paid, 1);
}

#[tokio::test]
async fn pu_6_a_contract_at_payuni_rests_and_goes_on_and_a_repeat_is_no_failure() {
    let counterpart = Counterpart::start().await;
    let bought = counterpart.subscribe("payuni").await;
    counterpart.ask(bought.id, Wish::Pause, "k1").await.unwrap();
    counterpart.stage.drain().await;
    counterpart.forget("subscription_pause").await;
    counterpart.stage.drain().await;
    assert_eq!(counterpart.effects("subscription_pause").await, ["done"]);
    counterpart.after(DAY * 40).await;
    assert_eq!(counterpart.contract(&bought.order).await["timesPaid"], 1);
    assert_eq!(counterpart.view(bought.id).await.status, "paused");
    counterpart.ask(bought.id, Wish::Resume, "k2").await.unwrap();
    counterpart.stage.drain().await;
    counterpart.forget("subscription_resume").await;
    counterpart.stage.drain().await;
    assert_eq!(counterpart.effects("subscription_resume").await, ["done"]);
    counterpart.after(DAY * 32).await;
    assert_eq!(counterpart.contract(&bought.order).await["timesPaid"], 2);
    assert_eq!(counterpart.view(bought.id).await.periods_paid, 2);
}

#[tokio::test]
async fn op_5_a_due_day_without_any_attempt_is_told_to_operators_once() {
    let counterpart = Counterpart::start().await;
    let bought = counterpart.subscribe("payuni").await;
    suspend(&counterpart, &bought.order).await;
    counterpart.after(DAY * 32).await;
    let missing = "log subscription_charge_missing";
    assert_eq!(counterpart.stage.count(missing).await, 0, "too early");
    for _ in 0..6 {
        counterpart.after(DAY).await;
    }
    assert_eq!(counterpart.stage.count(missing).await, 1);
}

/// In the console, behind our back.
async fn suspend(counterpart: &Counterpart, order: &str) {
    use tollgate_shared::provider::payuni::period_calls::{PeriodChange, change_request};
    let row = counterpart.row(order.split('/').nth(1).unwrap()).await;
    let number = row["contract_number"].as_str().unwrap().parse().unwrap();
    let config = &counterpart.stage.origin.config;
    let base = config.checkout.payuni_base_url.as_ref().unwrap().as_str();
    let shop = config.sources.payuni().unwrap();
    assert_eq!(shop.merchant().as_str(), PAYUNI[0]);
    let request = change_request(shop, base, &number, PeriodChange::Suspend).unwrap();
    counterpart.post(&request).await;
    assert_eq!(counterpart.contract(order).await["state"], "suspended");
}

#[tokio::test]
async fn op_5_ecpay_that_is_asked_too_fast_is_asked_after_half_an_hour_and_nothing_is_lost() {
    let counterpart = Counterpart::start().await;
    let bought = counterpart.subscribe("ecpay").await;
    counterpart.pass(DAY * 32).await;
    counterpart
        .control("limits/ecpay", serde_json::json!({ "refuseSeconds": 1200 }))
        .await;
    counterpart.stage.drain().await;
    assert_eq!(counterpart.view(bought.id).await.periods_paid, 1);
    assert_eq!(counterpart.effects("subscription_poll").await, ["pending"]);
    let limits = look::rows(&counterpart.stage.admin, "provider_limits").await;
    assert!(limits[0]["silent_until"].is_string(), "{limits:?}");
    counterpart.after(Duration::from_mins(32)).await;
    assert_eq!(counterpart.view(bought.id).await.periods_paid, 2);
}
