//! The whole stack for a test: Postgres, sandbox, origin and the built worker under workerd, each of which can crash.
//!
//! A story in `xtask/tests` → **`Stack::start`** → base URLs, an HTTP client, a database client, crashes.
//!
//! Invariant: every stack has a database, ports and folders of its own, so that stories run in parallel. What a
//! story kills comes back at the same address with the same disk.
//! Not here: what a part is told (`settings`) and how one buys something (`purchase`).
//! Failure: the part that did not start, with the tail of its log; logs stay in `target/xtask/stack-…`.

pub mod advance;
pub mod database;
pub mod purchase;
pub mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::build_edge::{self, BuiltWorker, Variant};
use crate::config::Config;
use crate::ports;
use crate::progress::Progress;
use crate::run::program::{self, Program, Programs, run_once};
use crate::run::workerd::{Workerd, WorkerdOptions};
use crate::setup;
use advance::{Reach, Wish};
use database::StackDatabase;
use purchase::Buyer;
use settings::{Addresses, Keys};

/// The plan that every stack sells: NT$300, once, 30 days of `pro`.
pub const PLAN: &str = "pro-month";
/// The subscription that every stack sells: NT$300 a month, twelve times, of `pro`.
pub const MONTHLY: &str = "pro-monthly";
/// A dearer subscription that every stack sells: NT$900 a month, twelve times, of `max`.
pub const MAX_MONTHLY: &str = "max-monthly";
/// The pack that every stack sells: NT$300, once, 10,000 purchased tokens.
pub const PACK: &str = "tokens-10000";

const PUT_PLAN: [&str; 14] = [
    "plan",
    "put",
    "--id",
    PLAN,
    "--name",
    "Pro, one month",
    "--amount",
    "300",
    "--kind",
    "one_time",
    "--subscription-type",
    "pro",
    "--duration-days",
    "30",
];
const PUT_PACK: [&str; 12] = [
    "plan",
    "put",
    "--id",
    PACK,
    "--name",
    "10,000 tokens",
    "--amount",
    "300",
    "--kind",
    "one_time",
    "--tokens",
    "10000",
];

const PUT_MONTHLY: [&str; 16] = [
    "plan",
    "put",
    "--id",
    MONTHLY,
    "--name",
    "Pro, every month",
    "--amount",
    "300",
    "--kind",
    "subscription",
    "--subscription-type",
    "pro",
    "--period-type",
    "month",
    "--period-times",
    "12",
];

const PUT_MAX_MONTHLY: [&str; 16] = [
    "plan",
    "put",
    "--id",
    MAX_MONTHLY,
    "--name",
    "Max, every month",
    "--amount",
    "900",
    "--kind",
    "subscription",
    "--subscription-type",
    "max",
    "--period-type",
    "month",
    "--period-times",
    "12",
];

const HTTP_LIMIT: Duration = Duration::from_secs(30);

static PARTS: OnceCell<(BuiltWorker, Programs)> = OnceCell::const_new();
static STACKS: AtomicU32 = AtomicU32::new(0);

/// What a story wants otherwise than usual.
#[derive(Debug, Clone, Default)]
pub struct StackOptions {
    /// An own server with full durability, which the story may kill; otherwise a database on the shared one.
    pub own_postgres: bool,
    /// Over the usual settings of the worker; an empty text takes a setting away.
    pub edge_settings: BTreeMap<String, String>,
    /// Over the usual settings of the origin; an empty text takes a setting away.
    pub origin_settings: BTreeMap<String, String>,
    /// Over the usual settings of the sandbox.
    pub sandbox_settings: BTreeMap<String, String>,
    /// Calls a minute and address at the worker; so many that no story meets the limit, unless it asks to.
    pub rate_limit: Option<u32>,
}

/// A running stack; everything ends when it is dropped.
#[derive(Debug)]
pub struct Stack {
    /// The worker under workerd.
    pub worker: Workerd,
    /// `tollgate serve`.
    pub origin: Program,
    /// The other side of the wire.
    pub sandbox: Program,
    /// The server, and the stack's database on it.
    pub database: StackDatabase,
    /// For requests to any of them; follows no redirects.
    pub http: reqwest::Client,
    /// The keys and secrets that this stack was told.
    pub keys: Keys,
    /// Logs of all parts.
    pub logs: PathBuf,
    programs: Programs,
}

