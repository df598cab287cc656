//! A running origin with its own database, and a test that plays the edge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_postgres::Client;
use tollgate_shared::envelope::Envelope;
use tollgate_shared::handoff::{self, HandoffKey};
use tollgate_shared::money::{Minor, Money};
use tollgate_shared::provider::Unverified;
use tollgate_shared::secret::Secret;
use tollgate_shared::time::{ECPAY_FORMAT, Timestamp};

use super::notices::{ECPAY, Notice, PAYUNI};
use crate::Origin;
use crate::clock::{Clock as _, TestClock};
use crate::config::Config;
use crate::db::fault::Fault;
use crate::db::{Database, Tx, look, plans};
use crate::domain::plan::{FirstCharge, PeriodDate, PeriodUnit, Plan, PlanKind, Schedule};
use crate::domain::tokens::TokenAmount;
use crate::gateway::user_core;
use crate::testing::TestDatabase;
use crate::work::outbox::Lane;
use crate::work::{self, Round};
use crate::{entropy, http};

/// The hop's key.
pub(crate) const KEY: &str = "a-key-of-the-hop-for-tests-only-0001";
/// A delivery id, where the test does not care.
pub(crate) const DELIVERY: &str = "01997c5e-0000-7000-8000-000000000001";

/// The settings of a test: both real providers, ECPay by default.
pub(crate) fn settings() -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = [
        ("PAYMENT_PROVIDER", "ecpay"),
        ("ECPAY_MERCHANT_ID", ECPAY[0]),
        ("ECPAY_HASH_KEY", ECPAY[1]),
        ("ECPAY_HASH_IV", ECPAY[2]),
        ("ECPAY_BASE_URL", "http://127.0.0.1:1/ecpay"),
        ("PAYUNI_MERCHANT_ID", PAYUNI[0]),
        ("PAYUNI_HASH_KEY", PAYUNI[1]),
        ("PAYUNI_HASH_IV", PAYUNI[2]),
        ("PAYUNI_BASE_URL", "http://127.0.0.1:1/payuni"),
        ("HANDOFF_KEY_ID", "k1"),
        ("HANDOFF_KEY", KEY),
        ("PUBLIC_EDGE_URL", "https://pay.example.tw"),
        ("APP_RETURN_URL", "https://app.example.tw/paid"),
        ("DATABASE_URL", "postgres://127.0.0.1/unused"),
        ("LISTEN_ADDR", "127.0.0.1:0"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    settings.insert("USER_CORE_WEBHOOK_URL".into(), String::new());
    settings
}

/// The configuration of settings; every fault if there is one.
pub(crate) fn config(settings: &BTreeMap<String, String>) -> Config {
    Config::from_lookup(&|name| settings.get(name).cloned()).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// The wall clock of Taiwan.
pub(crate) fn taipei(text: &str) -> Timestamp {
    Timestamp::from_taipei(ECPAY_FORMAT, text).unwrap()
}

/// A running origin.
pub(crate) struct Stage {
    pub(crate) origin: Arc<Origin>,
    pub(crate) clock: TestClock,
    pub(crate) admin: Client,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) base: String,
    client: reqwest::Client,
    _stop: oneshot::Sender<()>,
    test_database: TestDatabase,
}

/// An answer: status, headers, body as JSON.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The last part of a problem's type.
    pub(crate) fn problem(&self) -> &str {
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{self:?}"
        );
        assert_eq!(self.body["status"], self.status, "{self:?}");
        self.body["type"].as_str().unwrap().rsplit(':').next().unwrap()
    }
}

/// What a test may change of a signed call.
#[derive(Debug, Clone)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) body: Vec<u8>,
}

impl Stage {
    /// Both providers, the usual plans, 2026-11-21 10:00 in Taiwan.
    pub(crate) async fn start() -> Self {
        Self::start_with(settings()).await
    }

    /// The same with other settings.
    pub(crate) async fn start_with(settings: BTreeMap<String, String>) -> Self {
        Self::start_of(settings, |origin, _| origin).await
    }

    /// The same where the origin's clock is moved over the hop; `clock` is the machine's then, and the edge's.
    pub(crate) async fn start_movable(settings: BTreeMap<String, String>) -> Self {
        let movable =
            |origin: Origin, clock: &TestClock| origin.with_test_clock(Arc::new(TestClock::at(clock.now())));
        Self::start_of(settings, movable).await
    }

