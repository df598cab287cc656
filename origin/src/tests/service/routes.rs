//! Every route's good path, and what a repeat, another parameter and a lack of balance are answered.

use serde_json::{Value, json};

use super::{Service, deduction};
use crate::db::look;

/// TB-3's object, from an answer of any route that has it.
fn tb_3(body: &Value) -> Value {
    let names = [
        "success",
        "idempotent",
        "status",
        "balance_before",
        "balance_after",
        "taken_monthly",
        "taken_promotional",
        "taken_purchased",
        "error_code",
        "error_field",
    ];
    let of: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), body[*name].clone()))
        .collect();
    Value::Object(of)
}

#[tokio::test]
async fn tb_2_tb_3_a_deduction_and_its_repeat_have_one_result() {
    let service = Service::start().await;
    service.buy("acme", 1_000).await;
    let mut expected = json!({
        "success": true, "idempotent": false, "status": "completed", "balance_before": 1_000, "balance_after": 700,
        "taken_monthly": 0, "taken_promotional": 0, "taken_purchased": 300, "error_code": null, "error_field": null,
    });
    let first = service.deduct("job-1", "acme", 300).await;
    assert_eq!((first.status, tb_3(&first.body)), (200, expected.clone()));
    assert!(!first.headers.contains_key("idempotency-replayed"));
    assert_eq!(
        first.body.as_object().unwrap().len(),
        11,
        "TB-3's members and no other: {first:?}"
    );

    // The key in the header is the same key; metadata is not compared.
    let mut body = deduction("job-1", "acme", 300);
    body.as_object_mut().unwrap().remove("idempotency_key");
    body["metadata"] = json!({ "attempt": 2 });
    let repeat = service
        .post_text("deduct", &[("idempotency-key", "job-1")], body.to_string())
        .await;
    expected["idempotent"] = json!(true);
    assert_eq!((repeat.status, tb_3(&repeat.body)), (200, expected));
    assert_eq!(repeat.headers["idempotency-replayed"], "true");
    assert_eq!(repeat.body["record_id"], first.body["record_id"]);
    assert_eq!(service.available("acme").await, 700);
}

#[tokio::test]
async fn tb_2_a_key_used_for_something_else_names_the_member_that_differs() {
    let service = Service::start().await;
    service.buy("acme", 1_000).await;
    service.buy("other", 1_000).await;
    assert_eq!(service.deduct("job-1", "acme", 300).await.status, 200);
    for (member, value) in [
        ("company_id", json!("other")),
        ("article_id", json!("b")),
        ("amount", json!(301)),
    ] {
        let mut body = deduction("job-1", "acme", 300);
        body[member] = value;
        let answer = service.post("deduct", body).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (422, "idempotency-key-reused"),
            "{answer:?}"
        );
        assert_eq!(answer.body["field"], member);
        assert_eq!(answer.body["result"]["error_code"], "IdempotencyKeyReused");
        assert_eq!(answer.body["result"]["error_field"], member);
    }
    assert_eq!(
        (service.available("acme").await, service.available("other").await),
        (700, 1_000)
    );
}

#[tokio::test]
async fn a_refusal_for_lack_of_balance_is_final_for_its_key() {
    let service = Service::start().await;
    service.buy("acme", 100).await;
    let refused = service.deduct("job-1", "acme", 101).await;
    assert_eq!((refused.status, refused.problem()), (402, "insufficient-balance"));
    assert_eq!(refused.body["result"]["error_code"], "InsufficientBalance");
    assert_eq!(refused.body["result"]["balance_before"], 100);
    service.buy("acme", 1_000).await;
    let later = service.deduct("job-1", "acme", 101).await;
    assert_eq!(
        (later.status, &later.body["result"]["idempotent"]),
        (402, &json!(true))
    );
    assert_eq!(service.deduct("job-2", "acme", 101).await.status, 200);
    assert_eq!(service.available("acme").await, 999);
}

#[tokio::test]
async fn a_company_without_tokens_is_not_found() {
    let service = Service::start().await;
    let answer = service.deduct("job-1", "nobody", 1).await;
    assert_eq!((answer.status, answer.problem()), (404, "company-not-found"));
    assert_eq!(service.available("nobody").await, 0);
}

