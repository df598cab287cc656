//! The client against a server that answers from a list.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollgate_shared::secret::Secret;

use super::retry::delay;
use super::{Ask, ClientError, Settings, ask_with};
use crate::domain::tokens::TokenAmount;

type Got = Arc<Mutex<Vec<(String, Value)>>>;

#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<VecDeque<u16>>>,
    /// The attempt header and the body of each call.
    got: Got,
}

async fn answer(State(server): State<Server>, headers: HeaderMap, body: String) -> Response {
    let attempt = headers["tollgate-attempt"].to_str().unwrap().to_owned();
    let body = serde_json::from_str(&body).unwrap();
    server.got.lock().unwrap().push((attempt, body));
    let status = server.answers.lock().unwrap().pop_front().unwrap();
    let problem = json!({ "type": "urn:tollgate:problem:told", "detail": "why", "success": status == 200 });
    (StatusCode::from_u16(status).unwrap(), problem.to_string()).into_response()
}

/// What the call came to, the pauses, and what the server got.
async fn run(answers: &[u16]) -> (Result<Value, ClientError>, Vec<Duration>, Vec<(String, Value)>) {
    let server = Server::default();
    server.answers.lock().unwrap().extend(answers);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings {
        url: format!("http://{}/", listener.local_addr().unwrap())
            .parse()
            .unwrap(),
        service_key: Secret::new("tgk_x".into()),
    };
    let router = Router::new().fallback(answer).with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let pauses = Mutex::new(Vec::new());
    let asked = Ask::Deduct {
        key: "build-17".parse().unwrap(),
        company: "acme".parse().unwrap(),
        article: "a-1".parse().unwrap(),
        amount: TokenAmount::new(30).unwrap(),
    };
    let result = ask_with(&settings, &asked, |delay| {
        pauses.lock().unwrap().push(delay);
        ready(())
    });
    let result = result.await;
    let got = server.got.lock().unwrap().clone();
    (result, pauses.into_inner().unwrap(), got)
}

#[test]
fn tb_6_delays_double_from_a_second_up_to_ten() {
    let seconds = [1, 2, 3, 4, 5, 60].map(|failures| delay(failures).as_secs());
    assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
}

#[tokio::test]
async fn tb_6_failures_in_passing_are_tried_three_times_under_one_key() {
    let seconds = |pauses: &[Duration]| pauses.iter().map(Duration::as_secs).collect::<Vec<_>>();
    let (result, pauses, got) = run(&[503, 500, 200]).await;
    assert_eq!(result.unwrap()["success"], true);
    assert_eq!(seconds(&pauses), [1, 2]);
    let attempts: Vec<&str> = got.iter().map(|(attempt, _)| attempt.as_str()).collect();
    assert_eq!(attempts, ["1", "2", "3"]);
    assert!(
        got.iter().all(|(_, body)| body["idempotency_key"] == "build-17"),
        "{got:?}"
    );

    let (result, pauses, got) = run(&[503, 503, 503]).await;
    assert!(
        matches!(result, Err(ClientError::GaveUp { tries: 3, .. })),
        "{result:?}"
    );
    assert_eq!(
        (seconds(&pauses), got.len()),
        (vec![1, 2], 3),
        "no pause after the last"
    );
}

#[tokio::test]
async fn tb_6_insufficient_balance_and_deduction_in_progress_are_not_tried_again() {
    for refused in [402, 409, 400, 401, 403, 404, 422] {
        let (result, pauses, got) = run(&[refused]).await;
        match result {
            Err(ClientError::Refused {
                status,
                problem,
                detail,
            }) => {
                assert_eq!(
                    (status, problem.as_str(), detail.as_str()),
                    (refused, "told", "why")
                );
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((pauses.len(), got.len()), (0, 1), "{refused}");
    }
}

#[tokio::test]
async fn tb_6_a_server_that_is_not_there_is_a_failure_in_passing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings {
        url: format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap(),
        service_key: Secret::new("tgk_x".into()),
    };
    drop(listener);
    let asked = Ask::Failed {
        job: uuid::Uuid::nil(),
        reason: "no".into(),
    };
    let result = ask_with(&settings, &asked, |_| ready(())).await;
    assert!(
        matches!(result, Err(ClientError::GaveUp { tries: 3, .. })),
        "{result:?}"
    );
}

#[test]
fn settings_name_every_fault_and_no_value() {
    let faults = Settings::from_lookup(&|name| (name == "TOLLGATE_URL").then(|| "secret-host".to_owned()));
    let faults: Vec<String> = faults.err().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "TOLLGATE_URL: must be an absolute http(s) URL",
            "TOLLGATE_SERVICE_KEY: is not set"
        ]
    );
}
