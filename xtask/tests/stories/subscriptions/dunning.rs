//! The path of a failed payment, from its due day to FREE and back (EC-9), and the shorter way of a card that is mended.
//!
//! Proves EC-1 (grace of 7 days and 3 more), EC-2 (retries after 1, 3 and 7 days, made by the provider: `ReAuth`), EC-3
//! (FREE with ACTIVE kept, and back), EC-8 (a mail for each step) from outside, at ECPay.
//! Not here: notices that go wrong (`twins`), other schedules (`domain::subscription`, text tables).

use anyhow::Result;
use serde_json::json;

use super::{DAY_MS, HOUR_MS, Shop, assert_begin};

/// Until the second refusal.
const FIRST_MAILS: [&str; 2] = [
    "Payment received: Pro, every month",
    "Reminder: a payment for Pro, every month did not go through",
];
const LATER_MAILS: [&str; 5] = [
    "Important: the second payment for Pro, every month failed as well",
    "Urgent: Pro, every month will be downgraded to FREE on ",
    "Urgent: Pro, every month will be downgraded to FREE on ",
    "Urgent: your account was downgraded from Pro, every month to FREE",
    "Payment received: Pro, every month is active again",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ec_9_from_the_first_failure_through_grace_to_free_and_back() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    let customer = shop.subscribe("ecpay", "dunned").await?;
    assert_eq!(shop.standing(&customer).await?, "active 0 pro");
    let (due_on, due_ms) = shop.next_due(&customer).await?;
    shop.bank(&customer, json!({ "dates": [due_on] })).await?;

    // EC-1: each refusal with what it leaves; `(days after the due day, standing, grace in days)`.
    for (days, standing, grace_days) in [
        (0, "past_due 1 pro", 7),
        (1, "past_due 2 pro", 10),
        (3, "past_due 3 pro", 10),
        (7, "past_due 4 pro", 10),
        (9, "past_due 4 pro", 10),
    ] {
        shop.pass_to(due_ms + days * DAY_MS + HOUR_MS).await?;
        assert_eq!(shop.standing(&customer).await?, standing, "day {days}");
        assert_eq!(
            shop.grace_days(&customer, &due_on).await?,
            grace_days,
            "day {days}"
        );
        if days == 0 {
            assert_begin(&shop.mails(&customer).await?, &FIRST_MAILS);
        }
    }
    shop.pass_to(due_ms + 10 * DAY_MS + HOUR_MS).await?;
    assert_eq!(shop.standing(&customer).await?, "active 4 payment_failed free");

    // EC-3: the next period's charge succeeds, and the paid plan is back.
    let (next_on, next_ms) = shop.next_due(&customer).await?;
    shop.pass_to(next_ms + HOUR_MS).await?;
    assert_eq!(shop.standing(&customer).await?, "active 0 pro");
    assert_eq!(
        shop.history(&customer, &due_on).await?.split_off(1),
        [
            "0 first_failure 2".to_owned(),
            "1 retry_asked 2".to_owned(),
            "1 second_failure 2".to_owned(),
            "3 retry_asked 2".to_owned(),
            "3 final_warning 2".to_owned(),
            "7 retry_asked 2".to_owned(),
            "7 final_warning 2".to_owned(),
            "10 downgraded 2".to_owned(),
            format!("{} recovered 3", days_between(&shop, &due_on, &next_on).await?),
        ]
    );
    assert_begin(
        &shop.mails(&customer).await?,
        &[&FIRST_MAILS[..], &LATER_MAILS[..]].concat(),
    );
    // Nothing charged beside the provider: its six attempts are all that we know of, its two successes all that we booked.
    assert_eq!(shop.attempts(&customer).await?.len(), 6);
    shop.provider_agrees(&customer).await?;
    shop.nothing_is_left().await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ec_2_a_retry_that_succeeds_ends_the_dunning() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    let first = shop.subscribe("ecpay", "mended-on-day-1").await?;
    let third = shop.subscribe("ecpay", "mended-on-day-3").await?;
    let (due_on, _) = shop.next_due(&first).await?;
    let (third_due_on, due_ms) = shop.next_due(&third).await?;
    shop.bank(&first, json!({ "next": 1 })).await?;
    shop.bank(&third, json!({ "next": 2 })).await?;
    shop.pass_to(due_ms + 8 * DAY_MS).await?;

    let beginning = ["0 first_failure 2", "1 retry_asked 2"];
    for (customer, due_on, after) in [
        (&first, &due_on, &["1 recovered 2"][..]),
        (
            &third,
            &third_due_on,
            &["1 second_failure 2", "3 retry_asked 2", "3 recovered 2"][..],
        ),
    ] {
        let expected = [&beginning[..], after].concat();
        assert_eq!(shop.history(customer, due_on).await?.split_off(1), expected);
        assert_eq!(shop.standing(customer).await?, "active 0 pro");
        shop.provider_agrees(customer).await?;
    }
    shop.nothing_is_left().await?;
    shop.close().await
}

async fn days_between(shop: &Shop, from: &str, to: &str) -> Result<i64> {
    let sql = format!("select (date '{to}' - date '{from}')::bigint");
    shop.books.count(&sql).await
}
