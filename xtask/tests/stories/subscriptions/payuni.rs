//! A period contract at PAYUNi: refused, tried again by `reauth`, lost and found by asking, refused for good.
//!
//! Proves for the other provider what `dunning` and `twins` prove for ECPay (EC-2, EC-3, EC-9, OP-5): the rules are ours,
//! only the wire differs. PAYUNi numbers its contract and its periods, and answers a retry at once (PU-4).
//! Not here: subscriptions that we charge ourselves (`merchant_run`).

use anyhow::Result;
use serde_json::json;

use super::{DAY_MS, HOUR_MS, Shop, assert_begin};

/// PAYUNi's daily run charges at eight; from noon on, who has heard nothing asks.
const POLLED_MS: i64 = 5 * HOUR_MS;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ec_9_a_contract_at_payuni_is_mended_found_and_brought_back() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    let mended = shop.subscribe("payuni", "mended").await?;
    let lost = shop.subscribe("payuni", "lost").await?;
    let refused = shop.subscribe("payuni", "refused").await?;
    let (due_on, due_ms) = shop.next_due(&refused).await?;
    shop.bank(&mended, json!({ "next": 1 })).await?;
    shop.bank(&lost, json!({ "next": 1 })).await?;
    shop.notices(&lost, json!({ "lose": true, "next": 1 })).await?;
    shop.bank(&refused, json!({ "dates": [due_on] })).await?;

    shop.pass_to(due_ms + HOUR_MS).await?;
    assert_eq!(shop.standing(&mended).await?, "past_due 1 pro");
    assert_eq!(shop.standing(&lost).await?, "active 0 pro");
    shop.pass_to(due_ms + POLLED_MS).await?;
    assert_eq!(shop.standing(&lost).await?, "past_due 1 pro");

    shop.pass_to(due_ms + 11 * DAY_MS).await?;
    for customer in [&mended, &lost] {
        assert_eq!(
            shop.steps(customer).await?,
            ["activated 1", "first_failure 2", "retry_asked 2", "recovered 2"],
            "{}",
            customer.user
        );
        assert_begin(
            &shop.mails(customer).await?,
            &["Payment received: ", "Reminder: ", "Payment received: "],
        );
    }
    assert_eq!(shop.standing(&refused).await?, "active 4 payment_failed free");

    let (_, next_ms) = shop.next_due(&refused).await?;
    shop.pass_to(next_ms + HOUR_MS).await?;
    assert_eq!(shop.standing(&refused).await?, "active 0 pro");
    for customer in [&mended, &lost, &refused] {
        shop.provider_agrees(customer).await?;
    }
    let numbers = "select count(distinct period.period_trade_no) from tollgate.period_transactions period \
                   where period.status = 'paid' and period.this_period in (1, 3)";
    assert_eq!(shop.books.count(numbers).await?, 3, "a number of each contract");
    // A retry that the bank declines is an attempt that was made: nothing is given up.
    shop.nothing_is_left().await?;
    shop.close().await
}
