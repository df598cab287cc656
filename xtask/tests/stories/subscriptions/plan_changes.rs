//! Another plan for a running subscription, through the whole stack: page, edge, origin, provider, ledger.
//!
//! Proves from outside (issue 4, PM-8): at ECPay a dearer plan is bought at checkout in place of the old one, whose contract is
//! ended there and whose unused days are paid back in whole dollars; with a stored card the difference is charged at once
//! and the due day stays. What the provider took and gave back is what the ledger has.
//! Not here: every refusal and every race (the origin's own tests).

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::stack::MAX_MONTHLY;
use xtask::stack::purchase::Buyer;

use super::{DAY_MS, HOUR_MS, PRICE, Shop, Subscriber};

/// What a period of [`MAX_MONTHLY`] costs.
const MAX_PRICE: i64 = 900;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pm_8_a_dearer_contract_replaces_the_old_one_and_its_unused_days_come_back() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    let old = shop.subscribe("ecpay", "climber").await?;
    let buyer: Buyer = shop.stack.buyer(old.user).await?;
    let (_, due_ms) = shop.next_due(&old).await?;
    shop.pass_to(due_ms - 15 * DAY_MS).await?;

    let id = id_of(&shop, &old).await?;
    let credit = share_of_days_left(&shop, &old, PRICE).await?;
    ensure!(credit > 0, "nothing is left of the period");
    let before = rows(&shop).await?;
    let told = preview(&buyer, &id, MAX_MONTHLY).await?;
    assert_eq!(told["way"], "new_contract", "{told}");
    assert_eq!(
        (&told["dueMinor"], &told["refundMinor"]),
        (&json!(MAX_PRICE), &json!(credit)),
        "{told}"
    );
    assert_eq!(rows(&shop).await?, before, "a preview books nothing");

    let body = json!({ "planId": MAX_MONTHLY, "provider": "ecpay", "replaces": id });
    let checkout = buyer.ask_checkout(&body, "upgrade").await?;
    assert_eq!(
        shop.standing(&old).await?,
        "active 0 pro",
        "untouched until the other is paid"
    );
    buyer.settle("ecpay", &checkout, |_| ()).await?;
    let new = Subscriber {
        user: old.user,
        provider: "ecpay",
        order: checkout.order_number,
        payment: checkout.payment_id,
    };
    assert_eq!(shop.standing(&new).await?, "active 0 max");
    shop.pass_to(due_ms - 15 * DAY_MS + HOUR_MS).await?;

    assert_eq!(shop.standing(&old).await?, "canceled 0 max");
    assert_eq!(
        shop.steps(&old).await?,
        ["activated 1", "replaced", "cancel_confirmed"]
    );
    let contract = shop.contract(&old).await?;
    assert_eq!(contract["state"], "canceled", "{contract}");
    assert_eq!(
        contract.pointer("/charges/0/refunded"),
        Some(&json!(credit)),
        "{contract}"
    );
    let refunds = "select concat_ws(' ', status, amount) from tollgate.refunds";
    assert_eq!(shop.books.texts(refunds).await?, [format!("done {credit}")]);
    assert_eq!(sales(&shop, old.user).await?, PRICE - credit + MAX_PRICE);

    let (_, next_ms) = shop.next_due(&new).await?;
    shop.pass_to(next_ms + HOUR_MS).await?;
    assert_eq!(
        shop.contract(&old).await?["timesPaid"],
        1,
        "the old contract charges no more"
    );
    assert_eq!(shop.steps(&new).await?, ["activated 1", "renewed 2"]);
    assert_eq!(sales(&shop, old.user).await?, PRICE - credit + 2 * MAX_PRICE);
    shop.nothing_is_left().await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pm_8_with_a_stored_card_the_difference_is_charged_and_a_downgrade_waits() -> Result<()> {
    let shop = Shop::open(&[("PAYUNI_SUBSCRIPTIONS", "token")]).await?;
    let customer = shop.subscribe("payuni", "changeable").await?;
    let buyer: Buyer = shop.stack.buyer(customer.user).await?;
    let due_ms = next_charge_ms(&shop, &customer).await?;
    shop.pass_to(due_ms - 15 * DAY_MS).await?;

    let id = id_of(&shop, &customer).await?;
    let due = share_of_days_left(&shop, &customer, MAX_PRICE).await?
        - share_of_days_left(&shop, &customer, PRICE).await?;
    let told = preview(&buyer, &id, MAX_MONTHLY).await?;
    assert_eq!(
        (&told["way"], &told["dueMinor"]),
        (&json!("in_place_now"), &json!(due)),
        "{told}"
    );
    let wish = json!({ "planId": MAX_MONTHLY, "dueMinor": due });
    let path = format!("/api/subscriptions/{id}/change-plan");
    buyer.write(&path, "upgrade", &wish).await?;
    shop.pass_to(due_ms - 15 * DAY_MS + HOUR_MS).await?;
    assert_eq!(shop.standing(&customer).await?, "active 0 max");
    assert_eq!(shop.steps(&customer).await?, ["activated 1", "plan_changed"]);
    assert_eq!(
        next_charge_ms(&shop, &customer).await?,
        due_ms,
        "the due day stays"
    );
    buyer.write(&path, "upgrade", &wish).await?;

    let back = buyer
        .write(&path, "downgrade", &json!({ "planId": "pro-monthly" }))
        .await?;
    assert_eq!(
        (&back["planId"], &back["nextPlanId"]),
        (&json!(MAX_MONTHLY), &json!("pro-monthly"))
    );
    shop.pass_to(due_ms + 2 * HOUR_MS).await?;
    assert_eq!(shop.standing(&customer).await?, "active 0 pro");
    assert_eq!(
        shop.steps(&customer).await?,
        [
            "activated 1",
            "plan_changed",
            "plan_change_scheduled",
            "plan_changed",
            "renewed 2"
        ]
    );
    assert_eq!(sales(&shop, customer.user).await?, PRICE + due + PRICE);
    let card = shop
        .control(&format!("tokens/payuni/{}", customer.order), None)
        .await?;
    let charges = card.get("charges").and_then(Value::as_array);
    let charges = charges.with_context(|| format!("no charges in {card}"))?;
    let amounts: Vec<&Value> = charges.iter().filter_map(|charge| charge.get("amount")).collect();
    assert_eq!(amounts, [&json!(due), &json!(PRICE)], "{card}");
    shop.nothing_is_left().await?;
    shop.close().await
}

