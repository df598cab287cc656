//! Charges of stored cards that no answer ended: held for a person, told to operators, ended by a word that takes the road
//! of the provider's own answers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::notices::{payuni_with, trade_no};
use super::provider::{FakeProvider, Scripted, payuni_reply};
use super::service::make_key;
use super::stage::{Answer, Stage};
use super::stored_cards::{answer, card, charge_status, due, not_found, stage, subscription_status};
use crate::Origin;
use crate::db::fault::Fault;
use crate::db::look;
use crate::service_keys::Scope;
use crate::subscriptions::{Decision, Ended, SettleError, View, settle_charge};

/// A subscription whose second charge is held.
struct Held {
    stage: Stage,
    fake: FakeProvider,
    order: String,
    charge: String,
    subscription: String,
}

impl Held {
    /// PAYUNi says, and says again when it is asked, that it charged one dollar less.
    async fn disputed() -> Self {
        let (fake, stage, order) = sent().await;
        fake.will([other_amount(&order, false), other_amount(&order, true)]);
        stage.drain().await;
        stage.after(Duration::from_mins(16)).await;
        Self::of(stage, fake, order).await
    }

    /// PAYUNi does not answer for so long that the effect is given up.
    async fn given_up() -> Self {
        let (fake, stage, order) = sent().await;
        fake.will([Scripted::Lost, not_found()]);
        stage.drain().await;
        stage.after(Duration::from_mins(1)).await;
        fake.will([payuni_reply(&[("Status", "SUCCESS")])]);
        stage.after(Duration::from_hours(24 * 4)).await;
        Self::of(stage, fake, order).await
    }

    async fn of(stage: Stage, fake: FakeProvider, order: String) -> Self {
        let charge = look::row(&stage.admin, "subscription_charges", "order_number", &order).await;
        assert_eq!(charge["status"], "unknown");
        let text = |column: &str| charge[column].as_str().unwrap().to_owned();
        Self {
            charge: text("id"),
            subscription: text("subscription_id"),
            stage,
            fake,
            order,
        }
    }

    async fn settle_by(&self, origin: &Origin, ended: Ended) -> Result<View, SettleError> {
        let decision = &Decision {
            charge: self.charge.parse().unwrap(),
            of: None,
            ended,
            actor: "admin:command",
            note: "seen in the console",
        };
        Box::pin(settle_charge(origin, decision)).await
    }

    async fn settle(&self, ended: Ended) -> Result<View, SettleError> {
        self.settle_by(&self.stage.origin, ended).await
    }

    async fn status(&self) -> String {
        charge_status(&self.stage, &self.order).await
    }
}

async fn sent() -> (FakeProvider, Stage, String) {
    let fake = FakeProvider::start().await;
    let stage = stage(&fake).await;
    let order = due(&stage, &card()).await;
    (fake, stage, order)
}

/// What PAYUNi tells of a charge of one dollar less: in its answer, or in a row of a query.
fn other_amount(order: &str, is_row: bool) -> Scripted {
    let told = [
        ("MerTradeNo", order),
        ("TradeNo", "1761"),
        ("TradeAmt", "299"),
        ("TradeStatus", "1"),
        ("PaymentType", "1"),
        ("PaymentDay", "2026-12-21 10:00:10"),
        ("DataSource", "A"),
    ];
    let name = |name: &str| {
        if is_row {
            format!("Result[0][{name}]")
        } else {
            name.to_owned()
        }
    };
    let told = told.map(|(field, value)| (name(field), value));
    let fields = told.iter().map(|(name, value)| (name.as_str(), *value));
    let fields: Vec<(&str, &str)> = std::iter::once(("Status", "SUCCESS")).chain(fields).collect();
    payuni_reply(&fields)
}

fn paid(number: &str) -> Ended {
    Ended::Paid(number.parse().unwrap())
}

