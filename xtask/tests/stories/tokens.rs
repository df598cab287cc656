//! A team's backend and the token system, over the programs as they are deployed: the origin dies between commit and answer.
//!
//! Proves TB-2: a retry with the same key gets the first result, `idempotent: true`, and one charge.
//!
//! How the moment between commit and answer is held still: Postgres is told to wait for a standby that does not exist, so a
//! transaction commits on its own disk and its `commit` does not return. The origin is killed there. Afterwards the
//! standby is forgotten.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use xtask::clock::poll_until;
use xtask::stack::{Stack, StackOptions};

use crate::books::Books;

const LIMIT: Duration = Duration::from_mins(1);
const WAIT_FOR_NOBODY: [&str; 2] = [
    "alter system set synchronous_standby_names = 'nobody'",
    "select pg_reload_conf()",
];
const WAIT_NO_MORE: [&str; 2] = [
    "alter system reset synchronous_standby_names",
    "select pg_reload_conf()",
];
const PROBE: &str = "create temporary table probe (); drop table probe";
const PROBE_WAITING: &str =
    "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and query like '%table probe%'";
const WAITING: &str =
    "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and application_name like '%deduct%'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tb_2_killed_between_commit_and_answer_a_retry_gets_the_first_result() -> Result<()> {
    let mut stack = Stack::start(StackOptions {
        own_postgres: true,
        ..StackOptions::default()
    })
    .await?;
    let key = stack.service_key("backend").await?;
    let grant =
        json!({ "company_id": "acme", "kind": "purchased", "amount": 1_000, "idempotency_key": "pack-1" });
    let granted = post(&stack, &key, "grant", &grant).await?;
    assert_eq!(granted["success"], true, "{granted}");

    let admin = stack.database.client().await?;
    let told = |statements: [&'static str; 2]| {
        let admin = &admin;
        async move {
            for statement in statements {
                admin.batch_execute(statement).await.context(statement)?;
            }
            anyhow::Ok(())
        }
    };
    told(WAIT_FOR_NOBODY).await?;
    let books = Books::of(&stack).await?;
    // The setting takes effect a moment after the reload: from when on any commit waits, a writer of ours finds out.
    let writer = stack.database.client().await?;
    let probing = tokio::spawn(async move { while writer.batch_execute(PROBE).await.is_ok() {} });
    poll_until("commits waiting for a standby", LIMIT, || async {
        Ok((books.count(PROBE_WAITING).await? == 1).then_some(()))
    })
    .await?;

    let body =
        json!({ "company_id": "acme", "article_id": "article-1", "amount": 300, "idempotency_key": "job-1" });
    let (http, url) = (stack.http.clone(), url(&stack, "deduct"));
    let (sent_key, sent_body) = (key.clone(), body.clone());
    let unanswered =
        tokio::spawn(async move { http.post(url).bearer_auth(sent_key).json(&sent_body).send().await });
    poll_until("the commit waiting for its standby", LIMIT, || async {
        Ok((books.count(WAITING).await? == 1).then_some(()))
    })
    .await?;
    stack.origin.kill().await?;
    assert!(unanswered.await?.is_err(), "nobody answered the first call");
    probing.abort();
    told(WAIT_NO_MORE).await?;
    poll_until("the committed deduction being seen", LIMIT, || async {
        let seen =
            books.count("select count(*) from tollgate.token_deduction_records where status = 'completed'");
        Ok((seen.await? == 1).then_some(()))
    })
    .await?;

    stack.origin.restart().await?;
    let retried = post(&stack, &key, "deduct", &body).await?;
    for (member, expected) in [
        ("success", json!(true)),
        ("idempotent", json!(true)),
        ("balance_before", json!(1_000)),
        ("balance_after", json!(700)),
        ("taken_purchased", json!(300)),
    ] {
        assert_eq!(retried[member], expected, "{member} of {retried}");
    }
    let faults = "select (select count(*) from tollgate.token_faults()) + (select count(*) from tollgate.ledger_faults())";
    let balance = "select purchased_balance from tollgate.company_subscriptions where company_id = 'acme'";
    assert_eq!(
        (books.count(faults).await?, books.count(balance).await?),
        (0, 700)
    );
    drop((books, admin));
    stack.stop().await
}

fn url(stack: &Stack, route: &str) -> String {
    format!("{}/api/service/v1/tokens/{route}", stack.origin.base_url())
}

async fn post(stack: &Stack, key: &str, route: &str, body: &Value) -> Result<Value> {
    let asked = stack.http.post(url(stack, route)).bearer_auth(key).json(body);
    Ok(asked.send().await?.json().await?)
}
