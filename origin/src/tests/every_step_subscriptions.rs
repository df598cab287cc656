//! Every wish, sweep, refund and stored-card charge, made to fail at each of its statements in turn (as `every_step` does
//! with notices).
//!
//! A wish or a sweep is whole or nothing, and its repeat completes it and changes nothing more. A charge that we make
//! cannot be whole or nothing, as a bank is asked between two transactions: it is made once, whatever was lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tollgate_shared::money::Minor;
use tollgate_shared::time::ECPAY_FORMAT;

use super::every_step::{STEPS_MAX, Tally, difference};
use super::notices::{Ecpay, payuni_with};
use super::provider::FakeProvider;
use super::stage::Stage;
use super::stored_cards::{self, answer, card, charge_status, found, not_found};
use crate::Origin;
use crate::clock::Clock as _;
use crate::db::fault::Fault;
use crate::db::{Tx, look};
use crate::gateway::user_core::Client;
use crate::refunds::book::Happened;
use crate::refunds::{self, Verdict};
use crate::subscriptions::{self, Asked, CancelWhen};
use crate::work::outbox::{self, Lane};

/// Nothing falls due but what a case makes due.
pub(super) const ASLEEP: &str = "update tollgate.saas_subscriptions set next_due_at = null";
/// What a row that could not be worked on waits for at most.
const LATER: Duration = Duration::from_mins(16);

/// Fails at every step of `act`, each time about something new that `ready` makes.
pub(super) async fn whole_or_nothing<T>(
    stage: &Stage,
    ready: impl AsyncFn(String) -> T,
    act: impl AsyncFn(&Origin, &T) -> bool,
    steps_min: u32,
) -> Tally {
    let ready = async |user: String| {
        stage.admin.batch_execute(ASLEEP).await.unwrap();
        ready(user).await
    };
    let about = ready("user-clean".to_owned()).await;
    let before = stage.tally().await;
    assert!(act(&stage.origin, &about).await);
    let whole = difference(&before, &stage.tally().await);
    assert!(!whole.is_empty(), "nothing happens");
    let mut step = 0;
    loop {
        let about = ready(format!("user-{step}")).await;
        let before = stage.tally().await;
        let fault = Fault::at(step);
        act(&stage.failing(Arc::clone(&fault)), &about).await;
        if !fault.struck() {
            break;
        }
        let change = difference(&before, &stage.tally().await);
        assert!(
            change.is_empty() || change == whole,
            "half-done at step {step}: {change:?}"
        );
        stage.clock.advance(LATER);
        for repeat in ["completes", "changes nothing more"] {
            assert!(
                act(&stage.origin, &about).await,
                "the repeat {repeat} at step {step}"
            );
            let change = difference(&before, &stage.tally().await);
            assert_eq!(change, whole, "the repeat {repeat} at step {step}");
        }
        step += 1;
        assert!(step < STEPS_MAX, "it never gets through");
    }
    assert!(step >= steps_min, "only {step} steps were made to fail");
    whole
}

fn now(stage: &Stage) -> String {
    stage.clock.now().to_taipei(ECPAY_FORMAT).unwrap()
}

/// A subscription at ECPay that was paid for just now: its id and its order number.
async fn paid(stage: &Stage, user: &str) -> (String, String) {
    let (_, order) = stage.buy(user, json!({ "planId": "pro-monthly" })).await;
    let first = Ecpay::paid(&order, 300).with("PaymentDate", &now(stage));
    stage.apply(&first.signed()).await;
    (id_of(stage, user).await, order)
}

async fn id_of(stage: &Stage, user: &str) -> String {
    let row = look::row(&stage.admin, "saas_subscriptions", "user_id", user).await;
    row["id"].as_str().unwrap().to_owned()
}