#[tokio::test]
async fn ec_2_a_charge_whose_answer_is_disputed_waits_for_a_person_and_is_booked_by_the_word() {
    let held = Held::disputed().await;
    let stage = &held.stage;
    assert_eq!(stage.count("outbox pending").await, 0);
    assert_eq!(stage.count("disputes amount_mismatch").await, 1);
    assert_eq!(stage.count("log subscription_charge_held").await, 1);
    stage.after(Duration::from_hours(24 * 40)).await;
    assert_eq!(
        stage.count("ledger transactions").await,
        1,
        "nothing is charged meanwhile"
    );
    let view = held.settle(paid("1761")).await.unwrap();
    assert_eq!(
        (view.status, view.periods_paid, view.held_charges.len()),
        ("active", 2, 0)
    );
    assert_eq!(view.attempts.last().unwrap().found_by, "operator");
    assert_eq!(
        (
            held.status().await.as_str(),
            stage.count("ledger transactions").await
        ),
        ("paid", 2)
    );
    assert_eq!(stage.count("ledger faults").await, 0);
    let again = held.settle(paid("1761")).await.unwrap();
    assert_eq!(again.periods_paid, 2, "the same word again");
    assert!(matches!(
        held.settle(Ended::Failed).await,
        Err(SettleError::Ended(_))
    ));
    assert!(matches!(
        held.settle(paid("1762")).await,
        Err(SettleError::Ended(_))
    ));
    assert_eq!(stage.count("ledger transactions").await, 2);
    let actions = look::rows(&stage.admin, "admin_actions").await;
    assert_eq!(actions.len(), 4, "a word that is refused is on record, too");
    assert_eq!(actions[0]["actor"], "admin:command");
    assert_eq!(actions[0]["target"], held.charge);
}

#[tokio::test]
async fn ec_2_a_charge_that_was_given_up_is_failed_by_the_word_and_dunning_goes_on() {
    let held = Held::given_up().await;
    let stage = &held.stage;
    assert_eq!(stage.count("outbox dead").await, 1);
    assert_eq!(stage.count("log subscription_charge_held").await, 1);
    let view = held.settle(Ended::Failed).await.unwrap();
    assert_eq!((view.status, view.failure_count), ("past_due", 1));
    assert_eq!(held.status().await, "failed");
    assert_eq!(subscription_status(stage).await, "past_due");
    held.settle(Ended::Failed).await.unwrap();
    assert!(matches!(
        held.settle(paid("1761")).await,
        Err(SettleError::Ended(_))
    ));
    let calls = held.fake.seen().len();
    stage.clock.advance(Duration::from_hours(25));
    let again = crate::subscriptions::sweep(&stage.origin, 10).await.unwrap();
    assert_eq!(again.effects, 1, "the schedule goes on");
    let charges = look::rows(&stage.admin, "subscription_charges").await;
    let retry = charges.iter().find(|row| row["status"] == "unsent").unwrap();
    held.fake
        .will([answer(retry["order_number"].as_str().unwrap(), "SUCCESS", "1")]);
    stage.drain().await;
    assert_eq!(held.fake.seen().len(), calls + 1);
    assert_eq!(subscription_status(stage).await, "active");
    assert_eq!(stage.count("ledger transactions").await, 2);
}

#[tokio::test]
async fn ec_2_a_notice_that_comes_after_the_word_is_the_charge_that_is_known() {
    let held = Held::given_up().await;
    held.settle(paid(&trade_no(&held.order))).await.unwrap();
    let notice = payuni_with(&held.order, 300, ["SUCCESS", "1"], &[]);
    held.stage.apply(&notice).await;
    assert_eq!(held.stage.count("ledger transactions").await, 2);
    assert_eq!(held.stage.count("attempts paid").await, 2);
    assert_eq!(held.stage.count("ledger faults").await, 0);
}

#[tokio::test]
async fn ec_2_nobody_speaks_beside_an_answer_that_may_still_come() {
    let (fake, stage, order) = sent().await;
    let row = look::row(&stage.admin, "subscription_charges", "order_number", &order).await;
    let charge = row["id"].as_str().unwrap().parse().unwrap();
    let word = async |ended: Ended, charge| {
        let decision = &Decision {
            charge,
            of: None,
            ended,
            actor: "admin:command",
            note: "n",
        };
        Box::pin(settle_charge(&stage.origin, decision))
            .await
            .unwrap_err()
    };
    assert!(
        matches!(word(Ended::Failed, charge).await, SettleError::UnderWay),
        "unsent"
    );
    fake.will([Scripted::Lost]);
    stage.drain().await;
    assert!(
        matches!(word(paid("1761"), charge).await, SettleError::UnderWay),
        "unknown"
    );
    let nowhere = "01997c5e-0000-7000-8000-000000000001".parse().unwrap();
    assert!(matches!(word(Ended::Failed, nowhere).await, SettleError::Unknown));
    let kill = "update tollgate.outbox set status = 'dead', dead_at = created_at, next_attempt_at = null, last_error = 'x' \
                where kind = 'subscription_charge'";
    stage.admin.execute(kill, &[]).await.unwrap();
    let first = look::rows(&stage.admin, "payment_charges").await[0]["provider_payment_id"].clone();
    let taken = word(paid(first.as_str().unwrap()), charge).await;
    assert!(matches!(taken, SettleError::NumberTaken), "{taken}");
    let unsend = "update tollgate.subscription_charges set status = 'unsent', sent_at = null";
    stage.admin.execute(unsend, &[]).await.unwrap();
    assert!(matches!(word(paid("1761"), charge).await, SettleError::NeverSent));
    assert_eq!(stage.count("ledger transactions").await, 1);
    assert_eq!(
        stage.count("inbox applied").await,
        1,
        "a refusal leaves no event behind"
    );
}