impl Stack {
    /// Starts all parts and returns when each answers.
    pub async fn start(options: StackOptions) -> Result<Self> {
        let config = Config::from_env()?;
        let (worker, programs) = PARTS.get_or_try_init(|| build_parts(&config)).await?;
        let number = STACKS.fetch_add(1, Ordering::Relaxed);
        let logs = config.in_repo(&format!("target/xtask/stack-{}-{number}", std::process::id()));
        let database = StackDatabase::start(&config, options.own_postgres, logs.join("postgres.log")).await?;
        prepare_database(programs, database.url()).await?;
        let keys = Keys::random()?;
        let addresses = Addresses {
            edge: ports::free()?,
            origin: ports::free()?,
            sandbox: ports::free()?,
        };
        let sandbox_settings = merged(settings::sandbox(addresses, &keys), &options.sandbox_settings);
        let sandbox = Program::start(
            "sandbox",
            &programs.sandbox,
            &[],
            sandbox_settings,
            logs.join("sandbox.log"),
        )
        .await?;
        let origin_settings = merged(
            settings::origin(addresses, &keys, database.url()),
            &options.origin_settings,
        );
        let origin = Program::start(
            "origin",
            &programs.origin,
            &["serve"],
            origin_settings,
            logs.join("origin.log"),
        )
        .await?;
        let worker = Workerd::start(
            &config,
            &WorkerdOptions {
                worker: worker.clone(),
                origin: Some(origin.address().to_owned()),
                settings: merged(settings::edge(addresses, &keys), &options.edge_settings),
                rate_limit: Some(options.rate_limit.unwrap_or(1_000_000)),
                port: Some(addresses.edge),
                log: logs.join("worker.log"),
            },
        )
        .await?;
        Ok(Self {
            worker,
            origin,
            sandbox,
            database,
            http: http_client()?,
            keys,
            logs,
            programs: programs.clone(),
        })
    }

    /// Signs a customer in, ready to buy.
    pub async fn buyer(&self, subject: &str) -> Result<Buyer> {
        Buyer::sign_in(
            &self.http,
            &self.worker.base_url(),
            &self.sandbox.base_url(),
            subject,
        )
        .await
    }

    /// Moves business time ahead, here and at the sandbox, and returns when nothing that fell due is left to do; what the
    /// origin says: `{"now", "steps", "ran"}`.
    pub async fn advance(&self, span: Duration) -> Result<Value> {
        let reach = Reach::new(self.origin.base_url(), &self.keys);
        reach.advance(&Wish::By(span)).await
    }

    /// A key of the service API that may do everything.
    pub async fn service_key(&self, caller: &str) -> Result<String> {
        service_key(&self.programs.origin, self.database.url(), caller).await
    }

    /// Runs a command of `tollgate` on the stack's database and gives what it printed.
    pub async fn tollgate(&self, arguments: &[&str]) -> Result<String> {
        let url = self.database.url().to_owned();
        let settings = BTreeMap::from([("DATABASE_URL".to_owned(), url)]);
        run_once(&self.programs.origin, arguments, &settings).await
    }

    /// The ledger's entries of a payment; an error unless they are there and balance.
    pub async fn balanced_entries(&self, payment_id: &str) -> Result<Vec<Value>> {
        purchase::balanced_entries(&self.programs, self.database.url(), payment_id).await
    }

    /// Ends all parts, the last first, and drops the database.
    pub async fn stop(mut self) -> Result<()> {
        self.worker.stop().await?;
        self.origin.stop().await?;
        self.sandbox.stop().await?;
        self.database.stop().await
    }
}

/// A client that gives up in the end and shows redirects instead of following them.
pub fn http_client() -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .timeout(HTTP_LIMIT)
        .redirect(reqwest::redirect::Policy::none());
    builder.build().context("build an HTTP client")
}

/// Brings a database to the newest version.
pub async fn migrate(origin: &Path, url: &str) -> Result<()> {
    let settings = BTreeMap::from([("DATABASE_URL".to_owned(), url.to_owned())]);
    run_once(origin, &["migrate"], &settings).await.map(drop)
}

/// Migrates a database and puts what everything here sells into it.
pub async fn prepare_database(programs: &Programs, url: &str) -> Result<()> {
    let settings = BTreeMap::from([("DATABASE_URL".to_owned(), url.to_owned())]);
    migrate(&programs.origin, url).await?;
    run_once(&programs.origin, &PUT_PLAN, &settings).await?;
    run_once(&programs.origin, &PUT_MONTHLY, &settings).await?;
    run_once(&programs.origin, &PUT_MAX_MONTHLY, &settings).await?;
    run_once(&programs.origin, &PUT_PACK, &settings).await.map(drop)
}

/// Makes a service key with every scope on the database of that URL.
pub async fn service_key(origin: &Path, database_url: &str, caller: &str) -> Result<String> {
    let settings = BTreeMap::from([("DATABASE_URL".to_owned(), database_url.to_owned())]);
    let mut arguments = vec!["service-key", "create", "--caller", caller];
    for scope in [
        "tokens:read",
        "tokens:deduct",
        "tokens:compensate",
        "tokens:grant",
        "jobs:report",
        "subscriptions:read",
        "subscriptions:write",
        "refunds:write",
        "notices",
    ] {
        arguments.extend(["--scope", scope]);
    }
    let printed = run_once(origin, &arguments, &settings).await?;
    let made: Value = serde_json::from_str(printed.trim()).context("read the made service key")?;
    let key = made.get("key").and_then(Value::as_str);
    key.map(str::to_owned).context("a service key")
}

/// Once a process; a parent `cargo xtask test` has already done it, so that this only finds it unchanged.
async fn build_parts(config: &Config) -> Result<(BuiltWorker, Programs)> {
    let progress = Progress::new(setup::STEPS.saturating_add(2));
    let tools = setup::prepare(config, &progress).await?;
    let worker = progress
        .step("worker", build_edge::build(config, &tools, Variant::Deployed))
        .await?;
    let programs = progress
        .step("origin and sandbox", program::build(config))
        .await?;
    Ok((worker, programs))
}

fn merged(mut usual: BTreeMap<String, String>, over: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    usual.extend(over.clone());
    usual
}
