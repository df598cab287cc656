//! The typed call: what `apply` sees of a posting, a replay and a refusal.

use tollgate_shared::id::DeliveryId;
use tollgate_shared::money::{Minor, Money};
use tollgate_shared::time::Timestamp;
use uuid::Uuid;

use super::{faults, occasion};
use crate::db::Tx;
use crate::db::ledger::{EntryRow, LedgerError, Occasion, entries_of, post};
use crate::db::sqlstate::Refusal;
use crate::ledger::{Owner, Posting, PostingError, Unit};
use crate::testing::TestDatabase;

fn charge(
    build: impl Fn(
        &tollgate_shared::id::UserId,
        &tollgate_shared::id::SourceId,
        &tollgate_shared::id::ProviderPaymentId,
    ) -> Result<Posting, PostingError>,
) -> Posting {
    build(
        &"u-1".parse().unwrap(),
        &"ecpay".parse().unwrap(),
        &"2411210000123".parse().unwrap(),
    )
    .unwrap()
}

fn settle(amount_minor: i64) -> Posting {
    charge(|user, provider, id| Posting::settle(user, provider, "3002607", id, Money::twd(amount_minor)))
}

fn refund(amount_minor: i64) -> Posting {
    charge(|user, provider, id| Posting::refund(user, provider, "3002607", id, Money::twd(amount_minor)))
}

fn line(entry: &EntryRow) -> String {
    let EntryRow {
        operation_key,
        account_kind,
        unit,
        amount,
        balance_after,
        account_version,
        ..
    } = entry;
    format!("{operation_key} {account_kind} {unit} {amount} {balance_after} {account_version}")
}

#[tokio::test]
async fn a_settled_charge_is_two_entries_that_carry_the_delivery_and_a_refund_reverses_them() {
    let test = TestDatabase::create().await;
    let database = test.database();
    let delivery = DeliveryId::from_uuid(Uuid::from_u128(7));
    let paid_at = Timestamp::from_unix_ms(1_759_999_999_001);
    let first = Occasion {
        occurred_at: paid_at,
        delivery: Some(delivery),
        ..occasion()
    };
    let both = &[settle(300), refund(300)];
    let book = |tx: Tx| async move {
        for posting in both {
            assert!(!post(&tx, posting, first).await?.replayed);
        }
        let keys: Vec<String> = both
            .iter()
            .map(|posting| posting.operation_key().to_owned())
            .collect();
        Ok::<_, LedgerError>(entries_of(&tx, &keys).await?)
    };
    let entries = database.run_tx("settle_and_refund", book).await.unwrap();
    let mut lines: Vec<String> = entries.iter().map(line).collect();
    lines.sort_unstable();
    let expected = [
        "refund:ecpay:3002607:2411210000123 provider_clearing:ecpay TWD -300 0 2",
        "refund:ecpay:3002607:2411210000123 sales TWD 300 0 2",
        "settle:ecpay:3002607:2411210000123 provider_clearing:ecpay TWD 300 300 1",
        "settle:ecpay:3002607:2411210000123 sales TWD -300 -300 1",
    ];
    assert_eq!(lines, expected);
    for entry in &entries {
        assert_eq!(
            (entry.owner.as_str(), entry.delivery_id),
            ("user:u-1", Some(delivery.as_uuid()))
        );
        assert_eq!(
            (entry.occurred_at, entry.recorded_at),
            (paid_at, first.recorded_at)
        );
    }
    assert_eq!(faults(&database).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_replay_tomorrow_by_another_delivery_is_the_same_transaction() {
    let test = TestDatabase::create().await;
    let database = test.database();
    let posting = &settle(300);
    let late = Timestamp::from_unix_ms(1_760_086_400_000);
    let delivery = Some(DeliveryId::from_uuid(Uuid::from_u128(8)));
    let later = Occasion {
        occurred_at: late,
        recorded_at: late,
        delivery,
    };
    let first = database
        .run_tx(
            "post",
            |tx: Tx| async move { post(&tx, posting, occasion()).await },
        )
        .await
        .unwrap();
    let again = database
        .run_tx("post", |tx: Tx| async move { post(&tx, posting, later).await })
        .await
        .unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(
        (again.transaction_id, again.recorded_at),
        (first.transaction_id, first.recorded_at)
    );
    assert_eq!(again.accounts, first.accounts);
}

#[tokio::test]
async fn a_refusal_is_a_value_that_names_the_field() {
    let test = TestDatabase::create().await;
    let database = test.database();
    let [first, other] = &[settle(300), settle(301)];
    database
        .run_tx("post", |tx: Tx| async move { post(&tx, first, occasion()).await })
        .await
        .unwrap();
    let refused = database
        .run_tx("post", |tx: Tx| async move { post(&tx, other, occasion()).await })
        .await;
    match refused {
        Err(LedgerError::Refused { refusal, field, .. }) => {
            assert_eq!(
                (refusal, field.as_deref()),
                (Refusal::OperationKeyReused, Some("amounts"))
            );
        }
        other => panic!("{other:?}"),
    }
}

/// Rust and SQL must sort accounts alike: `:` and `_` stand on different sides of letters in many collations.
#[tokio::test]
async fn accounts_sort_in_rust_as_in_the_database() {
    let test = TestDatabase::create().await;
    let one = Minor::new(1);
    let entries = [
        ("sales", Unit::Twd, Minor::new(-4)),
        ("sales_tax", Unit::Twd, one),
        ("sales:a", Unit::Twd, one),
        ("sales:a-b", Unit::Twd, one),
        ("sales:0", Unit::Twd, one),
        ("sales:0", Unit::Token, one),
        ("a", Unit::Token, Minor::new(-1)),
    ];
    let owner = Owner::user(&"u-1".parse().unwrap());
    let posting = &Posting::new(owner, "sorted".to_owned(), "move", &entries).unwrap();
    let database = test.database();
    for replayed in [false, true] {
        let posted = database
            .run_tx(
                "post",
                |tx: Tx| async move { post(&tx, posting, occasion()).await },
            )
            .await;
        let posted = posted.unwrap();
        let balances: Vec<Minor> = posted.accounts.iter().map(|after| after.balance).collect();
        let amounts: Vec<Minor> = posting.entries().map(|(_, _, amount)| amount).collect();
        assert_eq!((posted.replayed, balances), (replayed, amounts));
    }
}