/// A subscription whose second charge was refused just now: its id.
async fn past_due(stage: &Stage, user: &str) -> String {
    let (id, order) = paid(stage, user).await;
    stage.clock.advance(Duration::from_hours(24 * 31));
    let gwsr = order.bytes().fold(7_u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    let refused = Ecpay::period(&order, 300, &gwsr.to_string(), &now(stage), 1);
    stage.apply(&refused.with("RtnCode", "10100058").signed()).await;
    id
}

#[derive(Debug, Clone, Copy)]
enum Wish {
    Cancel(CancelWhen),
    Retry,
    CardChanged,
    Pause,
}

async fn wish(stage: &Stage, origin: &Origin, (id, wish): (&str, Wish)) -> bool {
    let asked = &Asked {
        subscription: id.parse().unwrap(),
        actor: "user",
        key: "wish-1",
        now: stage.clock.now(),
    };
    let make = |tx: Tx| async move {
        let context = origin.subscriptions();
        match wish {
            Wish::Cancel(when) => subscriptions::cancel(&tx, context, asked, when).await,
            Wish::Retry => subscriptions::retry_now(&tx, context, asked).await,
            Wish::CardChanged => subscriptions::card_changed(&tx, context, asked).await,
            Wish::Pause => subscriptions::pause(&tx, context, asked).await,
        }
    };
    origin.database.run_tx("wish", make).await.is_ok()
}

async fn sweep(origin: &Origin) -> bool {
    subscriptions::sweep(origin, 100).await.is_ok()
}

#[tokio::test]
async fn pu_6_a_cancellation_is_whole_or_nothing_at_every_step() {
    for (when, step) in [
        (CancelWhen::Now, "steps canceled"),
        (CancelWhen::PeriodEnd, "steps cancel_scheduled"),
    ] {
        let stage = Stage::start().await;
        let ready = async |user: String| paid(&stage, &user).await.0;
        let act = async |origin: &Origin, id: &String| wish(&stage, origin, (id, Wish::Cancel(when))).await;
        let whole = whole_or_nothing(&stage, ready, act, 15).await;
        assert_eq!((whole[step], whole["outbox pending"]), (1, 1), "{whole:?}");
    }
}

#[tokio::test]
async fn ec_5_a_retry_and_a_new_card_are_whole_or_nothing_at_every_step() {
    for (asked, fact) in [
        (Wish::Retry, "facts retry_asked"),
        (Wish::CardChanged, "facts card_changed"),
    ] {
        let stage = Stage::start().await;
        let ready = async |user: String| past_due(&stage, &user).await;
        let act = async |origin: &Origin, id: &String| wish(&stage, origin, (id, asked)).await;
        let whole = whole_or_nothing(&stage, ready, act, 18).await;
        assert_eq!((whole[fact], whole["outbox pending"]), (1, 1), "{whole:?}");
    }
}

#[tokio::test]
async fn ec_2_a_retry_that_falls_due_is_whole_or_nothing_at_every_step() {
    let stage = Stage::start().await;
    let ready = async |user: String| {
        let id = past_due(&stage, &user).await;
        stage.clock.advance(Duration::from_hours(24));
        id
    };
    let whole = whole_or_nothing(&stage, ready, async |origin, _| sweep(origin).await, 18).await;
    assert_eq!(
        (whole["facts retry_asked"], whole["steps retry_asked"]),
        (1, 1),
        "{whole:?}"
    );
}

#[tokio::test]
async fn ec_3_a_downgrade_is_whole_or_nothing_at_every_step() {
    let stage = Stage::start().await;
    let ready = async |user: String| {
        let id = past_due(&stage, &user).await;
        // Retries are asked for, and no answer comes.
        for days in [1, 2] {
            stage.clock.advance(Duration::from_hours(24 * days));
            assert!(sweep(&stage.origin).await);
        }
        stage.clock.advance(Duration::from_hours(24 * 4));
        id
    };
    let whole = whole_or_nothing(&stage, ready, async |origin, _| sweep(origin).await, 15).await;
    assert_eq!(whole["steps downgraded"], 1, "{whole:?}");
    assert_eq!(whole["notices downgraded"], 1, "{whole:?}");
}

/// A subscription whose card was stored on 21 November at 10:05, which nothing looks at: its id.
pub(super) async fn stored(stage: &Stage, user: &str) -> String {
    let body = json!({ "planId": "pro-monthly", "provider": "payuni" });
    let (_, order) = stage.buy(user, body).await;
    let first = payuni_with(&order, 300, ["SUCCESS", "1"], &card());
    stage.apply(&first).await;
    stage.admin.batch_execute(ASLEEP).await.unwrap();
    id_of(stage, user).await
}

/// Makes a subscription due.
async fn wake(stage: &Stage, id: &str) {
    let due = "update tollgate.saas_subscriptions set next_due_at = '2026-12-21T09:00:00+08:00' where id::text = $1";
    stage.admin.execute(due, &[&id]).await.unwrap();
}

#[tokio::test]
async fn ec_4_a_charge_that_falls_due_is_whole_or_nothing_at_every_step() {
    let fake = FakeProvider::start().await;
    let stage = stored_cards::stage(&fake).await;
    let mut ids = BTreeMap::from([("user-clean".to_owned(), stored(&stage, "user-clean").await)]);
    for step in 0..STEPS_MAX {
        let user = format!("user-{step}");
        let id = stored(&stage, &user).await;
        ids.insert(user, id);
    }
    stage.clock.advance(Duration::from_hours(24 * 30));
    let ready = async |user: String| wake(&stage, &ids[&user]).await;
    let whole = whole_or_nothing(&stage, ready, async |origin, ()| sweep(origin).await, 15).await;
    assert_eq!(
        (whole["facts charge_asked"], whole["outbox pending"]),
        (1, 1),
        "{whole:?}"
    );
    assert!(fake.seen().is_empty(), "a sweep calls nobody");
}

/// The bank is asked between two transactions. Whatever is lost, it is asked for the money once, and the money is booked once.
#[tokio::test]
async fn ec_2_a_stored_card_is_charged_once_whatever_step_fails() {
    let fake = FakeProvider::start().await;
    let stage = stored_cards::stage(&fake).await;
    let client = Client::new().unwrap();
    stage.clock.advance(Duration::from_hours(24 * 30));
    let mut step = 0;
    loop {
        let user = format!("user-{step}");
        // It is a month old when it is told, so the second charge is written at once.
        let id = stored(&stage, &user).await;
        let charge = look::row(&stage.admin, "subscription_charges", "subscription_id", &id).await;
        let order = charge["order_number"].as_str().unwrap();
        let booked = stage.count("ledger transactions").await;
        fake.will_only([answer(order, "SUCCESS", "1")]);
        let fault = Fault::at(step);
        outbox::round(&stage.failing(Arc::clone(&fault)), &client, Lane::Providers)
            .await
            .ok();
        let times_asked = || {
            let seen = fake.seen().into_iter();
            seen.filter(|seen| seen.path == "/api/credit" && seen.fields["MerTradeNo"] == order)
                .count()
        };
        match (charge_status(&stage, order).await.as_str(), times_asked()) {
            ("unknown", 1) => fake.will_only([found(order)]),
            ("unknown", 0) => fake.will_only([not_found(), answer(order, "SUCCESS", "1")]),
            ("unsent", 0) | ("paid", 1) => {}
            (status, times) => panic!("{status} and asked for {times} times at step {step}"),
        }
        stage.after(LATER).await;
        assert_eq!(charge_status(&stage, order).await, "paid", "step {step}");
        assert_eq!(times_asked(), 1, "step {step}");
        assert_eq!(
            stage.count("ledger transactions").await,
            booked + 1,
            "step {step}"
        );
        stage.admin.batch_execute(ASLEEP).await.unwrap();
        if !fault.struck() {
            break;
        }
        step += 1;
        assert!(step < 2 * STEPS_MAX, "it never gets through");
    }
    assert!(step >= 30, "only {step} steps were made to fail");
    assert_eq!(stage.count("ledger faults").await, 0);
    assert_eq!(stage.count("outbox dead").await, 0);
}

async fn refund(stage: &Stage, origin: &Origin, payment: &str) -> bool {
    let key = &format!("refund-of-{payment}");
    let asked = &refunds::Asked {
        payment: payment.parse().unwrap(),
        charge: None,
        amount: Some(Minor::new(100)),
        reason: "changed their mind",
        actor: "service:test",
        key,
    };
    let now = stage.clock.now();
    let request = |tx: Tx| async move { refunds::request(&tx, asked, now).await };
    origin.database.run_tx("refund", request).await.is_ok()
}

#[tokio::test]
async fn pm_8_a_request_for_a_refund_is_whole_or_nothing_at_every_step() {
    let stage = Stage::start().await;
    let ready = async |user: String| {
        let (payment, order) = stage.buy(&user, json!({ "planId": "pro-month" })).await;
        stage.apply(&Ecpay::paid(&order, 300).signed()).await;
        payment
    };
    let act = async |origin: &Origin, payment: &String| refund(&stage, origin, payment).await;
    let whole = whole_or_nothing(&stage, ready, act, 8).await;
    assert_eq!(whole["outbox pending"], 1, "{whole:?}");
}

#[tokio::test]
async fn pm_8_a_refund_by_hand_is_whole_or_nothing_at_every_step() {
    let stage = Stage::start().await;
    let ready = async |user: String| {
        let body = json!({ "planId": "pro-month", "method": "ATM" });
        let (payment, order) = stage.buy(&user, body).await;
        let paid = Ecpay::paid(&order, 300).with("PaymentType", "ATM_TAISHIN");
        stage.apply(&paid.signed()).await;
        assert!(refund(&stage, &stage.origin, &payment).await);
        let row = look::row(&stage.admin, "refunds", "payment_id", &payment).await;
        assert_eq!(row["status"], "manual");
        row["id"].as_str().unwrap().to_owned()
    };
    let act = async |origin: &Origin, id: &String| {
        let now = stage.clock.now();
        let happened = &Happened {
            at: now,
            now,
            delivery: None,
            to_user_core: false,
        };
        let id = id.parse().unwrap();
        let settle = |tx: Tx| async move { refunds::settle_by_hand(&tx, id, Verdict::Done, happened).await };
        origin.database.run_tx("refund_by_hand", settle).await.is_ok()
    };
    let whole = whole_or_nothing(&stage, ready, act, 15).await;
    assert_eq!(whole["ledger transactions"], 1, "{whole:?}");
}

#[tokio::test]
async fn pu_6_a_pause_is_whole_or_nothing_at_every_step() {
    let fake = FakeProvider::start().await;
    let stage = stored_cards::stage(&fake).await;
    stage.clock.advance(Duration::from_hours(1));
    let ready = async |user: String| stored(&stage, &user).await;
    let act = async |origin: &Origin, id: &String| wish(&stage, origin, (id, Wish::Pause)).await;
    let whole = whole_or_nothing(&stage, ready, act, 15).await;
    assert_eq!(whole["steps paused"], 1, "{whole:?}");
}
