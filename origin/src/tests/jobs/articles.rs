//! TB-5 and TB-7: balances for browsers, articles asked for, triggered and reported.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Shop, succeeded};
use crate::db::look;
use crate::service_keys::Scope;
use crate::tests::service::make_key;

#[tokio::test]
async fn tb_5_a_browser_reads_its_own_balance_and_none_without_a_session() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 500).await;
    let answer = shop.balance("user-1").await;
    assert_eq!(
        (answer.status, &answer.body),
        (
            200,
            &json!({ "monthly": 0, "purchased": 500, "total": 500, "promotional": 0, "reserved": 0 })
        )
    );
    assert_eq!(shop.balance("user-2").await.body["total"], 0, "never had tokens");
    assert_eq!(shop.balance("auth0|17").await.body["total"], 0, "in no company");
    let nobody = shop.balance("").await;
    assert_eq!((nobody.status, nobody.problem()), (401, "session-required"));
}

#[tokio::test]
async fn tb_5_a_member_sees_and_spends_what_the_company_has() {
    let shop = Shop::open().await;
    shop.service.buy("acme", 20_000).await;
    let (user, company) = ("auth0|17".parse().unwrap(), "acme".parse().unwrap());
    let url = tollgate_shared::secret::Secret::new(shop.service.stage.database_url());
    crate::commands::upkeep::company_put(&url, &user, &company)
        .await
        .unwrap();
    assert_eq!(shop.balance("auth0|17").await.body["purchased"], 20_000);
    assert_eq!(shop.generate("auth0|17", "k", json!({})).await.status, 202);
    assert_eq!(shop.balance("auth0|17").await.body["reserved"], 15_000);
}

#[tokio::test]
async fn tb_7_an_article_holds_its_estimate_and_settles_what_it_cost() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 20_000).await;
    let job = shop.begin().await;
    assert_eq!(shop.service.available("user-1").await, 5_000, "15,000 are held");
    shop.service.stage.drain().await;
    let triggers = shop.backend.got("/generate");
    let [trigger] = triggers.as_slice() else {
        panic!("{triggers:?}")
    };
    assert_eq!(trigger["type"], "article.requested");
    assert_eq!(
        trigger["data"],
        json!({ "jobId": job, "companyId": "user-1", "input": { "title": "Oolong" }, "tokensReserved": 15_000 })
    );

    let done = json!({ "outcome": "succeeded", "tokens_used": 1_200, "article_id": "oolong-1" });
    for _ in 0..3 {
        let answer = shop.report(&job, done.clone()).await;
        assert_eq!(
            (answer.status, &answer.body["status"]),
            (200, &json!("completed")),
            "{answer:?}"
        );
        assert_eq!(answer.body["tokens_charged"], 1_200);
    }
    assert_eq!(
        shop.service.available("user-1").await,
        18_800,
        "once, and the rest is back"
    );
    assert_eq!(shop.job(&job).await["article_id"], "oolong-1");
    let record = look::row(
        &shop.service.stage.admin,
        "token_deduction_records",
        "idempotency_key",
        &job,
    )
    .await;
    assert_eq!(
        (&record["status"], &record["amount"]),
        (&json!("completed"), &json!(1_200))
    );
    shop.is_sound().await;
}

#[tokio::test]
async fn tb_7_a_short_balance_is_402_with_the_way_to_more_and_pins_nothing() {
    let shop = Shop::open().await;
    let never = shop.generate("user-1", "k-1", json!({})).await;
    assert_eq!((never.status, never.problem()), (402, "insufficient-balance"));
    shop.service.buy("user-1", 14_999).await;
    let short = shop.generate("user-1", "k-1", json!({})).await;
    assert_eq!((short.status, short.problem()), (402, "insufficient-balance"));
    assert_eq!(short.body["upgradeUrl"], "https://app.example.tw/plans");
    assert_eq!(
        (&short.body["required"], &short.body["available"]),
        (&json!(15_000), &json!(14_999))
    );
    assert_eq!(
        (shop.jobs().await, shop.service.available("user-1").await),
        (0, 14_999)
    );
    shop.service.stage.drain().await;
    assert_eq!(shop.backend.got("/generate").len(), 0);
    shop.service.buy("user-1", 1).await;
    assert_eq!(
        shop.generate("user-1", "k-1", json!({})).await.status,
        202,
        "the same key, once there are tokens"
    );
}