#[tokio::test]
async fn a_reservation_is_settled_below_what_was_held_and_the_rest_returns() {
    let service = Service::start().await;
    service.buy("acme", 1_000).await;
    let body = deduction("job-1", "acme", 600);
    let held = service.post("reserve", body.clone()).await;
    assert_eq!(
        (held.status, &held.body["status"], &held.body["success"]),
        (200, &json!("pending"), &json!(true))
    );
    assert_eq!(held.body["reservation_expires_at"], "2026-11-21T03:00:00Z");
    assert_eq!(service.available("acme").await, 400);
    assert_eq!(
        service.post("reserve", body.clone()).await.body["idempotent"],
        true
    );

    // Held tokens are nobody's, and the key is not a deduction's yet.
    assert_eq!(
        service.deduct("job-2", "acme", 401).await.problem(),
        "insufficient-balance"
    );
    let early = service.post("deduct", body).await;
    assert_eq!((early.status, early.problem()), (409, "deduction-in-progress"));

    let settle = |amount: i64| json!({ "idempotency_key": "job-1", "company_id": "acme", "amount": amount });
    let more = service.post("settle", settle(601)).await;
    assert_eq!((more.status, more.problem()), (422, "more-than-reserved"));
    let settled = service.post("settle", settle(250)).await;
    assert_eq!(
        (settled.status, &settled.body["status"], &settled.body["amount"]),
        (200, &json!("completed"), &json!(250))
    );
    assert_eq!(service.post("settle", settle(250)).await.body["idempotent"], true);
    let other = service.post("settle", settle(251)).await;
    assert_eq!(
        (other.status, other.problem(), &other.body["field"]),
        (422, "idempotency-key-reused", &json!("amount"))
    );
    assert_eq!(service.available("acme").await, 750);
}

#[tokio::test]
async fn a_reservation_is_released_for_good() {
    let service = Service::start().await;
    service.buy("acme", 1_000).await;
    assert_eq!(
        service
            .post("reserve", deduction("job-1", "acme", 600))
            .await
            .status,
        200
    );
    let release = json!({ "idempotency_key": "job-1", "company_id": "acme", "reason": "the job failed" });
    let released = service.post("release", release.clone()).await;
    assert_eq!(
        (released.status, &released.body["status"]),
        (200, &json!("failed")),
        "{released:?}"
    );
    assert_eq!(released.body["error_code"], "Released");
    assert_eq!(
        service.post("release", release.clone()).await.body["idempotent"],
        true
    );
    let again = service.post("reserve", deduction("job-1", "acme", 600)).await;
    assert_eq!((again.status, again.problem()), (409, "reservation-released"));
    let settle = json!({ "idempotency_key": "job-1", "company_id": "acme", "amount": 1 });
    assert_eq!(service.post("settle", settle).await.problem(), "not-reserved");
    assert_eq!(service.available("acme").await, 1_000);
    assert_eq!(service.deduct("job-2", "acme", 1).await.status, 200);
    let mut other = release;
    other["idempotency_key"] = json!("job-2");
    assert_eq!(service.post("release", other).await.problem(), "not-reserved");
}

#[tokio::test]
async fn a_hold_that_ended_by_itself_says_so_to_a_repeat() {
    let service = Service::start().await;
    service.buy("acme", 1_000).await;
    let mut body = deduction("job-1", "acme", 600);
    body["expires_in_seconds"] = json!(60);
    assert_eq!(service.post("reserve", body.clone()).await.status, 200);
    service.stage.clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(service.available("acme").await, 1_000);
    let late = service.post("reserve", body).await;
    assert_eq!((late.status, late.problem()), (409, "reservation-expired"));
    assert_eq!(late.body["result"]["status"], "pending");
}

#[tokio::test]
async fn a_deduction_is_compensated_once() {
    let service = Service::start().await;
    service.buy("acme", 1_000).await;
    service.deduct("job-1", "acme", 300).await;
    let body = json!({ "company_id": "acme", "idempotency_key": "job-1" });
    let back = service.post("compensate", body.clone()).await;
    assert_eq!(
        (back.status, &back.body["status"]),
        (200, &json!("compensated")),
        "{back:?}"
    );
    assert_eq!(service.post("compensate", body).await.body["idempotent"], true);
    assert_eq!(service.available("acme").await, 1_000);
    let none = json!({ "company_id": "acme", "idempotency_key": "job-9" });
    assert_eq!(
        service.post("compensate", none).await.problem(),
        "record-not-found"
    );
    service.deduct("job-2", "acme", 9_999).await;
    let refused = json!({ "company_id": "acme", "idempotency_key": "job-2" });
    assert_eq!(
        service.post("compensate", refused).await.problem(),
        "not-deducted"
    );
}

#[tokio::test]
async fn tb_1_what_expires_is_spent_first_and_grants_are_given_once() {
    let service = Service::start().await;
    service.buy("acme", 1_000).await;
    let gift = json!({
        "idempotency_key": "gift-1", "company_id": "acme", "kind": "promotional", "amount": 50, "priority": 1,
        "expires_at": "2026-12-01T00:00:00+08:00",
    });
    let given = service.post("grant", gift.clone()).await;
    assert_eq!(
        given.body,
        json!({
            "success": true, "idempotent": false, "company_id": "acme", "kind": "promotional", "amount": 50,
        })
    );
    assert_eq!(service.post("grant", gift.clone()).await.body["idempotent"], true);
    let mut other = gift;
    other["amount"] = json!(51);
    let reused = service.post("grant", other).await;
    assert_eq!(
        (reused.status, reused.problem(), &reused.body["field"]),
        (422, "idempotency-key-reused", &json!("amount"))
    );
    let spent = service.deduct("job-1", "acme", 70).await;
    assert_eq!(
        (&spent.body["taken_promotional"], &spent.body["taken_purchased"]),
        (&json!(50), &json!(20))
    );
}

