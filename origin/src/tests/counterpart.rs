//! A stage whose providers are the sandbox: orders are placed there, its contracts charge, and both clocks move together.
//!
//! But for the first of a contract at PAYUNi, which alone tells the contract's number, no notice ever arrives: what is known
//! was asked for.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_sandbox::{CallLimit, Config, Merchant, Sandbox};
use tollgate_shared::form::encode;
use tollgate_shared::provider::ServerRequest;
use tollgate_shared::time::Timestamp;

use super::notices::{Notice, PAYUNI};
use super::stage::{Stage, settings, taipei};
use crate::clock::Clock as _;
use crate::db::{Tx, look};
use crate::subscriptions::{
    Asked, CancelWhen, ChangeError, SubscriptionId, View, cancel, pause, resume, view,
};
use crate::work;

pub(crate) struct Counterpart {
    pub(crate) stage: Stage,
    sandbox: Sandbox,
    http: reqwest::Client,
}

/// A subscription, and its order at the provider (`ecpay/T123`).
pub(crate) struct Bought {
    pub(crate) id: SubscriptionId,
    pub(crate) order: String,
}

impl Counterpart {
    pub(crate) async fn start() -> Self {
        let config = Config {
            payuni: vec![Merchant::new(PAYUNI[0], PAYUNI[1], PAYUNI[2])],
            resends_max: 0,
            ecpay_call_limit: CallLimit {
                calls_max: 10_000,
                ..CallLimit::default()
            },
            ..Config::default()
        };
        let sandbox = Sandbox::start(config).await.unwrap();
        let mut settings = settings();
        settings.insert("ECPAY_BASE_URL".into(), sandbox.ecpay_url());
        settings.insert("PAYUNI_BASE_URL".into(), sandbox.payuni_url());
        settings.insert("ECPAY_QUERY_SPACING_MS".into(), "0".into());
        settings.insert("PAYUNI_QUERY_SPACING_MS".into(), "0".into());
        settings.insert("PUBLIC_EDGE_URL".into(), "http://127.0.0.1:1".into());
        let stage = Stage::start_with(settings).await;
        let http = reqwest::Client::new();
        let counterpart = Self { stage, sandbox, http };
        counterpart.meet().await;
        counterpart
    }

    /// Moves both clocks to ten in the morning of the tenth of a month, whatever the machine's date is.
    async fn meet(&self) {
        let url = format!("{}/control/v1/clock", self.sandbox.base_url());
        let told: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        let theirs = Timestamp::from_unix_ms(told["unixMs"].as_i64().unwrap());
        let latest = theirs.max(self.stage.clock.now());
        let month = latest.plus(Duration::from_hours(24 * 31)).to_taipei("%Y/%m");
        let start = taipei(&format!("{}/10 10:00:00", month.unwrap()));
        self.stage.clock.advance(start.distance(self.stage.clock.now()));
        self.control("clock", json!({ "toUnixMs": start.unix_ms() }))
            .await;
    }

    pub(crate) async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/control/v1/{path}", self.sandbox.base_url());
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Posts as the merchant, past the origin: what a person does in a provider's console.
    pub(crate) async fn post(&self, request: &ServerRequest) -> Vec<u8> {
        let fields = request
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let call = self.http.post(&request.url).body(encode(fields));
        let call = call.header("content-type", "application/x-www-form-urlencoded");
        call.send().await.unwrap().bytes().await.unwrap().into()
    }

