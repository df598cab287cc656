//! What people do by hand over the built worker: operators with the admin token, a subscriber who ends a subscription.
//!
//! Proves EC-5, EC-7, PU-5 and PU-6 from outside: the token in the header or in the form and never in the address, figures that come
//! from the database, a browser that sees and ends its own. Not here: single refusals (native tests of edge and origin).

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use xtask::stack::{MONTHLY, Stack, StackOptions};

use crate::books::Books;
use crate::callers::token;

const TOKEN: &str = "an-admin-token-of-this-story-only-01";

async fn stack() -> Result<Stack> {
    let edge_settings = BTreeMap::from([("ADMIN_WEBHOOK_TOKEN".to_owned(), TOKEN.to_owned())]);
    Stack::start(StackOptions {
        edge_settings,
        ..StackOptions::default()
    })
    .await
}

/// Status and body of a call.
async fn read(asked: reqwest::RequestBuilder) -> Result<(u16, Value)> {
    let answer = asked.send().await?;
    let status = answer.status().as_u16();
    let text = answer.text().await?;
    let body = serde_json::from_str(&text).with_context(|| format!("{status}: {text}"))?;
    Ok((status, body))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ec_5_ec_7_an_operator_with_the_token_and_nobody_else() -> Result<()> {
    let stack = stack().await?;
    stack
        .buyer("subscriber")
        .await?
        .buy("ecpay", MONTHLY, "first", |_| ())
        .await?;
    let webhooks = format!("{}/api/webhooks", stack.worker.base_url());
    let shown = format!("{webhooks}/subscription-status/subscriber");
    let (status, body) = read(stack.http.get(&shown).bearer_auth(TOKEN)).await?;
    assert_eq!(
        (status, body.pointer("/subscriptions/0/status")),
        (200, Some(&json!("active")))
    );
    let (status, _) = read(
        stack
            .http
            .get(&shown)
            .bearer_auth("another-token-of-some-length-0001"),
    )
    .await?;
    assert_eq!(status, 401);
    let (status, body) = read(stack.http.get(format!("{shown}?token={TOKEN}"))).await?;
    assert_eq!(
        (status, &body["type"]),
        (400, &json!("urn:tollgate:problem:query-refused"))
    );
    let maintenance = stack.http.post(format!("{webhooks}/trigger-maintenance"));
    let (status, _) = read(maintenance.form(&[("token", TOKEN)])).await?;
    assert_eq!(status, 202);
    let (status, health) = read(stack.http.get(format!("{webhooks}/health"))).await?;
    assert_eq!((status, &health["total_webhooks_24h"]), (200, &json!(1)));
    let (_, by_kind) = read(stack.http.get(format!("{webhooks}/webhook-stats"))).await?;
    assert_eq!(
        by_kind.pointer("/webhooks/0/success"),
        Some(&json!(1)),
        "{by_kind}"
    );
    let books = Books::of(&stack).await?;
    let actions = books
        .texts("select action from tollgate.admin_actions order by action")
        .await?;
    assert_eq!(actions, ["maintenance", "subscription_status"]);
    drop(books);
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pu_5_pu_6_a_subscriber_sees_and_ends_their_own() -> Result<()> {
    let stack = stack().await?;
    stack
        .buyer("subscriber")
        .await?
        .buy("ecpay", MONTHLY, "first", |_| ())
        .await?;
    let mine = format!("{}/api/subscriptions", stack.worker.base_url());
    let session = token(&stack, "subscriber").await?;
    let (status, listed) = read(stack.http.get(&mine).bearer_auth(&session)).await?;
    let first = listed.pointer("/subscriptions/0").context("none")?;
    assert_eq!(
        (status, first["nextChargeAt"].is_string()),
        (200, true),
        "{first}"
    );
    let cancel = format!("{mine}/{}/cancel", first["id"].as_str().context("no id")?);
    let end = |session: &str| {
        let asked = stack.http.post(&cancel).bearer_auth(session);
        asked
            .header("idempotency-key", "end-1")
            .json(&json!({ "when": "period_end" }))
    };
    let stranger = token(&stack, "stranger").await?;
    assert_eq!(read(end(&stranger)).await?.0, 404);
    let (status, ended) = read(end(&session)).await?;
    assert_eq!((status, ended["cancelAt"].is_string()), (200, true), "{ended}");
    let (status, again) = read(end(&session)).await?;
    // The provider may have confirmed the end meanwhile, which the history then says.
    assert_eq!(
        (status, &again["cancelAt"]),
        (200, &ended["cancelAt"]),
        "a repeat changes nothing"
    );
    let wishes = "select count(*) from tollgate.subscription_facts where kind = 'cancel_at_end_asked'";
    assert_eq!(Books::of(&stack).await?.count(wishes).await?, 1);
    stack.stop().await
}