async fn preview(buyer: &Buyer, id: &str, plan: &str) -> Result<Value> {
    let path = format!("/api/subscriptions/{id}/change-plan/preview");
    buyer.write(&path, "preview", &json!({ "planId": plan })).await
}

async fn id_of(shop: &Shop, of: &Subscriber) -> Result<String> {
    let sql = format!(
        "select id::text from tollgate.saas_subscriptions where order_number = '{}'",
        of.order
    );
    shop.books
        .texts(&sql)
        .await?
        .into_iter()
        .next()
        .context("no subscription")
}

async fn next_charge_ms(shop: &Shop, of: &Subscriber) -> Result<i64> {
    let sql = format!(
        "select (extract(epoch from next_charge_at) * 1000)::bigint from tollgate.saas_subscriptions \
         where order_number = '{}'",
        of.order
    );
    shop.books.count(&sql).await
}

/// A price times the days from tomorrow to the due day, through those of the whole period, in whole dollars: counted by
/// Postgres, and not as the origin does.
async fn share_of_days_left(shop: &Shop, of: &Subscriber, price: i64) -> Result<i64> {
    let clock = shop.control("clock", None).await?;
    let now = clock.get("unixMs").and_then(Value::as_i64).context("no time")?;
    let sql = format!(
        "select ({price} * greatest(days.due - days.today - 1, 0) / (days.due - days.first))::bigint from ( \
             select (next_charge_at at time zone 'Asia/Taipei')::date as due, \
                    (to_timestamp({now} / 1000) at time zone 'Asia/Taipei')::date as today, \
                    (attempt.occurred_at at time zone 'Asia/Taipei')::date as first \
             from tollgate.subscription_payments attempt {}) days",
        of.joined("attempt")
    );
    shop.books.count(&sql).await
}

/// What the ledger has of a user's purchases, refunds taken off.
async fn sales(shop: &Shop, user: &str) -> Result<i64> {
    let sql = format!(
        "select coalesce(-sum(amount), 0)::bigint from tollgate.ledger_entry \
         where owner = 'user:{user}' and account_kind = 'sales'"
    );
    let faults = shop
        .books
        .count("select count(*) from tollgate.ledger_faults()")
        .await?;
    ensure!(faults == 0, "{faults} faults of the ledger");
    shop.books.count(&sql).await
}

/// How many rows there are of what a change could write.
async fn rows(shop: &Shop) -> Result<i64> {
    let sql = "select (select count(*) from tollgate.subscription_facts) + (select count(*) from tollgate.outbox) \
               + (select count(*) from tollgate.payments) + (select count(*) from tollgate.event_log)";
    shop.books.count(sql).await
}
