//! A browser's token balance and a metered job, through the built worker.
//!
//! Proves TB-5 and the first half of TB-7 from outside: a session is needed, the figures are apart, a job that cannot be
//! paid is told where to upgrade. Not here: settling and reports (the origin's own tests).

use anyhow::{Context, Result};
use serde_json::{Value, json};
use xtask::stack::{Stack, StackOptions};

use crate::callers::token;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tb_5_a_browser_sees_its_balance_and_nobody_else_does() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let url = format!("{}/api/billing/balance", stack.worker.base_url());
    let denied = stack.http.get(&url).send().await?;
    assert_eq!(denied.status().as_u16(), 401);

    let token = token(&stack, "reader").await?;
    let balance: Value = stack
        .http
        .get(&url)
        .bearer_auth(&token)
        .send()
        .await?
        .json()
        .await?;
    for figure in ["monthly", "purchased", "total"] {
        assert_eq!(
            balance.get(figure).and_then(Value::as_i64),
            Some(0),
            "{figure}: {balance}"
        );
    }
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tb_7_a_job_that_cannot_be_paid_is_told_where_to_upgrade() -> Result<()> {
    let generator = [
        ("GENERATOR_WEBHOOK_URL", "http://127.0.0.1:9/generate"),
        (
            "GENERATOR_WEBHOOK_SECRET",
            "whsec_dG9sbGdhdGUtc3RvcnktdXNlci1jb3JlLXNlY3JldA==",
        ),
    ];
    let stack = Stack::start(StackOptions {
        origin_settings: generator
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..StackOptions::default()
    })
    .await?;
    let token = token(&stack, "writer").await?;
    let asked = stack
        .http
        .post(format!("{}/api/articles/generate", stack.worker.base_url()))
        .bearer_auth(&token)
        .header("idempotency-key", "article-1")
        .json(&json!({ "input": { "topic": "tea" } }));
    let answer = asked.send().await?;
    let (status, problem) = (answer.status().as_u16(), answer.json::<Value>().await?);
    assert_eq!(status, 402, "{problem}");
    problem
        .get("upgradeUrl")
        .with_context(|| format!("no upgradeUrl in {problem}"))?;

    let client = stack.database.client().await?;
    let jobs = client.query("select 1 from tollgate.article_jobs", &[]).await?;
    assert!(jobs.is_empty(), "a refused job is not recorded");
    drop(client);
    stack.stop().await
}