#[tokio::test]
async fn tb_7_a_key_is_one_job_also_from_sixteen_connections_at_once() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 100_000).await;
    let input = json!({ "title": "Oolong", "tags": ["tea", 1, null] });
    let calls: Vec<_> = (0..16)
        .map(|_| shop.generate("user-1", "k-1", input.clone()))
        .collect();
    let mut answers = Vec::new();
    for call in futures_all(calls).await {
        answers.push((call.status, call.body["jobId"].clone()));
    }
    let first = answers[0].1.clone();
    assert!(answers.iter().all(|(_, job)| *job == first), "{answers:?}");
    let new = answers.iter().filter(|(status, _)| *status == 202).count();
    assert_eq!((new, shop.jobs().await), (1, 1), "{answers:?}");
    assert_eq!(shop.service.available("user-1").await, 85_000);

    let repeat = shop.generate("user-1", "k-1", input).await;
    assert_eq!(
        (repeat.status, &repeat.headers["idempotency-replayed"]),
        (200, &"true".parse().unwrap())
    );
    // Read, written and read again it is another number to serde_json; it is the same input.
    for (key, status) in [("k-2", 202), ("k-2", 200)] {
        let body = format!(r#"{{"idempotencyKey":"{key}","input":{{"x":-3.597847523160892e-242}}}}"#);
        assert_eq!(shop.generate_text("user-1", body).await.status, status);
    }
    let other = shop.generate("user-1", "k-1", json!({ "title": "Assam" })).await;
    assert_eq!((other.status, other.problem()), (422, "idempotency-mismatch"));
    assert_eq!(other.body["field"], "input");
    shop.service.buy("user-2", 20_000).await;
    let another = shop.generate("user-2", "k-1", json!({ "title": "Oolong" })).await;
    assert_eq!(another.status, 202, "a key is a user's own");
    shop.is_sound().await;
}

/// Runs every future at once.
async fn futures_all<F: Future<Output = super::Answer>>(futures: Vec<F>) -> Vec<super::Answer> {
    let mut waiting: Vec<_> = futures
        .into_iter()
        .map(|future| (Box::pin(future), None))
        .collect();
    std::future::poll_fn(|context| {
        let mut ready = true;
        for (future, answer) in &mut waiting {
            if answer.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(got) => *answer = Some(got),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if ready {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, answer)| answer).collect()
}

#[tokio::test]
async fn tb_7_a_business_failure_gives_the_tokens_back_and_ends_the_job() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 15_000).await;
    let job = shop.begin().await;
    let failed = json!({ "outcome": "failed", "reason": "the model refused" });
    for _ in 0..2 {
        let answer = shop.report(&job, failed.clone()).await;
        assert_eq!(
            (answer.status, &answer.body["status"]),
            (200, &json!("failed")),
            "{answer:?}"
        );
        assert_eq!(answer.body["error_message"], "the model refused");
    }
    assert_eq!(shop.service.available("user-1").await, 15_000);
    let late = shop.report(&job, succeeded(10)).await;
    assert_eq!((late.status, late.problem()), (409, "job-ended"));
    shop.is_sound().await;
}

#[tokio::test]
async fn tb_7_a_job_is_never_charged_more_than_was_held_and_nothing_for_nothing() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 40_000).await;
    let job = shop.begin().await;
    let answer = shop.report(&job, succeeded(15_001)).await;
    assert_eq!(
        (&answer.body["tokens_used"], &answer.body["tokens_charged"]),
        (&json!(15_001), &json!(15_000))
    );
    let differs = shop.report(&job, succeeded(15_000)).await;
    assert_eq!((differs.status, differs.problem()), (422, "report-differs"));

    let answer = shop.generate("user-1", "k-2", json!({})).await;
    let free = answer.body["jobId"].as_str().unwrap();
    let answer = shop.report(free, succeeded(0)).await;
    assert_eq!(
        (&answer.body["status"], &answer.body["tokens_charged"]),
        (&json!("completed"), &json!(0))
    );
    assert_eq!(shop.service.available("user-1").await, 25_000);
    shop.is_sound().await;
}

