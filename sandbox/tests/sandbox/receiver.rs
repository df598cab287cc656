//! A tiny merchant's server: answers what it is told and keeps what it got.
//!
//! sandbox → **`Receiver`** → the test.
//!
//! Invariant: a delivery is kept before it is answered, so a test that saw the answer finds the delivery.
//! Not here: checking MACs (`stage`). Failure: a test that waits longer than the deadline says how many came.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A delivery as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Got {
    /// The decoded fields of a form body.
    pub(crate) fn fields(&self) -> BTreeMap<String, String> {
        form_urlencoded::parse(self.body.as_bytes())
            .into_owned()
            .collect()
    }

    pub(crate) fn field(&self, name: &str) -> String {
        self.fields()
            .get(name)
            .cloned()
            .unwrap_or_else(|| panic!("no {name} in {}", self.body))
    }
}

#[derive(Clone)]
struct Inside {
    got: Arc<Mutex<Vec<Got>>>,
    answers: Arc<Mutex<VecDeque<Response>>>,
    default: (StatusCode, &'static str),
    silent: Arc<AtomicBool>,
    count: watch::Sender<usize>,
}

pub(crate) struct Receiver {
    inside: Inside,
    pub(crate) base_url: String,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Answers `default` unless told otherwise.
    pub(crate) async fn start(default: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let inside = Inside {
            got: Arc::default(),
            answers: Arc::default(),
            default: (StatusCode::OK, default),
            silent: Arc::default(),
            count: watch::Sender::new(0),
        };
        let router = Router::new().fallback(receive).with_state(inside.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            inside,
            base_url,
            serving,
        }
    }

    /// The next answers, in order; then the default again.
    pub(crate) fn answer_next(&self, answers: impl IntoIterator<Item = (u16, &'static str)>) {
        let mut queue = self.inside.answers.lock().unwrap();
        queue.extend(
            answers
                .into_iter()
                .map(|(status, body)| (StatusCode::from_u16(status).unwrap(), body).into_response()),
        );
    }

    /// From now on deliveries are kept and never answered.
    pub(crate) fn fall_silent(&self) {
        self.inside.silent.store(true, Ordering::SeqCst);
    }

    /// The next answer is a redirect.
    pub(crate) fn redirect_next(&self, to: &str) {
        let answer = (StatusCode::TEMPORARY_REDIRECT, [("location", to)], "1|OK").into_response();
        self.inside.answers.lock().unwrap().push_back(answer);
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.inside.got.lock().unwrap().clone()
    }

    /// Waits until so many deliveries have come.
    pub(crate) async fn wait(&self, count: usize) -> Vec<Got> {
        let mut arrived = self.inside.count.subscribe();
        let waiting = tokio::time::timeout(Duration::from_secs(20), arrived.wait_for(|have| *have >= count));
        assert!(
            waiting.await.is_ok(),
            "waited for {count} deliveries, got {:#?}",
            self.got()
        );
        self.got()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(State(inside): State<Inside>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let got = Got {
        path: uri.path().to_owned(),
        headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let count = {
        let mut all = inside.got.lock().unwrap();
        all.push(got);
        all.len()
    };
    inside.count.send_replace(count);
    if inside.silent.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    let next = inside.answers.lock().unwrap().pop_front();
    next.unwrap_or_else(|| inside.default.into_response())
}
