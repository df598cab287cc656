//! Subscriptions that we charge ourselves, by a card that PAYUNi keeps (`PAYUNI_SUBSCRIPTIONS=token`).
//!
//! Proves the second mode of DESIGN.md from outside: the first payment leaves a stored card, every later period is charged
//! on its day, a refusal begins the same dunning (EC-1, EC-2), and a charge whose answer is lost is asked for and never
//! made twice. What the card was charged is what the ledger has.
//! Not here: workers that charge at once (the origin's own tests).

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{DAY_MS, HOUR_MS, Shop, Subscriber, assert_begin};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ec_2_a_stored_card_is_charged_on_schedule_and_once() -> Result<()> {
    let shop = Shop::open(&[("PAYUNI_SUBSCRIPTIONS", "token")]).await?;
    let mended = shop.subscribe("payuni", "mended").await?;
    let unheard = shop.subscribe("payuni", "answer-lost").await?;
    control(&shop, &mended, "declines", json!({ "next": 1 })).await?;
    control(&shop, &unheard, "answers", json!({ "lost": 1 })).await?;

    let due_ms = next_charge_ms(&shop, &unheard).await?;
    shop.pass_to(due_ms + 2 * HOUR_MS).await?;
    assert_eq!(shop.standing(&mended).await?, "past_due 1 pro");
    assert_eq!(shop.standing(&unheard).await?, "active 0 pro");
    assert_eq!(shop.steps(&unheard).await?, ["activated 1", "renewed 2"]);
    shop.pass_to(due_ms + 2 * DAY_MS).await?;
    assert_eq!(
        shop.steps(&mended).await?,
        ["activated 1", "first_failure 2", "retry_asked 2", "recovered 2"]
    );
    assert_begin(
        &shop.mails(&mended).await?,
        &["Payment received: ", "Reminder: ", "Payment received: "],
    );

    let due_ms = next_charge_ms(&shop, &mended).await?;
    shop.pass_to(due_ms + 2 * HOUR_MS).await?;
    for (customer, charges) in [(&mended, 4), (&unheard, 3)] {
        assert_eq!(shop.standing(customer).await?, "active 0 pro");
        card_agrees(&shop, customer, charges).await?;
    }
    shop.nothing_is_left().await?;
    shop.close().await
}

/// What the card was charged, the first payment included, is what we booked; so many attempts are known.
async fn card_agrees(shop: &Shop, of: &Subscriber, attempts: usize) -> Result<()> {
    let card = shop.control(&format!("tokens/payuni/{}", of.order), None).await?;
    let charges = card.get("charges").and_then(Value::as_array);
    let charges = charges.with_context(|| format!("no charges in {card}"))?;
    let first = shop.control(&format!("trades/payuni/{}", of.order), None).await?;
    let paid = charges
        .iter()
        .chain([&first])
        .filter(|charge| charge.get("status") == Some(&json!("paid")));
    let mut taken = paid.map(numbered).collect::<Result<Vec<String>>>()?;
    taken.sort();
    let ours = shop.charged(of).await?;
    ensure!(ours == taken, "our charges {ours:?}, the card's {taken:?}");
    let known = shop.attempts(of).await?;
    ensure!(known.len() == attempts, "{known:?}");
    ensure!(charges.len().saturating_add(1) == attempts, "{card}");
    shop.books_balance(of, ours.len()).await
}

fn numbered(charge: &Value) -> Result<String> {
    let number = charge
        .get("tradeNo")
        .and_then(Value::as_str)
        .context("no number")?;
    let amount = charge
        .get("amount")
        .and_then(Value::as_i64)
        .context("no amount")?;
    Ok(format!("{number} {amount}"))
}

/// Sets how a stored card behaves.
async fn control(shop: &Shop, of: &Subscriber, what: &str, body: Value) -> Result<()> {
    let path = format!("tokens/payuni/{}/{what}", of.order);
    shop.control(&path, Some(body)).await.map(drop)
}

async fn next_charge_ms(shop: &Shop, of: &Subscriber) -> Result<i64> {
    let sql = format!(
        "select (extract(epoch from next_charge_at) * 1000)::bigint from tollgate.saas_subscriptions \
         where order_number = '{}'",
        of.order
    );
    shop.books.count(&sql).await
}
