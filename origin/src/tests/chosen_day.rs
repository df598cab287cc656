//! PU-7: NT$1 binds a card and pays for nothing; the first charge on the chosen day is period 1, the next is on the plan's.
//!
//! How: plan `later`, NT$99 on 10 December 2026 and NT$300 on every 28th; what each telling changes is compared with the
//! whole state (`Stage::tally`). PAYUNi's pages show the binding in the result of its order page only (reference A.5); the
//! other two tellings are what it may do besides. Not here: the rules (`domain::subscription::tests`), the checkout.

use std::time::Duration;

use serde_json::{Value, json};

use super::notices::{Notice, payuni, payuni_page, payuni_period, trade_no};
use super::stage::{Stage, taipei};
use crate::clock::Clock as _;
use crate::db::{Tx, look};
use crate::subscriptions::{self, Asked, CancelWhen, ChangeError, SubscriptionId};

/// An order of the plan `later`, for 10 December.
struct Ordered {
    stage: Stage,
    payment: String,
    order: String,
}

impl Ordered {
    async fn new() -> Self {
        let stage = Stage::start().await;
        let (payment, order) = stage.buy("user-1", body()).await;
        Self {
            stage,
            payment,
            order,
        }
    }

    async fn bound() -> Self {
        let ordered = Self::new().await;
        ordered.stage.apply(&ordered.page()).await;
        ordered
    }

    fn page(&self) -> Notice {
        payuni_page(&self.order, "SUCCESS", 1, &[])
    }

    fn charged(&self, period: u32, amount: i64, day: &str) -> Notice {
        payuni_period(
            &self.order,
            (period, amount),
            ("SUCCESS", &format!("90{period}")),
            [day, "080000"],
        )
    }

    async fn at(&self, instant: &str) {
        let now = self.stage.clock.now();
        self.stage.after(taipei(instant).distance(now)).await;
    }

    async fn status(&self) -> Value {
        self.stage.payment(&self.payment).await["status"].clone()
    }

    async fn subscription(&self) -> Value {
        look::row(
            &self.stage.admin,
            "saas_subscriptions",
            "order_number",
            &self.order,
        )
        .await
    }

    async fn steps(&self) -> Vec<String> {
        look::subscription_steps(&self.stage.admin, &self.order).await
    }

    async fn effects(&self, kind: &str) -> usize {
        let rows = look::rows(&self.stage.admin, "outbox").await;
        rows.iter().filter(|row| row["kind"] == kind).count()
    }

    /// No money, no period, no access: whatever was told.
    async fn expect_nothing_paid(&self) {
        for kind in [
            "charges settled",
            "ledger transactions",
            "attempts paid",
            "attempts failed",
            "periods paid",
            "ledger faults",
        ] {
            assert_eq!(self.stage.count(kind).await, 0, "{kind}");
        }
        let user = self.stage.user("user-1").await;
        assert_eq!(user["subscription_type"], Value::Null);
        assert_eq!(self.subscription().await["periods_paid"], 0);
        assert_eq!(self.subscription().await["access_until"], Value::Null);
    }
}

fn body() -> Value {
    json!({ "planId": "later", "provider": "payuni", "firstChargeOn": "2026-12-10" })
}