#[tokio::test]
async fn tb_7_any_other_error_leaves_the_job_pending_until_the_tokens_can_be_moved() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 15_000).await;
    let job = shop.begin().await;
    look::break_table(&shop.service.stage.admin, "token_usage_logs").await;
    let answer = shop.report(&job, succeeded(900)).await;
    assert_eq!(
        (answer.status, &answer.body["status"]),
        (200, &json!("pending_token_deduction")),
        "{answer:?}"
    );
    assert_eq!(answer.body["tokens_charged"], 0);
    assert_eq!(
        answer.body["error_message"], "ChargeFailed",
        "the table's words are not the caller's"
    );
    let row = shop.job(&job).await;
    assert!(
        row["error_message"].as_str().unwrap().contains("23514"),
        "for a person: {row}"
    );
    look::mend_table(&shop.service.stage.admin, "token_usage_logs").await;
    let again = shop.report(&job, succeeded(900)).await;
    assert_eq!(again.body["status"], "completed", "a report again is a try again");
    assert_eq!(shop.service.available("user-1").await, 14_100);
    shop.is_sound().await;
}

/// A job's key is an ordinary key of the service API, so somebody may end its reservation there.
#[tokio::test]
async fn tb_7_a_job_whose_reservation_was_ended_by_the_service_api_still_ends_and_is_paid_once() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 45_000).await;
    let (mut jobs, client) = (Vec::new(), crate::gateway::user_core::Client::new().unwrap());
    for key in ["released", "settled", "failed"] {
        let answer = shop.generate("user-1", key, json!({})).await;
        jobs.push(answer.body["jobId"].as_str().unwrap().to_owned());
    }
    let end = async |route: &str, job: &str, amount: Option<i64>| {
        let mut body = json!({ "idempotency_key": job, "company_id": "user-1" });
        if let Some(amount) = amount {
            body["amount"] = json!(amount);
        }
        let answer = shop.service.post(route, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    end("release", &jobs[0], None).await;
    end("settle", &jobs[1], Some(700)).await;
    end("settle", &jobs[2], Some(50)).await;

    let owed = shop.report(&jobs[0], succeeded(900)).await;
    assert_eq!(
        (&owed.body["status"], &owed.body["error_message"]),
        (&json!("pending_token_deduction"), &json!("NotReserved"))
    );
    let paid = shop.report(&jobs[1], succeeded(900)).await;
    assert_eq!(paid.body["status"], "completed", "paid already, whatever it cost");
    let failed = json!({ "outcome": "failed", "reason": "the model refused" });
    assert_eq!(shop.report(&jobs[2], failed).await.body["status"], "failed");
    shop.service.stage.clock.advance(Duration::from_hours(1));
    crate::jobs::reconcile::reconcile(&shop.service.stage.origin, &client)
        .await
        .unwrap();
    assert_eq!(shop.job(&jobs[0]).await["status"], "completed");
    assert_eq!(shop.service.available("user-1").await, 45_000 - 900 - 700 - 50);
    shop.is_sound().await;
}

#[tokio::test]
async fn tb_7_a_report_after_the_hold_ended_is_paid_from_what_is_there_then() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 15_000).await;
    let job = shop.begin().await;
    shop.service.stage.clock.advance(Duration::from_hours(25));
    assert_eq!(shop.service.available("user-1").await, 15_000);
    let spent = shop.service.deduct("other", "user-1", 14_500).await;
    assert_eq!(spent.status, 200, "{spent:?}");
    let short = shop.report(&job, succeeded(900)).await;
    assert_eq!(
        (&short.body["status"], &short.body["error_message"]),
        (&json!("pending_token_deduction"), &json!("InsufficientBalance")),
        "{short:?}"
    );
    shop.service.buy("user-1", 1_000).await;
    let paid = shop.report(&job, succeeded(900)).await;
    assert_eq!(paid.body["status"], "completed");
    assert_eq!(shop.service.available("user-1").await, 600);
    shop.is_sound().await;
}

