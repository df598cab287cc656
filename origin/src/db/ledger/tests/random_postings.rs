//! Random postings beside a small model: sums, balances, versions and replays must agree.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tollgate_shared::id::UserId;
use tollgate_shared::money::Minor;

use super::{faults, occasion};
use crate::db::ledger::{LedgerError, Posted, open_no_negative, post};
use crate::db::sqlstate::Refusal;
use crate::db::{Database, Tx};
use crate::ledger::{Owner, Posting, Unit};
use crate::testing::TestDatabase;

const ACCOUNTS: [&str; 4] = ["clearing", "granted", "sales", "wallet"];
/// The account that must not go below zero.
const GUARDED: &str = "wallet";
const CASES: u32 = 24;

#[derive(Debug, Clone)]
struct Step {
    /// Few keys, so that many steps repeat one.
    key: u8,
    unit: Unit,
    from: usize,
    to: usize,
    amount: i64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let unit = prop_oneof![Just(Unit::Twd), Just(Unit::Token), Just(Unit::Point)];
    let amount = prop_oneof![1_i64..1000, Just(300)];
    let step = (0_u8..30, unit, 0..ACCOUNTS.len(), 1..ACCOUNTS.len(), amount).prop_map(
        |(key, unit, from, distance, amount)| Step {
            key,
            unit,
            from,
            to: (from + distance) % ACCOUNTS.len(),
            amount,
        },
    );
    // A step is followed by its own repetition now and then: chance alone would rarely replay one exactly.
    proptest::collection::vec((step, proptest::bool::weighted(0.2)), 1..30).prop_map(|steps| {
        steps
            .into_iter()
            .flat_map(|(step, twice)| std::iter::repeat_n(step, if twice { 2 } else { 1 }))
            .collect()
    })
}

/// What the books should say, in a few lines.
#[derive(Default)]
struct Model {
    accounts: BTreeMap<(&'static str, Unit), (i64, i64)>,
    done: BTreeMap<u8, (Unit, usize, usize, i64)>,
}

enum Expected {
    Posted(Vec<(i64, i64)>),
    Replayed,
    Refused(Refusal),
}

impl Model {
    fn apply(&mut self, step: &Step) -> Expected {
        let meaning = (step.unit, step.from, step.to, step.amount);
        match self.done.get(&step.key) {
            Some(first) if *first == meaning => return Expected::Replayed,
            Some(_) => return Expected::Refused(Refusal::OperationKeyReused),
            None => {}
        }
        let balance = self
            .accounts
            .get(&(ACCOUNTS[step.from], step.unit))
            .map_or(0, |(balance, _)| *balance);
        if ACCOUNTS[step.from] == GUARDED && balance < step.amount {
            return Expected::Refused(Refusal::InsufficientBalance);
        }
        self.done.insert(step.key, meaning);
        let mut moves = [
            (ACCOUNTS[step.from], -step.amount),
            (ACCOUNTS[step.to], step.amount),
        ];
        moves.sort_unstable();
        Expected::Posted(
            moves
                .map(|(account, amount)| self.book(account, step.unit, amount))
                .to_vec(),
        )
    }

    fn book(&mut self, account: &'static str, unit: Unit, amount: i64) -> (i64, i64) {
        let state = self.accounts.entry((account, unit)).or_default();
        *state = (state.0 + amount, state.1 + 1);
        *state
    }
}

async fn run_step(database: &Database, owner: &Owner, step: &Step) -> Result<Posted, LedgerError> {
    let key = format!("{}-{}", owner.as_str(), step.key);
    let (debit, credit) = (Minor::new(step.amount), Minor::new(-step.amount));
    let entries = [
        (ACCOUNTS[step.from], step.unit, credit),
        (ACCOUNTS[step.to], step.unit, debit),
    ];
    let posting = &Posting::new(owner.clone(), key, "move", &entries).unwrap();
    database
        .run_tx(
            "step",
            |tx: Tx| async move { post(&tx, posting, occasion()).await },
        )
        .await
}

/// Returns how many steps were posted, replayed and refused.
async fn agrees(database: &Database, owner: &Owner, steps: &[Step]) -> [u32; 3] {
    let mut seen = [0; 3];
    for unit in [Unit::Twd, Unit::Token, Unit::Point] {
        let now = occasion().recorded_at;
        let open = |tx: Tx| async move { open_no_negative(&tx, owner, GUARDED, unit, now).await };
        assert!(database.run_tx("open", open).await.unwrap());
    }
    let mut model = Model::default();
    for step in steps {
        let result = run_step(database, owner, step).await;
        match model.apply(step) {
            Expected::Posted(accounts) => {
                let posted = result.unwrap();
                let after: Vec<_> = posted
                    .accounts
                    .iter()
                    .map(|after| (after.balance.get(), after.version))
                    .collect();
                assert!(!posted.replayed);
                assert_eq!(after, accounts, "{step:?}");
                seen[0] += 1;
            }
            Expected::Replayed => {
                assert!(result.unwrap().replayed);
                seen[1] += 1;
            }
            Expected::Refused(refusal) => {
                assert_eq!(result.unwrap_err().refusal(), Some(refusal), "{step:?}");
                seen[2] += 1;
            }
        }
    }
    let named = |((kind, unit), state): ((&str, Unit), _)| ((kind.to_owned(), unit.code().to_owned()), state);
    let expected: BTreeMap<_, _> = model.accounts.into_iter().map(named).collect();
    assert_eq!(stored_accounts(database, owner).await, expected);
    seen
}

async fn stored_accounts(database: &Database, owner: &Owner) -> BTreeMap<(String, String), (i64, i64)> {
    let query =
        "select kind, unit, balance, version from tollgate.ledger_account where owner = $1 and version > 0";
    let rows = database
        .run_tx("accounts", |tx: Tx| async move {
            tx.query(query, &[&owner.as_str()]).await
        })
        .await;
    rows.unwrap()
        .iter()
        .map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3))))
        .collect()
}

#[test]
fn invariant_4_random_postings_agree_with_a_model_and_leave_no_fault() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let test = runtime.block_on(TestDatabase::create());
    let database = runtime.block_on(async { test.database() });
    let mut runner = TestRunner::new_with_rng(
        Config {
            cases: CASES,
            failure_persistence: None,
            max_shrink_iters: 64,
            ..Config::default()
        },
        TestRng::from_seed(RngAlgorithm::ChaCha, b"tollgate ledger random postings."),
    );
    let (cases, totals) = (Cell::new(0), Cell::new([0; 3]));
    runner
        .run(&steps(), |steps| {
            cases.set(cases.get() + 1);
            let owner = Owner::user(&format!("case-{}", cases.get()).parse::<UserId>().unwrap());
            let seen = runtime.block_on(agrees(&database, &owner, &steps));
            totals.set(std::array::from_fn(|kind| totals.get()[kind] + seen[kind]));
            Ok(())
        })
        .unwrap();
    // Every balance is the sum of its entries, versions have no gap, and every transaction balances in each unit.
    assert_eq!(runtime.block_on(faults(&database)), Vec::<String>::new());
    // The generator reached all three ends, or the agreement means little.
    assert!(
        totals.get().iter().all(|total| *total >= CASES),
        "{:?}",
        totals.get()
    );
}
