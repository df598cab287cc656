//! EC-4: scheduled jobs run at their hour, once among several instances, and what is old loses its content only.

use std::time::Duration;

use serde_json::{Value, json};

use super::notices::Ecpay;
use super::purchases::join_all;
use super::stage::{Stage, settings};
use crate::clock::Clock as _;
use crate::db::look;
use crate::gateway::user_core::Client;
use crate::work::Round;
use crate::work::schedule::{self, ScheduledJob};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

async fn round(stage: &Stage) -> Round {
    schedule::round(&stage.origin, &Client::new().unwrap())
        .await
        .unwrap()
}

/// Runs what is due; how many jobs that were.
pub(super) async fn rounds(stage: &Stage) -> usize {
    let mut rounds = 0;
    while round(stage).await == Round::Worked {
        rounds += 1;
    }
    rounds
}

async fn job(stage: &Stage, name: &str) -> Value {
    look::row(&stage.admin, "scheduled_jobs", "name", name).await
}

async fn by_hand(stage: &Stage, job: ScheduledJob) -> Option<Value> {
    schedule::run_at_once(&stage.origin, &Client::new().unwrap(), job)
        .await
        .unwrap()
}

#[tokio::test]
async fn ec_4_of_several_instances_one_runs_a_job_that_is_due() {
    let stage = Stage::start().await;
    assert_eq!(
        round(&stage).await,
        Round::Idle,
        "a job that is new waits for its hour"
    );
    assert_eq!(
        job(&stage, "log_cleanup").await["next_run_at"],
        "2026-11-21T18:00:00+00:00",
        "02:00 in Taiwan"
    );
    stage.clock.advance(HOUR);
    let rounds = join_all((0..8).map(|_| round(&stage))).await;
    let worked = rounds.iter().filter(|round| **round == Round::Worked).count();
    assert_eq!(worked, 2, "retries at 10:30, reconciliation at 11:00: {rounds:?}");
    let row = job(&stage, "token_reconcile").await;
    assert_eq!(
        (&row["next_run_at"], &row["last_started_at"], &row["lease_token"]),
        (
            &json!("2026-11-21T04:00:00+00:00"),
            &json!("2026-11-21T03:00:00+00:00"),
            &Value::Null
        )
    );
    assert_eq!(row["last_result"]["found"], 0);
}

#[tokio::test]
async fn ec_4_a_job_that_was_missed_for_a_month_runs_once() {
    let stage = Stage::start().await;
    round(&stage).await;
    stage.clock.advance(30 * DAY);
    assert_eq!(rounds(&stage).await, ScheduledJob::ALL.len());
}

#[tokio::test]
async fn ec_4_a_lease_keeps_others_out_until_it_ends_by_hand_as_well() {
    let stage = Stage::start().await;
    round(&stage).await;
    let lease = "update tollgate.scheduled_jobs set lease_token = gen_random_uuid(), \
                 lease_expires_at = '2026-11-21 11:20+08' where name = 'token_reconcile'";
    stage.admin.execute(lease, &[]).await.unwrap();
    stage.clock.advance(HOUR);
    rounds(&stage).await;
    assert_eq!(by_hand(&stage, ScheduledJob::TokenReconcile).await, None);
    let held = job(&stage, "token_reconcile").await;
    assert_eq!(held["last_started_at"], Value::Null);
    stage.clock.advance(HOUR / 3);
    assert_eq!(round(&stage).await, Round::Worked, "its holder is taken for dead");
}

#[tokio::test]
async fn ec_4_a_job_that_fails_says_so_and_is_tried_again_before_its_hour() {
    let stage = Stage::start().await;
    old_purchase(&stage).await;
    look::break_table(&stage.admin, "inbox_events").await;
    let failed = by_hand(&stage, ScheduledJob::LogCleanup).await.unwrap();
    assert!(failed["error"].is_string(), "{failed}");
    let row = job(&stage, "log_cleanup").await;
    assert_eq!(
        (&row["last_result"], &row["lease_token"]),
        (&failed, &Value::Null)
    );
    look::mend_table(&stage.admin, "inbox_events").await;
    stage.clock.advance(Duration::from_mins(15));
    rounds(&stage).await;
    assert_eq!(
        job(&stage, "log_cleanup").await["last_result"],
        json!({ "eventsEmptied": 1, "effectsEmptied": 1 })
    );
}

/// A purchase that was told to the user core, 91 days ago.
async fn old_purchase(stage: &Stage) -> String {
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    let effect = "insert into tollgate.outbox (id, operation_key, kind, payload, status, attempts, attempts_max, created_at, done_at) \
                  select gen_random_uuid(), 'told', 'mail', '{\"to\": \"user-1\"}', 'done', 1, 5, applied_at, applied_at \
                  from tollgate.inbox_events";
    stage.admin.execute(effect, &[]).await.unwrap();
    stage.clock.advance(91 * DAY);
    order
}

#[tokio::test]
async fn ec_4_what_is_old_loses_its_content_and_a_repeat_stays_a_repeat() {
    let stage = Stage::start().await;
    let order = old_purchase(&stage).await;
    let (before, books) = (
        stage.tally().await,
        look::rows(&stage.admin, "ledger_entry").await,
    );
    let cleaned = by_hand(&stage, ScheduledJob::LogCleanup).await.unwrap();
    assert_eq!(cleaned, json!({ "eventsEmptied": 1, "effectsEmptied": 1 }));
    let event = look::rows(&stage.admin, "inbox_events").await.remove(0);
    assert_eq!((&event["raw"], &event["headers"]), (&json!("\\x"), &json!([])));
    assert_eq!(stage.tally().await, before, "no row went");
    assert_eq!(look::rows(&stage.admin, "ledger_entry").await, books);
    let again = stage.forward(&Ecpay::paid(&order, 300).signed()).await;
    assert_eq!(again.body["outcome"], "repeated");
    let nothing = by_hand(&stage, ScheduledJob::LogCleanup).await.unwrap();
    assert_eq!(nothing, json!({ "eventsEmptied": 0, "effectsEmptied": 0 }));
}

#[tokio::test]
async fn ec_4_what_somebody_still_works_with_keeps_its_content() {
    let mut short = settings();
    short.insert("RETENTION_DAYS".into(), "30".into());
    let stage = Stage::start_with(short).await;
    // A dispute that is open, an event that was never applied, an event that is 30 days old less a second.
    stage.apply(&Ecpay::paid("T0NOTOURS", 300).signed()).await;
    look::break_table(&stage.admin, "disputes").await;
    stage.forward(&Ecpay::paid("T1NOTOURS", 300).signed()).await;
    let (_, order) = stage.buy("user-1", json!({ "planId": "pro-month" })).await;
    stage.clock.advance(Duration::from_secs(1));
    stage.apply(&Ecpay::paid(&order, 300).signed()).await;
    stage.clock.advance(30 * DAY);
    let kept = by_hand(&stage, ScheduledJob::LogCleanup).await.unwrap();
    assert_eq!(kept["eventsEmptied"], 0, "at {}", stage.clock.now());
    let resolve =
        "update tollgate.disputes set resolved_at = created_at, resolved_by = 'me', resolution = 'known'";
    look::mend_table(&stage.admin, "disputes").await;
    stage.admin.execute(resolve, &[]).await.unwrap();
    stage.clock.advance(Duration::from_secs(1));
    let cleaned = by_hand(&stage, ScheduledJob::LogCleanup).await.unwrap();
    assert_eq!(cleaned["eventsEmptied"], 2, "the unapplied one stays");
}
