//! One customer who presses twice, or very often: keys that race, and the bucket of a user.
//!
//! Proves ED-3 and the user part of ED-2 over the built worker and the real origin.

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use xtask::stack::{Stack, StackOptions};

use crate::callers::{Answer, ECPAY, checkout, token};

/// Sends one checkout a key at once; the answers, in no special order.
async fn all_at_once(stack: &Stack, subject: &str, keys: Vec<String>) -> Result<Vec<Answer>> {
    let token = token(stack, subject).await?;
    let mut asked = JoinSet::new();
    for key in keys {
        let (http, edge) = (stack.http.clone(), stack.worker.base_url());
        let token = token.clone();
        asked.spawn(async move { checkout(&http, &edge, Some(&token), Some(&key), ECPAY).await });
    }
    let mut answers = Vec::new();
    while let Some(answer) = asked.join_next().await {
        answers.push(answer.context("a checkout was dropped")??);
    }
    Ok(answers)
}

async fn payments(stack: &Stack) -> Result<usize> {
    let client = stack.database.client().await?;
    Ok(client.query("select 1 from tollgate.payments", &[]).await?.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_3_one_key_many_times_at_once_is_one_checkout() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let answers = all_at_once(&stack, "impatient", vec!["k".to_owned(); 24]).await?;
    let first: Vec<&Answer> = answers
        .iter()
        .filter(|answer| answer.status == 201 && !answer.replayed)
        .collect();
    assert_eq!(first.len(), 1, "{answers:?}");
    let body = &first.first().context("one answer")?.body;
    for answer in &answers {
        match answer.status {
            201 => ensure!(answer.body == *body, "another answer: {answer:?}"),
            409 => ensure!(answer.body.contains("idempotency-in-flight"), "{answer:?}"),
            other => ensure!(other == 201, "{answer:?}"),
        }
    }
    assert_eq!(payments(&stack).await?, 1);
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_2_a_user_who_calls_too_often_is_told_when_to_come_back() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let keys = (0..40).map(|number| format!("k{number}")).collect();
    let answers = all_at_once(&stack, "restless", keys).await?;
    let (limited, passed): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 429);
    assert!(passed.len() >= 10, "the burst of ten passes: {answers:?}");
    assert!(!limited.is_empty(), "{answers:?}");
    for answer in limited {
        assert!(
            answer.body.contains("urn:tollgate:problem:too-many-requests"),
            "{answer:?}"
        );
        let seconds: u32 = answer.retry_after.parse().context("Retry-After is no number")?;
        assert!((1..=6).contains(&seconds), "{answer:?}");
    }
    // Another user is not limited by it.
    let other = all_at_once(&stack, "calm", vec!["k".to_owned()]).await?;
    assert_eq!(other.first().map(|answer| answer.status), Some(201), "{other:?}");
    stack.stop().await
}

/// A user may have any name, also that of an object of ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_5_users_named_like_inboxes_close_no_inbox() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    for shard in 0..16 {
        let answers = all_at_once(&stack, &format!("inbox-{shard}"), vec!["k".to_owned()]).await?;
        assert_eq!(
            answers.first().map(|answer| answer.status),
            Some(201),
            "{answers:?}"
        );
    }
    let url = format!("{}/api/webhooks/health", stack.worker.base_url());
    let health = stack.http.get(url).send().await?.text().await?;
    assert!(!health.contains("silent"), "{health}");
    for number in 0..16 {
        let order = format!("T{number:019}");
        crate::notices::acknowledged(
            &stack,
            &crate::notices::Notice::declined(&order, "2611201744000001"),
        )
        .await?;
    }
    stack.stop().await
}