#[tokio::test]
async fn pu_7_one_dollar_binds_the_card_and_is_no_period_whoever_tells_it_how_often() {
    let by_page = |order: &str| payuni_page(order, "SUCCESS", 1, &[]);
    let trade = |order: &str| trade_no(order);
    let by_notice = |order: &str| {
        let trade = trade(order);
        payuni_period(order, (1, 1), ("SUCCESS", &trade), ["20261121", "100500"])
    };
    let by_query = |order: &str| payuni(order, 1, "SUCCESS", "1");
    let tellings: [&dyn Fn(&str) -> Notice; 3] = [&by_page, &by_notice, &by_query];
    for first in tellings {
        let ordered = Ordered::new().await;
        ordered.stage.apply(&first(&ordered.order)).await;
        ordered.expect_nothing_paid().await;
        assert_eq!(
            (ordered.status().await, ordered.steps().await),
            (json!("pending"), vec!["card_bound".to_owned()])
        );
        let (tally, agreed) = (ordered.stage.tally().await, ordered.subscription().await);
        assert_eq!(
            (&agreed["status"], &agreed["next_charge_at"]),
            (&json!("pending"), &json!("2026-12-09T16:00:00+00:00"))
        );
        for again in tellings {
            ordered.stage.apply(&again(&ordered.order)).await;
        }
        let mut after = ordered.stage.tally().await;
        let events = tally.get("inbox applied").copied();
        after.insert("inbox applied".to_owned(), events.unwrap());
        assert_eq!(after, tally, "told again, it is the same fact");
        assert_eq!(
            ordered.stage.count("notices card_bound").await,
            1,
            "PU-8: told once"
        );
    }
}

#[tokio::test]
async fn pu_7_the_first_charge_on_the_chosen_day_is_period_1_and_the_next_is_on_the_plans_day() {
    let ordered = Ordered::bound().await;
    assert_eq!(
        ordered.subscription().await["contract_number"],
        format!("P{}", ordered.order)
    );
    ordered.at("2026/12/10 07:59:00").await;
    ordered.expect_nothing_paid().await;
    assert_eq!(
        ordered.status().await,
        "pending",
        "a card that is bound is waited for"
    );
    ordered.at("2026/12/10 08:00:10").await;
    let first = ordered.charged(1, 99, "20261210");
    ordered.stage.apply(&first).await;
    ordered.stage.apply(&first).await;
    assert_eq!(ordered.status().await, "active");
    let line = look::subscription(&ordered.stage.admin, &ordered.order).await;
    assert_eq!(line, "active failures=0 grace=- retry=- | pro until 12-29 00:00");
    assert_eq!(ordered.stage.count("ledger transactions").await, 1);
    ordered.at("2026/12/28 08:00:10").await;
    ordered.stage.apply(&ordered.charged(2, 300, "20261228")).await;
    let agreed = ordered.subscription().await;
    assert_eq!(
        (&agreed["periods_paid"], &agreed["next_charge_at"]),
        (&json!(2), &json!("2027-01-27T16:00:00+00:00"))
    );
    assert_eq!(ordered.steps().await, ["card_bound", "activated", "renewed"]);
    let entries = look::rows(&ordered.stage.admin, "ledger_entry").await;
    let booked: i64 = entries
        .iter()
        .filter_map(|entry| entry["amount"].as_i64())
        .filter(|amount| *amount > 0)
        .sum();
    assert_eq!(booked, 399, "NT$99 and NT$300, and no NT$1");
    let logged = look::rows(&ordered.stage.admin, "event_log").await;
    let amounts: Vec<&Value> = logged
        .iter()
        .filter(|line| {
            ["subscription_activated", "subscription_renewed"].contains(&line["event_type"].as_str().unwrap())
        })
        .map(|line| &line["amount"])
        .collect();
    assert_eq!(amounts, [&json!(99), &json!(300)], "PU-1: what each took");
}

#[tokio::test]
async fn pu_1_the_first_amount_is_the_first_periods_and_no_others() {
    let ordered = Ordered::bound().await;
    ordered.at("2026/12/10 08:00:10").await;
    ordered.stage.apply(&ordered.charged(1, 300, "20261210")).await;
    assert_eq!(ordered.stage.count("disputes amount_mismatch").await, 1);
    ordered.expect_nothing_paid().await;
    let mended = payuni_period(
        &ordered.order,
        (1, 99),
        ("SUCCESS", "911"),
        ["20261210", "090000"],
    );
    ordered.stage.apply(&mended).await;
    ordered.stage.apply(&ordered.charged(2, 99, "20261228")).await;
    assert_eq!(ordered.stage.count("disputes amount_mismatch").await, 2);
    assert_eq!(ordered.stage.count("charges settled").await, 1);
    // Paid back, it is known by its own amount.
    let back = |trade: &str, amount| payuni_refund(&ordered.order, trade, amount);
    ordered.stage.apply(&back("911", 300)).await;
    assert_eq!(ordered.stage.count("disputes amount_mismatch").await, 3);
    let second = payuni_period(
        &ordered.order,
        (2, 300),
        ("SUCCESS", "912"),
        ["20261228", "090000"],
    );
    ordered.stage.apply(&second).await;
    ordered.stage.apply(&back("912", 300)).await;
    assert_eq!(ordered.stage.count("charges refunded").await, 1);
    assert_eq!(ordered.stage.count("ledger faults").await, 0);
}

