//! The sweep at many rows: two workers at once charge each due subscription once, and rows that are not due cost nothing.
//!
//! How: the subscriptions are written as rows (`look::merchant_run`), each paid for once a month before, PAYUNi charged by
//! us. What a sweep writes is looked at as rows, too; nothing is sent.

use std::sync::Arc;

use super::stage::{Stage, settings};
use crate::Origin;
use crate::db::look;
use crate::db::subscriptions::due;
use crate::subscriptions::sweep;

/// As many as fall due on the first of a month at a shop of some size.
const SUBSCRIPTIONS: i64 = 10_000;
const BATCH: u16 = 100;

async fn stage() -> Stage {
    let mut settings = settings();
    settings.insert("PAYUNI_SUBSCRIPTIONS".into(), "token".into());
    Stage::start_with(settings).await
}

async fn sweep_all(origin: Arc<Origin>) -> usize {
    let mut claimed = 0;
    loop {
        let swept = sweep(&origin, BATCH).await.unwrap();
        if swept.claimed == 0 {
            return claimed;
        }
        claimed += swept.claimed;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ec_4_ten_thousand_due_subscriptions_are_charged_once_by_two_workers_at_once() {
    let stage = stage().await;
    look::merchant_run(&stage.admin, SUBSCRIPTIONS, "2026-10-21").await;
    let workers = [
        tokio::spawn(sweep_all(Arc::clone(&stage.origin))),
        tokio::spawn(sweep_all(Arc::clone(&stage.origin))),
    ];
    let [one, other] = workers;
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    let many = usize::try_from(SUBSCRIPTIONS).unwrap();
    assert!(one + other >= many, "{one} and {other}");
    assert!(one > 0 && other > 0, "both worked: {one} and {other}");

    let charges = look::charges_of_each(&stage.admin).await;
    assert_eq!(
        charges,
        [(1, SUBSCRIPTIONS)],
        "charges of a subscription: how many have so"
    );
    let tally = stage.tally().await;
    assert_eq!(tally["outbox pending"], SUBSCRIPTIONS, "one effect each");
    assert_eq!(tally["facts charge_asked"], SUBSCRIPTIONS);
    assert_eq!(
        sweep(&stage.origin, BATCH).await.unwrap().claimed,
        0,
        "and no more"
    );
}

#[tokio::test]
async fn ec_6_the_claim_walks_the_index_of_what_is_due_and_nothing_else() {
    let stage = stage().await;
    // Most fall due next month.
    look::merchant_run(&stage.admin, 20_000, "2026-11-20").await;
    let claim = due::CLAIM
        .replace("$1", "'2026-11-21T10:00:00+08:00'")
        .replace("$2", "100");
    for analysed in [false, true] {
        if analysed {
            stage.admin.batch_execute("analyze").await.unwrap();
        }
        let plan = look::plan(&stage.admin, &claim).await;
        assert!(
            plan.contains("Index Scan using saas_subscriptions_due") && !plan.contains("Seq Scan"),
            "analysed: {analysed}\n{plan}"
        );
        assert!(!plan.contains("Sort"), "in the order of the index\n{plan}");
    }
}