#[tokio::test]
async fn balances_now_and_at_a_past_time() {
    let service = Service::start().await;
    service.buy("acme", 1_000).await;
    let before = "2026-11-21T02:00:00Z";
    service.stage.clock.advance(std::time::Duration::from_mins(1));
    service.deduct("job-1", "acme", 300).await;
    service.post("reserve", deduction("job-2", "acme", 100)).await;
    let now = service.get("balance?company_id=acme").await;
    assert_eq!(
        now.body,
        json!({
            "company_id": "acme", "monthly": 0, "promotional": 0, "purchased": 700, "total": 700, "reserved": 100,
            "available": 600, "at": "2026-11-21T02:01:00Z",
        })
    );
    let past = service.get(&format!("balance?company_id=acme&at={before}")).await;
    assert_eq!(
        (past.status, &past.body["total"], &past.body["available"]),
        (200, &json!(1_000), &Value::Null)
    );
}

#[tokio::test]
async fn history_comes_in_pages_that_new_records_do_not_shift() {
    let service = Service::start().await;
    service.buy("acme", 1_000).await;
    for number in 0..5 {
        service.deduct(&format!("job-{number}"), "acme", 1).await;
        service.stage.clock.advance(std::time::Duration::from_millis(1));
    }
    let keys = |page: &Value| -> Vec<String> {
        let records = page["records"].as_array().unwrap();
        records
            .iter()
            .map(|record| record["idempotency_key"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = service.get("history?company_id=acme&limit=2").await;
    assert_eq!(keys(&first.body), ["job-4", "job-3"]);
    service.deduct("job-late", "acme", 1).await;
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = service
        .get(&format!("history?company_id=acme&limit=2&cursor={cursor}"))
        .await;
    assert_eq!(keys(&second.body), ["job-2", "job-1"]);
    let cursor = second.body["next_cursor"].as_str().unwrap();
    let third = service
        .get(&format!("history?company_id=acme&limit=2&cursor={cursor}"))
        .await;
    assert_eq!(
        (keys(&third.body), &third.body["next_cursor"]),
        (vec!["job-0".to_owned()], &Value::Null)
    );
}

#[tokio::test]
async fn a_record_is_shown_by_its_key_and_to_its_company_only() {
    let service = Service::start().await;
    service.buy("acme", 1_000).await;
    let mut body = deduction("job/1?a=b", "acme", 300);
    body["metadata"] = json!({ "model": "m-1", "pages": [1, 2] });
    assert_eq!(service.post("deduct", body.clone()).await.status, 200);
    let found = service.get("records/job%2F1%3Fa=b?company_id=acme").await;
    assert_eq!(found.status, 200, "{found:?}");
    for member in [
        "idempotency_key",
        "company_id",
        "article_id",
        "amount",
        "metadata",
    ] {
        assert_eq!(found.body[member], body[member], "{member}");
    }
    assert_eq!(
        (&found.body["retry_count"], &found.body["created_at"]),
        (&json!(0), &json!("2026-11-21T02:00:00Z"))
    );
    for path in [
        "records/job%2F1%3Fa=b?company_id=other",
        "records/none?company_id=acme",
    ] {
        let absent = service.get(path).await;
        assert_eq!(
            (absent.status, absent.problem()),
            (404, "record-not-found"),
            "{path}"
        );
    }
}

/// A statement that took too long, a lock that was not got, a conflict that outlasted `run_tx`: come again.
#[tokio::test]
async fn tb_6_a_slow_database_is_503_with_retry_after_on_every_call_that_writes() {
    let service = Service::start_with(&[("TOKEN_BATCHING", "off")]).await;
    service.buy("acme", 1_000).await;
    for code in ["57014", "55P03", "40001", "40P01"] {
        look::fail_with(&service.stage.admin, "token_deduction_records", code).await;
        for route in ["deduct", "reserve"] {
            let answer = service.post(route, deduction("job-1", "acme", 1)).await;
            assert_eq!(
                (answer.status, answer.problem()),
                (503, "unavailable"),
                "{code} {route}"
            );
            assert_eq!(answer.headers["retry-after"], "1");
        }
    }
    assert_eq!(service.available("acme").await, 1_000);
}
