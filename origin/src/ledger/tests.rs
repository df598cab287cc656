//! The pair of `ledger_post`: what is no transaction is refused before it is sent, and what is one has one fingerprint.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "small numbers of tests; an overflow would panic"
)]

use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use tollgate_shared::money::{Minor, Money};

use super::{AMOUNT_MAX, ENTRIES_MAX, Owner, Posting, PostingError, Unit};

fn posting(kind: &'static str, entries: &[(&str, Unit, i64)]) -> Result<Posting, PostingError> {
    let owner = Owner::user(&"u-1".parse().unwrap());
    let entries: Vec<_> = entries
        .iter()
        .map(|(account, unit, amount)| (*account, *unit, Minor::new(*amount)))
        .collect();
    Posting::new(owner, "key".to_owned(), kind, &entries)
}

#[test]
fn refusals_come_in_the_order_of_their_sqlstates() {
    let beyond = i64::try_from(AMOUNT_MAX).unwrap() + 1;
    let too_many = vec![("a", Unit::Twd, 0); ENTRIES_MAX + 1];
    for (entries, expected) in [
        (vec![], "Empty"),
        (too_many, "TooManyEntries"),
        (vec![("a", Unit::Twd, 0), ("a", Unit::Twd, 1)], "AmountOutOfRange"),
        (
            vec![("a", Unit::Twd, beyond), ("b", Unit::Twd, -beyond)],
            "AmountOutOfRange",
        ),
        (
            vec![("a", Unit::Twd, i64::MIN), ("b", Unit::Twd, 1)],
            "AmountOutOfRange",
        ),
        (vec![("a", Unit::Twd, 1), ("a", Unit::Twd, 1)], "AccountTwice"),
        (vec![("a", Unit::Twd, 1), ("b", Unit::Twd, -2)], "Unbalanced"),
        (vec![("a", Unit::Twd, 1), ("b", Unit::Token, -1)], "Unbalanced"),
    ] {
        let error = posting("move", &entries).unwrap_err();
        assert!(
            format!("{error:?}").starts_with(expected),
            "{entries:?}: {error:?}"
        );
    }
}

#[test]
fn a_charge_is_owed_by_the_provider_and_a_refund_reverses_it() {
    let (user, provider) = ("u-1".parse().unwrap(), "payuni".parse().unwrap());
    let charge = "U123".parse().unwrap();
    let settle = Posting::settle(&user, &provider, "M1", &charge, Money::twd(300)).unwrap();
    let refund = Posting::refund(&user, &provider, "M1", &charge, Money::twd(300)).unwrap();
    let entries = |posting: &Posting| {
        posting
            .entries()
            .map(|(a, u, m)| format!("{a} {u} {m}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        entries(&settle),
        ["provider_clearing:payuni TWD 300", "sales TWD -300"]
    );
    assert_eq!(
        entries(&refund),
        ["provider_clearing:payuni TWD -300", "sales TWD 300"]
    );
    assert_eq!(
        (settle.operation_key(), refund.operation_key()),
        ("settle:payuni:M1:U123", "refund:payuni:M1:U123")
    );
    assert_eq!(settle.owner().as_str(), "user:u-1");
    assert!(Posting::settle(&user, &provider, "M1", &charge, Money::twd(0)).is_err());
}

/// Computed by `sha256sum` over the canonical bytes; if this changes, every stored fingerprint has become another.
#[test]
fn the_fingerprint_is_pinned() {
    let pinned = posting(
        "settle",
        &[
            ("sales", Unit::Twd, -300),
            ("provider_clearing:ecpay", Unit::Twd, 300),
        ],
    )
    .unwrap();
    let expected = "edcc54128c4e3a674a67e75e2d9ba002e2a366bb5826495bfd25579cf934b150";
    assert_eq!(hex::encode(pinned.fingerprint()), expected);
}

fn balanced() -> impl Strategy<Value = Vec<(String, i64)>> {
    proptest::collection::btree_map("[a-z_]{1,6}", 1_i64..1_000_000, 1..8).prop_map(|accounts| {
        let sum: i64 = accounts.values().sum();
        let mut entries: Vec<_> = accounts.into_iter().collect();
        entries.push(("0other".to_owned(), -sum));
        entries
    })
}

proptest! {
    #[test]
    fn the_order_of_entries_does_not_matter_and_every_field_does(entries in balanced(), at in any::<proptest::sample::Index>()) {
        let borrowed: Vec<_> = entries.iter().map(|(account, amount)| (account.as_str(), Unit::Twd, *amount)).collect();
        let reversed: Vec<_> = borrowed.iter().rev().copied().collect();
        let first = posting("move", &borrowed).unwrap();
        prop_assert_eq!(first.fingerprint(), posting("move", &reversed).unwrap().fingerprint());
        prop_assert!(first.entries().is_sorted_by_key(|(account, unit, _)| (account.to_owned(), unit)));

        let doubled: Vec<_> = borrowed.iter().map(|(account, unit, amount)| (*account, *unit, amount * 2)).collect();
        let tokens: Vec<_> = borrowed.iter().map(|(account, _, amount)| (*account, Unit::Token, *amount)).collect();
        let mut renamed = borrowed.clone();
        renamed[at.index(borrowed.len())].0 = "renamed";
        for (kind, others) in [("other", &borrowed), ("move", &doubled), ("move", &tokens), ("move", &renamed)] {
            prop_assert!(first.fingerprint() != posting(kind, others).unwrap().fingerprint());
        }
    }

    #[test]
    fn one_unit_more_or_less_is_refused(entries in balanced(), at in any::<proptest::sample::Index>()) {
        let mut borrowed: Vec<_> = entries.iter().map(|(account, amount)| (account.as_str(), Unit::Twd, *amount)).collect();
        borrowed[at.index(entries.len())].2 += 1;
        prop_assert!(posting("move", &borrowed).is_err());
    }
}
