//! Every handler, made to fail at each of its statements in turn: nothing is half-applied, and a repeat completes.
//!
//! How: the database handle counts steps (begin, each statement, savepoint, commit, and once more after it) and has
//! the server fail one of them. After the failure the rows that came are none, or the kept event alone, or (answer lost
//! after commit) all that a clean run brings. Then the edge repeats and the worker works, and it must be all of it.
//! One database a case, a user and an order a step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::notices::{Ecpay, Notice, payuni, payuni_page, payuni_period};
use super::stage::{DELIVERY, Stage};
use crate::Origin;
use crate::clock::Clock as _;
use crate::db::fault::Fault;
use crate::{checkout, inbox, work};

pub(super) type Tally = BTreeMap<String, i64>;

/// More steps than any handler has.
pub(super) const STEPS_MAX: u32 = 60;

/// What is applied, and what came before it.
struct Case {
    body: serde_json::Value,
    before: fn(&str) -> Vec<Notice>,
    notice: fn(&str) -> Notice,
    steps_min: u32,
}

async fn stage_with_user_core() -> Stage {
    let mut settings = super::stage::settings();
    settings.insert("USER_CORE_WEBHOOK_URL".into(), "http://127.0.0.1:1/hook".into());
    settings.insert(
        "USER_CORE_WEBHOOK_SECRET".into(),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(),
    );
    Stage::start_with(settings).await
}

async fn ready(stage: &Stage, case: &Case, user: &str) -> Notice {
    let (_, order) = stage.buy(user, case.body.clone()).await;
    for notice in (case.before)(&order) {
        stage.apply(&notice).await;
        // Which of two was told first must be plain.
        stage.clock.advance(Duration::from_secs(1));
    }
    (case.notice)(&order)
}

async fn accept(stage: &Stage, origin: &Origin, notice: &Notice) -> bool {
    let envelope = stage.envelope(notice);
    inbox::accept(origin, &envelope, DELIVERY.parse().unwrap(), stage.clock.now())
        .await
        .is_ok()
}

/// What came and what went, by table and state.
pub(super) fn difference(before: &Tally, after: &Tally) -> Tally {
    let kinds = before.keys().chain(after.keys()).cloned();
    let count = |tally: &Tally, kind: &str| tally.get(kind).copied().unwrap_or_default();
    let changes = kinds.map(|kind| (count(after, &kind) - count(before, &kind), kind));
    changes
        .filter(|(change, _)| *change != 0)
        .map(|(change, kind)| (kind, change))
        .collect()
}

async fn fails_at_every_step(case: Case) {
    let stage = stage_with_user_core().await;
    let ready = async |user: String| ready(&stage, &case, &user).await;
    whole_or_nothing(&stage, ready, case.steps_min).await;
}

/// `invariant_1` and `invariant_2`, at each step: nothing acknowledged is lost, nothing is applied twice.
pub(super) async fn whole_or_nothing(
    stage: &Stage,
    ready: impl AsyncFn(String) -> Notice,
    steps_min: u32,
) -> Tally {
    let notice = ready("user-clean".to_owned()).await;
    let before = stage.tally().await;
    assert!(accept(stage, &stage.origin, &notice).await);
    let whole = difference(&before, &stage.tally().await);
    assert!(
        whole.len() > 1,
        "the case does more than keep an event: {whole:?}"
    );
    let kept = Tally::from([("inbox pending".to_owned(), 1)]);
    let before = stage.tally().await;
    assert!(accept(stage, &stage.origin, &notice).await);
    assert_eq!(stage.tally().await, before, "applied twice");

    let mut step = 0;
    loop {
        let notice = ready(format!("user-{step}")).await;
        let before = stage.tally().await;
        let fault = Fault::at(step);
        let accepted = accept(stage, &stage.failing(Arc::clone(&fault)), &notice).await;
        if !fault.struck() {
            break;
        }
        let change = difference(&before, &stage.tally().await);
        let safe = change == kept || change == whole;
        assert!(
            change.is_empty() || safe,
            "half-applied at step {step}: {change:?}"
        );
        assert!(
            !accepted || safe,
            "acknowledged and lost at step {step}: {change:?}"
        );
        assert!(
            accept(stage, &stage.origin, &notice).await,
            "the repeat at step {step}"
        );
        stage.clock.advance(Duration::from_secs(3));
        while work::inbox::round(&stage.origin).await.unwrap() == work::Round::Worked {}
        assert_eq!(
            difference(&before, &stage.tally().await),
            whole,
            "after the repeat of step {step}"
        );
        step += 1;
        assert!(step < STEPS_MAX, "the handler never gets through");
    }
    assert!(step >= steps_min, "only {step} steps were made to fail");
    whole
}

