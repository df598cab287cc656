//! The model-based property: random histories of many companies at once, each beside its model, step by step.

use std::collections::BTreeSet;

use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::task::JoinSet;

use super::model::{Model, State};
use super::{Book, DAY_MS, company, deduction};
use crate::db::sqlstate::TokenRefusal;
use crate::db::tokens::{BucketKind, TokenPlan};

const CASES: u32 = 6;
const COMPANIES: usize = 8;

#[derive(Debug, Clone)]
enum Step {
    Grant(BucketKind, i64, i16, i64),
    Deduct(i64),
    Batch(Vec<i64>),
    Reserve(i64, i64),
    /// The n-th reservation so far, and the share of it in quarters.
    Settle(usize, i64),
    Release(usize),
    /// The n-th key so far.
    Compensate(usize),
    /// A repeat of the n-th plain deduction.
    Repeat(usize),
    /// The n-th purchase so far is paid back.
    Revoke(usize),
    Advance(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        1 => Just(BucketKind::Monthly),
        1 => Just(BucketKind::Promotional),
        2 => Just(BucketKind::Purchased)
    ];
    let ttl = prop_oneof![Just(50_i64), 1_i64..400];
    let priority = prop_oneof![Just(100_i16), Just(50), Just(200)];
    prop_oneof![
        3 => (kind, 1_i64..200, priority, ttl.clone()).prop_map(|(kind, amount, rank, ttl)| Step::Grant(kind, amount, rank, ttl)),
        4 => (1_i64..120).prop_map(Step::Deduct),
        2 => proptest::collection::vec(1_i64..80, 1..8).prop_map(Step::Batch),
        3 => (1_i64..120, ttl).prop_map(|(amount, ttl)| Step::Reserve(amount, ttl)),
        3 => (0_usize..8, 1_i64..5).prop_map(|(which, quarters)| Step::Settle(which, quarters)),
        1 => (0_usize..8).prop_map(Step::Release),
        2 => (0_usize..16).prop_map(Step::Compensate),
        1 => (0_usize..16).prop_map(Step::Repeat),
        2 => (0_usize..4).prop_map(Step::Revoke),
        3 => (1_i64..150).prop_map(Step::Advance),
    ]
}

/// One company's history on the server and in the model.
struct Run {
    of: String,
    now: i64,
    model: Model,
    /// Plain deductions: key and amount.
    deducted: Vec<(String, i64)>,
    /// Reservations: key and amount.
    reserved: Vec<(String, i64)>,
    /// Purchases.
    bought: Vec<Purchase>,
    number: usize,
}

/// A purchased bucket, on the server and in the model.
struct Purchase {
    key: String,
    bucket: usize,
    amount: i64,
    /// What its revocation took back, once there was one.
    revoked: Option<i64>,
}

impl Run {
    fn key(&mut self) -> String {
        self.number += 1;
        format!("{}-{}", self.of, self.number)
    }

    async fn step(&mut self, book: &Book, step: &Step) {
        // A millisecond a step keeps "oldest" unambiguous.
        self.now += 1;
        self.model.advance(self.now);
        match step {
            Step::Grant(kind, amount, priority, ttl) => {
                let until = (*kind != BucketKind::Purchased).then_some(self.now + ttl);
                let key = book
                    .give(&self.of, *kind, *amount, *priority, until, self.now)
                    .await;
                let bucket = self.model.grant(*kind, *amount, *priority, until, self.now);
                if *kind == BucketKind::Purchased {
                    self.bought.push(Purchase {
                        key,
                        bucket,
                        amount: *amount,
                        revoked: None,
                    });
                }
            }
            Step::Deduct(amount) => self.batch(book, &[*amount], true).await,
            Step::Batch(amounts) => self.batch(book, amounts, false).await,
            Step::Reserve(amount, ttl) => self.reserve(book, *amount, *ttl).await,
            Step::Settle(which, quarters) => self.settle(book, *which, *quarters).await,
            Step::Release(which) => self.release(book, *which).await,
            Step::Compensate(which) => self.compensate(book, *which).await,
            Step::Repeat(which) => self.repeat(book, *which).await,
            Step::Revoke(which) => self.revoke(book, *which).await,
            Step::Advance(by) => {
                self.now += by;
                self.model.advance(self.now);
            }
        }
        let figures = book.figures(&self.of, self.now).await;
        assert_eq!(figures, self.model.figures(), "{} after {step:?}", self.of);
        let held: i64 = figures[..3].iter().sum();
        assert_eq!(
            self.model.granted,
            held + self.model.spent + self.model.expired + self.model.revoked,
            "conservation in the model"
        );
    }