    /// What the sandbox shows of a contract.
    pub(crate) async fn contract(&self, order: &str) -> Value {
        let url = format!("{}/control/v1/contracts/{order}", self.sandbox.base_url());
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// Buys pro-monthly and pays it. At ECPay the first charge is found by asking, too.
    pub(crate) async fn subscribe(&self, provider: &str) -> Bought {
        self.bought("u1", provider, provider == "payuni").await
    }

    /// The same for a user, where not even the first notice arrives.
    pub(crate) async fn subscribe_untold(&self, user: &str, provider: &str) -> Bought {
        self.bought(user, provider, false).await
    }

    async fn bought(&self, user: &str, provider: &str, is_told: bool) -> Bought {
        let order = self.pay(user, provider, is_told).await;
        self.pass(Duration::from_mins(15)).await;
        work::payment_polls::round(&self.stage.origin).await.unwrap();
        self.stage.drain().await;
        let number = order.split('/').nth(1).unwrap();
        Bought {
            id: self.row(number).await["id"].as_str().unwrap().parse().unwrap(),
            order,
        }
    }

    async fn pay(&self, user: &str, provider: &str, is_told: bool) -> String {
        let body = json!({ "planId": "pro-monthly", "provider": provider });
        let placed = self.stage.checkout(user, "key-of-the-checkout-1", body).await;
        assert_eq!(placed.status, 201, "{placed:?}");
        let form = &placed.body["form"];
        let fields: Vec<(String, String)> = serde_json::from_value(form["fields"].clone()).unwrap();
        let page = self
            .post(&ServerRequest {
                url: form["action"].as_str().unwrap().to_owned(),
                fields,
            })
            .await;
        assert!(!page.is_empty());
        let order = format!("{provider}/{}", placed.body["orderNumber"].as_str().unwrap());
        self.control(&format!("trades/{order}/pay"), json!({ "notify": is_told }))
            .await;
        if is_told {
            self.bring_notice(order.split('/').nth(1).unwrap()).await;
        }
        self.control(&format!("contracts/{order}/notices"), json!({ "lose": true }))
            .await;
        order
    }

    /// Plays the edge for the only notice of an order at PAYUNi.
    async fn bring_notice(&self, number: &str) {
        let url = format!("{}/control/v1/notices?order={number}", self.sandbox.base_url());
        let told: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        let notice = &told["notices"][0];
        let name = notice["url"].as_str().unwrap().rsplit('/').next().unwrap();
        self.stage
            .apply(&Notice {
                source: "payuni",
                name: if name == "period" { "period" } else { "payment" },
                body: notice["body"].as_str().unwrap().as_bytes().to_vec(),
            })
            .await;
    }

    /// Lets time pass on both sides without working.
    pub(crate) async fn pass(&self, duration: Duration) {
        self.stage.clock.advance(duration);
        let now = self.stage.clock.now();
        self.control("clock", json!({ "toUnixMs": now.unix_ms() })).await;
    }

    /// Lets time pass on both sides, then works.
    pub(crate) async fn after(&self, duration: Duration) {
        self.pass(duration).await;
        self.stage.drain().await;
    }

    /// The subscription's row, by its order number.
    pub(crate) async fn row(&self, number: &str) -> Value {
        look::row(&self.stage.admin, "saas_subscriptions", "order_number", number).await
    }

    pub(crate) async fn view(&self, id: SubscriptionId) -> View {
        let (context, now) = (self.stage.origin.subscriptions(), self.stage.clock.now());
        let read = |tx: Tx| async move { view(&tx, context, id, now).await };
        self.stage
            .origin
            .database
            .run_tx("view", read)
            .await
            .unwrap()
            .unwrap()
    }

    /// Asks for something, as the user.
    pub(crate) async fn ask(&self, id: SubscriptionId, wish: Wish, key: &str) -> Result<View, ChangeError> {
        let (context, now) = (self.stage.origin.subscriptions(), self.stage.clock.now());
        let asked = &Asked {
            subscription: id,
            actor: "user",
            key,
            now,
        };
        let change = |tx: Tx| async move {
            match wish {
                Wish::Cancel(when) => cancel(&tx, context, asked, when).await,
                Wish::Pause => pause(&tx, context, asked).await,
                Wish::Resume => resume(&tx, context, asked).await,
            }
        };
        self.stage.origin.database.run_tx("wish", change).await
    }

    /// The states of the effects of a kind, in the order in which they were written.
    pub(crate) async fn effects(&self, kind: &str) -> Vec<String> {
        let sql = "select status from tollgate.outbox where kind = $1 order by created_at, id";
        let rows = self.stage.admin.query(sql, &[&kind]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Forgets that the effects of a kind were made, as a crash between call and mark does.
    pub(crate) async fn forget(&self, kind: &str) {
        let sql = "update tollgate.outbox set status = 'pending', done_at = null, next_attempt_at = created_at \
                   where kind = $1 and status = 'done'";
        assert!(self.stage.admin.execute(sql, &[&kind]).await.unwrap() > 0);
    }
}

/// What a user wishes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wish {
    Cancel(CancelWhen),
    Pause,
    Resume,
}
