//! Natural batching: many callers, one commit; callers that go away; queues that are full; servers that break.
//!
//! A test holds the company's row in a transaction of its own, so that the batch in flight stays in flight for as long as
//! the test likes, and looks at the queues meanwhile. Nothing sleeps but the poll of a condition, which has an end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use super::{Answer, Service, deduction};
use crate::batching::BatchFailure;
use crate::clock::Clock as _;
use crate::db::tokens::Deduction;

const POLLS_MAX: u32 = 3_000;
const POLL: Duration = Duration::from_millis(10);

/// Locks a company's row until the guard's `commit`.
async fn hold(service: &Service, company: &str) {
    let lock = format!(
        "begin; select 1 from tollgate.company_subscriptions where company_id = '{company}' for update"
    );
    service.stage.admin.batch_execute(&lock).await.unwrap();
}

async fn let_go(service: &Service) {
    service.stage.admin.batch_execute("rollback").await.unwrap();
}

/// Until the database has this many transactions of the service that wait for a lock.
async fn until_blocked(service: &Service, blocked: i64) {
    let count = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    for _ in 0..POLLS_MAX {
        if service.count(count).await == blocked {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
    panic!("{blocked} transactions never waited");
}

async fn until_waiting(service: &Service, waiting: usize) {
    for _ in 0..POLLS_MAX {
        if service.stage.origin.batcher().unwrap().waiting() == waiting {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
    panic!("{waiting} deductions never waited");
}

fn spawn(calls: &mut JoinSet<Answer>, service: &Arc<Service>, key: String, amount: i64) {
    let service = Arc::clone(service);
    calls.spawn(async move { service.deduct(&key, "acme", amount).await });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tb_11_one_key_from_64_connections_is_one_charge() {
    for batching in ["on", "off"] {
        let service = Arc::new(Service::start_with(&[("TOKEN_BATCHING", batching)]).await);
        service.buy("acme", 1_000).await;
        let mut calls = JoinSet::new();
        for _ in 0..64 {
            spawn(&mut calls, &service, "job-1".to_owned(), 7);
        }
        let (mut first, mut repeats) = (0, 0);
        for answer in calls.join_all().await {
            match (answer.status, &answer.body["idempotent"]) {
                (200, idempotent) if idempotent == &json!(false) => first += 1,
                (200, _) => repeats += 1,
                _ => assert_eq!(
                    (answer.status, answer.problem()),
                    (409, "deduction-in-progress"),
                    "{answer:?}"
                ),
            }
        }
        assert_eq!(first, 1, "with batching {batching}, {repeats} repeats");
        if batching == "on" {
            assert_eq!(repeats, 63, "twins wait in one queue and are replayed");
        }
        assert_eq!(service.available("acme").await, 993);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_during_a_batch_is_the_next_batch() {
    let service = Arc::new(Service::start().await);
    service.buy("acme", 1_000).await;
    hold(&service, "acme").await;
    let mut calls = JoinSet::new();
    spawn(&mut calls, &service, "first".to_owned(), 1);
    until_blocked(&service, 1).await;
    for number in 0..40 {
        spawn(&mut calls, &service, format!("next-{number}"), 1);
    }
    until_waiting(&service, 40).await;
    let_go(&service).await;
    for answer in calls.join_all().await {
        assert_eq!(
            (answer.status, &answer.body["idempotent"]),
            (200, &json!(false)),
            "{answer:?}"
        );
    }
    let transactions = "select count(distinct xmin::text) from tollgate.token_deduction_records";
    assert_eq!(service.count(transactions).await, 2);
    assert_eq!(service.available("acme").await, 959);
}

#[tokio::test]
async fn a_single_caller_is_a_batch_of_one_at_once() {
    let service = Service::start().await;
    service.buy("acme", 10).await;
    for number in 0..5 {
        assert_eq!(
            service.deduct(&format!("job-{number}"), "acme", 1).await.status,
            200
        );
    }
    let transactions = "select count(distinct xmin::text) from tollgate.token_deduction_records";
    assert_eq!(service.count(transactions).await, 5);
}

/// Alone in its queue it is a single call, which would answer `deduction-in-progress` at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tb_2_a_twin_that_is_under_way_in_another_process_is_waited_for_and_replayed() {
    let service = Arc::new(Service::start().await);
    service.buy("acme", 1_000).await;
    let twin = format!(
        "begin; select tollgate.deduct_tokens_atomic('job-1', 'acme', 'article-1', 7, null, gen_random_uuid(), '{}')",
        service.stage.clock.now()
    );
    service.stage.admin.batch_execute(&twin).await.unwrap();
    let mut calls = JoinSet::new();
    spawn(&mut calls, &service, "job-1".to_owned(), 7);
    until_blocked(&service, 1).await;
    service.stage.admin.batch_execute("commit").await.unwrap();
    let answer = &calls.join_all().await[0];
    assert_eq!(
        (answer.status, &answer.body["idempotent"]),
        (200, &json!(true)),
        "{answer:?}"
    );
    assert_eq!(service.available("acme").await, 993);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_neither_loses_nor_doubles_its_deduction() {
    let service = Arc::new(Service::start().await);
    service.buy("acme", 1_000).await;
    hold(&service, "acme").await;
    // One hangs up while its batch is in flight, one while it is still queued.
    let in_flight = send_and_keep(&service, "in-flight").await;
    until_blocked(&service, 1).await;
    let queued = send_and_keep(&service, "queued").await;
    until_waiting(&service, 1).await;
    drop((in_flight, queued));
    let_go(&service).await;
    for key in ["in-flight", "queued"] {
        let answer = service.deduct(key, "acme", 10).await;
        assert_eq!(
            (answer.status, &answer.body["idempotent"]),
            (200, &json!(true)),
            "{key} {answer:?}"
        );
    }
    assert_eq!(service.available("acme").await, 980);
}

/// Sends a whole call over a connection of its own, and reads nothing.
async fn send_and_keep(service: &Service, key: &str) -> tokio::net::TcpStream {
    let body = deduction(key, "acme", 10).to_string();
    let call = format!(
        "POST /api/service/v1/tokens/deduct HTTP/1.1\r\nhost: origin\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        service.key,
        body.len()
    );
    let address = service.stage.base.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(call.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_before_anything_is_recorded() {
    let service = Arc::new(Service::start_with(&[("TOKEN_QUEUE_MAX", "2")]).await);
    service.buy("acme", 1_000).await;
    hold(&service, "acme").await;
    let mut calls = JoinSet::new();
    spawn(&mut calls, &service, "in-flight".to_owned(), 1);
    until_blocked(&service, 1).await;
    for number in 0..2 {
        spawn(&mut calls, &service, format!("queued-{number}"), 1);
    }
    until_waiting(&service, 2).await;
    let refused = service.deduct("one-too-many", "acme", 1).await;
    assert_eq!((refused.status, refused.problem()), (503, "overloaded"));
    assert_eq!(refused.headers["retry-after"], "1");
    let_go(&service).await;
    for answer in calls.join_all().await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let later = service.deduct("one-too-many", "acme", 1).await;
    assert_eq!((later.status, &later.body["idempotent"]), (200, &json!(false)));
    assert_eq!(service.available("acme").await, 996);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_connection_breaks_is_run_again() {
    let service = Arc::new(Service::start().await);
    service.buy("acme", 1_000).await;
    hold(&service, "acme").await;
    let mut calls = JoinSet::new();
    spawn(&mut calls, &service, "job-1".to_owned(), 1);
    until_blocked(&service, 1).await;
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    assert_eq!(service.count(end).await, 1);
    until_blocked(&service, 0).await;
    let_go(&service).await;
    for answer in calls.join_all().await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(service.available("acme").await, 999);
}

/// What the routes refuse could still come from inside; it must not take its neighbours along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deduction_that_the_server_cannot_take_fails_alone() {
    let service = Arc::new(Service::start().await);
    service.buy("acme", 1_000).await;
    hold(&service, "acme").await;
    let mut calls = JoinSet::new();
    spawn(&mut calls, &service, "in-flight".to_owned(), 1);
    until_blocked(&service, 1).await;
    let poison = Deduction {
        key: "poison".parse().unwrap(),
        company: "acme".parse().unwrap(),
        article: "a".parse().unwrap(),
        amount: crate::db::tokens::TokenAmount::new(1).unwrap(),
        metadata: Some(json!({ "a": "\u{0}" })),
    };
    let origin = Arc::clone(&service.stage.origin);
    let poisoned = tokio::spawn(async move { origin.batcher().unwrap().deduct(poison).await });
    for number in 0..3 {
        spawn(&mut calls, &service, format!("neighbour-{number}"), 1);
    }
    until_waiting(&service, 4).await;
    let_go(&service).await;
    assert_eq!(poisoned.await.unwrap(), Err(BatchFailure::Internal));
    for answer in calls.join_all().await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(service.available("acme").await, 996);
}

/// The same of books that the ledger refuses to move: here an expiry falls due that would leave 64 bits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_whose_books_are_refused_fails_alone() {
    let service = Arc::new(Service::start().await);
    service.buy("full", 1_000).await;
    let expires_at = service.stage.clock.now().plus(Duration::from_mins(1)).to_string();
    let grant = json!({ "idempotency_key": "g", "company_id": "full", "kind": "promotional", "amount": 9, "expires_at": expires_at });
    assert_eq!(service.post("grant", grant).await.status, 200);
    let break_books =
        "update tollgate.ledger_account set balance = 9223372036854775807 where kind = 'token_expired'";
    service.stage.admin.batch_execute(break_books).await.unwrap();
    for number in 0..16 {
        service.buy(&format!("neighbour-{number}"), 10).await;
    }
    service.stage.clock.advance(Duration::from_secs(61));

    hold(&service, "full").await;
    let in_flight = {
        let service = Arc::clone(&service);
        tokio::spawn(async move { service.deduct("in-flight", "full", 1).await })
    };
    until_blocked(&service, 1).await;
    let mut calls = Vec::new();
    for company in (0..16)
        .map(|number| format!("neighbour-{number}"))
        .chain(["full".to_owned()])
    {
        let service = Arc::clone(&service);
        let key = format!("of-{company}");
        calls.push((
            company.clone(),
            tokio::spawn(async move { service.deduct(&key, &company, 1).await }),
        ));
    }
    // Those of other shards are answered meanwhile; those of this one wait, and make up one batch.
    for _ in 0..POLLS_MAX {
        let answered = calls.iter().filter(|(_, call)| call.is_finished()).count();
        if answered + service.stage.origin.batcher().unwrap().waiting() == calls.len() {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let waiting = service.stage.origin.batcher().unwrap().waiting();
    assert!(waiting > 1, "no neighbour waits: {waiting}");
    let_go(&service).await;
    assert_eq!(in_flight.await.unwrap().status, 500);
    for (company, call) in calls {
        let expected = if company == "full" { 500 } else { 200 };
        assert_eq!(call.await.unwrap().status, expected, "{company}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tb_2_without_batching_a_key_in_flight_is_in_progress() {
    let service = Arc::new(Service::start_with(&[("TOKEN_BATCHING", "off")]).await);
    assert!(service.stage.origin.batcher().is_none());
    service.buy("acme", 1_000).await;
    hold(&service, "acme").await;
    let mut calls = JoinSet::new();
    spawn(&mut calls, &service, "job-1".to_owned(), 1);
    until_blocked(&service, 1).await;
    let twin = service.deduct("job-1", "acme", 1).await;
    assert_eq!((twin.status, twin.problem()), (409, "deduction-in-progress"));
    assert_eq!(twin.body["result"]["error_code"], "DeductionInProgress");
    let_go(&service).await;
    assert_eq!(calls.join_all().await[0].body["idempotent"], false);
    assert_eq!(service.deduct("job-1", "acme", 1).await.body["idempotent"], true);
    assert_eq!(service.available("acme").await, 999);
}
