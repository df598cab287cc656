//! The service API over real HTTP and a real Postgres: keys, every route, bad input, batching.
//!
//! A test is a team's backend: it holds a service key and calls as a stranger's program would.

mod bad_input;
mod batching;
mod keys;
mod preferences;
mod routes;
mod subscriptions;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::stage::{Answer, Stage, settings};
use crate::clock::Clock as _;
use crate::service_keys::{Scope, manage};
use crate::testing::TestDatabase;

/// A running origin and a backend with every scope.
pub(super) struct Service {
    pub(super) stage: Stage,
    pub(super) key: String,
}

impl Service {
    pub(super) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(super) async fn start_with(changes: &[(&str, &str)]) -> Self {
        let mut settings: BTreeMap<String, String> = settings();
        settings.extend(
            changes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let stage = Stage::on(TestDatabase::create().await, settings).await;
        let key = make_key(&stage, "backend", Scope::ALL).await;
        Self { stage, key }
    }

    /// Posts a body with the backend's key.
    pub(super) async fn post(&self, route: &str, body: Value) -> Answer {
        self.post_text(route, &[], body.to_string()).await
    }

    /// Posts a text with more headers.
    pub(super) async fn post_text(&self, route: &str, more: &[(&str, &str)], body: String) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let mut headers = vec![
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        headers.extend(more);
        let path = format!("/api/service/v1/tokens/{route}");
        self.stage.send("POST", &path, &headers, body.into_bytes()).await
    }

    pub(super) async fn get(&self, route: &str) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let path = format!("/api/service/v1/tokens/{route}");
        self.stage
            .send("GET", &path, &[("authorization", &bearer)], Vec::new())
            .await
    }

    /// Purchased tokens for a company.
    pub(super) async fn buy(&self, company: &str, amount: i64) {
        let key = format!("buy-{company}-{amount}");
        let body =
            json!({ "company_id": company, "kind": "purchased", "amount": amount, "idempotency_key": key });
        let answer = self.post("grant", body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    pub(super) async fn deduct(&self, key: &str, company: &str, amount: i64) -> Answer {
        self.post("deduct", deduction(key, company, amount)).await
    }

    /// What can be spent.
    pub(super) async fn available(&self, company: &str) -> i64 {
        let answer = self.get(&format!("balance?company_id={company}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["available"].as_i64().unwrap()
    }

    pub(super) async fn count(&self, sql: &str) -> i64 {
        self.stage.admin.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Rows of the token tables and their ledger, to see that nothing was written.
    pub(super) async fn written(&self) -> i64 {
        self.count(
            "select (select count(*) from tollgate.company_subscriptions) + (select count(*) from tollgate.token_buckets)
                + (select count(*) from tollgate.token_deduction_records) + (select count(*) from tollgate.ledger_entry)",
        )
        .await
    }
}

pub(super) fn deduction(key: &str, company: &str, amount: i64) -> Value {
    json!({ "idempotency_key": key, "company_id": company, "article_id": "article-1", "amount": amount })
}

pub(super) async fn make_key(stage: &Stage, caller: &str, scopes: &[Scope]) -> String {
    let made = manage::create_on(&stage.origin.database, caller, scopes, stage.clock.now()).await;
    made.unwrap().1
}