#[tokio::test]
async fn pm_4_paid_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "pro-month" }),
        before: |_| Vec::new(),
        notice: |order| Ecpay::paid(order, 300).signed(),
        steps_min: 18,
    };
    fails_at_every_step(case).await;
}

#[tokio::test]
async fn pm_8_refused_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "pro-month" }),
        before: |_| Vec::new(),
        notice: |order| Ecpay::failed(order, "10100058", "no", "2026/11/21 10:01:00").signed(),
        steps_min: 14,
    };
    fails_at_every_step(case).await;
}

#[tokio::test]
async fn pm_8_a_code_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "pro-month", "method": "ATM" }),
        before: |_| Vec::new(),
        notice: |order| Ecpay::atm_code(order, 300).signed(),
        steps_min: 12,
    };
    fails_at_every_step(case).await;
}

#[tokio::test]
async fn pm_8_a_refund_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "pro-month", "provider": "payuni" }),
        before: |order| vec![payuni(order, 300, "SUCCESS", "1")],
        notice: |order| payuni(order, 300, "SUCCESS", "5"),
        steps_min: 18,
    };
    fails_at_every_step(case).await;
}

#[tokio::test]
async fn pm_8_a_refund_that_overtakes_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "pro-month", "provider": "payuni" }),
        before: |_| Vec::new(),
        notice: |order| payuni(order, 300, "SUCCESS", "5"),
        steps_min: 22,
    };
    fails_at_every_step(case).await;
}

#[tokio::test]
async fn tb_1_a_pack_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "pack" }),
        before: |_| Vec::new(),
        notice: |order| Ecpay::paid(order, 300).signed(),
        steps_min: 23,
    };
    fails_at_every_step(case).await;
}

#[tokio::test]
async fn tb_1_a_pack_paid_back_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "pack", "provider": "payuni" }),
        before: |order| vec![payuni(order, 300, "SUCCESS", "1")],
        notice: |order| payuni(order, 300, "SUCCESS", "5"),
        steps_min: 20,
    };
    fails_at_every_step(case).await;
}

#[tokio::test]
async fn tb_1_a_pack_paid_back_before_it_was_paid_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "pack", "provider": "payuni" }),
        before: |_| Vec::new(),
        notice: |order| payuni(order, 300, "SUCCESS", "5"),
        steps_min: 29,
    };
    fails_at_every_step(case).await;
}

#[tokio::test]
async fn pm_4_a_period_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "pro-monthly" }),
        before: |order| vec![Ecpay::paid(order, 300).signed()],
        notice: |order| {
            let gwsr = order.bytes().fold(7_u64, |sum, byte| {
                sum.wrapping_mul(31).wrapping_add(u64::from(byte))
            });
            Ecpay::period(order, 300, &gwsr.to_string(), "2026/12/21 04:00:00", 2).signed()
        },
        steps_min: 18,
    };
    fails_at_every_step(case).await;
}

/// PU-7: the fact, the contract's number, the step, the mail and the wait are one.
#[tokio::test]
async fn pu_7_a_bound_card_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "later", "provider": "payuni", "firstChargeOn": "2026-12-10" }),
        before: |_| Vec::new(),
        notice: |order| payuni_page(order, "SUCCESS", 1, &[]),
        steps_min: 18,
    };
    fails_at_every_step(case).await;
}

#[tokio::test]
async fn pu_7_a_first_charge_on_its_day_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "later", "provider": "payuni", "firstChargeOn": "2026-12-10" }),
        before: |order| vec![payuni_page(order, "SUCCESS", 1, &[])],
        notice: |order| {
            let charge = ("SUCCESS", format!("T{order}"));
            payuni_period(order, (1, 99), (charge.0, &charge.1), ["20261210", "080000"])
        },
        steps_min: 25,
    };
    fails_at_every_step(case).await;
}

