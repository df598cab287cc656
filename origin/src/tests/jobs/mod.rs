//! Metered jobs over real HTTP and a real Postgres: asked for, triggered, reported, reconciled, counted.
//!
//! A test is the edge (signed calls of a user), the team's backend (generator and lookup, whose signatures it checks)
//! and the generator's shell (service key). The clock is the test's.

mod articles;
mod books;
mod reconcile;
mod triggers;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollgate_shared::crypto;

use super::service::Service;
use super::stage::{Answer, Call};
use crate::clock::TestClock;
use crate::db::look;

const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A team's backend: takes triggers, and answers lookups as it is told.
#[derive(Clone, Default)]
pub(super) struct Backend {
    got: Arc<Mutex<Vec<(String, Value)>>>,
    /// Ids of messages, to drop repeats by.
    ids: Arc<Mutex<BTreeSet<String>>>,
    lookup: Arc<Mutex<Option<(u16, Value)>>>,
    /// What triggers are answered, if not 200.
    refusal: Arc<Mutex<Option<u16>>>,
    /// How long a lookup takes, on the test's clock.
    slow: Arc<Mutex<Option<(TestClock, Duration)>>>,
}

async fn take(State(backend): State<Backend>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers[name].to_str().unwrap();
    let signed = [
        format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes(),
        &body,
    ]
    .concat();
    let mac = crypto::hmac_sha256(&STANDARD.decode(SECRET).unwrap(), &signed);
    if header("webhook-signature") != format!("v1,{}", STANDARD.encode(mac)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let body = serde_json::from_slice(&body).unwrap();
    if let ("/generate", Some(status)) = (uri.path(), *backend.refusal.lock().unwrap()) {
        backend.got.lock().unwrap().push((uri.path().to_owned(), body));
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    let asked_before = !backend
        .ids
        .lock()
        .unwrap()
        .insert(header("webhook-id").to_owned());
    if asked_before {
        // Standard Webhooks: a repeat is taken and nothing is done.
        return StatusCode::OK.into_response();
    }
    backend.got.lock().unwrap().push((uri.path().to_owned(), body));
    if let ("/lookup", Some((clock, takes))) = (uri.path(), &*backend.slow.lock().unwrap()) {
        clock.advance(*takes);
    }
    match (uri.path(), backend.lookup.lock().unwrap().clone()) {
        ("/lookup", Some((status, answer))) => {
            (StatusCode::from_u16(status).unwrap(), answer.to_string()).into_response()
        }
        _ => StatusCode::OK.into_response(),
    }
}

impl Backend {
    async fn start() -> (Self, String) {
        let backend = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state(backend.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (backend, base)
    }

    /// What came to a path.
    pub(super) fn got(&self, path: &str) -> Vec<Value> {
        let got = self.got.lock().unwrap();
        let of_path = got.iter().filter(|(at, _)| at == path);
        of_path.map(|(_, body)| body.clone()).collect()
    }

    /// What lookups are answered from now on.
    pub(super) fn will_say(&self, status: u16, answer: Value) {
        *self.lock_lookup() = Some((status, answer));
    }

    /// What triggers are answered from now on; `None`: they are taken.
    pub(super) fn will_refuse(&self, status: Option<u16>) {
        *self.refusal.lock().unwrap() = status;
    }

    /// How long lookups take from now on.
    pub(super) fn will_take(&self, clock: &TestClock, takes: Duration) {
        *self.slow.lock().unwrap() = Some((clock.clone(), takes));
    }

    fn lock_lookup(&self) -> std::sync::MutexGuard<'_, Option<(u16, Value)>> {
        self.lookup.lock().unwrap()
    }
}

/// A running origin with a generator.
pub(super) struct Shop {
    pub(super) service: Service,
    pub(super) backend: Backend,
}

impl Shop {
    pub(super) async fn open() -> Self {
        Self::open_with(true).await
    }

    /// `asks`: whether there is somebody who knows about work.
    pub(super) async fn open_with(asks: bool) -> Self {
        let (backend, base) = Backend::start().await;
        let secret = format!("whsec_{SECRET}");
        let (generator, lookup) = (format!("{base}/generate"), format!("{base}/lookup"));
        let mut settings = vec![
            ("GENERATOR_WEBHOOK_URL", generator.as_str()),
            ("GENERATOR_WEBHOOK_SECRET", secret.as_str()),
            ("UPGRADE_URL", "https://app.example.tw/plans"),
        ];
        if asks {
            settings.extend([
                ("WORK_LOOKUP_URL", lookup.as_str()),
                ("WORK_LOOKUP_SECRET", secret.as_str()),
            ]);
        }
        let service = Service::start_with(&settings).await;
        Self { service, backend }
    }

    /// A browser of a user asks for an article.
    pub(super) async fn generate(&self, user: &str, key: &str, input: Value) -> Answer {
        let body = json!({ "idempotencyKey": key, "input": input });
        self.generate_text(user, body.to_string()).await
    }

    pub(super) async fn generate_text(&self, user: &str, body: String) -> Answer {
        let call = Call {
            method: "POST",
            path: "/internal/v1/articles/generate",
            subject: user,
            headers: vec![("content-type", "application/json")],
            body: body.into_bytes(),
        };
        self.service.stage.call(call).await
    }

    /// A job of `user-1`, begun.
    pub(super) async fn begin(&self) -> String {
        let answer = self.generate("user-1", "k-1", json!({ "title": "Oolong" })).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.body["jobId"].as_str().unwrap().to_owned()
    }

    pub(super) async fn balance(&self, user: &str) -> Answer {
        let call = Call {
            method: "GET",
            path: "/internal/v1/billing/balance",
            subject: user,
            headers: Vec::new(),
            body: Vec::new(),
        };
        self.service.stage.call(call).await
    }

    /// The generator's shell reports.
    pub(super) async fn report(&self, job: &str, body: Value) -> Answer {
        let bearer = format!("Bearer {}", self.service.key);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let path = format!("/api/service/v1/articles/{job}/report");
        self.service
            .stage
            .send("POST", &path, &headers, body.to_string().into_bytes())
            .await
    }

    pub(super) async fn job(&self, id: &str) -> Value {
        look::row(&self.service.stage.admin, "article_jobs", "id", id).await
    }

    pub(super) async fn jobs(&self) -> i64 {
        self.service
            .count("select count(*) from tollgate.article_jobs")
            .await
    }

    /// Nothing contradicts anything.
    pub(super) async fn is_sound(&self) {
        let faults = crate::commands::upkeep::faults(&self.service.stage.origin.database).await;
        assert_eq!(faults.unwrap(), Vec::<String>::new());
    }
}

pub(super) fn succeeded(tokens: i64) -> Value {
    json!({ "outcome": "succeeded", "tokens_used": tokens })
}
