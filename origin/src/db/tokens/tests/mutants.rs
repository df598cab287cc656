//! Four ways to break idempotency, each loaded over the real function in a database of its own, and each found out.
//!
//! A mutant is the smallest change of `deduct_tokens_atomic.sql`, or a well-known wrong design around it. The same check
//! passes on the function as it is, which is what makes the kills mean something.

use tokio::task::JoinSet;

use super::{Book, at, deduction};
use crate::db::sqlstate::TokenRefusal;
use crate::db::tokens;

const ATOMIC: &str = include_str!("../../../../../migrations/functions/deduct_tokens_atomic.sql");

/// One replacement that must be found exactly once, or the mutant is none.
fn mutate(sql: &str, from: &str, to: &str) -> String {
    assert_eq!(sql.matches(from).count(), 1, "{from}");
    sql.replace(from, to)
}

/// What the idempotency layer promises; the first broken promise is the error.
async fn promises(book: &Book) -> Result<(), String> {
    book.buy("acme", 1000, 0).await;
    let charged =
        |outcomes: &[tokens::Outcome]| outcomes.iter().filter(|o| o.success && !o.idempotent).count();

    repeat(book).await?;
    let racing = race(book).await;
    if charged(&racing) != 1 {
        return Err(format!("a race charged {} times", charged(&racing)));
    }
    let spent = 1000 - book.balance("acme", 9).await.total;
    if spent != 20 {
        return Err(format!("spent {spent} for two keys of 10"));
    }
    crash_between(book).await
}

/// A repeat replays, a repeat with another amount is refused.
async fn repeat(book: &Book) -> Result<(), String> {
    let first = deduct(book, "first", 10).await?;
    let again = deduct(book, "first", 10).await?;
    if !again.idempotent || again.balance_after != first.balance_after {
        return Err(format!("a repeat got {again:?}"));
    }
    let other = deduct(book, "first", 11).await?;
    if other.refusal != Some(TokenRefusal::IdempotencyKeyReused) {
        return Err(format!("another amount got {other:?}"));
    }
    Ok(())
}

async fn deduct(book: &Book, key: &str, amount: i64) -> Result<tokens::Outcome, String> {
    let deduction = &deduction(key, "acme", amount);
    let run = book.db.run_tx(
        "test",
        |tx| async move { tokens::deduct(&tx, deduction, at(1)).await },
    );
    run.await.map_err(|error| format!("{error:?}"))
}

async fn race(book: &Book) -> Vec<tokens::Outcome> {
    let db = book.test.database_of(16);
    let mut racers = JoinSet::new();
    for _ in 0..16 {
        let db = db.clone();
        racers.spawn(async move {
            let deduction = &deduction("race", "acme", 10);
            db.run_tx(
                "race",
                |tx| async move { tokens::deduct(&tx, deduction, at(2)).await },
            )
            .await
        });
    }
    racers
        .join_all()
        .await
        .into_iter()
        .filter_map(Result::ok)
        .collect()
}

/// The client sees an error after the claim and before the end; its retry must charge.
async fn crash_between(book: &Book) -> Result<(), String> {
    // Fails inside the deduction, when the usage log is written.
    let admin = book.test.admin().await;
    let fail = "alter table tollgate.token_usage_logs add constraint crash check (article_id <> 'article-1') not valid";
    admin.batch_execute(fail).await.unwrap();
    // As the owner, a statement of its own: whatever it leaves is committed, as a claim of its own would be.
    let call = "select (tollgate.deduct_tokens_atomic('crash', 'acme', 'article-1', 10, null, gen_random_uuid(), \
        '2026-02-01T00:00:00Z') -> 'success')::boolean";
    let answer = admin.query_one(call, &[]).await;
    if answer.is_ok_and(|row| row.get::<_, Option<bool>>(0) == Some(true)) {
        return Err("the crash did not reach the caller".to_owned());
    }
    admin
        .batch_execute("alter table tollgate.token_usage_logs drop constraint crash")
        .await
        .unwrap();
    let retried = deduct(book, "crash", 10).await?;
    if !retried.success || retried.idempotent || book.balance("acme", 9).await.total != 970 {
        return Err(format!("a retry after a crash got {retried:?}"));
    }
    Ok(())
}