/// A number of ECPay's that no other order has.
fn gwsr(order: &str, number: u64) -> String {
    let of_order = order.bytes().fold(7_u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    of_order.wrapping_add(number).to_string()
}

fn period_refused(order: &str) -> Notice {
    Ecpay::period(order, 300, &gwsr(order, 1), "2026/12/21 04:00:00", 1)
        .with("RtnCode", "10100058")
        .signed()
}

/// EC-9: the attempt, the row, the step, the notice and the user are one.
#[tokio::test]
async fn ec_9_a_refused_period_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "pro-monthly" }),
        before: |order| vec![Ecpay::paid(order, 300).signed()],
        notice: period_refused,
        steps_min: 25,
    };
    fails_at_every_step(case).await;
}

#[tokio::test]
async fn ec_9_a_recovery_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "pro-monthly" }),
        before: |order| vec![Ecpay::paid(order, 300).signed(), period_refused(order)],
        notice: |order| Ecpay::period(order, 300, &gwsr(order, 2), "2026/12/22 04:00:00", 2).signed(),
        steps_min: 25,
    };
    fails_at_every_step(case).await;
}

#[tokio::test]
async fn pm_4_a_dispute_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "pro-month" }),
        before: |_| Vec::new(),
        notice: |order| Ecpay::paid(order, 1).signed(),
        steps_min: 7,
    };
    fails_at_every_step(case).await;
}

#[tokio::test]
async fn pm_8_a_simulated_notice_is_whole_or_nothing_at_every_step() {
    let case = Case {
        body: json!({ "planId": "pro-month" }),
        before: |_| Vec::new(),
        notice: |order| Ecpay::paid(order, 300).with("SimulatePaid", "1").signed(),
        steps_min: 6,
    };
    fails_at_every_step(case).await;
}

#[tokio::test]
async fn pm_3_checkout_is_whole_or_nothing_at_every_step() {
    let stage = stage_with_user_core().await;
    let call = |user: &str| checkout::Call {
        user: user.parse().unwrap(),
        key: "key-1".to_owned(),
        request: serde_json::from_value(json!({ "planId": "pro-month" })).unwrap(),
        delivery: DELIVERY.parse().unwrap(),
        now: stage.clock.now(),
    };
    let before = stage.tally().await;
    checkout::place(&stage.origin, &call("user-clean")).await.unwrap();
    let whole = difference(&before, &stage.tally().await);
    let mut step = 0;
    loop {
        let call = call(&format!("user-{step}"));
        let before = stage.tally().await;
        let fault = Fault::at(step);
        let result = checkout::place(&stage.failing(Arc::clone(&fault)), &call).await;
        if !fault.struck() {
            break;
        }
        let change = difference(&before, &stage.tally().await);
        assert!(
            result.is_err() && (change.is_empty() || change == whole),
            "half-placed at step {step}: {change:?}"
        );
        let repeated = checkout::place(&stage.origin, &call).await.unwrap();
        assert_eq!(repeated.repeated, change == whole, "step {step}");
        assert_eq!(
            difference(&before, &stage.tally().await),
            whole,
            "after the repeat of step {step}"
        );
        step += 1;
        assert!(step < STEPS_MAX, "checkout never gets through");
    }
    assert!(step >= 14, "only {step} steps were made to fail");
}

#[tokio::test]
async fn pm_8_a_timeout_is_whole_or_nothing_at_every_step() {
    let stage = stage_with_user_core().await;
    let overdue = async |user: &str| {
        stage.buy(user, json!({ "planId": "pro-month" })).await;
        stage.clock.advance(Duration::from_hours(1));
        stage.tally().await
    };
    let before = overdue("user-clean").await;
    work::timeouts::round(&stage.origin).await.unwrap();
    let whole = difference(&before, &stage.tally().await);
    assert_eq!(whole["payments canceled"], 1);
    let mut step = 0;
    loop {
        let before = overdue(&format!("user-{step}")).await;
        let fault = Fault::at(step);
        let result = work::timeouts::round(&stage.failing(Arc::clone(&fault))).await;
        if !fault.struck() {
            break;
        }
        let change = difference(&before, &stage.tally().await);
        assert!(
            result.is_err() && (change.is_empty() || change == whole),
            "half-canceled at step {step}: {change:?}"
        );
        while work::timeouts::round(&stage.origin).await.unwrap() == work::Round::Worked {}
        assert_eq!(
            difference(&before, &stage.tally().await),
            whole,
            "after the repeat of step {step}"
        );
        step += 1;
        assert!(step < STEPS_MAX, "the round never gets through");
    }
    assert!(step >= 10, "only {step} steps were made to fail");
}