fn payuni_refund(order: &str, trade: &str, amount: i64) -> Notice {
    super::notices::payuni_of(order, (amount, trade), ["SUCCESS", "5"], &[])
}

#[tokio::test]
async fn pu_7_a_payment_before_the_chosen_day_that_is_not_one_dollar_is_for_a_person() {
    let ordered = Ordered::bound().await;
    ordered
        .stage
        .apply(&payuni(&ordered.order, 99, "SUCCESS", "1"))
        .await;
    assert_eq!(ordered.stage.count("disputes amount_mismatch").await, 1);
    ordered.expect_nothing_paid().await;
}

#[tokio::test]
async fn pu_7_the_authorisation_that_bound_the_card_may_be_released() {
    let ordered = Ordered::bound().await;
    let before = ordered.stage.payment(&ordered.payment).await;
    ordered
        .stage
        .apply(&payuni(&ordered.order, 1, "SUCCESS", "3"))
        .await;
    assert_eq!(ordered.stage.payment(&ordered.payment).await, before);
    assert_eq!(ordered.stage.count("log purchase_failed").await, 0);
}

#[tokio::test]
async fn pu_7_who_never_binds_a_card_has_a_payment_that_times_out_and_is_opened_by_a_late_word() {
    let ordered = Ordered::new().await;
    ordered
        .stage
        .apply(&payuni_page(&ordered.order, "FAILCODE01", 1, &[]))
        .await;
    assert_eq!(ordered.steps().await, [""; 0], "the card was refused");
    ordered.stage.after(Duration::from_hours(1)).await;
    assert_eq!(ordered.status().await, "canceled");
    assert_eq!(ordered.subscription().await["status"], "pending");
    let free = ordered.stage.checkout("user-1", "k2", body()).await;
    assert_eq!(
        free.status, 201,
        "nothing stands in the way of another try: {free:?}"
    );
    ordered.stage.apply(&ordered.page()).await;
    assert_eq!(ordered.status().await, "pending");
    ordered.at("2026/12/13 23:59:00").await;
    assert_eq!(ordered.status().await, "pending");
    ordered.at("2026/12/14 00:00:01").await;
    assert_eq!(
        ordered.status().await,
        "canceled",
        "the day and three of news have passed"
    );
    ordered.stage.apply(&ordered.charged(1, 99, "20261210")).await;
    assert_eq!(ordered.status().await, "active", "money outranks time");
}

#[tokio::test]
async fn pu_7_a_refusal_before_the_card_was_bound_is_not_the_payments_end() {
    let ordered = Ordered::new().await;
    let refused = payuni_period(
        &ordered.order,
        (1, 99),
        ("FAILCODE01", "700"),
        ["20261121", "100400"],
    );
    ordered.stage.apply(&refused).await;
    assert_eq!(ordered.status().await, "failed");
    ordered.stage.apply(&ordered.page()).await;
    assert_eq!(ordered.status().await, "pending");
    ordered.at("2026/12/10 08:00:10").await;
    let refused = payuni_period(
        &ordered.order,
        (1, 99),
        ("FAILCODE01", "701"),
        ["20261210", "080000"],
    );
    ordered.stage.apply(&refused).await;
    assert_eq!(ordered.status().await, "failed");
    ordered.at("2026/12/11 08:00:00").await;
    let agreed = ordered.subscription().await;
    assert_eq!(
        (&agreed["status"], &agreed["next_charge_at"]),
        (&json!("pending"), &json!("2026-12-27T16:00:00+00:00"))
    );
    assert_eq!(
        ordered.stage.user("user-1").await["subscription_type"],
        Value::Null,
        "no grace for what was never paid"
    );
    ordered.at("2026/12/28 08:00:10").await;
    ordered.stage.apply(&ordered.charged(2, 300, "20261228")).await;
    assert_eq!(ordered.status().await, "active");
}

