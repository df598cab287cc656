//! Twins of the path of a failed payment (EC-9): the same bank, and notices that go wrong on their way.
//!
//! Proves OP-5 (what polling finds begins the same dunning as a notice), and that a failure counts once: told late, told
//! twice at once, told after the success that mended it. A charge of another amount than ours is for a person, and no
//! customer is dunned for it. All customers are of one shop, so that time passes once.
//! Not here: random orders of events (the origin's property tests).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tollgate_shared::provider::ecpay::mac::{Algorithm, check_mac_value};
use tollgate_shared::time::{ECPAY_FORMAT, Timestamp};
use xtask::clock::poll_until;
use xtask::stack::settings::{ECPAY_HASH_IV, ECPAY_HASH_KEY, ECPAY_MERCHANT_ID};

use super::{DAY_MS, HOUR_MS, Shop, Subscriber, assert_begin};
use crate::notices::{ACKNOWLEDGED, Notice, post};

/// The edge acknowledges before we have it.
const LIMIT: Duration = Duration::from_secs(30);
const MINUTE_MS: i64 = 60_000;
const TWO_HOURS_SECONDS: u32 = 7_200;
const TWO_DAYS_SECONDS: u32 = 172_800;
/// ECPay charges at six; half a day after the due day began, who has heard nothing asks.
const POLLED_MS: i64 = 7 * HOUR_MS;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn op_5_a_lost_notice_is_found_by_asking_and_begins_the_same_dunning() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    let failing = shop.subscribe("ecpay", "failure-lost").await?;
    let paying = shop.subscribe("ecpay", "success-lost").await?;
    let late = shop.subscribe("ecpay", "failure-late").await?;
    for customer in [&failing, &late] {
        shop.bank(customer, json!({ "next": 1 })).await?;
    }
    for customer in [&failing, &paying] {
        shop.notices(customer, json!({ "lose": true, "next": 1 })).await?;
    }
    shop.notices(&late, json!({ "lateSeconds": TWO_DAYS_SECONDS, "next": 1 }))
        .await?;
    let (_, due_ms) = shop.next_due(&late).await?;

    shop.pass_to(due_ms + HOUR_MS).await?;
    for customer in [&failing, &paying, &late] {
        assert_eq!(shop.steps(customer).await?, ["activated 1"], "{}", customer.user);
    }
    shop.pass_to(due_ms + POLLED_MS).await?;
    assert_eq!(shop.standing(&failing).await?, "past_due 1 pro");
    assert_eq!(shop.standing(&paying).await?, "active 0 pro");
    assert_eq!(shop.steps(&paying).await?, ["activated 1", "renewed 2"]);

    // The late notice comes on the second day, after the retry that succeeded.
    shop.pass_to(due_ms + 3 * DAY_MS).await?;
    for customer in [&failing, &late] {
        assert_eq!(
            shop.steps(customer).await?,
            ["activated 1", "first_failure 2", "retry_asked 2", "recovered 2"],
            "{}",
            customer.user
        );
        assert_eq!(
            shop.attempts(customer).await?,
            ["paid notice", "failed poll", "paid notice"]
        );
        assert_begin(
            &shop.mails(customer).await?,
            &["Payment received: ", "Reminder: ", "Payment received: "],
        );
    }
    assert_eq!(shop.attempts(&paying).await?, ["paid notice", "paid poll"]);
    for customer in [&failing, &paying, &late] {
        assert_eq!(shop.standing(customer).await?, "active 0 pro");
        shop.provider_agrees(customer).await?;
    }
    shop.nothing_is_left().await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ec_9_two_notices_at_once_one_after_its_cure_and_one_of_another_amount() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    let twice = shop.subscribe("ecpay", "told-twice").await?;
    let cured = shop.subscribe("ecpay", "told-after-its-cure").await?;
    let odd = shop.subscribe("ecpay", "another-amount").await?;
    for customer in [&twice, &cured] {
        shop.bank(customer, json!({ "next": 1 })).await?;
    }
    shop.notices(&twice, json!({ "lose": true, "next": 1 })).await?;
    shop.notices(&cured, json!({ "lateSeconds": TWO_HOURS_SECONDS, "next": 1 }))
        .await?;
    shop.notices(&odd, json!({ "amount": 1, "next": 1 })).await?;
    let (_, due_ms) = shop.next_due(&odd).await?;

    // The shop's owner tries the failed charge again by hand, in the provider's console, before anybody heard of it.
    shop.pass_to(due_ms + 5 * MINUTE_MS).await?;
    try_again_in_console(&shop, &cured).await?;
    tell_twice_at_once(&shop, &twice).await?;
    poll_until("the failure being known", LIMIT, || async {
        Ok((shop.standing(&twice).await? == "past_due 1 pro").then_some(()))
    })
    .await?;
    shop.pass_to(due_ms + 3 * HOUR_MS).await?;
    assert_eq!(shop.steps(&cured).await?, ["activated 1", "renewed 2"]);
    shop.pass_to(due_ms + 2 * DAY_MS).await?;

    assert_eq!(
        shop.steps(&twice).await?,
        ["activated 1", "first_failure 2", "retry_asked 2", "recovered 2"]
    );
    assert_begin(
        &shop.mails(&twice).await?,
        &["Payment received: ", "Reminder: ", "Payment received: "],
    );
    assert_eq!(shop.steps(&cured).await?, ["activated 1", "renewed 2"]);
    assert_begin(
        &shop.mails(&cured).await?,
        &["Payment received: ", "Payment received: "],
    );
    for customer in [&twice, &cured] {
        assert_eq!(shop.attempts(customer).await?.len(), 3, "{}", customer.user);
        shop.provider_agrees(customer).await?;
    }
    is_for_a_person(&shop, &odd).await?;
    shop.close().await
}