    async fn batch(&mut self, book: &Book, amounts: &[i64], singly: bool) {
        let keys: Vec<String> = amounts.iter().map(|_| self.key()).collect();
        let asked: Vec<_> = keys
            .iter()
            .zip(amounts)
            .map(|(key, amount)| deduction(key, &self.of, *amount))
            .collect();
        let outcomes = if singly {
            vec![book.deduct(&keys[0], &self.of, amounts[0], self.now).await]
        } else {
            book.batch(&asked, self.now).await
        };
        for ((key, amount), outcome) in keys.iter().zip(amounts).zip(outcomes) {
            let [monthly, promotional, purchased, reserved] = self.model.figures();
            let before = monthly + promotional + purchased - reserved;
            let taken = self.model.deduct(key, *amount);
            assert_eq!(outcome.success.then_some(outcome.taken), taken, "{key}");
            assert_eq!(outcome.balance_before, Some(before), "{key}");
            assert_eq!(
                outcome.balance_after,
                Some(if taken.is_some() { before - amount } else { before }),
                "{key}"
            );
            self.deducted.push((key.clone(), *amount));
        }
    }

    async fn reserve(&mut self, book: &Book, amount: i64, ttl: i64) {
        let key = self.key();
        let record = book
            .reserve(&key, &self.of, amount, self.now + ttl, self.now)
            .await;
        assert_eq!(
            record.outcome.success,
            self.model.reserve(&key, amount, self.now + ttl),
            "{key}"
        );
        self.reserved.push((key, amount));
    }

    async fn settle(&mut self, book: &Book, which: usize, quarters: i64) {
        let Some((key, reserved)) = self.reserved.get(which).cloned() else {
            return;
        };
        let amount = (reserved * quarters / 4).max(1);
        let state = self.model.state(&key);
        let settled = book.settle(&key, &self.of, amount, self.now).await;
        match (state, settled) {
            (State::Held | State::Pending, Ok(record)) => {
                let taken = self.model.settle(&key, amount, self.now);
                assert_eq!(
                    record.outcome.success.then_some(record.outcome.taken),
                    taken,
                    "{key}"
                );
            }
            (State::Done | State::Compensated, Ok(record)) => {
                assert!(record.outcome.idempotent && record.amount == amount, "{key}");
            }
            (State::Done | State::Compensated, Err(error)) => {
                assert_eq!(error.refusal(), Some(TokenRefusal::IdempotencyKeyReused), "{key}");
            }
            // Refused late: the same again, or the amount that differs. Refused or released before: nothing to settle.
            (State::Failed, Ok(record)) => {
                let again = record.outcome.idempotent && record.amount == amount;
                let refusal = record.outcome.refusal;
                assert!(
                    again && refusal == Some(TokenRefusal::InsufficientBalance),
                    "{key}"
                );
            }
            (State::Failed, Err(error)) => {
                let refusals = [TokenRefusal::NotReserved, TokenRefusal::IdempotencyKeyReused];
                assert!(refusals.map(Some).contains(&error.refusal()), "{key} {error}");
            }
            (state, settled) => panic!("{key} {state:?} {settled:?}"),
        }
    }

    async fn release(&mut self, book: &Book, which: usize) {
        let Some((key, _)) = self.reserved.get(which).cloned() else {
            return;
        };
        let released = book.release(&key, &self.of, self.now).await;
        let is_now = released.is_ok_and(|record| !record.outcome.idempotent);
        assert_eq!(is_now, self.model.release(&key, self.now), "{key}");
    }

    async fn compensate(&mut self, book: &Book, which: usize) {
        let mut keys = self.deducted.iter().chain(&self.reserved);
        let Some((key, _)) = keys.nth(which).cloned() else {
            return;
        };
        let compensated = book.compensate(&key, &self.of, self.now).await;
        let is_now = compensated.is_ok_and(|record| !record.outcome.idempotent);
        assert_eq!(is_now, self.model.compensate(&key, self.now), "{key}");
    }

    async fn repeat(&mut self, book: &Book, which: usize) {
        let Some((key, amount)) = self.deducted.get(which).cloned() else {
            return;
        };
        let outcome = book.deduct(&key, &self.of, amount, self.now).await;
        assert!(outcome.idempotent, "{key}");
        assert_eq!(outcome.success, self.model.state(&key) != State::Failed, "{key}");
    }