#[tokio::test]
async fn pu_7_what_is_to_be_charged_is_not_sold_twice_and_can_be_ended_before() {
    let ordered = Ordered::new().await;
    let id = SubscriptionId::from_uuid(
        ordered.subscription().await["id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap(),
    );
    assert!(
        matches!(cancel(&ordered, id).await, Err(ChangeError::NotBegun)),
        "no card, no contract"
    );
    ordered.at("2026/11/21 10:06:00").await;
    ordered.stage.apply(&ordered.page()).await;
    let again = ordered
        .stage
        .checkout("user-1", "k2", json!({ "planId": "pro-monthly" }))
        .await;
    assert_eq!((again.status, again.problem()), (409, "subscription-running"));
    cancel(&ordered, id).await.unwrap();
    assert_eq!(ordered.subscription().await["status"], "canceled");
    assert_eq!(
        ordered.effects("subscription_cancel").await,
        1,
        "the contract at PAYUNi is ended"
    );
    assert_eq!(ordered.steps().await, ["card_bound", "canceled"]);
    let again = ordered
        .stage
        .checkout("user-1", "k3", json!({ "planId": "pro-monthly" }))
        .await;
    assert_eq!(again.status, 201, "{again:?}");
    ordered.stage.apply(&ordered.charged(1, 99, "20261210")).await;
    assert_eq!(
        ordered.steps().await.last().unwrap(),
        "charged_after_end",
        "for a person"
    );
}

async fn cancel(ordered: &Ordered, id: SubscriptionId) -> Result<(), ChangeError> {
    let origin = &ordered.stage.origin;
    let asked = Asked {
        subscription: id,
        actor: "user",
        key: "wish-1",
        now: ordered.stage.clock.now(),
    };
    let change = |tx: Tx| async move {
        subscriptions::cancel(&tx, origin.subscriptions(), &asked, CancelWhen::PeriodEnd).await
    };
    origin.database.run_tx("test", change).await.map(drop)
}

#[tokio::test]
async fn op_5_pu_7_a_first_charge_without_news_is_asked_about() {
    let ordered = Ordered::bound().await;
    ordered.at("2026/12/10 11:59:00").await;
    assert_eq!(ordered.effects("subscription_poll").await, 0);
    ordered.at("2026/12/10 12:00:01").await;
    assert_eq!(ordered.effects("subscription_poll").await, 1);
}

#[tokio::test]
async fn pu_7_a_binding_that_fits_no_order_is_for_a_person() {
    let ordered = Ordered::new().await;
    let (_, once) = ordered
        .stage
        .buy("user-2", json!({ "planId": "pro-month", "provider": "payuni" }))
        .await;
    for (order, kind) in [
        ("TNOBODY", "disputes unknown_order"),
        (once.as_str(), "disputes unexpected_period"),
    ] {
        ordered.stage.apply(&payuni_page(order, "SUCCESS", 1, &[])).await;
        assert_eq!(ordered.stage.count(kind).await, 1);
    }
    ordered.expect_nothing_paid().await;
    // Of a plan that is charged on the day of the order, it tells the contract's number and nothing else.
    let (payment, build) = ordered
        .stage
        .buy("user-3", json!({ "planId": "pro-monthly", "provider": "payuni" }))
        .await;
    ordered.stage.apply(&payuni_page(&build, "SUCCESS", 1, &[])).await;
    assert_eq!(ordered.stage.payment(&payment).await["status"], "pending");
    assert_eq!(
        look::subscription_steps(&ordered.stage.admin, &build).await,
        [""; 0]
    );
}
