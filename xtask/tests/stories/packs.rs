//! A token pack, bought through the cashiers of both providers: the browser's balance shows it, as often as it was paid.
//!
//! Proves TB-1 and PM-4 from outside: a settled charge gives its tokens once, however often the provider tells it, a pack
//! may be bought again at once, and money and tokens stand in the same payment's entries.
//! Not here: a pack that is paid back (the origin's own tests; no cashier sends such a notice).

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::stack::{PACK, Stack, StackOptions};

use crate::books::Books;
use crate::callers::token;

const BUYER: &str = "token-buyer";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tb_1_pm_4_a_pack_paid_at_a_cashier_is_in_the_browsers_balance_once() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let buyer = stack.buyer(BUYER).await?;
    let first = buyer.buy("ecpay", PACK, "first", |_| ()).await?;
    assert_eq!(balance(&stack).await?, (10_000, 10_000));

    resend(&stack, &first.order_number).await?;
    assert_eq!(balance(&stack).await?, (10_000, 10_000), "told twice");

    let second = buyer.buy("payuni", PACK, "second", |_| ()).await?;
    assert_eq!(balance(&stack).await?, (20_000, 20_000), "bought twice");
    for payment in [&first.payment_id, &second.payment_id] {
        let entries = stack.balanced_entries(payment).await?;
        let units = entries.iter().filter_map(|entry| entry.get("unit")?.as_str());
        let mut units: Vec<&str> = units.collect();
        units.sort_unstable();
        assert_eq!(units, ["TOKEN", "TOKEN", "TWD", "TWD"], "{entries:?}");
    }
    let books = Books::of(&stack).await?;
    let faults = "select (select count(*) from tollgate.token_faults()) + (select count(*) from tollgate.ledger_faults())";
    let applied = "select count(*) from tollgate.inbox_events where status = 'applied'";
    assert_eq!((books.count(faults).await?, books.count(applied).await?), (0, 2));
    drop(books);
    stack.stop().await
}

/// What the browser sees: purchased, total.
async fn balance(stack: &Stack) -> Result<(i64, i64)> {
    let url = format!("{}/api/billing/balance", stack.worker.base_url());
    let session = token(stack, BUYER).await?;
    let shown: Value = stack
        .http
        .get(url)
        .bearer_auth(session)
        .send()
        .await?
        .json()
        .await?;
    let figure = |name: &str| {
        let figure = shown.get(name).and_then(Value::as_i64);
        figure.with_context(|| format!("{name} of {shown}"))
    };
    Ok((figure("purchased")?, figure("total")?))
}

/// Has ECPay tell its notices of an order once more, each acknowledged.
async fn resend(stack: &Stack, order: &str) -> Result<()> {
    let url = format!(
        "{}/control/v1/trades/ecpay/{order}/notices/resend",
        stack.sandbox.base_url()
    );
    let asked = stack.http.post(url).json(&json!({ "which": "all" }));
    let resent: Value = asked.send().await?.json().await?;
    let told = resent.get("notices").and_then(Value::as_array);
    let told = told.with_context(|| format!("no notices in {resent}"))?;
    let acknowledged = |notice: &Value| notice.get("acknowledged") == Some(&json!(true));
    ensure!(!told.is_empty() && told.iter().all(acknowledged), "{resent}");
    Ok(())
}