/// Loads the mutant over the real functions and asks for the broken promise.
async fn killed(mutant: &str) -> Result<(), String> {
    let book = Book::new().await;
    book.test.admin().await.batch_execute(mutant).await.unwrap();
    promises(&book).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_functions_as_they_are_keep_every_promise() {
    assert_eq!(promises(&Book::new().await).await, Ok(()));
}

/// The real function under another name, and a wrong design around it under its own.
fn around(inner: &str, body: &str) -> String {
    let inner = mutate(
        inner,
        "function tollgate.deduct_tokens_atomic(",
        "function tollgate.deduct_tokens_inner(",
    );
    let arguments = "p_idempotency_key text, p_company_id text, p_article_id text, p_amount bigint, p_metadata jsonb, \
        p_record_id uuid, p_now timestamptz";
    format!(
        "{inner}\ncreate or replace function tollgate.deduct_tokens_atomic({arguments}) returns jsonb language plpgsql \
         security definer set search_path = pg_catalog, tollgate, pg_temp as $mutant$ begin {body} end $mutant$;"
    )
}

/// No check: every call is a first call, and the key is only decoration.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mutant_without_a_check_is_killed() {
    let no_check = around(
        ATOMIC,
        "return tollgate.deduct_tokens_inner(p_idempotency_key || p_record_id, p_company_id, p_article_id, p_amount, \
         p_metadata, p_record_id, p_now);",
    );
    let error = killed(&no_check).await.unwrap_err();
    assert!(error.contains("a repeat got"), "{error}");
}

/// Check, then insert: the look comes before the company's lock, where a twin can overtake it, and nothing unique stands
/// behind it. The pause is part of the mutant: it keeps open the window that a busy server opens now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mutant_that_checks_then_inserts_is_killed() {
    let no_conflict = ATOMIC.replace("on conflict (idempotency_key) do nothing", "");
    let check_then_insert = around(
        &no_conflict,
        "if not exists (select from tollgate.token_deduction_records as seen
                        where seen.idempotency_key = p_idempotency_key) then
            perform pg_sleep(0.2);
            perform tollgate.deduct_tokens_inner(p_idempotency_key || ':' || p_record_id, p_company_id, p_article_id,
                p_amount, p_metadata, p_record_id, p_now);
            update tollgate.token_deduction_records set idempotency_key = p_idempotency_key where id = p_record_id;
            return tollgate.token_answer(p_record_id, false);
        end if;
        return tollgate.deduct_tokens_inner(p_idempotency_key, p_company_id, p_article_id, p_amount, p_metadata,
            p_record_id, p_now);",
    );
    let drop_unique = "alter table tollgate.token_deduction_records \
        drop constraint token_deduction_records_idempotency_key;";
    let error = killed(&format!("{drop_unique}\n{check_then_insert}"))
        .await
        .unwrap_err();
    assert!(error.contains("a race charged"), "{error}");
}

/// No fingerprint: the key alone decides, so another amount gets the first result as if it were its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mutant_without_a_fingerprint_is_killed() {
    let no_fingerprint = mutate(
        ATOMIC,
        "when first.requested_amount <> p_amount then 'amount'",
        "",
    );
    let error = killed(&no_fingerprint).await.unwrap_err();
    assert!(error.contains("another amount got"), "{error}");
}

/// Claim before write: "seen" is kept although the work then fails, so the retry is told that it is done
/// (openmeter#5118).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mutant_that_claims_before_it_writes_is_killed() {
    let claim = around(
        ATOMIC,
        "begin
            insert into tollgate.token_deduction_records
                (id, idempotency_key, company_id, article_id, amount, requested_amount, status, balance_before,
                 balance_after, taken_purchased, created_at, completed_at)
            values (p_record_id, p_idempotency_key, p_company_id, p_article_id, p_amount, p_amount, 'completed',
                p_amount, 0, p_amount, p_now, p_now);
            begin
                perform tollgate.deduct_tokens_inner(p_idempotency_key || ':work', p_company_id, p_article_id, p_amount,
                    p_metadata, gen_random_uuid(), p_now);
            exception when check_violation then
                -- The claim outlives the failed work, as if it had been committed before.
                return '{\"success\": false}';
            end;
            return tollgate.token_answer(p_record_id, false);
        exception when unique_violation then
            return tollgate.deduct_tokens_inner(p_idempotency_key, p_company_id, p_article_id, p_amount, p_metadata,
                p_record_id, p_now);
        end;",
    );
    let error = killed(&claim).await.unwrap_err();
    assert!(error.contains("a retry after a crash got"), "{error}");
}