    async fn start_of(
        settings: BTreeMap<String, String>,
        change: impl FnOnce(Origin, &TestClock) -> Origin,
    ) -> Self {
        let test_database = TestDatabase::create().await;
        let mut settings = settings;
        settings.insert("DATABASE_URL".into(), test_database.url());
        let stage = Self::on_changed(test_database, settings, change).await;
        for plan in usual_plans() {
            let (plan, now) = (&plan, stage.clock.now());
            stage
                .origin
                .database
                .run_tx("plan", |tx: Tx| async move { plans::put(&tx, plan, now).await })
                .await
                .unwrap();
        }
        stage
    }

    /// On a given database, without plans.
    pub(crate) async fn on(test_database: TestDatabase, settings: BTreeMap<String, String>) -> Self {
        Self::on_changed(test_database, settings, |origin, _| origin).await
    }

    async fn on_changed(
        test_database: TestDatabase,
        settings: BTreeMap<String, String>,
        change: impl FnOnce(Origin, &TestClock) -> Origin,
    ) -> Self {
        let clock = TestClock::at(taipei("2026/11/21 10:00:00"));
        let database = test_database.database_of(6);
        let origin = Origin::with_parts(config(&settings), database, Arc::new(clock.clone()));
        let origin = Arc::new(change(origin, &clock));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = http::serve(Arc::clone(&origin), listener, async {
            stopped.await.ok();
        });
        tokio::spawn(serving);
        let admin = test_database.admin().await;
        Self {
            origin,
            clock,
            admin,
            settings,
            base,
            client: reqwest::Client::new(),
            _stop: stop,
            test_database,
        }
    }

    /// The same service, whose database fails at one step.
    pub(crate) fn failing(&self, fault: Arc<Fault>) -> Origin {
        let database: Database = self.origin.database.failing(fault);
        Origin::with_parts(config(&self.settings), database, Arc::new(self.clock.clone()))
    }

    /// The superuser's URL of the database.
    pub(crate) fn database_url(&self) -> String {
        self.test_database.url()
    }

    /// Sends a call as the edge signs it.
    pub(crate) async fn call(&self, call: Call<'_>) -> Answer {
        let key = HandoffKey {
            id: "k1".into(),
            secret: Secret::new(KEY.into()),
        };
        let timestamp = self.clock.now().unix_seconds().to_string();
        let signature = handoff::sign(
            &key,
            &handoff::Request {
                method: call.method,
                path_and_query: call.path,
                timestamp: &timestamp,
                delivery: DELIVERY,
                subject: call.subject,
                body: &call.body,
            },
        );
        let mut headers = vec![
            (handoff::KEY_ID_HEADER, "k1"),
            (handoff::TIMESTAMP_HEADER, &timestamp),
            (handoff::DELIVERY_HEADER, DELIVERY),
            (handoff::SUBJECT_HEADER, call.subject),
            (handoff::SIGNATURE_HEADER, &signature),
        ];
        headers.extend(call.headers.iter().copied());
        self.send(call.method, call.path, &headers, call.body).await
    }

    /// Sends a call as it is.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request = self
            .client
            .request(method.parse().unwrap(), format!("{}{path}", self.base))
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap();
        Answer {
            status,
            headers,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }

    /// What the edge makes of a notice.
    pub(crate) fn envelope(&self, notice: &Notice) -> Envelope {
        let (source, received_at) = (notice.source.parse().unwrap(), self.clock.now());
        let unverified = Unverified {
            notice: notice.name,
            headers: &[],
            body: &notice.body,
            received_at,
        };
        let event = self.origin.config.sources.read(&source, &unverified).unwrap();
        Envelope {
            source,
            notice: notice.name.to_owned(),
            key: event.key.to_string(),
            received_at,
            headers: Vec::new(),
            raw: notice.body.clone(),
        }
    }

    /// Forwards a notice.
    pub(crate) async fn forward(&self, notice: &Notice) -> Answer {
        self.post_event(self.envelope(notice).to_json()).await
    }

    /// Forwards a notice that must be accepted and applied.
    pub(crate) async fn apply(&self, notice: &Notice) {
        let answer = self.forward(notice).await;
        assert_eq!(
            (answer.status, &answer.body["applied"]),
            (200, &json!(true)),
            "{answer:?}"
        );
    }

    /// Posts a body to the events route.
    pub(crate) async fn post_event(&self, body: Vec<u8>) -> Answer {
        let headers = vec![("content-type", "application/json")];
        self.call(Call {
            method: "POST",
            path: "/internal/v1/events",
            subject: "",
            headers,
            body,
        })
        .await
    }

