//! The same notice many times at once: every copy acknowledged, one effect.
//!
//! Proves PM-8 (duplicate notification), ED-3 and `invariant_2` over the built worker.

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use xtask::stack::{Stack, StackOptions};

use crate::books::{Books, orders};
use crate::notices::{ACKNOWLEDGED, Notice, acknowledged};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pm_8_ed_3_invariant_2_a_hundred_copies_at_once_have_one_effect() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let order = orders(&stack, 1).await?.pop().context("one order")?;
    let notice = Notice::paid(&order, "2611201744000001");

    let mut copies = JoinSet::new();
    for _ in 0..100 {
        let url = format!("{}/api/webhooks/ecpay/payment", stack.worker.base_url());
        let asked = stack
            .http
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(notice.body());
        copies.spawn(async move { asked.send().await?.text().await });
    }
    let mut answers = Vec::new();
    while let Some(answer) = copies.join_next().await {
        answers.push(answer.context("a copy was dropped")??);
    }
    assert_eq!(answers, vec![ACKNOWLEDGED; 100]);

    // ECPay repeats a notice with another RtnMsg, and so with another CheckMacValue (reference §1.4.5).
    acknowledged(&stack, &notice.clone().with("RtnMsg", "paid")).await?;

    let books = Books::of(&stack).await?;
    books.wait_applied(1).await?;
    books.settled(1).await?;
    assert_eq!(
        books
            .count("select count(*) from tollgate.event_log where event_type = 'purchase_success'")
            .await?,
        1
    );
    drop(books);
    stack.stop().await
}