    async fn revoke(&mut self, book: &Book, which: usize) {
        let Some(purchase) = self.bought.get_mut(which) else {
            return;
        };
        let revocation = book.revoke(&purchase.key, self.now).await.unwrap();
        let (back, held) = self.model.revoke(purchase.bucket);
        let first = *purchase.revoked.get_or_insert(back);
        assert_eq!(
            (revocation.granted, revocation.revoked, revocation.held),
            (purchase.amount, first, held),
            "{}",
            purchase.key
        );
        assert!(
            back == first || (revocation.idempotent && back == 0),
            "{}",
            purchase.key
        );
    }
}

/// A history a company, all at once over eight connections.
async fn compare(histories: Vec<Vec<Step>>) {
    let book = std::sync::Arc::new(Book::new().await);
    let mut runs = JoinSet::new();
    for (number, history) in histories.into_iter().enumerate() {
        let book = std::sync::Arc::clone(&book);
        runs.spawn(async move {
            let of = format!("c{number}");
            // Every other company gets an expired share back for a day.
            let days = i32::try_from(number % 2).unwrap();
            let plan = &TokenPlan {
                plan: None,
                monthly_quota: 0,
                rollover_max: 0,
                expired_share_days: days,
                period_anchor: None,
            };
            let id = &company(&of);
            let set = |tx| async move { crate::db::tokens::set_plan(&tx, id, plan, super::at(0)).await };
            book.db.run_tx("test", set).await.unwrap();
            let model = Model::new(i64::from(days) * DAY_MS);
            let mut run = Run {
                of,
                now: 0,
                model,
                deducted: Vec::new(),
                reserved: Vec::new(),
                bought: Vec::new(),
                number: 0,
            };
            for step in &history {
                run.step(&book, step).await;
            }
            history
                .iter()
                .map(std::mem::discriminant)
                .collect::<Vec<_>>()
                .len()
        });
    }
    runs.join_all().await;
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[test]
fn tb_1_tb_3_random_histories_agree_with_the_model() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[3; 32]);
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 40,
        ..Config::default()
    };
    let histories = proptest::collection::vec(proptest::collection::vec(step(), 10..60), COMPANIES);
    let seen = std::cell::RefCell::new(BTreeSet::new());
    TestRunner::new_with_rng(config, rng)
        .run(&histories, |histories| {
            let names = histories
                .iter()
                .flatten()
                .map(|step| format!("{step:?}").split('(').next().unwrap().to_owned());
            seen.borrow_mut().extend(names);
            runtime.block_on(compare(histories));
            Ok(())
        })
        .unwrap();
    assert_eq!(
        seen.borrow().len(),
        10,
        "every kind of step was tried: {:?}",
        seen.borrow()
    );
}

/// Everybody on one company: no model can say who comes first, but the invariants hold whoever does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_company_from_many_connections_keeps_its_books() {
    let book = std::sync::Arc::new(Book::new().await);
    book.plan("acme", 500, 100, 1, 0).await;
    book.buy("acme", 2000, 0).await;
    let mut tasks = JoinSet::new();
    for task in 0..8_i64 {
        let book = std::sync::Arc::clone(&book);
        tasks.spawn(async move {
            for turn in 0..12_i64 {
                take_turn(&book, task, turn).await;
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(book.faults().await, Vec::<String>::new());
    let now = 1 + 12 * 4 * DAY_MS;
    let [monthly, promotional, purchased, _] = book.figures("acme", now).await;
    let moved = "select -sum(amount)::bigint from tollgate.ledger_entry \
        where account_kind in ('token_issued', 'token_used', 'token_expired')";
    let kept = monthly + promotional + purchased;
    assert_eq!(
        book.count(moved).await,
        kept,
        "conservation: issued less used less expired is what is there"
    );
}

/// Four days pass a turn, so that periods, gifts and reservations end under way.
async fn take_turn(book: &Book, task: i64, turn: i64) {
    let (now, key) = (1 + turn * 4 * DAY_MS, format!("t{task}-{turn}"));
    match (task + turn) % 4 {
        0 => {
            let request = |n: i64| deduction(&format!("{key}-{n}"), "acme", 7 + n);
            book.batch(&(0..5).map(request).collect::<Vec<_>>(), now).await;
        }
        1 => {
            book.reserve(&key, "acme", 40, now + 3 * DAY_MS, now).await;
            // Refused where balance or time has run out by then; the invariants are what counts.
            if turn % 2 == 0 {
                drop(book.settle(&key, "acme", 25, now + 1).await);
            }
        }
        2 => {
            book.deduct(&key, "acme", 30, now).await;
            drop(book.compensate(&key, "acme", now + turn * DAY_MS).await);
        }
        _ => {
            let until = Some(now + 60 * DAY_MS);
            book.give("acme", BucketKind::Promotional, 20 + task, 50, until, now + task)
                .await;
        }
    }
}