    /// Asks for a checkout.
    pub(crate) async fn checkout(&self, user: &str, key: &str, mut body: Value) -> Answer {
        if let Some(members) = body.as_object_mut() {
            members.insert("idempotencyKey".into(), json!(key));
        }
        self.call(Call {
            method: "POST",
            path: "/internal/v1/payments/checkout",
            subject: user,
            headers: vec![("content-type", "application/json")],
            body: body.to_string().into_bytes(),
        })
        .await
    }

    /// A new payment of a plan: (payment id, order number).
    pub(crate) async fn buy(&self, user: &str, body: Value) -> (String, String) {
        let key = hex::encode(entropy::random::<16>().unwrap());
        let answer = self.checkout(user, &key, body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
        (text("paymentId"), text("orderNumber"))
    }

    /// What the status route tells the user.
    pub(crate) async fn status(&self, user: &str, payment: &str) -> Answer {
        let path = format!("/internal/v1/payments/{payment}/status");
        self.call(Call {
            method: "GET",
            path: &path,
            subject: user,
            headers: Vec::new(),
            body: Vec::new(),
        })
        .await
    }

    /// The user's row.
    pub(crate) async fn user(&self, user: &str) -> Value {
        look::row(&self.admin, "users", "id", user).await
    }

    /// The payment's row.
    pub(crate) async fn payment(&self, id: &str) -> Value {
        look::row(&self.admin, "payments", "id", id).await
    }

    /// Rows by table and state.
    pub(crate) async fn tally(&self) -> BTreeMap<String, i64> {
        look::tally(&self.admin).await
    }

    /// How many of a kind of row there are.
    pub(crate) async fn count(&self, kind: &str) -> i64 {
        self.tally().await.get(kind).copied().unwrap_or_default()
    }

    /// Runs the loops' rounds until nothing is due.
    pub(crate) async fn drain(&self) {
        let client = user_core::Client::new().unwrap();
        for _ in 0..10_000 {
            let rounds = [
                work::inbox::round(&self.origin).await.unwrap(),
                work::outbox::round(&self.origin, &client, Lane::Calls)
                    .await
                    .unwrap(),
                work::outbox::round(&self.origin, &client, Lane::Events)
                    .await
                    .unwrap(),
                work::outbox::round(&self.origin, &client, Lane::Mail)
                    .await
                    .unwrap(),
                work::outbox::round(&self.origin, &client, Lane::Providers)
                    .await
                    .unwrap(),
                work::timeouts::round(&self.origin).await.unwrap(),
                work::subscriptions::round(&self.origin).await.unwrap(),
            ];
            if rounds == [Round::Idle; 7] {
                return;
            }
        }
        panic!("the queues never end");
    }

    /// Moves the clock, then works.
    pub(crate) async fn after(&self, duration: Duration) {
        self.clock.advance(duration);
        self.drain().await;
    }
}

/// pro-month: NT$300 for 30 days; basic-month; pro-monthly: NT$300 every month, 12 times; forever; pack: 1,000 tokens;
/// later: as pro-monthly, but NT$99 on a chosen day and then on every 28th.
fn usual_plans() -> [Plan; 6] {
    let plan = |id: &str, kind| Plan {
        id: id.parse().unwrap(),
        name: format!("Plan {id}"),
        price: Money::twd(300),
        kind,
        limits: BTreeMap::new(),
    };
    let one_time = |subscription_type: &str, duration_days| PlanKind::OneTime {
        subscription_type: Some(subscription_type.to_owned()),
        duration_days,
    };
    let schedule = Schedule {
        unit: PeriodUnit::Month,
        frequency: 1,
        times: 12,
        first_charge: FirstCharge::Build,
        period_date: None,
        first_amount: None,
    };
    let monthly = |schedule| PlanKind::Subscription {
        subscription_type: "pro".to_owned(),
        schedule,
    };
    let later = Schedule {
        first_charge: FirstCharge::Date,
        period_date: Some(PeriodDate::DayOfMonth(28)),
        first_amount: Some(Minor::new(99)),
        ..schedule
    };
    [
        plan("pro-month", one_time("pro", Some(30))),
        plan("basic-month", one_time("basic", Some(30))),
        plan("pro-monthly", monthly(schedule)),
        plan("later", monthly(later)),
        plan("forever", one_time("patron", None)),
        plan("pack", PlanKind::TokenPack(TokenAmount::new(1_000).unwrap())),
    ]
}