/// The charge of another amount: one dispute that says both, no money, no dunning.
async fn is_for_a_person(shop: &Shop, odd: &Subscriber) -> Result<()> {
    assert_eq!(shop.steps(odd).await?, ["activated 1"]);
    assert_eq!(shop.standing(odd).await?, "active 0 pro");
    assert_begin(&shop.mails(odd).await?, &["Payment received: "]);
    assert_eq!(shop.charged(odd).await?.len(), 1);
    shop.books_balance(odd, 1).await?;
    let disputes =
        "select concat_ws(' ', order_number, expected::text, received::text) from tollgate.disputes";
    let disputes = shop.books.texts(disputes).await?;
    ensure!(disputes.len() == 1, "{disputes:?}");
    let dispute = disputes.concat();
    ensure!(
        dispute.starts_with(&odd.order) && dispute.contains("300") && dispute.contains(": 1"),
        "{dispute}"
    );
    Ok(())
}

/// Posts the notice of the newest attempt twice at the same moment: as sent first, and as a re-send words it.
async fn tell_twice_at_once(shop: &Shop, customer: &Subscriber) -> Result<()> {
    let contract = shop.contract(customer).await?;
    let charge = contract.pointer("/charges/1").context("no second charge")?;
    let told = refusal(&customer.order, charge)?;
    let (one, other) = (told.body(), told.with("RtnMsg", "Pay Fail").body());
    let path = "/api/webhooks/ecpay/period";
    let (one, other) = tokio::join!(post(&shop.stack, path, one), post(&shop.stack, path, other));
    for answer in [one?, other?] {
        assert_eq!(answer, (200, ACKNOWLEDGED.to_owned()));
    }
    Ok(())
}

/// `PeriodReturnURL` of a refused charge, as ECPay words it.
fn refusal(order: &str, charge: &Value) -> Result<Notice> {
    ensure!(charge.get("succeeded") == Some(&json!(false)), "{charge}");
    let number = charge.get("gwsr").and_then(Value::as_str).context("no gwsr")?;
    let at = charge
        .get("atUnixMs")
        .and_then(Value::as_i64)
        .context("no time")?;
    let at = Timestamp::from_unix_ms(at)
        .to_taipei(ECPAY_FORMAT)
        .context("no day")?;
    let mut notice = Notice::declined(order, "");
    for name in [
        "TradeNo",
        "TradeAmt",
        "PaymentDate",
        "PaymentType",
        "PaymentTypeChargeFee",
        "TradeDate",
        "SimulatePaid",
    ] {
        notice = notice.without(name);
    }
    for (name, value) in [
        ("PeriodType", "M"),
        ("Frequency", "1"),
        ("ExecTimes", "12"),
        ("Amount", "300"),
        ("Gwsr", number),
        ("ProcessDate", &at),
        ("AuthCode", ""),
        ("FirstAuthAmount", "300"),
        ("TotalSuccessTimes", "1"),
    ] {
        notice = notice.with(name, value);
    }
    Ok(notice)
}

/// `ReAuth`, as the provider's console sends it: signed by the shop's keys, and unknown to us.
async fn try_again_in_console(shop: &Shop, customer: &Subscriber) -> Result<()> {
    let clock = shop.control("clock", None).await?;
    let now_ms = clock.get("unixMs").and_then(Value::as_i64).context("no time")?;
    let stamp = Timestamp::from_unix_ms(now_ms).unix_seconds().to_string();
    let fields = [
        ("MerchantID", ECPAY_MERCHANT_ID),
        ("MerchantTradeNo", &customer.order),
        ("Action", "ReAuth"),
        ("TimeStamp", &stamp),
    ];
    let mac = check_mac_value(fields, ECPAY_HASH_KEY, ECPAY_HASH_IV, Algorithm::Sha256);
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields).append_pair("CheckMacValue", &mac);
    let url = format!(
        "{}/ecpay/Cashier/CreditCardPeriodAction",
        shop.stack.sandbox.base_url()
    );
    let asked = shop
        .stack
        .http
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.finish());
    let answer = asked.send().await?.text().await?;
    ensure!(answer.contains("RtnCode=1&"), "{answer}");
    Ok(())
}
