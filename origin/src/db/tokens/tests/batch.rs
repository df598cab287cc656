//! `deduct_tokens_batch` is a sequence of single calls: property over random batches, in two databases side by side.

use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{Book, DAY_MS, Deduction, at, deduction};
use crate::db::tokens::{self, BucketKind, Outcome};

const CASES: u32 = 10;

/// Few keys and companies, so that batches hold duplicates, repeats, reused keys and companies that run short.
fn batches() -> impl Strategy<Value = Vec<Vec<(u8, u8, i64)>>> {
    let amount = prop_oneof![Just(10_i64), 1_i64..40, Just(500)];
    let request = (0_u8..40, 0_u8..4, amount).prop_map(|(key, company, amount)| {
        // Mostly the same parameters for a key, sometimes others.
        if amount == 10 {
            (key, key % 4, 10)
        } else {
            (key, company, amount)
        }
    });
    proptest::collection::vec(proptest::collection::vec(request, 1..30), 1..4)
}

async fn book() -> Book {
    let book = Book::new().await;
    // c3 never had tokens.
    for (number, of) in ["c0", "c1", "c2"].into_iter().enumerate() {
        let number = i64::try_from(number).unwrap();
        book.give(of, BucketKind::Monthly, 60, 100, Some(DAY_MS), number)
            .await;
        book.give(of, BucketKind::Promotional, 15 + number, 50, Some(20), 3 + number)
            .await;
        book.buy(of, 80, 6 + number).await;
    }
    book
}

fn requests(case: u32, batch: &[(u8, u8, i64)]) -> Vec<Deduction> {
    let request =
        |(key, of, amount): &(u8, u8, i64)| deduction(&format!("{case}-k{key}"), &format!("c{of}"), *amount);
    batch.iter().map(request).collect()
}

/// Ids differ between two databases, nothing else may.
fn without_ids(outcomes: Vec<Outcome>) -> Vec<Outcome> {
    outcomes
        .into_iter()
        .map(|outcome| Outcome {
            record_id: None,
            ..outcome
        })
        .collect()
}

async fn compare(case: u32, batches: &[Vec<(u8, u8, i64)>]) {
    let (together, one_by_one) = (book().await, book().await);
    for (number, batch) in batches.iter().enumerate() {
        // The promotional buckets expire between the first batch and the second.
        let now = 19 + i64::try_from(number).unwrap();
        let batch = &requests(case, batch);
        let at_once = without_ids(together.batch(batch, now).await);
        let mut singly = Vec::new();
        for deduction in batch {
            let run = |tx| async move { tokens::deduct(&tx, deduction, at(now)).await };
            singly.push(one_by_one.db.run_tx("single", run).await.unwrap());
        }
        assert_eq!(at_once, without_ids(singly), "{batches:?}");
        for of in ["c0", "c1", "c2"] {
            assert_eq!(
                together.figures(of, now).await,
                one_by_one.figures(of, now).await,
                "{of} {batches:?}"
            );
        }
    }
    assert_eq!(together.faults().await, Vec::<String>::new(), "{batches:?}");
}

#[test]
fn tb_3_a_batch_is_a_sequence_of_single_deductions() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 64,
        ..Config::default()
    };
    let case = std::cell::Cell::new(0);
    TestRunner::new_with_rng(config, rng)
        .run(&batches(), |batches| {
            case.set(case.get() + 1);
            runtime.block_on(compare(case.get(), &batches));
            Ok(())
        })
        .unwrap();
    assert!(case.get() >= CASES);
}

#[tokio::test]
async fn an_empty_batch_is_empty_and_one_that_is_too_large_is_refused() {
    let book = Book::new().await;
    assert_eq!(book.batch(&[], 1).await, []);
    let many: Vec<Deduction> = (0..=tokens::BATCH_MAX)
        .map(|number| deduction(&format!("k{number}"), "c", 1))
        .collect();
    let many = &many;
    let run = book.db.run_tx("test", |tx| async move {
        tokens::deduct_batch(&tx, many, at(1)).await
    });
    assert_eq!(
        run.await.unwrap_err().refusal(),
        Some(crate::db::sqlstate::TokenRefusal::InvalidRequest)
    );
}
