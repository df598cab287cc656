//! What a team wishes for a running subscription: to rest, to go on, another card; and a customer who reads Chinese.
//!
//! Proves PU-6 over the built worker at PAYUNi, whose contracts can rest: the wish goes in by the service API, the provider
//! does it, the browser sees it at the edge, and no day is charged that was rested. A new card is tried at once (EC-2).
//! Not here: refusals of wishes (the origin's own tests), ends (`by_hand`).

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{DAY_MS, HOUR_MS, Shop, Subscriber, assert_begin};
use crate::callers::token;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pu_6_a_contract_rests_goes_on_and_is_tried_with_a_new_card() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    let customer = shop.subscribe("payuni", "resting").await?;
    shop.put_address(customer.user, "zh-TW").await?;
    let (_, due_ms) = shop.next_due(&customer).await?;

    assert_eq!(wish(&shop, &customer, "pause").await?, "paused");
    shop.pass_to(due_ms + 2 * DAY_MS).await?;
    let contract = shop.contract(&customer).await?;
    assert_eq!(
        (contract.get("state"), contract.get("timesPaid")),
        (Some(&json!("suspended")), Some(&json!(1)))
    );
    assert_eq!(seen_at_the_edge(&shop, &customer).await?, "paused");

    assert_eq!(wish(&shop, &customer, "resume").await?, "active");
    shop.pass_to(due_ms + 3 * DAY_MS).await?;
    let (_, due_ms) = shop.next_due(&customer).await?;
    shop.bank(&customer, json!({ "next": 1 })).await?;
    shop.pass_to(due_ms + HOUR_MS).await?;
    assert_eq!(shop.standing(&customer).await?, "past_due 1 pro");

    assert_eq!(wish(&shop, &customer, "card-changed").await?, "past_due");
    shop.pass_to(due_ms + 3 * HOUR_MS).await?;
    assert_eq!(shop.standing(&customer).await?, "active 0 pro");
    let steps = shop.steps(&customer).await?;
    let kinds: Vec<&str> = steps.iter().filter_map(|step| step.split(' ').next()).collect();
    assert_eq!(
        kinds,
        [
            "activated",
            "paused",
            "resumed",
            "first_failure",
            "card_changed",
            "retry_asked",
            "recovered"
        ],
        "{steps:?}"
    );
    assert_begin(
        &shop.mails(&customer).await?,
        &[
            "Payment received: Pro, every month",
            "「Pro, every month」已暫停",
            "「Pro, every month」已恢復",
            "【提醒】「Pro, every month」扣款未成功",
            "「Pro, every month」的信用卡已更換",
            "已收到款項，「Pro, every month」恢復使用",
        ],
    );
    shop.provider_agrees(&customer).await?;
    shop.nothing_is_left().await?;
    shop.close().await
}

/// Asks for it with the team's key, twice, as a team that got no answer does; the status afterwards.
async fn wish(shop: &Shop, of: &Subscriber, wish: &str) -> Result<String> {
    let service = format!("{}/api/service/v1", shop.stack.origin.base_url());
    let url = format!("{service}/users/{}/subscriptions", of.user);
    let listed: Value = shop
        .stack
        .http
        .get(url)
        .bearer_auth(&shop.service_key)
        .send()
        .await?
        .json()
        .await?;
    let id = listed.pointer("/subscriptions/0/id").and_then(Value::as_str);
    let id = id.with_context(|| format!("no subscription in {listed}"))?;
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let asked = shop
            .stack
            .http
            .post(format!("{service}/subscriptions/{id}/{wish}"));
        let asked = asked
            .bearer_auth(&shop.service_key)
            .header("idempotency-key", wish);
        let answer = asked.json(&json!({})).send().await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        ensure!(status.is_success(), "{wish}: {status} {body}");
        let shown = body.get("status").and_then(Value::as_str);
        statuses.push(shown.context("no status")?.to_owned());
    }
    ensure!(statuses.first() == statuses.last(), "{statuses:?}");
    statuses.pop().context("no status")
}

async fn seen_at_the_edge(shop: &Shop, of: &Subscriber) -> Result<String> {
    let url = format!("{}/api/subscriptions", shop.stack.worker.base_url());
    let session = token(&shop.stack, of.user).await?;
    let listed: Value = shop
        .stack
        .http
        .get(url)
        .bearer_auth(session)
        .send()
        .await?
        .json()
        .await?;
    let status = listed.pointer("/subscriptions/0/status").and_then(Value::as_str);
    status
        .map(str::to_owned)
        .with_context(|| format!("no subscription in {listed}"))
}
