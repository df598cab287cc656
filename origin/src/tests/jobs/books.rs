//! TB-10 and the auditor's command: what is counted, and what `tollgate ledger verify` sees.

use std::time::Duration;

use serde_json::json;

use super::{Shop, succeeded};
use crate::commands::CommandError;
use crate::commands::upkeep::{faults, ledger_verify};
use crate::db::look;

/// The value of a sample of the page.
async fn sample(shop: &Shop, name: &str) -> String {
    let url = format!("{}/metrics", shop.service.stage.base);
    let page = reqwest::get(url).await.unwrap().text().await.unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name} in {page}"))
        .trim()
        .to_owned()
}

#[tokio::test]
async fn tb_10_deductions_are_counted_by_how_they_end_and_waiting_is_read_from_the_database() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 16_000).await;
    for (key, amount, status) in [
        ("a", 400, 200),
        ("a", 400, 200),
        ("b", 20_000, 402),
        ("a", 500, 422),
    ] {
        let answer = shop.service.deduct(key, "user-1", amount).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let retry =
        json!({ "idempotency_key": "a", "company_id": "user-1", "article_id": "article-1", "amount": 400 });
    let answer = shop
        .service
        .post_text("deduct", &[("tollgate-attempt", "2")], retry.to_string());
    assert_eq!(answer.await.status, 200);
    let job = shop.begin().await;
    let total = |result: &str| format!("tollgate_token_deductions_total{{result=\"{result}\"}}");
    for (result, count) in [
        ("ok", "3"),
        ("insufficient_balance", "1"),
        ("refused", "1"),
        ("error", "0"),
    ] {
        assert_eq!(sample(&shop, &total(result)).await, count, "{result}");
    }
    assert_eq!(sample(&shop, "tollgate_token_retries_total").await, "1");
    assert_eq!(sample(&shop, "tollgate_token_deduction_seconds_count").await, "5");
    assert_eq!(sample(&shop, "tollgate_token_pending{state=\"held\"}").await, "1");
    assert_eq!(
        sample(&shop, "tollgate_token_pending{state=\"undecided\"}").await,
        "0"
    );

    shop.service.stage.clock.advance(Duration::from_hours(25));
    assert_eq!(
        sample(&shop, "tollgate_token_pending{state=\"undecided\"}").await,
        "1"
    );
    assert_eq!(
        sample(&shop, "tollgate_token_undecided_oldest_seconds").await,
        "3600"
    );
    look::break_table(&shop.service.stage.admin, "token_usage_logs").await;
    assert_eq!(shop.report(&job, succeeded(1)).await.status, 200);
    look::mend_table(&shop.service.stage.admin, "token_usage_logs").await;
    assert_eq!(
        (
            sample(&shop, &total("ok")).await,
            sample(&shop, &total("error")).await
        ),
        ("3".to_owned(), "1".to_owned()),
        "a report that is kept is no deduction"
    );
    assert_eq!(shop.report(&job, succeeded(1)).await.status, 200);
    assert_eq!(sample(&shop, &total("ok")).await, "4");
    let other = shop.generate("user-1", "k-2", json!({})).await.body["jobId"].clone();
    let failed = json!({ "outcome": "failed", "reason": "the model refused" });
    let answer = shop.report(other.as_str().unwrap(), failed).await;
    assert_eq!(
        (answer.status, sample(&shop, &total("ok")).await),
        (200, "4".to_owned())
    );
    assert_eq!(
        sample(&shop, "tollgate_token_pending{state=\"undecided\"}").await,
        "0"
    );
}

#[tokio::test]
async fn ledger_verify_is_silent_on_whole_books_and_names_what_differs() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 16_000).await;
    shop.service.deduct("a", "user-1", 400).await;
    let job = shop.begin().await;
    shop.report(&job, succeeded(1_000)).await;
    let url = tollgate_shared::secret::Secret::new(shop.service.stage.database_url());
    ledger_verify(&url).await.unwrap();

    let admin = &shop.service.stage.admin;
    for (harm, told) in [
        (
            "update tollgate.ledger_account set balance = balance + 1 where kind = 'token_purchased'",
            "entries sum to",
        ),
        (
            "update tollgate.ledger_entry set amount = amount + 1 where account_kind = 'token_used' and account_version = 1",
            "sums to",
        ),
        (
            "delete from tollgate.ledger_entry where account_kind = 'token_purchased' and account_version = 2",
            "version 3",
        ),
        (
            "update tollgate.token_buckets set remaining = remaining - 1",
            "buckets",
        ),
    ] {
        admin.batch_execute("begin").await.unwrap();
        admin.batch_execute(harm).await.unwrap();
        admin.batch_execute("commit").await.unwrap();
        let found = faults(&shop.service.stage.origin.database).await.unwrap();
        assert!(
            found.iter().any(|fault| fault.contains(told)),
            "{harm}: {found:?}"
        );
    }
    assert!(
        matches!(ledger_verify(&url).await, Err(CommandError::Faults(count)) if count > 3),
        "a scheduler sees it by the exit code"
    );
}
