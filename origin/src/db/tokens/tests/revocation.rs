//! Purchases that are paid back (TB-1): what is left of the tokens goes, what a job holds stays, what comes back goes too.

use tokio::task::JoinSet;

use super::{Book, DAY_MS, Revocation, deduction};
use crate::db::tokens::BucketKind;

fn revocation(revoked: i64, held: i64) -> Revocation {
    Revocation {
        idempotent: false,
        company_id: "acme".to_owned(),
        granted: 100,
        revoked,
        held,
    }
}

/// Before, of a pack of 100 beside one of 7: deducted | reserved; revoked, held, spent; purchased left in all.
const TABLE: &str = "
      0 |   0 | 100 |   0 |   0 |   7
     30 |   0 |  70 |   0 |  30 |   7
    100 |   0 |   0 |   0 | 100 |   7
    105 |   0 |   0 |   0 | 100 |   2
      0 |  40 |  60 |  40 |   0 |  47
     30 |  40 |  30 |  40 |  30 |  47
     30 |  70 |   0 |  70 |  30 |  77
      0 | 104 |   0 | 100 |   0 | 107
";

#[tokio::test]
async fn tb_1_a_pack_that_is_paid_back_loses_what_is_neither_spent_nor_held() {
    for row in TABLE.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let cells: Vec<i64> = row.split('|').map(|cell| cell.trim().parse().unwrap()).collect();
        let book = Book::new().await;
        let pack = book.buy("acme", 100, 0).await;
        book.buy("acme", 7, 1).await;
        if cells[0] > 0 {
            book.deduct("spent", "acme", cells[0], 2).await;
        }
        if cells[1] > 0 {
            book.reserve("job", "acme", cells[1], DAY_MS, 2).await;
        }
        let first = book.revoke(&pack, 3).await.unwrap();
        assert_eq!(
            (&first, first.spent()),
            (&revocation(cells[2], cells[3]), cells[4]),
            "{row}"
        );
        let left = book.figures("acme", 3).await;
        assert_eq!(left, [0, 0, cells[5], cells[1]], "{row}");
        let again = Revocation {
            idempotent: true,
            ..first
        };
        assert_eq!(book.revoke(&pack, 4).await, Some(again), "{row}");
        assert_eq!(book.figures("acme", 4).await, left, "{row}");
        assert_eq!(book.faults().await, Vec::<String>::new(), "{row}");
    }
}

#[tokio::test]
async fn tb_1_a_running_job_keeps_what_it_was_promised_and_gives_the_rest_to_nobody() {
    let book = Book::new().await;
    let pack = book.buy("acme", 100, 0).await;
    for (number, job) in ["settled", "released", "forgotten"].into_iter().enumerate() {
        let until = if number == 2 { DAY_MS } else { 3 * DAY_MS };
        book.reserve(job, "acme", 30, until, 1).await;
    }
    assert_eq!(book.revoke(&pack, 2).await, Some(revocation(10, 90)));
    let settled = book.settle("settled", "acme", 20, 3).await.unwrap();
    assert_eq!(settled.outcome.taken.purchased, 20);
    assert_eq!(book.figures("acme", 3).await, [0, 0, 60, 60]);
    book.release("released", "acme", 4).await.unwrap();
    assert_eq!(book.figures("acme", 4).await, [0, 0, 30, 30]);
    assert_eq!(book.figures("acme", DAY_MS).await, [0, 0, 0, 0]);
    let issued =
        "select -balance from tollgate.ledger_account where kind = 'token_issued' and owner = 'company:acme'";
    assert_eq!(book.count(issued).await, 20, "what was issued is what was spent");
    let again = book.revoke(&pack, DAY_MS).await.unwrap();
    assert_eq!((again.idempotent, again.revoked, again.held), (true, 10, 0));
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn tb_1_a_compensation_gives_nothing_back_to_a_pack_that_was_paid_back() {
    let book = Book::new().await;
    // Expired shares come back as gifts for a day; a share that was paid back does not.
    book.plan("acme", 0, 0, 1, 0).await;
    let gift = Some(DAY_MS);
    book.give("acme", BucketKind::Promotional, 5, 100, gift, 0).await;
    let pack = book.buy("acme", 100, 0).await;
    book.buy("acme", 50, 1).await;
    book.deduct("k", "acme", 125, 2).await;
    let first = book.revoke(&pack, 3).await.unwrap();
    assert_eq!((first.revoked, first.spent()), (0, 100));
    book.compensate("k", "acme", 2 * DAY_MS).await.unwrap();
    assert_eq!(book.figures("acme", 2 * DAY_MS).await, [0, 5, 50, 0]);
    let repeated = book.compensate("k", "acme", 2 * DAY_MS).await.unwrap();
    assert!(repeated.outcome.idempotent);
    assert_eq!(book.figures("acme", 2 * DAY_MS).await, [0, 5, 50, 0]);
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn tb_1_only_what_was_bought_is_taken_back() {
    let book = Book::new().await;
    let gift = book
        .give("acme", BucketKind::Promotional, 5, 100, Some(DAY_MS), 0)
        .await;
    for key in [gift.as_str(), "never-granted"] {
        assert_eq!(book.revoke(key, 1).await, None, "{key}");
    }
    assert_eq!(book.figures("acme", 1).await, [0, 5, 0, 0]);
    assert_eq!(book.faults().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tb_1_spending_and_paying_back_at_once_never_moves_a_token_twice() {
    let book = std::sync::Arc::new(Book::new().await);
    let pack = book.buy("acme", 100, 0).await;
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let (book, pack) = (std::sync::Arc::clone(&book), pack.clone());
        tasks.spawn(async move {
            match task {
                3 | 6 => {
                    book.revoke(&pack, 1).await;
                }
                4 => {
                    let asked: Vec<_> = (0..4).map(|n| deduction(&format!("b{n}"), "acme", 5)).collect();
                    book.batch(&asked, 1).await;
                }
                _ => {
                    book.deduct(&format!("k{task}"), "acme", 15, 1).await;
                }
            }
        });
    }
    tasks.join_all().await;
    let last = book.revoke(&pack, 2).await.unwrap();
    let used =
        "select coalesce(sum(balance), 0)::bigint from tollgate.ledger_account where kind = 'token_used'";
    assert_eq!(last.spent(), book.count(used).await);
    assert_eq!(book.figures("acme", 2).await, [0, 0, 0, 0]);
    assert_eq!(book.faults().await, Vec::<String>::new());
}
