//! A year of monthly charges in one story, with a bank that declines on chosen dates.
//!
//! Proves that every charge of the provider is counted once, whatever happened to it on its way (EC-9): refused and
//! mended on the first, the second or the last retry, refused for good, paid and never told. At the end the provider's
//! record of charges is our ledger, and the contract is over.
//! Not here: the days themselves (month-ends are text tables on both sides).

use anyhow::Result;
use serde_json::{Value, json};

use super::{DAY_MS, HOUR_MS, Shop, Subscriber};

/// What the bank and the provider's notices do to a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Paid,
    /// Refused so often, then paid by a retry.
    Mended(u32),
    /// Refused on its day and by every retry.
    Refused,
    /// Paid, and the notice never comes.
    Untold,
}

/// From the second period to the twelfth.
const FATES: [Fate; 11] = [
    Fate::Paid,
    Fate::Mended(1),
    Fate::Paid,
    Fate::Mended(2),
    Fate::Untold,
    Fate::Refused,
    Fate::Paid,
    Fate::Mended(3),
    Fate::Untold,
    Fate::Mended(1),
    Fate::Paid,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ec_9_a_year_of_charges_is_counted_once_each() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    let customer = shop.subscribe("ecpay", "for-a-year").await?;
    for fate in FATES {
        let (due_on, due_ms) = shop.next_due(&customer).await?;
        meet(&shop, &customer, fate, &due_on).await?;
        // Before the next period is due, every fate has come to its end.
        shop.pass_to(due_ms + 12 * DAY_MS).await?;
        let expected = if fate == Fate::Refused {
            "active 4 payment_failed free"
        } else {
            "active 0 pro"
        };
        assert_eq!(shop.standing(&customer).await?, expected, "{due_on} {fate:?}");
    }
    shop.provider_agrees(&customer).await?;
    assert_eq!(shop.charged(&customer).await?.len(), 11);
    assert_eq!(steps_by_kind(&shop, &customer).await?, EXPECTED_STEPS);
    let periods = format!(
        "select count(distinct period.period_order_no) from tollgate.period_transactions period {} and period.status = 'paid'",
        customer.joined("period")
    );
    assert_eq!(shop.books.count(&periods).await?, 11);

    // The provider has nothing left to charge, so the last period's end is the contract's.
    let contract = shop.contract(&customer).await?;
    assert_eq!(contract.get("nextPeriodUnixMs"), Some(&Value::Null), "{contract}");
    let clock = shop.control("clock", None).await?;
    let now_ms = clock.get("unixMs").and_then(Value::as_i64).unwrap_or_default();
    shop.pass_to(now_ms + 25 * DAY_MS + HOUR_MS).await?;
    let standing = shop.standing(&customer).await?;
    assert!(standing.starts_with("ended 0"), "{standing}");
    shop.provider_agrees(&customer).await?;
    shop.nothing_is_left().await?;
    shop.close().await
}

/// Of each kind, how many.
const EXPECTED_STEPS: [&str; 7] = [
    "activated 1",
    "downgraded 1",
    "final_warning 3",
    "first_failure 5",
    "recovered 5",
    "renewed 5",
    "retry_asked 10",
];

async fn steps_by_kind(shop: &Shop, customer: &Subscriber) -> Result<Vec<String>> {
    let sql = format!(
        "select step.kind || ' ' || count(*) from tollgate.subscription_history step {} \
         and step.kind <> 'second_failure' group by step.kind order by step.kind",
        customer.joined("step")
    );
    shop.books.texts(&sql).await
}

async fn meet(shop: &Shop, customer: &Subscriber, fate: Fate, due_on: &str) -> Result<()> {
    match fate {
        Fate::Paid => Ok(()),
        Fate::Mended(refusals) => shop.bank(customer, json!({ "next": refusals })).await,
        Fate::Refused => shop.bank(customer, json!({ "dates": [due_on] })).await,
        Fate::Untold => {
            shop.notices(customer, json!({ "lose": true, "dates": [due_on] }))
                .await
        }
    }
}
