//! PU-7 over the whole stack: a card is bound with NT$1 and pays for nothing, the first charge comes on the chosen day, the
//! next on the plan's.
//!
//! The customer's browser carries the result of PAYUNi's page to the edge, as nothing else tells of the binding; on the way
//! payments without news are asked about, and the NT$1 is found once more (OP-5). The sandbox counts the days by itself.
//! Not here: what else may tell of the binding, and the days that are refused (the origin's own tests).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use xtask::clock::poll_until;
use xtask::stack::purchase::Checkout;

use super::{DAY_MS, HOUR_MS, Shop, Subscriber, assert_begin, charges};

/// NT$99 on the chosen day, then NT$300 every Monday, four charges in all.
const PUT_PLAN: [&str; 22] = [
    "plan",
    "put",
    "--id",
    "weekly",
    "--name",
    "Pro, every week",
    "--amount",
    "300",
    "--kind",
    "subscription",
    "--subscription-type",
    "pro",
    "--period-type",
    "week",
    "--period-times",
    "4",
    "--period-date",
    "1",
    "--first-charge",
    "date",
    "--first-amount",
    "99",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pu_7_one_dollar_binds_the_card_and_the_first_charge_comes_on_the_chosen_day() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    shop.stack.tollgate(&PUT_PLAN).await?;
    let later = shop.bind("later").await?;
    assert_eq!(shop.standing(&later).await?, "pending 0");
    assert!(shop.charged(&later).await?.is_empty(), "NT$1 is no charge");

    let (first_on, first_ms) = shop.next_due(&later).await?;
    let agreed = "select (anchor_on || ' ' || (next_charge_at at time zone 'Asia/Taipei')::date) \
                  from tollgate.saas_subscriptions";
    assert_eq!(
        shop.books.texts(agreed).await?,
        [format!("{first_on} {first_on}")]
    );
    shop.pass_to(first_ms - HOUR_MS).await?;
    assert_eq!(
        shop.standing(&later).await?,
        "pending 0",
        "a card that is bound is waited for"
    );
    assert!(shop.charged(&later).await?.is_empty());

    shop.pass_to(first_ms + HOUR_MS).await?;
    assert_eq!(shop.standing(&later).await?, "active 0 pro");
    let (monday, monday_ms) = shop.next_due(&later).await?;
    ensure!(
        monday_ms > first_ms && monday_ms <= first_ms + 7 * DAY_MS,
        "{monday} is not the next Monday after {first_on}"
    );
    let next = format!(
        "select count(*) from tollgate.saas_subscriptions \
         where (next_charge_at at time zone 'Asia/Taipei')::date = date '{monday}' and extract(isodow from date '{monday}') = 1"
    );
    assert_eq!(
        shop.books.count(&next).await?,
        1,
        "the provider's next day is ours"
    );
    shop.pass_to(monday_ms + HOUR_MS).await?;

    assert_eq!(
        shop.steps(&later).await?,
        ["card_bound", "activated 1", "renewed 2"]
    );
    let taken = charges(&shop.contract(&later).await?, later.provider)?;
    assert_eq!(shop.charged(&later).await?, taken);
    let mut amounts: Vec<&str> = taken
        .iter()
        .filter_map(|charge| charge.split(' ').nth(1))
        .collect();
    amounts.sort_unstable();
    assert_eq!(amounts, ["300", "99"]);
    shop.stack.balanced_entries(&later.payment).await?;
    assert_begin(
        &shop.mails(&later).await?,
        &[
            "Your card for Pro, every week is registered; the first charge is on ",
            "Payment received: ",
            "Payment received: ",
        ],
    );
    shop.nothing_is_left().await?;
    shop.close().await
}

impl Shop {
    /// A customer who binds a card for a first charge in ten days and comes back to the app.
    async fn bind(&self, user: &'static str) -> Result<Subscriber> {
        self.put_address(user, "en").await?;
        let buyer = self.stack.buyer(user).await?;
        let day = "select ((to_timestamp($1 / 1000.0) at time zone 'Asia/Taipei')::date + 10)::text";
        let clock = self.control("clock", None).await?;
        let now = clock.get("unixMs").context("no time")?.to_string();
        let day = self.books.texts(&day.replace("$1", &now)).await?;
        let body = json!({ "planId": "weekly", "provider": "payuni", "firstChargeOn": day.first() });
        let checkout: Checkout = buyer.ask_checkout(&body, "first").await?;
        let trade = buyer.open_cashier(&checkout).await?;
        buyer.pay("payuni", &trade).await?;
        let back = buyer.bring_result("payuni", &trade).await?;
        ensure!(
            back.ends_with(&format!("/?paymentId={}", checkout.payment_id)),
            "the customer is sent to {back}"
        );
        let bound = "select count(*) from tollgate.subscription_history where kind = 'card_bound'";
        poll_until("the binding being known", Duration::from_secs(30), || async {
            Ok((self.books.count(bound).await? == 1).then_some(()))
        })
        .await?;
        ensure!(
            buyer.status(&checkout.payment_id).await? == "pending",
            "it is not paid"
        );
        Ok(Subscriber {
            user,
            provider: "payuni",
            order: checkout.order_number,
            payment: checkout.payment_id,
        })
    }
}