#[tokio::test]
async fn tb_7_bad_calls_are_refused_and_write_nothing() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 100_000).await;
    for (body, status, problem) in [
        ("", 400, "malformed-body"),
        ("[]", 400, "malformed-body"),
        (r#"{"input":{}}"#, 400, "malformed-body"),
        (r#"{"idempotencyKey":"k","input":"x"}"#, 400, "malformed-body"),
        (
            r#"{"idempotencyKey":"k","input":{},"amount":1}"#,
            400,
            "malformed-body",
        ),
        (
            r#"{"idempotencyKey":"k","idempotencyKey":"l","input":{}}"#,
            400,
            "malformed-body",
        ),
        (
            r#"{"idempotencyKey":"a b","input":{}}"#,
            400,
            "idempotency-key-malformed",
        ),
        (
            r#"{"idempotencyKey":"k","input":{"a":["\u0000"]}}"#,
            400,
            "malformed-body",
        ),
        (
            r#"{"idempotencyKey":"k","input":{"a":{"b":1,"b":2}}}"#,
            400,
            "malformed-body",
        ),
    ] {
        let answer = shop.generate_text("user-1", body.to_owned()).await;
        assert_eq!((answer.status, answer.problem()), (status, problem), "{body}");
    }
    let long = json!({ "idempotencyKey": "k", "input": { "text": "x".repeat(17_000) } });
    let answer = shop.generate_text("user-1", long.to_string()).await;
    assert_eq!((answer.status, answer.problem()), (413, "body-too-long"));
    let nobody = shop.generate("", "k", json!({})).await;
    assert_eq!((nobody.status, nobody.problem()), (401, "session-required"));
    let nowhere = shop.generate("auth0|17", "k", json!({})).await;
    assert_eq!((nowhere.status, nowhere.problem()), (409, "no-company"));
    assert_eq!(
        (shop.jobs().await, shop.service.available("user-1").await),
        (0, 100_000)
    );
}

#[tokio::test]
async fn tb_7_bad_reports_are_refused_and_change_nothing() {
    let shop = Shop::open().await;
    shop.service.buy("user-1", 15_000).await;
    let job = shop.begin().await;
    let reports: [(Value, u16, &str); 9] = [
        (json!({}), 400, "malformed-body"),
        (json!({ "outcome": "maybe" }), 400, "malformed-body"),
        (json!({ "outcome": "succeeded" }), 400, "malformed-body"),
        (
            json!({ "outcome": "succeeded", "tokens_used": 1.5 }),
            400,
            "malformed-body",
        ),
        (
            json!({ "outcome": "succeeded", "tokens_used": 1, "x": 1 }),
            400,
            "malformed-body",
        ),
        (succeeded(-1), 400, "invalid-request"),
        (
            json!({ "outcome": "succeeded", "tokens_used": 1, "article_id": "a b" }),
            400,
            "invalid-request",
        ),
        (
            json!({ "outcome": "failed", "reason": "" }),
            400,
            "invalid-request",
        ),
        (
            json!({ "outcome": "failed", "reason": "a\u{7}" }),
            400,
            "invalid-request",
        ),
    ];
    for (report, status, problem) in reports {
        let answer = shop.report(&job, report.clone()).await;
        assert_eq!((answer.status, answer.problem()), (status, problem), "{report}");
    }
    for unknown in ["no-uuid", "018bcfe5-6800-7000-8000-000000000000"] {
        let answer = shop.report(unknown, succeeded(1)).await;
        assert_eq!((answer.status, answer.problem()), (404, "unknown-job"));
    }
    let reader = make_key(&shop.service.stage, "reader", &[Scope::Read, Scope::Deduct]).await;
    let other = Shop {
        service: crate::tests::service::Service {
            stage: shop.service.stage,
            key: reader,
        },
        backend: shop.backend,
    };
    let refused = other.report(&job, succeeded(1)).await;
    assert_eq!((refused.status, refused.problem()), (403, "scope-missing"));
    assert_eq!(other.job(&job).await["status"], "generating");
}

#[tokio::test]
async fn tb_7_without_a_generator_nothing_is_held() {
    let service = crate::tests::service::Service::start().await;
    let shop = Shop {
        service,
        backend: super::Backend::default(),
    };
    shop.service.buy("user-1", 15_000).await;
    let answer = shop.generate("user-1", "k", json!({})).await;
    assert_eq!(
        (answer.status, answer.problem()),
        (501, "generator-not-configured")
    );
    assert!(
        !answer.headers.contains_key("retry-after"),
        "waiting does not help"
    );
    assert_eq!(shop.jobs().await, 0);
}
