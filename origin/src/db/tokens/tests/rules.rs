//! TB-1, TB-2, TB-3, TB-11 and the rules of reservations and compensations, one at a time.

use serde_json::json;

use super::{Book, DAY_MS, at, company, deduction, key, refusal, tokens};
use crate::db::sqlstate::TokenRefusal;
use crate::db::tokens::{ArticleId, BucketKind, Grant, RecordStatus, Taken, TokenError};
use crate::db::{Database, DbError};

#[tokio::test]
async fn tb_1_priority_then_expiry_then_age_and_purchased_last() {
    let book = Book::new().await;
    book.buy("acme", 50, 0).await;
    book.give("acme", BucketKind::Promotional, 10, 200, Some(DAY_MS), 1)
        .await;
    book.give("acme", BucketKind::Monthly, 20, 100, Some(9 * DAY_MS), 2)
        .await;
    book.give("acme", BucketKind::Promotional, 30, 100, Some(5 * DAY_MS), 3)
        .await;
    // 30 promotional (priority 100, earlier), 20 monthly (priority 100), 10 promotional (priority 200), then purchased.
    for (step, (amount, taken)) in [
        (25, (0, 25, 0)),
        (10, (5, 5, 0)),
        (20, (15, 5, 0)),
        (10, (0, 5, 5)),
        (45, (0, 0, 45)),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = book.deduct(&format!("k{step}"), "acme", amount, 10).await;
        let (monthly, promotional, purchased) = taken;
        assert_eq!(
            outcome.taken,
            Taken {
                monthly,
                promotional,
                purchased
            },
            "step {step}"
        );
    }
    assert_eq!(book.figures("acme", 10).await, [0, 0, 0, 0]);
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn tb_2_tb_11_a_repeat_returns_the_first_result_and_charges_once() {
    let book = Book::new().await;
    book.buy("acme", 100, 0).await;
    let first = book.deduct("k", "acme", 30, 1).await;
    assert!(first.success && !first.idempotent);
    assert_eq!((first.balance_before, first.balance_after), (Some(100), Some(70)));
    for again in 0..10 {
        let repeat = book.deduct("k", "acme", 30, 2 + again * DAY_MS).await;
        assert!(repeat.idempotent);
        assert_eq!(
            repeat,
            crate::db::tokens::Outcome {
                idempotent: true,
                ..first.clone()
            }
        );
    }
    assert_eq!(book.figures("acme", 3).await, [0, 0, 70, 0]);
    assert_eq!(
        book.count("select count(*) from tollgate.token_usage_logs").await,
        1
    );
}

#[tokio::test]
async fn tb_2_the_same_key_with_another_parameter_names_the_field() {
    let book = Book::new().await;
    book.buy("acme", 100, 0).await;
    book.buy("other", 100, 0).await;
    let first = deduction("k", "acme", 30);
    book.batch(std::slice::from_ref(&first), 1).await;
    let article: ArticleId = "article-2".parse().unwrap();
    for (changed, field) in [
        (
            super::Deduction {
                company: company("other"),
                ..first.clone()
            },
            "company_id",
        ),
        (
            super::Deduction {
                article,
                ..first.clone()
            },
            "article_id",
        ),
        (
            super::Deduction {
                amount: tokens(31),
                ..first.clone()
            },
            "amount",
        ),
    ] {
        let changed = [changed];
        let outcome = book.batch(&changed, 2).await.remove(0);
        assert_eq!(
            outcome.refusal,
            Some(TokenRefusal::IdempotencyKeyReused),
            "{field}"
        );
        assert_eq!(
            (outcome.field.as_deref(), outcome.success, outcome.idempotent),
            (Some(field), false, false)
        );
        assert_eq!(outcome.record_id, None, "nothing of the first call is told");
    }
    // Metadata moves nothing and is not a parameter.
    let counted = super::Deduction {
        metadata: Some(json!({"attempt": 2})),
        ..first
    };
    assert!(book.batch(&[counted], 2).await.remove(0).idempotent);
    assert_eq!(book.figures("acme", 3).await, [0, 0, 70, 0]);
    assert_eq!(book.figures("other", 3).await, [0, 0, 100, 0]);
}

#[tokio::test]
async fn tb_11_a_refusal_for_lack_of_balance_has_no_effect_and_is_final_for_its_key() {
    let book = Book::new().await;
    book.buy("acme", 10, 0).await;
    let refused = book.deduct("k", "acme", 11, 1).await;
    assert_eq!(refused.refusal, Some(TokenRefusal::InsufficientBalance));
    assert_eq!(
        (refused.status, refused.balance_before, refused.balance_after),
        (Some(RecordStatus::Failed), Some(10), Some(10))
    );
    book.buy("acme", 1000, 2).await;
    let again = book.deduct("k", "acme", 11, 3).await;
    assert_eq!(
        (again.refusal, again.idempotent),
        (Some(TokenRefusal::InsufficientBalance), true)
    );
    assert_eq!(book.figures("acme", 3).await, [0, 0, 1010, 0]);
    assert!(book.deduct("k2", "acme", 11, 3).await.success);
    assert_eq!(
        book.count("select count(*) from tollgate.token_usage_logs").await,
        1
    );
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn tb_3_requests_that_are_malformed_or_of_unknown_companies_leave_nothing() {
    let book = Book::new().await;
    book.buy("acme", 10, 0).await;
    let admin = book.test.admin().await;
    for (sql_key, of, article, amount, metadata, code, field) in [
        (
            "",
            "acme",
            "a",
            1_i64,
            None,
            "InvalidRequest",
            Some("idempotency_key"),
        ),
        (
            "a b",
            "acme",
            "a",
            1,
            None,
            "InvalidRequest",
            Some("idempotency_key"),
        ),
        ("k", "acme", "", 1, None, "InvalidRequest", Some("article_id")),
        ("k", "acme", "a", 0, None, "InvalidRequest", Some("amount")),
        ("k", "acme", "a", -1, None, "InvalidRequest", Some("amount")),
        (
            "k",
            "acme",
            "a",
            1_000_000_000_000_001,
            None,
            "InvalidRequest",
            Some("amount"),
        ),
        (
            "k",
            "acme",
            "a",
            1,
            Some(json!([1])),
            "InvalidRequest",
            Some("metadata"),
        ),
        ("k", "nobody", "a", 1, None, "CompanyNotFound", None),
    ] {
        let call = "select tollgate.deduct_tokens_atomic($1, $2, $3, $4, $5, gen_random_uuid(), '2026-02-01T00:00:00Z')";
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&sql_key, &of, &article, &amount, &metadata];
        let answer: serde_json::Value = admin.query_one(call, &params).await.unwrap().get(0);
        assert_eq!(
            (answer["error_code"].as_str(), answer["error_field"].as_str()),
            (Some(code), field),
            "{answer}"
        );
        assert_eq!(
            (&answer["success"], &answer["record_id"]),
            (&json!(false), &json!(null))
        );
    }
    assert_eq!(
        book.count("select count(*) from tollgate.token_deduction_records")
            .await,
        0
    );
    assert_eq!(book.figures("acme", 1).await, [0, 0, 10, 0]);
}

#[tokio::test]
async fn a_grant_happens_once_per_key_and_a_differing_one_names_the_field() {
    let book = Book::new().await;
    let (kind, priority, expires_at) = (BucketKind::Promotional, 100, Some(at(DAY_MS)));
    let grant = Grant {
        key: key("g"),
        company: company("acme"),
        kind,
        amount: tokens(5),
        priority,
        expires_at,
    };
    assert!(!book.try_grant(&grant, 0).await.unwrap());
    assert!(book.try_grant(&grant, 1).await.unwrap());
    // A repeat after its expiry is still a repeat.
    assert!(book.try_grant(&grant, 2 * DAY_MS).await.unwrap());
    let mut changed: [Grant; 5] = std::array::from_fn(|_| grant.clone());
    changed[0].company = company("other");
    changed[1].kind = BucketKind::Monthly;
    changed[2].amount = tokens(6);
    changed[3].priority = 1;
    changed[4].expires_at = Some(at(2 * DAY_MS));
    let fields = ["company_id", "kind", "amount", "priority", "expires_at"];
    for (changed, field) in changed.into_iter().zip(fields) {
        match book.try_grant(&changed, 1).await {
            Err(TokenError::Refused {
                refusal: TokenRefusal::IdempotencyKeyReused,
                field: named,
                ..
            }) => {
                assert_eq!(named.as_deref(), Some(field));
            }
            other => panic!("{field}: {other:?}"),
        }
    }
    let stale = Grant {
        key: key("h"),
        ..grant
    };
    assert_eq!(
        book.try_grant(&stale, DAY_MS).await.unwrap_err().refusal(),
        Some(TokenRefusal::InvalidRequest)
    );
    assert_eq!(book.figures("other", 3).await, [0, 0, 0, 0]);
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn reserved_tokens_cannot_be_spent_and_what_is_not_settled_returns() {
    let book = Book::new().await;
    book.buy("acme", 100, 0).await;
    let held = book.reserve("job", "acme", 60, DAY_MS, 1).await;
    assert_eq!(
        (held.outcome.status, held.outcome.balance_after),
        (Some(RecordStatus::Pending), Some(40))
    );
    assert_eq!(
        book.deduct("k", "acme", 41, 2).await.refusal,
        Some(TokenRefusal::InsufficientBalance)
    );
    assert!(
        book.reserve("job", "acme", 60, DAY_MS, 2)
            .await
            .outcome
            .idempotent
    );
    assert_eq!(
        book.deduct("job", "acme", 60, 2).await.refusal,
        Some(TokenRefusal::DeductionInProgress)
    );
    assert_eq!(
        refusal(book.settle("job", "acme", 61, 3).await).0,
        TokenRefusal::MoreThanReserved
    );
    assert_eq!(
        refusal(book.compensate("job", "acme", 3).await).0,
        TokenRefusal::NotDeducted
    );
    let settled = book.settle("job", "acme", 45, 3).await.unwrap();
    assert_eq!(
        (settled.outcome.status, settled.amount, settled.reserved_amount),
        (Some(RecordStatus::Completed), 45, Some(60))
    );
    assert_eq!(book.figures("acme", 4).await, [0, 0, 55, 0]);
    assert!(
        book.settle("job", "acme", 45, 5)
            .await
            .unwrap()
            .outcome
            .idempotent
    );
    assert_eq!(
        refusal(book.settle("job", "acme", 44, 5).await),
        (TokenRefusal::IdempotencyKeyReused, Some("amount".into()))
    );
    assert_eq!(
        refusal(book.release("job", "acme", 5).await).0,
        TokenRefusal::NotReserved
    );
    // The job reports by a plain deduction under the same key: nothing more is charged.
    assert!(book.deduct("job", "acme", 60, 6).await.idempotent);
    assert_eq!(book.figures("acme", 6).await, [0, 0, 55, 0]);
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_released_reservation_is_final_and_gives_everything_back() {
    let book = Book::new().await;
    book.buy("acme", 100, 0).await;
    book.reserve("job", "acme", 60, DAY_MS, 1).await;
    let released = book.release("job", "acme", 2).await.unwrap();
    assert_eq!(released.outcome.refusal, Some(TokenRefusal::Released));
    assert_eq!(released.error_message.as_deref(), Some("Released: job failed"));
    assert!(book.release("job", "acme", 3).await.unwrap().outcome.idempotent);
    assert_eq!(
        refusal(book.settle("job", "acme", 1, 3).await).0,
        TokenRefusal::NotReserved
    );
    assert_eq!(
        book.deduct("job", "acme", 60, 4).await.refusal,
        Some(TokenRefusal::Released)
    );
    assert_eq!(book.figures("acme", 4).await, [0, 0, 100, 0]);
    for call in [
        book.settle("none", "acme", 1, 4).await,
        book.release("job", "other", 4).await,
    ] {
        assert_eq!(refusal(call).0, TokenRefusal::RecordNotFound);
    }
    assert_eq!(book.faults().await, Vec::<String>::new());
}

/// TB-8: the hold ends by itself, the record stays pending for reconciliation, and settling late takes what is there.
#[tokio::test]
async fn tb_8_an_expired_reservation_holds_nothing_and_is_settled_late_or_fails() {
    let book = Book::new().await;
    book.buy("acme", 100, 0).await;
    book.reserve("one", "acme", 60, 1000, 1).await;
    book.reserve("two", "acme", 40, 1000, 1).await;
    assert_eq!(book.figures("acme", 999).await, [0, 0, 100, 100]);
    assert_eq!(book.figures("acme", 1000).await, [0, 0, 100, 0]);
    assert!(book.deduct("k", "acme", 50, 1001).await.success);
    assert_eq!(
        book.deduct("two", "acme", 40, 1001).await.refusal,
        Some(TokenRefusal::DeductionInProgress)
    );
    let late = book.settle("two", "acme", 30, 2000).await.unwrap();
    assert_eq!(
        (late.outcome.status, late.retry_count),
        (Some(RecordStatus::Completed), 1)
    );
    let short = book.settle("one", "acme", 59, 2000).await.unwrap();
    assert_eq!(
        (short.outcome.refusal, short.outcome.idempotent, short.amount),
        (Some(TokenRefusal::InsufficientBalance), false, 59)
    );
    // TB-2: whoever did not hear it asks again, and hears the same, whatever was granted meanwhile.
    book.buy("acme", 500, 2001).await;
    let again = book.settle("one", "acme", 59, 2002).await.unwrap();
    assert_eq!(
        (again.outcome.refusal, again.outcome.idempotent, again.id),
        (Some(TokenRefusal::InsufficientBalance), true, short.id)
    );
    assert_eq!(
        refusal(book.settle("one", "acme", 60, 2002).await),
        (TokenRefusal::IdempotencyKeyReused, Some("amount".to_owned()))
    );
    assert_eq!(book.figures("acme", 2003).await, [0, 0, 520, 0]);
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_deduction_is_taken_back_once_into_the_buckets_it_came_from() {
    let book = Book::new().await;
    book.give("acme", BucketKind::Monthly, 30, 100, Some(9 * DAY_MS), 0)
        .await;
    book.buy("acme", 30, 1).await;
    book.deduct("k", "acme", 40, 2).await;
    assert_eq!(book.figures("acme", 2).await, [0, 0, 20, 0]);
    let record = book.compensate("k", "acme", 3).await.unwrap();
    assert_eq!(record.outcome.status, Some(RecordStatus::Compensated));
    assert_eq!(book.figures("acme", 3).await, [30, 0, 30, 0]);
    assert!(book.compensate("k", "acme", 4).await.unwrap().outcome.idempotent);
    assert!(
        book.deduct("k", "acme", 40, 5).await.idempotent,
        "a repeat of the deduction does not charge again"
    );
    assert_eq!(book.figures("acme", 5).await, [30, 0, 30, 0]);
    assert_eq!(
        book.count("select sum(token_amount)::bigint from tollgate.token_usage_logs")
            .await,
        0
    );
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn history_pages_neither_shift_nor_repeat_and_show_one_company() {
    let book = Book::new().await;
    book.buy("acme", 1000, 0).await;
    book.buy("other", 1000, 0).await;
    for number in 0..7 {
        book.deduct(&format!("a{number}"), "acme", 1, 10 + number / 2)
            .await;
        book.deduct(&format!("o{number}"), "other", 1, 10).await;
    }
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let acme = &company("acme");
        let page = |tx| async move { crate::db::tokens::history(&tx, acme, before, 3).await };
        let page = book.db.run_tx("test", page).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some((last.created_at, last.id));
        seen.extend(page.into_iter().map(|record| record.key));
        book.deduct(&format!("later{}", seen.len()), "acme", 1, 100).await;
    }
    seen.sort();
    assert_eq!(seen, ["a0", "a1", "a2", "a3", "a4", "a5", "a6"]);
    let (a0, acme, other) = (&key("a0"), &company("acme"), &company("other"));
    let find = |tx| async move {
        let own = crate::db::tokens::record_by_key(&tx, a0, acme).await?;
        Ok::<_, TokenError>((own, crate::db::tokens::record_by_key(&tx, a0, other).await?))
    };
    let (own, foreign) = book.db.run_tx("test", find).await.unwrap();
    assert_eq!((own.map(|record| record.amount), foreign), (Some(1), None));
}

/// Invariant 4 of DESIGN.md, for tokens: the service has no other door than the functions.
#[tokio::test]
async fn the_service_cannot_write_the_token_tables_or_call_inner_steps() {
    let book = Book::new().await;
    let denied = async |db: &Database, sql: &'static str| {
        let run = db.run_tx("test", |tx| async move { tx.execute(sql, &[]).await.map(|_| ()) });
        let error: DbError = run.await.unwrap_err();
        error.sqlstate().map(|state| state.code().to_owned())
    };
    for sql in [
        "update tollgate.company_subscriptions set purchased_balance = 1",
        "insert into tollgate.token_usage_logs select * from tollgate.token_usage_logs",
        "update tollgate.token_buckets set remaining = 1",
        "delete from tollgate.token_deduction_records",
        "update tollgate.token_reservations set state = 'settled'",
        "select tollgate.token_book('a', gen_random_uuid(), 'k', 'token_grant', 'token_issued', 1, 0, 0, 'epoch', 'epoch')",
        "select tollgate.token_apply_due('a', 'epoch')",
        "select tollgate.token_end_hold('a', gen_random_uuid(), 'released', 0, 'epoch', 'epoch')",
        "select tollgate.token_end_holds('a', 'epoch', 'epoch')",
    ] {
        assert_eq!(denied(&book.db, sql).await.as_deref(), Some("42501"), "{sql}");
    }
}
