//! Purchases as customers make them: through a cashier, with a browser that may go away, twice, or not at all.
//!
//! Proves PM-6, PM-7, PM-8, OP-1, and the one id that follows a delivery (OP-2), over the whole stack.
//! Not here: clicking in a real browser (`sandbox/tests`), single refusals of the origin (its tests).

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::clock::poll_until;
use xtask::stack::{PLAN, Stack, StackOptions};

use crate::books::Books;

async fn control(stack: &Stack, provider: &str, order: &str, action: &str) -> Result<()> {
    let url = format!(
        "{}/control/v1/trades/{provider}/{order}/{action}",
        stack.sandbox.base_url()
    );
    let answer = stack.http.post(url).json(&json!({})).send().await?;
    ensure!(answer.status().is_success(), "{action}: {}", answer.text().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn op_1_pm_8_a_purchase_at_each_provider_reaches_the_ledger() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    for provider in ["ecpay", "payuni"] {
        let buyer = stack.buyer(&format!("buyer-of-{provider}")).await?;
        let checkout = buyer.buy(provider, PLAN, "first", |_| ()).await?;
        let entries = stack.balanced_entries(&checkout.payment_id).await?;
        assert_eq!(entries.len(), 2, "{provider}: {entries:?}");
    }
    let books = Books::of(&stack).await?;
    books.settled(2).await?;
    assert_eq!(
        books
            .texts("select concat_ws(' ', payment_status, subscription_type, last_payment_provider) from tollgate.users order by 1")
            .await?,
        ["active pro ecpay", "active pro payuni"]
    );
    drop(books);
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn op_2_one_id_follows_a_delivery_from_the_edge_to_the_entry() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let buyer = stack.buyer("followed").await?;
    buyer.buy("ecpay", PLAN, "first", |_| ()).await?;
    let books = Books::of(&stack).await?;
    let delivery = books
        .texts("select delivery_id::text from tollgate.ledger_transaction")
        .await?
        .pop()
        .context("no transaction")?;
    for log in [stack.worker.log(), stack.origin.log()] {
        let text = fs::read_to_string(log)?;
        assert!(
            text.contains(&delivery),
            "{} does not know {delivery}",
            log.display()
        );
        for secret in [
            &stack.keys.handoff,
            &stack.keys.session,
            &"pwFHCqoQZGmho4w6".to_owned(),
        ] {
            assert!(
                !text.contains(secret.as_str()),
                "{} shows a secret",
                log.display()
            );
        }
    }
    drop(books);
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pm_8_a_closed_browser_a_decline_and_a_lost_first_notice() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;

    // The browser closes on the cashier's page; the provider's notice comes all the same.
    let closed = stack.buyer("closed-the-window").await?;
    let checkout = closed.checkout("ecpay", PLAN, "k").await?;
    closed.open_cashier(&checkout).await?;
    assert_eq!(closed.status(&checkout.payment_id).await?, "pending");
    control(&stack, "ecpay", &checkout.order_number, "pay").await?;
    closed.wait_active(&checkout.payment_id).await?;

    // The card is refused; a second attempt of the same customer succeeds.
    let declined = stack.buyer("declined").await?;
    let refused = declined.checkout("ecpay", PLAN, "k1").await?;
    declined.open_cashier(&refused).await?;
    control(&stack, "ecpay", &refused.order_number, "fail").await?;
    poll_until("the payment failing", Duration::from_secs(30), || async {
        Ok((declined.status(&refused.payment_id).await? == "failed").then_some(()))
    })
    .await?;
    declined.buy("payuni", PLAN, "k2", |_| ()).await?;

    let books = Books::of(&stack).await?;
    books.settled(2).await?;
    drop(books);
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pm_8_a_provider_repeats_what_was_not_acknowledged() -> Result<()> {
    let mut stack = Stack::start(StackOptions::default()).await?;
    let buyer = stack.buyer("patient").await?;
    let checkout = buyer.checkout("ecpay", PLAN, "k").await?;
    buyer.open_cashier(&checkout).await?;
    stack.worker.kill().await?;
    control(&stack, "ecpay", &checkout.order_number, "pay").await?;
    stack.worker.restart().await?;
    let url = format!(
        "{}/control/v1/trades/ecpay/{}/notices/resend",
        stack.sandbox.base_url(),
        checkout.order_number
    );
    let resent = stack.http.post(url).json(&json!({})).send().await?;
    ensure!(resent.status().is_success(), "resend: {}", resent.text().await?);
    buyer.wait_active(&checkout.payment_id).await?;
    let books = Books::of(&stack).await?;
    books.settled(1).await?;
    drop(books);
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pm_8_buying_a_covered_plan_again_is_refused_with_how_to_renew() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let buyer = stack.buyer("eager").await?;
    buyer.buy("ecpay", PLAN, "first", |_| ()).await?;
    let refused = buyer
        .checkout("ecpay", PLAN, "second")
        .await
        .err()
        .context("bought twice")?;
    let text = format!("{refused:#}");
    assert!(text.contains("409") && text.contains("renewAfter"), "{text}");
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pm_6_user_core_hears_of_a_purchase_signed() -> Result<()> {
    let secret = "whsec_dG9sbGdhdGUtc3RvcnktdXNlci1jb3JlLXNlY3JldA==";
    let sink_port = xtask::ports::free()?;
    let sandbox_settings = BTreeMap::from([("LISTEN_ADDR".to_owned(), format!("127.0.0.1:{sink_port}"))]);
    let origin_settings = BTreeMap::from([
        (
            "USER_CORE_WEBHOOK_URL".to_owned(),
            format!("http://127.0.0.1:{sink_port}/sink/user-core"),
        ),
        ("USER_CORE_WEBHOOK_SECRET".to_owned(), secret.to_owned()),
        (
            "ECPAY_BASE_URL".to_owned(),
            format!("http://127.0.0.1:{sink_port}/ecpay"),
        ),
    ]);
    let edge_settings = BTreeMap::from([(
        "TURNSTILE_VERIFY_URL".to_owned(),
        format!("http://127.0.0.1:{sink_port}/turnstile/v0/siteverify"),
    )]);
    let stack = Stack::start(StackOptions {
        edge_settings,
        origin_settings,
        sandbox_settings,
        ..StackOptions::default()
    })
    .await?;
    let sink = format!("{}/control/v1/sink/user-core", stack.sandbox.base_url());
    let set = stack
        .http
        .put(&sink)
        .json(&json!({ "secret": secret }))
        .send()
        .await?;
    ensure!(
        set.status().is_success(),
        "set the sink's secret: {}",
        set.text().await?
    );

    let buyer = stack.buyer("synced").await?;
    let checkout = buyer.buy("ecpay", PLAN, "first", |_| ()).await?;
    let heard = poll_until(
        "user-core hearing of the purchase",
        Duration::from_secs(30),
        || async {
            let heard: Value = stack.http.get(&sink).send().await?.json().await?;
            Ok(heard.to_string().contains("purchase_success").then_some(heard))
        },
    )
    .await?
    .to_string();
    assert!(heard.contains(&checkout.payment_id), "{heard}");
    assert!(
        heard.contains("\"verified\":true") && !heard.contains("\"verified\":false"),
        "{heard}"
    );
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pm_7_the_page_learns_its_provider_and_its_public_key() -> Result<()> {
    let stack = Stack::start(StackOptions {
        edge_settings: BTreeMap::from([("PAYMENT_PUBLIC_KEY".to_owned(), "pk-stage-1".to_owned())]),
        ..StackOptions::default()
    })
    .await?;
    let url = format!("{}/api/payments/config", stack.worker.base_url());
    let config: Value = stack.http.get(url).send().await?.json().await?;
    assert_eq!(config, json!({ "provider": "ecpay", "publicKey": "pk-stage-1" }));
    stack.stop().await
}