#[tokio::test]
async fn ec_2_a_word_that_breaks_off_anywhere_is_said_again_and_booked_once() {
    for ended in [paid("1761"), Ended::Failed] {
        let held = Held::disputed().await;
        let mut step = 0;
        loop {
            let before = held.stage.tally().await;
            let fault = Fault::at(step);
            let failing = held.stage.failing(Arc::clone(&fault));
            let said = held.settle_by(&failing, ended.clone()).await;
            if !fault.struck() {
                said.unwrap();
                break;
            }
            let after = held.stage.tally().await;
            let is_done = held.status().await != "unknown";
            assert!(is_done || after == before, "half-done at step {step}");
            step += 1;
            if is_done {
                break;
            }
        }
        assert!(step > 10, "{step}");
        held.settle(ended.clone()).await.unwrap();
        let transactions = if ended == Ended::Failed { 1 } else { 2 };
        assert_eq!(held.stage.count("ledger transactions").await, transactions);
        assert_eq!(held.stage.count("ledger faults").await, 0);
    }
}

/// Idempotency needs no key here. Body, status, problem (- for none).
const CALLS: &str = r#"
{"as":"paid","providerPaymentId":"1761"}                     400 malformed-body
{"as":"refunded","note":"n"}                                 400 malformed-body
{"as":"paid","note":"n"}                                     400 invalid-request
{"as":"paid","providerPaymentId":"","note":"n"}              400 invalid-request
{"as":"failed","providerPaymentId":"1761","note":"n"}        400 invalid-request
{"as":"failed","note":""}                                    400 invalid-request
{"as":"failed","note":"n","amount":1}                        400 malformed-body
{"as":"failed","note":"n"}                                   200 -
{"as":"failed","note":"n"}                                   200 -
{"as":"paid","providerPaymentId":"1761","note":"n"}          409 charge-ended
"#;

#[tokio::test]
async fn op_4_a_backend_sees_held_charges_and_settles_them() {
    let held = Held::disputed().await;
    let key = make_key(&held.stage, "backend", Scope::ALL).await;
    let of = format!("/api/service/v1/subscriptions/{}", held.subscription);
    let shown = call(&held.stage, &key, "GET", &of, "").await;
    assert_eq!(shown.body["heldCharges"][0]["id"], json!(held.charge));
    assert_eq!(shown.body["heldCharges"][0]["amount"], json!(300));
    let figures = call(
        &held.stage,
        &key,
        "GET",
        "/api/service/v1/stats/subscriptions",
        "",
    )
    .await;
    assert_eq!(figures.body["heldCharges"], json!(1));
    let elsewhere = format!(
        "/api/service/v1/subscriptions/{}/charges/{}/settle",
        held.charge, held.charge
    );
    let answer = call(
        &held.stage,
        &key,
        "POST",
        &elsewhere,
        r#"{"as":"failed","note":"n"}"#,
    )
    .await;
    assert_eq!((answer.status, answer.problem()), (404, "unknown-charge"));
    let path = format!("{of}/charges/{}/settle", held.charge);
    for line in CALLS.lines().filter(|line| !line.is_empty()) {
        let (body, expected) = line.split_once("  ").unwrap();
        let [status, problem] = expected
            .split_whitespace()
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        let answer = call(&held.stage, &key, "POST", &path, body.trim()).await;
        assert_eq!(answer.status.to_string(), status, "{line}: {answer:?}");
        assert_eq!(
            if problem == "-" { "-" } else { answer.problem() },
            problem,
            "{line}"
        );
    }
    let reader = make_key(&held.stage, "reader", &[Scope::SubscriptionsRead]).await;
    let refused = call(
        &held.stage,
        &reader,
        "POST",
        &path,
        r#"{"as":"failed","note":"n"}"#,
    )
    .await;
    assert_eq!((refused.status, refused.problem()), (403, "scope-missing"));
}

async fn call(stage: &Stage, key: &str, method: &str, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let mut headers = vec![("authorization", bearer.as_str())];
    if !body.is_empty() {
        headers.push(("content-type", "application/json"));
    }
    stage.send(method, path, &headers, body.as_bytes().to_vec()).await
}
